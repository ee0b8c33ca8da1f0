"""Purifier (Yang, Shao, Xuan, Chang, Zhang 2020): confidences pass an autoencoder that leaves their label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.defenses.defense import Defender
from tasks.defenses.wrapper_defense import WrapperDefense
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.models.wrapped import Wrapped
from tasks.stage import ComputeStage, Config, Group, Metrics, Role

if TYPE_CHECKING:
    from tasks.defenses import purifier_training
else:
    purifier_training = lazy("tasks.defenses.purifier_training")


class PurifierSettings(Config):
    """The autoencoder and its training; Yang et al. give a framework, the values are ours."""

    lam: float = Field(0.3, ge=0, le=1e3, description="lambda: weight of the cross-entropy to the model's label")
    hidden: int = Field(128, ge=1, le=8192, description="units of the layers beside the code")
    code: int = Field(64, ge=1, le=8192, description="units of the code in the middle")
    steps: int = Field(1500, ge=1, description="batches of confidence vectors")
    batch: int = Field(64, ge=2, description="vectors a step, drawn with replacement")
    lr: float = Field(1e-3, gt=0, description="Adam's rate")
    copies: int = Field(4, ge=0, le=64, description="augmented copies of each public image, whose vectors count too")
    permuted: float = Field(
        0.5, ge=0, le=1, description="ours: share of a batch whose labels are permuted at random, a draw per vector"
    )


class Purifier(PurifierSettings, ComputeStage):
    """Train G on confidences p = F(x) of a reference set: E ||G(p) - p||_2^2 + lambda CE(G(p), argmax p).

    Yang et al. (arXiv 2005.03915): reconstruct the confidences of a reference set while the label is kept, so that
    answers vary less within a label. Their set are non-members, because a purifier that has seen the members' own
    vectors reproduces what is peculiar to them. So here it is the defender's public images. But these are of other
    people than the model's labels, and a label that the model gives to none of them would never be learned; that
    is what `permuted` is for: every vector stands for all labels. (In the tests, with 24 public images
    and 6 labels, 60 to 70% of the private images kept their label without, all with it. 0 is theirs.) Their
    further specialisation, an adversarial one against a known inversion model, is not here.
    """

    kind: ClassVar = "purifier"
    version: ClassVar = 1
    group: ClassVar[Group] = "classifier"
    trains: ClassVar = True

    model: Model
    data: Split
    role: Role = "defender"

    @model_validator(mode="after")
    def _on_its_own_images(self) -> Self:
        if self.data.audience != self.role:
            raise ValueError(f"a purifier is trained on the {self.role}'s public images, not {self.data.audience=}")
        shape = self.model.network_of().shape
        if shape != (self.data.channels, self.data.size):
            raise ValueError(
                f"the model takes images of (channels, size) {shape}, not {(self.data.channels, self.data.size)}"
            )
        return self

    def trained(self, ctx: Context) -> purifier_training.PurifierNetwork:
        """For a dependant: G in eval mode with the stored weights, loaded strictly."""
        return purifier_training.load_purifier(self, ctx)

    def run(self, ctx: Context) -> Metrics:
        return purifier_training.train_purifier(self, ctx)


class Purified(Wrapped):
    """Answer with G(F(x)). No label modifier: where G gives another label, accuracy pays for it.

    `bpda` is exact, since G is differentiable. Where G saturates, its derivative is all but 0, and
    `straight_through` is what an attacker takes who knows that.
    """

    kind: ClassVar = "purified"
    version: ClassVar = 1

    purifier: Purifier

    @model_validator(mode="after")
    def _of_this_model(self) -> Self:
        if self.purifier.model.key != self.model.key:
            raise ValueError(f"the purifier is of {self.purifier.model.key}, not of the wrapped {self.model.key}")
        return self

    @property
    def measured_on(self) -> Split:
        return self.purifier.data

    def wrap(self, ctx: Context) -> purifier_training.PurifiedNetwork:
        return purifier_training.PurifiedNetwork(self.model.network(ctx), self.purifier.trained(ctx), self.gradient)


class Purification(PurifierSettings, WrapperDefense):
    """The victim, whose confidences pass an autoencoder that evens out what is peculiar to single images.

    How it is trained is in `Purifier`.
    """

    name: ClassVar = "purifier"

    def wrapped(self, defender: Defender) -> Purified:
        settings = self.fields_of(PurifierSettings)
        purifier = Purifier(model=defender.victim, data=defender.public_images, **settings, **defender.common)
        return Purified(model=defender.victim, purifier=purifier, gradient=self.gradient, **defender.common)
