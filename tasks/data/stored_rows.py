"""The images of a stored split where they lie, read by rows: in its own file, or in the shards that it names.

Without torch, for those who only show pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from tasks.artifact import Artifact
from tasks.data.shard_files import IMAGES, INDEX

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.int64]
OWN_IMAGES = "images.safetensors"  # of a split that holds them itself


class StoredRows:
    """Images (n, c, s, s) uint8. A file is mapped when a row of it is first asked for, and rows are copied out."""

    def __init__(self, files: Sequence[Callable[[], Pixels]], file: Numbers, row: Numbers, *, mapped: bool) -> None:
        """`file` (n,) and `row` (n,): where each image lies. mapped: the files are memory maps, not in memory."""
        self._files, self._file, self._row, self.mapped = list(map(cache, files)), file, row, mapped

    def __len__(self) -> int:
        return len(self._row)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(c, s, s)."""
        channels, height, width = self._files[int(self._file[0])]().shape[1:]
        return channels, height, width

    @property
    def bytes(self) -> int:
        """What all of them take as uint8."""
        return len(self) * int(np.prod(self.shape))

    def take(self, rows: Numbers, out: Pixels | None = None) -> Pixels:
        """Images (k, c, s, s) of rows (k,), written into `out` if it is given."""
        taken = np.empty((len(rows), *self.shape), dtype=np.uint8) if out is None else out
        file, row = self._file[rows], self._row[rows]
        for number in np.unique(file):
            here = np.flatnonzero(file == number)
            taken[here] = self._files[int(number)]()[row[here]]
        return taken

    def open(self) -> None:
        """Map all files now."""
        for file in self._files:
            file()

    def only(self, rows: Numbers) -> StoredRows:
        """Some of them, none read yet."""
        return StoredRows(self._files, self._file[rows], self._row[rows], mapped=self.mapped)


def split_rows(split: Artifact, load: Callable[[str], Artifact]) -> tuple[StoredRows, Numbers]:
    """The images of a stored split and their labels (n,); `load` gives the artifact of a shard by its key."""
    from safetensors.numpy import load_file

    try:
        stored = load_file(split.path(OWN_IMAGES))
    except KeyError:  # it is made from shards
        index = split.table(INDEX)
    else:
        labels: Numbers = stored["labels"].astype(np.int64)
        here = np.arange(len(labels))
        return StoredRows([lambda: stored["images"]], np.zeros_like(here), here, mapped=False), labels
    keys = index.column("shard").to_pylist()
    numbers: Mapping[str, int] = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    files = [partial(_mapped, load, key) for key in numbers]
    file = np.array([numbers[key] for key in keys], dtype=np.int64)
    rows = StoredRows(files, file, index.column("row").to_numpy().astype(np.int64), mapped=True)
    return rows, index.column("label").to_numpy().astype(np.int64)


def _mapped(load: Callable[[str], Artifact], key: str) -> Pixels:
    images: Pixels = np.load(load(key).path(IMAGES), mmap_mode="r", allow_pickle=False)
    return images
