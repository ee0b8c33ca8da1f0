"""A wrapper as a defense: two rows that are read side by side, through it and stripped of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from grid.plan import Row
from tasks.defenses import DEFENSES
from tasks.defenses.wrapper_defense import WrapperDefense
from tests.grid.specs import planned, problems
from tests.lab import Lab
from tests.tasks.wrapped_lab import defender, noised, purified


@pytest.mark.parametrize("name", ["ad_mi", "purifier"])
def test_a_wrapper_stands_for_two_rows(lab: Lab, name: str) -> None:
    defense = DEFENSES[name]()
    assert isinstance(defense, WrapperDefense)
    (through, met), (stripped, taken_off) = defense.variants
    assert (through, stripped) == (" through", " stripped")
    first, second = met.protect(defender(lab), (0, 2)), taken_off.protect(defender(lab), (0, 2))
    assert first.target.key == second.target.key == met.protect(defender(lab), (1,)).target.key
    assert first.attacked.key == first.target.key != lab.victim.key
    assert second.attacked.key == lab.victim.key
    assert (first.output, second.output) == ("through, straight-through gradients", "stripped")
    assert met.variants == ((" through", met),)
    assert DEFENSES[name](gradient="bpda", attackers="through").variants[0][0] == " through bpda"  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="stands for two rows"):
        defense.protect(defender(lab), (0,))


@pytest.mark.parametrize("name", ["ad_mi", "purifier"])
def test_the_rows_of_a_spec(name: str, tmp_path: Path) -> None:
    """Accuracy is the wrapper's in both rows; the stripped attack is the undefended row's own."""
    plan = planned(tmp_path, labels=[0], attacks=["privacy", "ami"], defenses=["none", name])
    for attack in ("privacy", "ami"):
        rows: dict[str, Row] = {row.defense: row for row in plan.rows if row.attack == attack}
        assert list(rows) == ["none", f"{name} through", f"{name} stripped"]
        none, through, stripped = (row.cells[0] for row in rows.values())
        assert stripped.evaluate.attack.key == none.evaluate.attack.key != through.evaluate.attack.key
        assert through.accuracy.key == stripped.accuracy.key != none.accuracy.key
        assert through.accuracy.model.key == through.evaluate.attack.target.key
        assert [row.output for row in rows.values()][1:] == ["through, straight-through gradients", "stripped"]
        assert not rows[f"{name} through"].undefended


def test_bad_settings_are_named(lab: Lab, tmp_path: Path) -> None:
    for entry, place, text in (
        ({"name": "ad_mi", "attackers": "none"}, "defenses[0].attackers", "'both', 'through' or 'stripped'"),
        ({"name": "purifier", "gradient": "exact"}, "defenses[0].gradient", "'straight_through', 'bpda' or 'stopped'"),
        ({"name": "ad_mi", "budget": 3}, "defenses[0].budget", "less than or equal to 2"),
        ({"name": "ad_mi", "decoder": {"stepz": 3}}, "defenses[0].decoder.stepz", "did you mean 'steps'?"),
    ):
        (found,) = problems(tmp_path, defenses=[entry])
        assert found.place.endswith(place)
        assert text in found.message
    with pytest.raises(ValidationError, match="not of the wrapped"):
        noised(lab, model=lab.victim.model_copy(update={"epochs": 1}))
    with pytest.raises(ValidationError, match="not of the wrapped"):
        purified(lab, model=lab.victim.model_copy(update={"epochs": 1}))
