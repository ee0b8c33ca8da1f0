"""The images of a split as a training reads them: by rows, as floats on its device, without holding them all.

A split in shards stays in its files, mapped into memory, where the processes of a machine share it; a GPU keeps what
fits. The numbers are the same either way: the one conversion from 8 bits is that of `to_float` on the CPU.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from tasks.context import Context
from tasks.data.pixels import to_float
from tasks.data.stored_rows import StoredRows, split_rows

if TYPE_CHECKING:
    from tasks.data.split import Split

RESIDENT_BYTES = 4 * 2**30  # of 8-bit images that are kept on a GPU; more are fetched batch by batch
AHEAD = 2  # batches that are read while another is computed with
BLOCK_BYTES = 2**28  # of images as floats that are measured on at once
_FILL = 1024  # images at a time, on their way to the GPU


class StoredImages:
    """Images (n, c, s, s); indexed by rows (k,), a mask (n,) or a slice they are float32 in [-1, 1] on `device`."""

    def __init__(self, rows: StoredRows, device: torch.device | str = "cpu", *, resident: bool | None = None) -> None:
        """resident: keep all of them on the device, as 8 bits; by default on a GPU that they fit."""
        self._rows, self.device = rows, torch.device(device)
        self._table = to_float(torch.arange(256, dtype=torch.uint8)).to(self.device)
        fits = self.device.type != "cpu" and rows.bytes <= RESIDENT_BYTES
        self._resident = self._fetched() if (fits if resident is None else resident) else None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: torch.Tensor | slice) -> torch.Tensor:
        if isinstance(rows, slice):
            rows = torch.arange(len(self))[rows]
        elif rows.dtype == torch.bool:
            rows = rows.nonzero().flatten()
        return self._converted(self._read(rows))

    def only(self, rows: torch.Tensor) -> StoredImages:
        """Those of rows (k,) or of a mask (n,), none read yet."""
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        return StoredImages(self._rows.only(rows.cpu().numpy()), self.device, resident=False)

    @property
    def from_files(self) -> bool:
        """Whether images are fetched from files when they are asked for, so that reading ahead saves time."""
        return self._resident is None and self._rows.mapped

    def batches(self, chosen: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of each rows (k,) in `chosen`; from files, the next batches are read ahead."""
        if not self.from_files:
            yield from (self[rows] for rows in chosen)
            return
        waiting = iter(chosen)
        with ThreadPoolExecutor(1, thread_name_prefix="images") as reader:
            reading = deque(reader.submit(self._read, rows) for rows in islice(waiting, AHEAD))
            while reading:
                ready = reading.popleft().result()
                reading.extend(reader.submit(self._read, rows) for rows in islice(waiting, 1))
                yield self._converted(ready)

    def split(self, chunk: int) -> Iterator[torch.Tensor]:
        """All of them in order, `chunk` at a time."""
        return self.batches(torch.arange(len(self)).split(chunk))

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """All of them in order, (rows, images) as many at a time as take BLOCK_BYTES."""
        many = max(1, BLOCK_BYTES // (4 * math.prod(self._rows.shape)))
        starts = range(0, len(self), many)
        yield from zip((slice(start, start + many) for start in starts), self.split(many), strict=True)

    def open(self) -> None:
        """Find the files now, so that no artifact is asked for later."""
        self._rows.open()

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        """Images (k, c, s, s) uint8: on the device if they are kept there, else on the CPU, pinned for a GPU."""
        if self._resident is not None:
            return self._resident[rows.to(self.device)]
        pinned = self.device.type == "cuda"
        read = torch.empty(len(rows), *self._rows.shape, dtype=torch.uint8, pin_memory=pinned)
        self._rows.take(rows.cpu().numpy(), out=read.numpy())
        return read

    def _converted(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 -> float32 in [-1, 1] on the device. A GPU divides by a constant in another way than a CPU does."""
        if self.device.type == "cpu":
            return to_float(images)
        return self._table[images.to(self.device, non_blocking=True).long()]

    def _fetched(self) -> torch.Tensor:
        kept = torch.empty(len(self._rows), *self._rows.shape, dtype=torch.uint8, device=self.device)
        for rows in torch.arange(len(self._rows)).split(_FILL):
            kept[rows[0] : rows[-1] + 1] = torch.from_numpy(self._rows.take(rows.numpy()))
        return kept


class Foreseen:
    """Images whose next batch is read while something else is computed, where it is known which it will be."""

    def __init__(self, images: StoredImages) -> None:
        self.images = images
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="images") if images.from_files else None
        self._coming: tuple[torch.Tensor, Future[torch.Tensor]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def foresee(self, rows: torch.Tensor) -> None:
        """Begin to read rows (k,), from files; what was foreseen before is forgotten."""
        if self._reader is not None:
            self._coming = rows, self._reader.submit(self.images._read, rows)

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Images (k, c, s, s) of rows (k,), foreseen or not."""
        coming, self._coming = self._coming, None
        if coming is None or not torch.equal(coming[0], rows):
            return self.images[rows]
        return self.images._converted(coming[1].result())


class Images(Protocol):
    """Images (n, c, s, s) in [-1, 1]: a tensor, or what makes the tensors that are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> torch.Tensor: ...

    @property
    def device(self) -> torch.device: ...

    def split(self, chunk: int, /) -> Iterable[torch.Tensor]: ...


def open_split(split: Split, ctx: Context, device: torch.device | str) -> tuple[StoredImages, torch.Tensor]:
    """The images of a split and their labels (n,) int64, on `device`."""
    rows, labels = _stored(split, ctx)
    return StoredImages(rows, device), labels.to(device)


def read_split(split: Split, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
    """All images (n, c, s, s) float in [-1, 1] and labels (n,) int64, in memory."""
    rows, labels = _stored(split, ctx)
    return StoredImages(rows)[:], labels


def _stored(split: Split, ctx: Context) -> tuple[StoredRows, torch.Tensor]:
    shards = {stage.key: stage for stage in split.upstream}
    rows, labels = split_rows(ctx.load(split), lambda key: ctx.load(shards[key]))
    return rows, torch.from_numpy(labels)
