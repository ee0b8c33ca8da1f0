"""DP (Gong et al., Table II): the victim trained by DP-SGD with Opacus."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.defenses.defense import Defender, Defense, Protected
from tasks.models.classifier import Classifier, Model
from tasks.models.private_classifier import DPClassifier, DPSettings

WITH_GROUPNORM: tuple[str, ...] = ("vgg16", "vgg16_bn", "vgg16_gn")


class DP(DPSettings, Defense):
    """One model for all labels, trained from the private images with (epsilon, delta)-differential privacy.

    The paper: "epsilon = 8" and Opacus, without delta, clipping norm, batch, epochs, accountant or where training
    starts. Its code's ancestors are not DP: a network with BatchNorm, noise multiplier 0.01 and no accountant. Here the
    network is the victim's with GroupNorm (BatchNorm mixes the images of a batch), trained anew, so that victim
    and target differ in more than privacy: `epsilon: null` is the arm to compare with. From scratch, a few images a
    person under such noise leave accuracy near chance; `pretraining: public` starts from weights trained without
    privacy on the defender's public people, and its row says so.
    """

    name: ClassVar = "dp"

    pretraining: Literal["none", "public"] = Field(
        "none", description="where it starts; public = a classifier of the defender's public people"
    )

    @model_validator(mode="after")
    def _head_of_something(self) -> Self:
        if self.layers == "head" and self.pretraining == "none":
            raise ValueError("layers='head' trains no more than the last layer: it needs pretraining: public")
        return self

    @property
    def extensions(self) -> tuple[str, ...]:
        named = {
            "public_pretraining": self.pretraining == "public",
            "head_only": self.layers == "head",
            "epsilon_inf": self.epsilon is None,
            "no_clip": self.max_grad_norm is None,
        }
        return tuple(name for name, there in named.items() if there)

    def refusal(self, victim: Model) -> str | None:
        arch = victim.network_of().arch
        if arch in WITH_GROUPNORM:
            return None
        return (
            f"DP-SGD needs a network without BatchNorm, and {arch} has no such version; "
            f"choose a victim that has one: {', '.join(WITH_GROUPNORM)}"
        )

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        victim = defender.victim.network_of()
        target = DPClassifier(
            train=defender.train,
            val=defender.val,
            role="victim",
            arch="vgg16_gn",
            width=victim.width,
            init=self._pretrained(defender, victim.width) if self.pretraining == "public" else None,
            **self.fields_of(DPSettings),
            **defender.common,
        )
        return Protected(target)

    def _pretrained(self, defender: Defender, width: float) -> Classifier:
        """The public classifier's training, on the target's network."""
        changes = {"train": defender.public, "arch": "vgg16_gn", "width": width, "dropout": 0.0}
        return defender.public_classifier.model_copy(update=changes)
