"""Settings as tables and MLflow show them: flat, plain values under one name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from grid.entries import PLUMBING
from tasks.attacks.attack import Attack
from tasks.gan.gan import GANChoice
from tasks.stage import Stage


def flat(settings: BaseModel) -> dict[str, Any]:
    """Settings of a defense as plain values: `fakes: {count: 8}` becomes `fakes_count: 8`, `gan: cgan` `gan: cgan`."""
    found: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, GANChoice):
            found |= gan_settings(value, name)
        elif field.annotation == tuple[GANChoice, ...]:
            found |= _several(value, name)
        elif isinstance(value, BaseModel):
            found |= {f"{name}_{inner}": item for inner, item in flat(value).items()}
        else:
            found[name] = value
    return found


def gan_settings(gan: GANChoice, name: str = "gan") -> dict[str, Any]:
    """A GAN's structure under the name of the setting, its own settings behind it: `gan_width`."""
    return {name: gan.name, **{f"{name}_{setting}": value for setting, value in gan.settings.items()}}


def _several(gans: Sequence[GANChoice], name: str) -> dict[str, Any]:
    """Structures joined by +, settings of each behind its number: `more_gans_1_width`; nothing where there is none."""
    found = {name: "+".join(gan.name for gan in gans)} if gans else {}
    for number, gan in enumerate(gans, 1):
        found |= {f"{name}_{number}_{setting}": value for setting, value in gan.settings.items()}
    return found


def plain_fields(stage: Stage) -> dict[str, Any]:
    """A stage's own settings, without its upstream and what the plan fills in."""
    config = stage.config.items()
    return {name: value for name, value in config if not isinstance(value, dict | list) and name not in PLUMBING}


def part_settings(attack: Attack, parts: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of what an attack trains for itself, defaults too: `gan`, `gan_width`, `decoder_steps`, ..."""
    shown: dict[str, Any] = {}
    for name, part in parts.items():
        stage: Stage = getattr(attack, name)
        if isinstance(part, GANChoice):
            shown |= gan_settings(GANChoice(name=part.name, settings=plain_fields(stage)))
        else:
            shown |= {f"{name}_{field}": value for field, value in plain_fields(stage).items()}
    return shown
