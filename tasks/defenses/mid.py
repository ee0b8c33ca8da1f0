"""MID (Wang, Zhang, Jia, AAAI 2021): a victim trained anew behind a variational information bottleneck."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.defenses.defense import Defender, Defense, Protected
from tasks.models.bottleneck_classifier import BottleneckClassifier, BottleneckSettings

TRAINING = ("epochs", "optimizer", "lr")


class MID(BottleneckSettings, Defense):
    """Mutual information regularisation: one model for all labels, of the victim's architecture and training.

    A given victim's weights play no part: a model of its architecture is trained on the private images. Noise at test
    time is off unless `at_test` says so, and then the row is called `mid+sampled`.
    """

    name: ClassVar = "mid"

    epochs: int | None = Field(None, ge=1, description="passes over the training split; None: as the victim")
    optimizer: Literal["adamw", "sgd"] | None = Field(None, description="None: as the victim; the code: sgd")
    lr: float | None = Field(None, gt=0, description="peak learning rate; None: as the victim; the code: 0.01")

    @property
    def extensions(self) -> tuple[str, ...]:
        named = {"no_kl": self.beta == 0, "sampled": self.at_test == "sampled"}
        return tuple(name for name, there in named.items() if there)

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        own: dict[str, Any] = {name: getattr(self, name) for name in TRAINING if getattr(self, name) is not None}
        bottleneck = self.fields_of(BottleneckSettings)
        model = BottleneckClassifier(
            train=defender.train,
            val=defender.val,
            role="victim",
            **{**defender.victim_settings, **own, **bottleneck},
            **defender.common,
        )
        return Protected(model)
