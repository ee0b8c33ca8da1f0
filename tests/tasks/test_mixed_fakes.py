"""Fakes of several GANs taken together: an extension whose row says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from tasks.defenses.gan_d import GAND
from tasks.defenses.gan_id import GANID
from tasks.gan.gan import GANChoice
from tasks.inversion.fakes import Fakes, MixedFakes
from tests.grid.specs import only, planned
from tests.lab import Lab

DCGAN = {"name": "dcgan", "steps": 2}


def fakes(lab: Lab, label: int = 2) -> list[Fakes]:
    """Of one label, by the defender's GAN and by one of another seed."""
    first = lab.fakes(label, private=True, count=3)
    return [first, first.model_copy(update={"gan": lab.gan("defender", seed=5), "count": 5})]


def test_they_are_the_fakes_of_each_one_after_the_other(lab: Lab) -> None:
    parts = fakes(lab)
    mixed = MixedFakes(parts=tuple(parts))
    found = mixed.images(lab.context(mixed))
    assert torch.equal(found, torch.cat([part.images(lab.context(part)) for part in parts]))
    assert found.shape == (8, 1, 32, 32)
    of = [lab.run(part).metrics["label_rate"] for part in parts]
    assert lab.run(mixed).metrics["label_rate"] == pytest.approx((3 * of[0] + 5 * of[1]) / 8)


def test_they_are_of_one_label_of_one_model(lab: Lab) -> None:
    first, second = fakes(lab)
    with pytest.raises(ValidationError, match="fakes of one label of one model"):
        MixedFakes(parts=(first, second.model_copy(update={"label": 0})))
    with pytest.raises(ValidationError, match="fakes of one label of one model"):
        MixedFakes(parts=(first, second.model_copy(update={"model": lab.public_classifier})))


def test_a_row_says_which_gans_it_added(tmp_path: Path) -> None:
    """And its name cannot be the paper's; the first GAN alone is the paper's stage."""
    assert GANID(more_gans=(GANChoice(name="stylegan"),), rounds=2).extensions == ("stylegan_fakes", "rounds2")
    assert GAND(more_gans=(GANChoice(name="wgan"),)).extensions == ("wgan_fakes",)
    more = {"name": "gan_id", "more_gans": [DCGAN]}
    plan = planned(tmp_path, defenses=["none", "gan_id", more])
    paper, mixed = plan.rows[1:]
    assert (paper.defense, mixed.defense) == ("gan_id", "gan_id+dcgan_fakes")
    assert (paper.fakes_gan, mixed.fakes_gan) == ("wgan", "wgan+dcgan")
    own, both = paper.cells[0].fakes_private, mixed.cells[0].fakes_private
    assert isinstance(both, MixedFakes)
    assert both.parts[0] == own
    assert {type(part.gan).kind for part in both.parts} == {"wgan", "dcgan"}
    assert (mixed.settings["more_gans"], mixed.settings["more_gans_1_steps"]) == ("dcgan", 2)
    assert "more_gans" not in paper.settings
    assert json.dumps(plan.document()), "it can be stored"
    public = mixed.cells[0].fakes_public
    assert isinstance(public, MixedFakes)
    assert public.parts[0] == paper.cells[0].fakes_public
    assert own is not None
    assert "private fakes label 0" in plan.names[own.key]
    place, message = only(tmp_path, defenses=[{**more, "as": "gan_id"}])
    assert place == "defenses[0].as"
    assert "gan_id+dcgan_fakes" in message


def test_a_gan_that_does_not_exist_is_named_with_its_place(tmp_path: Path) -> None:
    place, message = only(tmp_path, defenses=[{"name": "gan_id", "more_gans": [DCGAN, "dcgann"]}])
    assert place == "defenses[0].more_gans[1].name"
    assert "dcgann" in message
    assert "dcgan" in message.split("dcgann", 1)[1]
    place, message = only(tmp_path, defenses=[{"name": "gan_id", "more_gans": [{**DCGAN, "step": 1}]}])
    assert place == "defenses[0].more_gans[0].step"
