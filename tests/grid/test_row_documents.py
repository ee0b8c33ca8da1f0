"""What a plan says of rows and stages beside their keys: settings, structures, names; and problems of all worlds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grid.shown_settings import flat
from tasks.attacks.privacy import Privacy
from tasks.defenses.gan_d import GAND
from tasks.defenses.gan_id import GANID
from tasks.gan.gan import GANChoice
from tasks.models.classifier import Model
from tests.grid.specs import planned, problems


def test_both_gans_of_a_defense_are_flat() -> None:
    settings = flat(GAND(otherwise=GANChoice(name="dcgan", settings={"width": 8})))
    assert (settings["otherwise"], settings["otherwise_width"]) == ("dcgan", 8)
    assert settings["fakes_count"] == GAND().fakes.count
    assert not [value for value in settings.values() if isinstance(value, dict)]
    assert flat(GANID())["gan"] == "wgan"


def test_a_row_says_whose_gan_made_its_fakes(tmp_path: Path) -> None:
    attacks, defenses = ["gmi", "dmi", "mirror", "ami"], ["none", "gan_d", "gan_id", "random_fakes"]
    rows = planned(tmp_path, labels=[0], attacks=attacks, defenses=defenses).document()["rows"]
    found = {(row["defense"], row["attack"]): row["fakes_gan"] for row in rows}
    assert [found["gan_d", attack] for attack in attacks] == ["wgan", "inversion", "stylegan", "wgan"]
    assert {found["gan_id", attack] for attack in attacks} == {"wgan"}
    assert {found[name, attack] for name in ("none", "random_fakes") for attack in attacks} == {""}


def test_accuracy_is_named_after_the_model_that_it_is_of(tmp_path: Path) -> None:
    """One model for all labels has one accuracy, so no label is in its name."""
    plan = planned(tmp_path, attacks=["gmi", "dmi"], defenses=["none", "dp", "gan_d"])
    accuracies = sorted(plan.names[key] for key, stage in plan.stages().items() if stage.kind == "accuracy")
    assert accuracies == [
        "accuracy dp",
        "accuracy evaluator",
        *(f"accuracy gan_d {gan} label {label}" for gan in ("inversion", "wgan") for label in (0, 3)),
        "accuracy second evaluator",
        "accuracy victim vgg16_bn",
    ]


def test_what_is_wrong_with_any_dataset_or_victim_is_said_at_once_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason(cls: type[Privacy], target: Model) -> str | None:
        return f"not on {target.network_of().arch}"

    monkeypatch.setattr(Privacy, "refusal", classmethod(reason))
    monkeypatch.setattr(GANID, "refusal", lambda self, victim: "never")
    people: dict[str, Any] = {"name": "synthetic", "size": 32, "people": 10}
    found = problems(
        tmp_path,
        dataset=[people, {**people, "as": "more", "people": 12}],
        victim=[{"arch": "vgg16_bn", "width": 0.0625}, {"arch": "vgg16", "width": 0.0625}],
        attacks=["gmi", "privacy"],
        defenses=["none", "gan_id"],
    )
    told = [(problem.place.split()[-1], problem.message) for problem in found]
    assert told == [("attacks[1]", "not on vgg16_bn"), ("defenses[1]", "never"), ("attacks[1]", "not on vgg16")]
