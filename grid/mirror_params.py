"""A table row's params in MLflow: what tells it from the others, under names that mean one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grid.mirror_model import Row, text

# Of eq. 10, so of the defenses that fine-tune by it; shown even where all rows agree.
COEFFICIENTS = ("alpha", "beta", "omega", "gamma", "lambda3", "lpri", "replay", "rounds")
WEIGHTS = ("alpha", "beta", "omega", "replay")
STRENGTHS = ("epsilon", "beta", "budget", "lam")  # what other defenses are turned up and down by; likewise


def row_params(document: Mapping[str, Any], row: Row) -> dict[str, str]:
    """Defense, attack, how an output wrapper is met, and of all settings those in which rows of this grid differ.

    Coefficients of eq. 10 stand under their own names; settings of a defense that does not fine-tune begin with its
    kind (`mid_beta`), so that what is not comparable shares no axis. The undefended row has weight 0 for each of the
    WEIGHTS: eq. 10 without any term is the victim (so a comparison with it has an axis from 0).
    """
    params = {"attack": row["attack"], "defense": row["defense"]}
    params |= {"output": row["output"]} if row.get("output") else {}
    params |= {"defense_kind": row["defense_kind"]} if row.get("defense_kind", row["defense"]) != row["defense"] else {}
    rows = document["rows"]
    shown = {*COEFFICIENTS, *(f"{row.get('defense_kind')}_{name}" for name in STRENGTHS)}
    for settings_of in (_defense_settings, _attack_settings):
        others = [settings_of(other) for other in rows]
        for name, value in settings_of(row).items():
            differ = len({text(other[name]) for other in others if name in other}) > 1
            if value is not None and (differ or (name in shown and settings_of is _defense_settings)):
                params.setdefault(name, text(value))
    if row.get("undefended") and any(map(_fine_tunes, rows)):
        params = {**dict.fromkeys(WEIGHTS, "0"), **params}
    return params


def defense_note(row: Row) -> str:
    """A row's defense in a sentence: name, kind, how it is met, all settings."""
    settings = ", ".join(f"{name}={text(value)}" for name, value in sorted(_settings(row).items()))
    kind = row.get("defense_kind", row["defense"])
    named = f"`{row['defense']}`" + (f" (kind {kind})" if kind != row["defense"] else "")
    met = f" Attackers meet its output wrapper so: {row['output']}." if row.get("output") else ""
    return f"Defense {named}: {settings or 'no settings'}.{met}"


def _fine_tunes(row: Row) -> bool:
    """Whether the defense fine-tunes the victim by eq. 10: it has its coefficients."""
    return {"alpha", "lambda3"} <= set(row.get("settings", {}))


def _settings(row: Row) -> dict[str, Any]:
    """With the GAN that this row's fakes are from (for `gan_d` it depends on the attack); no epsilon is `inf`."""
    settings = dict(row.get("settings", {}))
    if row.get("fakes_gan"):
        settings["gan"] = row["fakes_gan"]
    if settings.get("epsilon", 0) is None:
        settings["epsilon"] = "inf"
    return settings


def _defense_settings(row: Row) -> dict[str, Any]:
    if _fine_tunes(row):
        return _settings(row)
    return {f"{row.get('defense_kind', row['defense'])}_{name}": value for name, value in _settings(row).items()}


def _attack_settings(row: Row) -> dict[str, Any]:
    return {f"attack_{name}": value for name, value in row.get("attack_settings", {}).items()}
