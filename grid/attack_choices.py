"""An attack as a spec chooses it, its control (the same with nothing trained), and what a defender knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.attacks.attack import Attack
from tasks.gan import GANS
from tasks.gan.gan import GAN, GANChoice, TrainedGAN

# How any GAN is trained, which its weights do not tell; its other fields decide what it is.
TRAINING = TrainedGAN.model_fields.keys() - GAN.model_fields.keys() - {"width"}


class AttackChoice(NamedTuple):
    shown: str
    attack: type[Attack]
    settings: Mapping[str, Any]
    parts: Mapping[str, Any]  # a GANChoice under `gan`, and the settings of what else the attack trains
    place: str
    known_gan: GANChoice | None = None  # what a defender who knows the attack knows of its GAN; None: it has none
    control: bool = False  # with an untrained generator


def known_structure(gan: GANChoice | None, budget: Mapping[str, Mapping[str, Any]]) -> GANChoice | None:
    """Of an attack's GAN what a defender can train a GAN of its own from: structure and settings.

    No weights, seed or images. A generator that the user brings stands for its structure, trained as the budget
    has it; one that a spec leaves untrained (`steps: 0`) for the same at the budget's steps. Without a budget's
    number the structure's default counts. `budget`: settings of each structure.
    """
    if gan is None:
        return None
    of_budget = budget.get(structure_of(gan), {})
    if not _is_trained_here(gan):
        recipe = {name: value for name, value in of_budget.items() if name in TRAINING}
        return _with_steps(GANChoice(name=structure_of(gan), settings={**recipe, **_shape(gan)}), of_budget)
    return _with_steps(gan, of_budget) if gan.settings.get("steps") == 0 else gan


def untrained(choice: AttackChoice) -> AttackChoice | None:
    """The control of an attack: the same with untrained networks of its own; None if it has none to train."""
    if not choice.parts:
        return None
    parts: dict[str, Any] = {}
    for name, part in choice.parts.items():
        if not isinstance(part, GANChoice):
            parts[name] = {**part, "steps": 0}
        else:
            parts[name] = GANChoice(name=structure_of(part), settings={**_shape(part), "steps": 0})
    return choice._replace(shown=f"{choice.shown} untrained", parts=parts, control=True)


def is_untrained(parts: Mapping[str, Any]) -> bool:
    """Whether a spec itself asks for `steps: 0` of all that an attack trains."""
    steps = [(part.settings if isinstance(part, GANChoice) else part).get("steps") for part in parts.values()]
    return bool(steps) and all(count == 0 for count in steps)


def structure_of(gan: GANChoice) -> str:
    """The structure's name in the registry; of a generator that the user brings, that which it is of."""
    return gan.name if _is_trained_here(gan) else str(gan.settings.get("structure", "wgan"))


def _is_trained_here(gan: GANChoice) -> bool:
    return "steps" in GANS[gan.name].model_fields


def _shape(gan: GANChoice) -> dict[str, Any]:
    """The settings of the structure: of a given generator, those that the user says it has."""
    if _is_trained_here(gan):
        return dict(gan.settings)
    beside = {name: gan.settings[name] for name in ("latent_dim",) if name in gan.settings}
    return {**gan.settings.get("settings", {}), **beside}


def _with_steps(gan: GANChoice, of_budget: Mapping[str, Any]) -> GANChoice:
    """At the budget's steps, or the structure's own where the budget has none."""
    settings = {name: value for name, value in gan.settings.items() if name != "steps"}
    return GANChoice(name=gan.name, settings=settings | {n: of_budget[n] for n in ("steps",) if n in of_budget})
