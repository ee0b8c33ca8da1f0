"""Killed at any checkpoint, a stage resumes inside itself and ends with the same bytes, curves and metrics."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.finetune.finetune import Finetune, Pair
from tasks.models.classifier import Classifier
from tasks.stage import Stage
from tests.lab import KilledError, Lab, MemoryCheckpoints, folder_digests
from tests.resuming import killed_and_resumed
from tests.tasks.attack_contract import build


def classifier(lab: Lab) -> Stage:
    """AdamW, one-cycle schedule, augmentation and dropout: all that has a state."""
    settings = {"width": 0.0625, "epochs": 4, "batch": 10, "dropout": 0.3}
    return Classifier(train=lab.split("train"), val=lab.split("val"), arch="vgg16_bn", **settings)


def classifier_sgd(lab: Lab) -> Stage:
    settings = {"width": 0.5, "epochs": 4, "batch": 8, "optimizer": "sgd", "lr": 0.05}
    return Classifier(train=lab.split("train"), arch="ir_small", **settings)


def wgan(lab: Lab) -> Stage:
    return lab.gan("defender", steps=4, n_critic=2)


def finetune(lab: Lab) -> Stage:
    pairs = tuple(
        Pair(label=label, decoy=1, private=lab.fakes(label, private=True), public=lab.fakes(1, private=False))
        for label in (0, 2)
    )
    fields: dict[str, Any] = {"pairs": pairs, "fisher": lab.fisher, "train": lab.split("train")}
    return Finetune(victim=lab.victim, replay=1, lambda3=0.01, steps=4, batch=2, replay_batch=4, **fields)


def attack(lab: Lab) -> Stage:
    from tasks.attacks.gmi import GMI

    return build(lab, GMI, 1, images=3, chunk=3).model_copy(update={"steps": 4})


STAGES = {f.__name__: f for f in (classifier, classifier_sgd, wgan, finetune, attack)}


@pytest.mark.parametrize("kill_at", [1, 3, 4])
@pytest.mark.parametrize("name", STAGES)
def test_a_killed_stage_ends_as_an_undisturbed_one(lab: Lab, name: str, kill_at: int) -> None:
    """`kill_at` 4 is after the last step: what is left is only to write the product."""
    stage = STAGES[name](lab)
    killed_and_resumed(lab, stage, kill_at)


def test_checkpointing_itself_changes_nothing(lab: Lab) -> None:
    stage = finetune(lab)
    one, two = lab.context(stage), lab.context(stage, checkpoints=MemoryCheckpoints())
    assert stage.run(one) == stage.run(two)
    assert folder_digests(one.out) == folder_digests(two.out)


def test_killed_twice(lab: Lab) -> None:
    stage = wgan(lab)
    calm = lab.context(stage)
    stage.run(calm)
    storage = MemoryCheckpoints(1)
    for kill_at in (1, 3):
        storage.kill_at = kill_at
        with pytest.raises(KilledError):
            stage.run(lab.context(stage, checkpoints=storage))
    storage.kill_at = None
    last = lab.context(stage, checkpoints=storage)
    stage.run(last)
    assert folder_digests(last.out) == folder_digests(calm.out)
