"""What AMI's attacker makes before the attack: the decoder, and in one mode the confidences that leaked."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Config, Group, Metrics, Role

if TYPE_CHECKING:
    import torch

    from tasks.attacks import decoder_training
    from tasks.attacks.decoder_networks import DecoderNetwork
else:
    decoder_training = lazy("tasks.attacks.decoder_training")


def grid_of(size: int) -> tuple[int, int]:
    """(side of the first map, doublings up to `size`): 64 -> (4, 4), 112 -> (7, 4), 224 -> (7, 5).

    The side is the smallest of at least 4 pixels. ValueError for a size that would start above 16 pixels.
    """
    side, doublings = size, 0
    while side % 2 == 0 and side >= 8:
        side, doublings = side // 2, doublings + 1
    if not 4 <= side <= 16:
        raise ValueError(f"no decoder paints {size=}: it must be a side of 4 to 16 pixels, doubled some times")
    return side, doublings


class DecoderSettings(Config):
    """How a decoder is trained."""

    steps: int = Field(600, ge=0, description="batches of public images; 0: as initialised, the control")
    batch: int = Field(32, ge=2, description="images a step, drawn with replacement")
    lr: float = Field(2e-4, gt=0, description="Adam's rate")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam")
    amsgrad: bool = Field(True, description="Adam's second moment never shrinks (Reddi et al. 2018)")
    width: int = Field(32, ge=4, le=512, description="channels at half the size of a 64-pixel image; the code: 128")
    truncate: int = Field(0, ge=0, description="how many of a vector's largest confidences are used; 0: all")
    log_shift: float = Field(50.0, ge=0, description="c of relu(log p + c), the decoder's input; 0: p itself")
    copies: int = Field(0, ge=0, le=64, description="augmented copies of each public image, each queried once")


class Decoder(DecoderSettings, ComputeStage):
    """Learn to paint a public image from the confidences that the target's API gives for it.

    The inversion network of Yang et al. (CCS 2019), its cost the mean squared difference of pixels, trained on
    auxiliary images alone: `decoder.safetensors`, and `predictions.safetensors` with the target's answer to each
    public image. The last weights are kept; the authors' code takes those that best paint the private training
    images, which an attacker does not have. `target_queries` counts the images that were sent: each public
    image and each augmented copy once. (A killed run asks again when it resumes; the count is that of one run.)
    """

    kind: ClassVar = "decoder"
    version: ClassVar = 1
    group: ClassVar[Group] = "attack"
    trains: ClassVar = True

    target: Model
    data: Split
    role: Role = "attacker"

    @model_validator(mode="after")
    def _on_its_own_images(self) -> Self:
        if self.data.audience != self.role:
            raise ValueError(f"a decoder of the {self.role} is trained on its public images, not {self.data.audience=}")
        grid_of(self.data.size)
        shape = self.target.network_of().shape
        if shape != (self.data.channels, self.data.size):
            raise ValueError(
                f"the target takes images of (channels, size) {shape}, not {(self.data.channels, self.data.size)}"
            )
        return self

    def network(self) -> DecoderNetwork:
        """The decoder without trained weights."""
        return decoder_training.blank(self)

    def trained(self, ctx: Context) -> DecoderNetwork:
        """For a dependant: the decoder in eval mode with the stored weights, loaded strictly."""
        return decoder_training.load_decoder(self, ctx)

    def predictions(self, ctx: Context) -> torch.Tensor:
        """For a dependant: the target's confidences (n, classes) for the public images, on the CPU."""
        return ctx.load(self).tensors("predictions.safetensors")["predictions"]

    def run(self, ctx: Context) -> Metrics:
        return decoder_training.train_decoder(self, ctx)


class ObservedPredictions(ComputeStage):
    """The confidences that the target gave to the private training images: an API's log that has leaked.

    Only for attacks that say so. `predictions.safetensors` holds `predictions` (n, classes) and `labels` (n,),
    nothing of an image beside them. The attacker sends nothing, so no query is counted.
    """

    kind: ClassVar = "observed_predictions"
    version: ClassVar = 1
    group: ClassVar = "attack"

    target: Model
    data: Split
    role: Role = "attacker"

    @model_validator(mode="after")
    def _of_the_targets_people(self) -> Self:
        if self.data.audience != "private" or self.data.part != "train":
            raise ValueError(f"a log is of the private train images, not {self.data.audience=} {self.data.part=}")
        if self.data.people != self.target.network_of().people:
            raise ValueError("the observed images are of other people, or in another order, than the target's labels")
        return self

    def of(self, label: int, ctx: Context) -> torch.Tensor:
        """For a dependant: the confidences (m, classes) of the images of `label`, on the CPU."""
        product = ctx.load(self).tensors("predictions.safetensors")
        return product["predictions"][product["labels"] == label]

    def run(self, ctx: Context) -> Metrics:
        return decoder_training.record_predictions(self, ctx)
