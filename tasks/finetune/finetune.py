"""The defended model: a victim fine-tuned by eq. 10 on its private and public fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.finetune.fisher import Fisher
from tasks.finetune.settings import FinetuneSettings
from tasks.inversion.fakes import Samples
from tasks.lazy import lazy
from tasks.models.classifier import Classifier, GivenClassifier, Model
from tasks.stage import Config, Group, Metrics, Role

if TYPE_CHECKING:
    from tasks.finetune import loop
else:
    loop = lazy("tasks.finetune.loop")


class Pair(Config):
    """One protected label l_t with its decoy l_p and the fakes of both; what has weight 0 is None."""

    label: int = Field(ge=0, description="l_t")
    decoy: int | None = Field(None, ge=0, description="l_p, a label of the public classifier; None: nobody of them")
    private: Samples | None = None
    public: Samples | None = None

    @property
    def led_to(self) -> str:
        """The decoy, in words."""
        return f"decoy {self.decoy}" if self.decoy is not None else f"decoy of label {self.label}"


class Finetune(FinetuneSettings, Model):
    """theta = argmin -alpha L_pri + beta L_pub + omega L_CL (eq. 10), from the victim's weights.

    BatchNorm statistics stay frozen. With several pairs the losses are means per label, then over labels, so
    that alpha keeps its meaning. `replay` (an extension, off by default) adds cross-entropy on `train`.
    """

    kind: ClassVar = "finetune"
    version: ClassVar = 1
    group: ClassVar[Group] = "finetune"
    trains: ClassVar = True

    victim: Model
    role: Role = "defender"
    pairs: tuple[Pair, ...] = Field(min_length=1, description="sorted by label; one as in the paper, or many")
    fisher: Fisher | None = None
    train: Split | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        labels = [pair.label for pair in self.pairs]
        if labels != sorted(set(labels)):
            raise ValueError(f"pairs must be sorted by label, each label once, but got {labels=}")
        if self.consolidates and self.fisher is None:
            raise ValueError("omega * lambda3 > 0 needs a fisher")
        if self.replay > 0 and self.train is None:
            raise ValueError("replay > 0 needs the private training split")
        if self.alpha > 0 and any(pair.private is None for pair in self.pairs):
            raise ValueError("alpha > 0 needs private fakes for every pair")
        if self.beta > 0 and any(pair.public is None for pair in self.pairs):
            raise ValueError("beta > 0 needs public fakes for every pair")
        return self

    def network_of(self) -> Classifier | GivenClassifier:
        return self.victim.network_of()

    def run(self, ctx: Context) -> Metrics:
        return loop.finetune(self, ctx)
