"""A split: the images of some people, or of one part of each person's images, at one size."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Field

from tasks.context import Context
from tasks.lazy import lazy
from tasks.stage import Metrics, Stage

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from tasks.data import images as imaging
    from tasks.data import stored_images
    from tasks.data.stored_images import StoredImages
else:
    imaging = lazy("tasks.data.images")
    stored_images = lazy("tasks.data.stored_images")

P = TypeVar("P")

Part = Literal["train", "val", "test", "all"]
Audience = Literal["private", "defender", "attacker", "classifier", "judge"]


class Picture(NamedTuple):
    """One image file: its name within the dataset and how to decode it."""

    name: str
    open: Callable[[], Image.Image]


class Split(Stage):
    """Images (n, channels, size, size) uint8 and labels (n,), label = position of the person in `people`.

    Each person's pictures are shuffled by (seed, person) and dealt out: first `test_per_label` to test, the
    next `val_per_label` to val, the others to train. So the parts never meet and every split can be made
    without reading another.
    """

    group: ClassVar = "data"

    people: tuple[str, ...] = Field(min_length=1, description="class names; the label is the position")
    part: Part = Field(description="which of each person's pictures")
    audience: Audience = Field(description="who may use it")
    size: int = Field(64, ge=32, le=1024, description="pixels per side")
    channels: Literal[1, 3] = Field(1, description="1 = grey, 3 = colour")
    test_per_label: int = Field(2, ge=0)
    val_per_label: int = Field(1, ge=0)
    seed: int = Field(0, ge=0)

    def pictures(self, ctx: Context) -> dict[str, Sequence[Picture]]:
        """Every picture of every person in `people`, sorted by name."""
        raise NotImplementedError

    def run(self, ctx: Context) -> Metrics:
        catalogue = self.pictures(ctx)
        chosen = [(p, label) for label, person in enumerate(self.people) for p in self.deal(person, catalogue[person])]
        if not chosen:
            raise ValueError(f"split {self.part} of {len(self.people)} people has no picture at all")
        imaging.write_split(ctx.out, chosen, people=self.people, size=self.size, channels=self.channels)
        return {"images": float(len(chosen)), "labels": float(len(self.people))}

    def deal(self, person: str, pictures: Sequence[P]) -> list[P]:
        """This split's share of one person's pictures, in name order."""
        order = list(range(len(pictures)))
        digest = hashlib.sha256(f"{self.seed}/{person}".encode()).digest()
        random.Random(int.from_bytes(digest[:8], "big")).shuffle(order)
        held_out = self.test_per_label + self.val_per_label
        share = {
            "test": order[: self.test_per_label],
            "val": order[self.test_per_label : held_out],
            "train": order[held_out:],
            "all": order,
        }[self.part]
        return [pictures[i] for i in sorted(share)]

    def images(self, ctx: Context, device: torch.device | str | None = None) -> tuple[StoredImages, torch.Tensor]:
        """For a dependant: images (n, c, s, s) that are read by rows, as float in [-1, 1] on `device` (by default that
        of `ctx`), and labels (n,) int64 there."""
        return stored_images.open_split(self, ctx, ctx.device if device is None else device)

    def tensors(self, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """For a dependant that needs them all at once: images (n, c, s, s) float in [-1, 1], labels; on the CPU."""
        return stored_images.read_split(self, ctx)


def splits_of(stage: Stage, *audiences: Audience) -> set[str]:
    """Keys of all that a stage's splits of these audiences are made of, themselves included."""
    splits = (s for s in stage.closure().values() if isinstance(s, Split) and s.audience in audiences)
    return {key for split in splits for key in split.closure()}
