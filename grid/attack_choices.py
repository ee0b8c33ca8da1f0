"""An attack as a spec chooses it, and its control: the same with nothing trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.attacks.attack import Attack
from tasks.gan import GANS
from tasks.gan.gan import GANChoice


class AttackChoice(NamedTuple):
    shown: str
    attack: type[Attack]
    settings: Mapping[str, Any]
    parts: Mapping[str, Any]  # a GANChoice under `gan`, and the settings of what else the attack trains
    place: str
    trained_gan: GANChoice | None = None  # of a control: the GAN that it leaves untrained
    control: bool = False  # with an untrained generator

    @property
    def known_gan(self) -> GANChoice | None:
        """What a defender who knows the attack knows of its GAN: the structure, trained. None: it has no GAN."""
        return self.trained_gan if self.control else self.parts.get("gan")


def untrained(choice: AttackChoice) -> AttackChoice | None:
    """The control of an attack: the same with untrained networks of its own; None if it has none to train."""
    if not choice.parts:
        return None
    parts: dict[str, Any] = {}
    for name, part in choice.parts.items():
        if not isinstance(part, GANChoice):
            parts[name] = {**part, "steps": 0}
        else:
            parts[name] = GANChoice(name=_structure(part), settings={**_settings(part), "steps": 0})
    return choice._replace(shown=f"{choice.shown} untrained", parts=parts, trained_gan=choice.known_gan, control=True)


def is_untrained(parts: Mapping[str, Any]) -> bool:
    """Whether a spec itself asks for `steps: 0` of all that an attack trains."""
    steps = [(part.settings if isinstance(part, GANChoice) else part).get("steps") for part in parts.values()]
    return bool(steps) and all(count == 0 for count in steps)


def _structure(gan: GANChoice) -> str:
    """The structure to leave untrained; of a generator that the user brings, that which it is of."""
    return str(gan.settings.get("structure", "wgan")) if "steps" not in GANS[gan.name].model_fields else gan.name


def _settings(gan: GANChoice) -> dict[str, Any]:
    if "steps" in GANS[gan.name].model_fields:
        return dict(gan.settings)
    shape = {name: gan.settings[name] for name in ("latent_dim",) if name in gan.settings}
    return {**gan.settings.get("settings", {}), **shape}
