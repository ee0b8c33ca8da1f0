"""Procedural "people" for unit tests: soft blobs whose places are a person's and whose noise is a picture's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.context import Context
from tasks.data.dataset import Catalogue, DataProblemsError, Dataset, picture_problems
from tasks.data.split import Audience, Part, Picture, Split

if TYPE_CHECKING:
    from PIL import Image

BLOBS = 4


class SyntheticSplit(Split):
    """A split of procedural people; nothing is read from disk."""

    kind: ClassVar = "synthetic_split"
    version: ClassVar = 1

    per_person: int = Field(8, ge=2, le=1000, description="pictures of each person")

    def pictures(self, ctx: Context) -> dict[str, Sequence[Picture]]:
        return {
            person: [Picture(f"{person}/{i:03d}", _painter(person, i, self.size)) for i in range(self.per_person)]
            for person in self.people
        }


class Synthetic(Dataset):
    """`people` procedural people, the first half private; for unit tests only."""

    name: ClassVar = "synthetic"

    people: int = Field(8, ge=5, le=1000, description="how many, private and public together")
    per_person: int = Field(8, ge=2, le=1000, description="pictures of each person")
    channels: Literal[1, 3] = 1

    def catalogue(self, base: Path) -> Catalogue:
        everybody = tuple(f"p{i:03d}" for i in range(self.people))
        private, public = self.choose_people(everybody)
        counts = dict.fromkeys((*private, *public), self.per_person)
        if problems := picture_problems(self, counts, private):
            raise DataProblemsError(problems)
        return Catalogue(private, public, counts, {}, {}, self.channels)

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        common = self.common(catalogue, part, audience)
        return SyntheticSplit(people=people, per_person=self.per_person, **common)


def _painter(person: str, index: int, size: int) -> Callable[[], Image.Image]:
    def paint() -> Image.Image:
        import numpy as np
        from PIL import Image

        own = np.random.default_rng(_number(person))
        moment = np.random.default_rng(_number(f"{person}/{index}"))
        across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
        picture = np.full((size, size), 0.5)
        for _ in range(BLOBS):
            x, y, radius, tone = own.uniform([0.15, 0.15, 0.08, -0.5], [0.85, 0.85, 0.25, 0.5])
            dx, dy = moment.normal(0, 0.02, 2)
            picture += tone * np.exp(-((across - x - dx) ** 2 + (down - y - dy) ** 2) / (2 * radius**2))
        picture += moment.normal(0, 0.02, picture.shape)
        return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))

    return paint


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
