"""Names of rows: the grid's own are honest, a user's is never another defense's, and no row is there twice."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from grid.defense_names import EXTENSIONS, SUFFIXES, words
from grid.plan import Plan
from tasks.defenses import DEFENSES
from tasks.models.wrapped import Gradient
from tests.grid.specs import only, planned, problems


def names(plan: Plan) -> list[str]:
    return list(dict.fromkeys(row.defense for row in plan.rows))


def called(folder: Path, *entries: Any) -> list[str]:
    """The rows of a spec with these defenses, under one attack without a GAN."""
    return names(planned(folder, labels=[0], attacks=["ami"], defenses=list(entries)))


LIES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "gan_id", "replay": 1}, "gan_id ", "name it 'gan_id+replay'"),
    ({"name": "gan_id", "replay": 1}, " \tgan_id\u00a0", "name it 'gan_id+replay'"),
    ({"name": "gan_id", "replay": 1}, "GAN-ID", "name it 'gan_id+replay'"),
    ({"name": "gan_id", "replay": 1}, "gan_id+ce", "'gan_id+ce' is what the grid calls another row"),
    ({"name": "gan_id", "replay": 1}, "gan_id + ce", "another row"),
    ({"name": "gan_id", "replay": 1}, "gan_id ce", "another row"),
    ({"name": "gan_id", "replay": 1, "gamma": 0}, "gan_id+replay", "(it is then 'gan_id+replay+ce')"),
    ({"name": "gan_id"}, "gan_id+rounds3", "another row"),
    ({"name": "gan_id"}, "gan_id stripped", "another row"),
    ({"name": "none"}, "ad_mi stripped", "begins like another defense, 'ad_mi', but this is 'none'"),
    ({"name": "none"}, "gan_id", "begins like another defense"),
    ({"name": "random_fakes"}, "gan_id cgan", "begins like another defense, 'gan_id'"),
    ({"name": "gan_id"}, "gan_d+ce", "begins like another defense, 'gan_d'"),
    ({"name": "ad_mi"}, "ad_mi stripped", "(it is then 'ad_mi through' and 'ad_mi stripped')"),
    ({"name": "ad_mi", "attackers": "through"}, "ad_mi stripped", "another row"),
    ({"name": "ad_mi", "attackers": "through", "gradient": "bpda"}, "ad_mi through", "another row"),
    ({"name": "dp", "epsilon": None}, "dp", "name it 'dp+epsilon_inf'"),
    ({"name": "dp"}, "dp+public_pretraining", "another row"),
    ({"name": "gan_id"}, "gan_id\u200b", "is a name to be shown"),
    ({"name": "gan_id"}, "  ", "is a name to be shown"),
]


@pytest.mark.parametrize(("entry", "shown", "message"), LIES)
def test_a_name_that_another_row_would_have_is_refused(
    tmp_path: Path, entry: dict[str, Any], shown: str, message: str
) -> None:
    place, text = only(tmp_path, attacks=["ami"], defenses=[{**entry, "as": shown}])
    assert place == "defenses[0].as"
    assert message in text


HONEST: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"name": "gan_id", "gan": "cgan"}, "gan_id cgan", ["gan_id cgan"]),
    ({"name": "gan_id", "beta": 0, "omega": 0}, "gan_id l_pri", ["gan_id l_pri"]),
    ({"name": "gan_d", "omega": 0}, "gan_d l_pri + l_pub", ["gan_d l_pri + l_pub"]),
    ({"name": "gan_id", "beta": 0, "omega": 0}, " l_pri  only ", ["l_pri only"]),
    ({"name": "gan_id", "replay": 1}, "gan_id+replay", ["gan_id+replay"]),
    ({"name": "gan_id", "replay": 1}, "gan_id with memory", ["gan_id with memory"]),
    ({"name": "gan_id", "lr": 0.5}, "gan_id", ["gan_id"]),
    ({"name": "gan_id", "rounds": 2}, "gan_id+rounds2", ["gan_id+rounds2"]),
    ({"name": "ad_mi"}, "ad_mi", ["ad_mi through", "ad_mi stripped"]),
    ({"name": "ad_mi"}, "noise", ["noise through", "noise stripped"]),
    ({"name": "ad_mi", "attackers": "stripped"}, "ad_mi stripped", ["ad_mi stripped"]),
    (
        {"name": "ad_mi", "attackers": "through", "gradient": "bpda"},
        "ad_mi through bpda",
        ["ad_mi through bpda"],
    ),
]


@pytest.mark.parametrize(("entry", "shown", "rows"), HONEST)
def test_honest_and_plain_names_are_fine(tmp_path: Path, entry: dict[str, Any], shown: str, rows: list[str]) -> None:
    assert called(tmp_path, {**entry, "as": shown}) == rows


def test_blanks_do_not_tell_names_apart(tmp_path: Path) -> None:
    """Of defenses, attacks, datasets and victims alike."""
    twice = [{"name": "gan_id", "as": "mine"}, {"name": "gan_id", "lr": 0.5, "as": " mine"}]
    place, text = only(tmp_path, defenses=twice)
    assert (place, "two entries are called 'mine'" in text) == ("defenses", True)
    place, text = only(tmp_path, attacks=["gmi", {"name": "gmi", "as": "gmi ", "steps": 3}])
    assert (place, "two entries are called 'gmi'" in text) == ("attacks", True)
    small = {"arch": "vgg16_bn", "width": 0.0625}
    place, text = only(tmp_path, victim=[{**small, "as": "v"}, {**small, "as": "v ", "epochs": 3}])
    assert (place, "two entries are called 'v'" in text) == ("victim", True)


def probes(field: Any) -> list[Any]:
    """Values of a setting that may make its defense another one."""
    parts = {field.annotation, *get_args(field.annotation)}
    literals = [value for part in parts for value in get_args(part)] + list(get_args(field.annotation))
    return [None, 0, 2, *[value for value in literals if isinstance(value, str)]]


@pytest.mark.parametrize("name", DEFENSES)
def test_every_word_that_the_grid_puts_behind_a_name_is_known(name: str) -> None:
    """Tried: all pairs of settings of every defense."""
    kind, found = DEFENSES[name], set[str]()
    single = [(key, value) for key, field in kind.model_fields.items() for value in probes(field)]
    for pair in itertools.combinations(single, 2):
        try:
            defense = kind(**dict(pair))
        except ValidationError:
            continue
        found |= {extension for extension in defense.extensions if not extension.startswith("rounds")}
        found |= {word for suffix, _ in defense.variants for word in words(suffix)}
    assert found <= {*EXTENSIONS, *SUFFIXES}
    if name in ("gan_id", "dp", "mid", "ad_mi"):
        assert found, "the probe finds some"


def test_one_wrapper_met_in_two_ways_is_stripped_once(tmp_path: Path) -> None:
    """Whoever takes the wrapper off meets the same victim, whatever gradient the other row takes."""
    bpda = {"name": "ad_mi", "gradient": "bpda"}
    assert called(tmp_path, "none", "ad_mi", bpda) == ["none", "ad_mi through", "ad_mi stripped", "ad_mi through bpda"]
    every = [{"name": "purifier", "gradient": gradient} for gradient in get_args(Gradient)]
    assert sum(name == "purifier stripped" for name in called(tmp_path, *every)) == 1
    assert called(tmp_path, "ad_mi", {**bpda, "as": "noise"})[-2:] == ["noise through bpda", "noise stripped"]


def test_a_stripped_wrapper_with_other_settings_needs_a_name(tmp_path: Path) -> None:
    """Its accuracy is another one, and so is its row's; equal entries are still a mistake."""
    place, text = only(tmp_path, defenses=["ad_mi", {"name": "ad_mi", "gradient": "bpda", "budget": 1}])
    assert place == "defenses"
    assert text == "two entries are called 'ad_mi stripped' with other settings (budget); tell them apart with `as:`"
    assert "two entries are called 'ad_mi through'; tell" in problems(tmp_path, defenses=["ad_mi", "ad_mi"])[0].message
    stripped = {"name": "ad_mi", "attackers": "stripped"}
    assert "called 'ad_mi stripped'" in only(tmp_path, defenses=[stripped, {**stripped, "gradient": "bpda"}])[1]
