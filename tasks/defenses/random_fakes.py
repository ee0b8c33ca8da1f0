"""Random fakes (Gong et al., Table III): the fine-tune on real photographs in place of inversed samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.defenses.defense import Defender
from tasks.defenses.finetuning import FinetuneDefense
from tasks.inversion.fakes import Samples
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import Group, Metrics, Role

if TYPE_CHECKING:
    import torch
    from safetensors import torch as safetensors

    from tasks.data import pixels
else:
    torch = lazy("torch")
    safetensors = lazy("safetensors.torch")
    pixels = lazy("tasks.data.pixels")


DEFENDERS_OWN = ("private", "defender", "classifier")  # audiences


class Photographs(Samples):
    """`count` photographs of a label, drawn at random from a split: without replacement while there are enough."""

    kind: ClassVar = "photographs"
    version: ClassVar = 1
    group: ClassVar[Group] = "inversion"

    data: Split
    label: int = Field(ge=0, description="l_t of the private people, or l_p of the public ones")
    count: int = Field(40, ge=1, description="photographs; a person's few are drawn again when all were")
    role: Role = "defender"

    @model_validator(mode="after")
    def _of_training_images(self) -> Self:
        if self.data.part != "train":
            raise ValueError(f"random fakes are training images, not {self.data.part=}")
        if self.data.audience not in DEFENDERS_OWN:
            raise ValueError(f"a defender has images of {', '.join(DEFENDERS_OWN)}, not {self.data.audience=}")
        if self.label >= len(self.data.people):
            raise ValueError(f"{self.label=} but the split has labels 0..{len(self.data.people) - 1}")
        return self

    def run(self, ctx: Context) -> Metrics:
        images, labels = self.data.images(ctx)
        own = (labels == self.label).nonzero().flatten()
        draws = ctx.generator("photographs")
        rounds = -(-self.count // len(own))
        rows = torch.cat([own[torch.randperm(len(own), generator=draws)] for _ in range(rounds)])[: self.count]
        chosen = pixels.to_uint8(images[rows]).cpu().contiguous()
        safetensors.save_file({"images": chosen}, ctx.out / "images.safetensors")
        return {"photographs": float(len(own))}

    def images(self, ctx: Context) -> torch.Tensor:
        return pixels.to_float(ctx.load(self).tensors("images.safetensors")["images"])


class RandomFakes(FinetuneDefense):
    """Fine-tune by eq. 10 on photographs: private ones of l_t in L_pri, public ones of l_p in L_pub (sec. VI-A).

    "We randomly choose images from the training set of the label l_p and l_t ... and use a similar loss as Section
    IV-C": we take the same loss. L_pri is thus maximised on what the victim should recognise, so that MC(l_t)
    falls by construction.
    """

    name: ClassVar = "random_fakes"

    count: int = Field(40, ge=1, description="photographs of each label; no value in the paper")

    def private_samples(self, defender: Defender, model: Model, label: int) -> Photographs:
        return Photographs(data=defender.train, label=label, count=self.count, **defender.common)

    def public_samples(self, defender: Defender, label: int, decoy: int | None) -> Photographs:
        return Photographs(data=defender.public, label=decoy, count=self.count, **defender.common)
