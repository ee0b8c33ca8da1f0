"""Settings as tables and MLflow show them: flat, plain values under one name each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grid.entries import PLUMBING
from tasks.gan.gan import GANChoice
from tasks.stage import Stage


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a defense as plain values: `fakes: {count: 8}` becomes `fakes_count: 8`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "gan":
            flat |= gan_settings(GANChoice(**value))
        elif isinstance(value, dict):
            flat |= {f"{name}_{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def gan_settings(gan: GANChoice) -> dict[str, Any]:
    return {"gan": gan.name, **{f"gan_{name}": value for name, value in gan.settings.items()}}


def plain_fields(stage: Stage) -> dict[str, Any]:
    """A stage's own settings, without its upstream and what the plan fills in."""
    config = stage.config.items()
    return {name: value for name, value in config if not isinstance(value, dict | list) and name not in PLUMBING}


def part_settings(parts: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, part in parts.items():
        flat |= gan_settings(part) if isinstance(part, GANChoice) else {f"{name}_{k}": v for k, v in part.items()}
    return flat
