"""Small DP-SGD trainings that the tests of them share."""

from __future__ import annotations

from typing import Any

from tasks.models.classifier import Classifier
from tasks.models.private_classifier import DPClassifier
from tasks.models.private_training import PrivateTraining
from tests.lab import Lab

C = 0.5
SMALL: dict[str, Any] = {"width": 0.0625, "epochs": 3, "batch": 15, "chunk": 4, "max_grad_norm": C, "lr": 0.1}


def stage(lab: Lab, **fields: Any) -> DPClassifier:
    return DPClassifier(train=lab.split("train"), **{**SMALL, **fields})


def public(lab: Lab, **fields: Any) -> Classifier:
    """Pretrained on public people, hardly."""
    base: dict[str, Any] = {"arch": "vgg16_gn", "width": 0.0625, "epochs": 1, "batch": 8}
    base |= {"train": lab.split("train", "classifier"), "role": "public_classifier"}
    return Classifier(**{**base, **fields})


def training(lab: Lab, **fields: Any) -> PrivateTraining:
    """A training before its first step, by default without noise, augmentation and decay."""
    base: dict[str, Any] = {"epsilon": None, "augment": False, "weight_decay": 0.0}
    made = stage(lab, **{**base, **fields})
    images, labels = made.train.images(lab.context(made))
    begun = PrivateTraining(made, lab.context(made), images, labels)
    begun.network.train()
    return begun
