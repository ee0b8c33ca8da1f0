"""`decoygrid list`: every setting of everything by its path in a spec, in words that a user knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from grid.listing import METRICS, show_list
from grid.problems import SpecError
from tasks.attacks import ATTACKS
from tasks.defenses import DEFENSES
from tasks.inversion.settings import FakesSettings

LISTS = ("attacks", "defenses", "gans", "datasets", "metrics", "spaces", "budgets", "specs")


def listed(what: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    show_list(what, as_json=True)
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def lines(what: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The words of each line that begins a setting."""
    show_list(what, as_json=False)
    return [line.split() for line in capsys.readouterr().out.splitlines() if re.match(r" +\S", line)]


@pytest.mark.parametrize("what", LISTS)
def test_every_list_is_json_too(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A GAN's `weights` has no default, and no word of pydantic's stands in for it."""
    assert listed(what, capsys) or what == "spaces"
    show_list(what, as_json=False)
    assert "Pydantic" not in capsys.readouterr().out


def test_settings_inside_settings_are_listed_by_their_path(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {name: entry["settings"] for name, entry in listed("defenses", capsys).items()}
    for name in FakesSettings.model_fields:
        assert settings["gan_id"][f"fakes.{name}"]["default"] == FakesSettings.model_fields[name].get_default()
    assert settings["ad_mi"]["decoder.steps"]["default"] == 600
    assert settings["gan_id"]["gan.name"]["default"] == settings["gan_d"]["otherwise.name"]["default"] == "wgan"
    text = lines("defenses", capsys)
    assert ["fakes.count", "64", "images,"] in [words[:3] for words in text]
    assert ["decoder.steps", "600"] in [words[:2] for words in text]
    assert ["otherwise.name", "wgan", "structure;"] in [words[:3] for words in text]


def test_what_an_attack_trains_is_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {name: entry["settings"] for name, entry in listed("attacks", capsys).items()}
    assert settings["mirror"]["gan.name"]["default"] == "stylegan"
    assert settings["ami"]["decoder.width"]["default"] == 32
    assert "gan.name" not in settings["privacy"]
    for name, attack in ATTACKS.items():
        assert all(f"{part}.steps" in settings[name] for part in attack.parts)


def test_defenses_begin_with_none_and_the_papers_own() -> None:
    assert list(DEFENSES)[:4] == ["none", "gan_id", "gan_d", "random_fakes"]


def test_what_is_said_of_each_is_for_users(capsys: pytest.CaptureFixture[str]) -> None:
    """No name of a class; those are in the docstring's later paragraphs."""
    for what in ("defenses", "attacks", "gans", "datasets"):
        for name, entry in listed(what, capsys).items():
            assert entry["about"], name
            assert not re.search(r"`[A-Z]\w+`|see `", entry["about"]), entry["about"]


def test_whose_confidence_is_counted() -> None:
    """Behind a wrapper it is the model's inside: docs/PROTOCOL.md."""
    assert "without an output wrapper" in METRICS["target_confidence"]


def test_a_list_that_is_not_there() -> None:
    with pytest.raises(SpecError, match="unknown list 'defences'; did you mean 'defenses'"):
        show_list("defences", as_json=False)
