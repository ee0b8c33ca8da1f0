"""Classifiers as stages: trained here (victim, evaluators, public classifier) or brought by the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.stage import ComputeStage, Metrics, Role

if TYPE_CHECKING:
    from tasks.models import training
    from tasks.models.architectures import Network
else:
    training = lazy("tasks.models.training")

Arch = Literal["vgg16", "vgg16_bn", "vgg16_gn", "ir50", "ir_small", "densenet_small"]


class Model(ComputeStage):
    """Any stage whose product is a classifier: `model.safetensors` plus what is needed to build the network.

    A model may itself be made from another (a defended model is a fine-tuned victim); `network_of` says
    which trained or given classifier fixes the architecture.
    """

    def network_of(self) -> Classifier | GivenClassifier:
        """The classifier whose architecture this model has."""
        raise NotImplementedError

    def network(self, ctx: Context) -> Network:
        """For a dependant: the network in eval mode with its stored weights, loaded strictly."""
        return training.load_network(self.network_of(), ctx.load(self).path("model.safetensors"), ctx.device)

    @property
    def classes(self) -> int:
        """Number of labels."""
        return len(self.network_of().people)


class Classifier(Model):
    """Train F_V (eq. 4), F_E, the second evaluator or F_C by cross-entropy on one split.

    The last weights are kept, never "the best on test". `val`, if given, is only measured and logged.
    """

    kind: ClassVar = "classifier"
    version: ClassVar = 1
    group: ClassVar = "classifier"
    trains: ClassVar = True

    train: Split
    val: Split | None = None
    role: Role = "victim"
    arch: Arch = Field("vgg16_bn", description="network; see tasks/models/architectures.py")
    width: float = Field(1.0, gt=0, le=4, description="factor on the number of channels")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before or between fully connected layers")
    epochs: int = Field(40, ge=1, description="passes over the training split")
    batch: int = Field(32, ge=2, description="images a step; the last, smaller batch of an epoch is dropped")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="the paper: SGD")
    lr: float = Field(2e-3, gt=0, description="peak learning rate of a one-cycle schedule")
    weight_decay: float = Field(5e-4, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    augment: bool = Field(True, description="flips, small affine maps, brightness and contrast")

    def network_of(self) -> Classifier:
        return self

    def blank(self) -> Network:
        """Its network, not yet trained."""
        return training.blank(self)

    @property
    def people(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.train.people

    @property
    def shape(self) -> tuple[int, int]:
        """(channels, size) of the images it takes."""
        return self.train.channels, self.train.size

    def run(self, ctx: Context) -> Metrics:
        return training.train_classifier(self, ctx)


class GivenClassifier(Model):
    """A trained victim that the user brings: an architecture and its safetensors weights, checked strictly."""

    kind: ClassVar = "given_classifier"
    version: ClassVar = 1
    group: ClassVar = "data"

    weights: str = Field(description="sha256 of the safetensors file; its path is in no key")
    people: tuple[str, ...] = Field(min_length=1, description="class names in the model's label order")
    arch: Arch = "vgg16"
    width: float = Field(1.0, gt=0, le=4)
    channels: Literal[1, 3] = 3
    size: int = Field(64, ge=32, le=1024)
    role: Role = "victim"

    def network_of(self) -> GivenClassifier:
        return self

    def blank(self) -> Network:
        """Its network without the user's weights."""
        return training.blank(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(channels, size) of the images it takes."""
        return self.channels, self.size

    def run(self, ctx: Context) -> Metrics:
        return training.adopt_weights(self, ctx)
