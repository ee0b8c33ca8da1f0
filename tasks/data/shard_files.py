"""Writes a shard picture by picture: pixels into a .npy file that is read by memory map, names into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tasks.data.picture_pixels import pixels_of

IMAGES, INDEX = "images.npy", "index.parquet"


class Writer:
    """Writes images.npy, (n, channels, size, size) uint8, and index.parquet (picture, person) into a folder."""

    def __init__(self, out: Path, channels: int, size: int) -> None:
        self._out, self._channels, self._size = out, channels, size
        self._names: list[str] = []
        self._people: list[str] = []

    @property
    def rows(self) -> int:
        """How many pictures were written."""
        return len(self._names)

    def add(self, image: Image.Image, name: str, person: str) -> None:
        """Append one picture, cut to its centre square and resized."""
        self._file.write(pixels_of(image, self._size, self._channels).tobytes())
        self._names.append(name)
        self._people.append(person)

    def __enter__(self) -> Self:
        self._file = (self._out / IMAGES).open("wb")
        self._header = self._write_header()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file:
            if kind is not None:
                return
            self._file.seek(0)
            if self._write_header() != self._header:  # numpy leaves room for the count of rows to grow
                raise OSError(f"the header of {self._out / IMAGES} does not fit {self.rows} rows")
        table = pa.table({"picture": self._names, "person": pa.array(self._people).dictionary_encode()})
        pq.write_table(table, self._out / INDEX)

    def _write_header(self) -> int:
        shape = (self.rows, self._channels, self._size, self._size)
        about: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, about)
        return self._file.tell()
