"""Augmented copies of stored images that are made when they are asked for, so that they need no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee

import torch

from tasks.data.stored_images import StoredImages
from tasks.models.augment import Changes, changed, draw_changes


class AugmentedImages:
    """Images (m, c, s, s), copy after copy of all stored ones, on their device.

    They are those that `augment` of all stored images, once a copy, would give, bit for bit and whichever are asked
    for together: what is done to each is drawn beforehand, a few numbers an image.
    """

    def __init__(self, stored: StoredImages, copies: int, generator: torch.Generator, *, originals: bool) -> None:
        """originals: the images as they are come first, and `copies` behind them."""
        self._stored = stored
        drawn = [draw_changes(len(stored), generator) for _ in range(copies)] or [draw_changes(0, generator)]
        self._changes = Changes(*(torch.cat(values) for values in zip(*drawn, strict=True)))
        self._originals = len(stored) if originals else 0

    def __len__(self) -> int:
        return self._originals + len(self._changes.angle)

    def __getitem__(self, rows: torch.Tensor | slice) -> torch.Tensor:
        rows = torch.arange(len(self))[rows]
        return self._changed(self._stored[rows % len(self._stored)], rows)

    @property
    def device(self) -> torch.device:
        return self._stored.device

    def batches(self, chosen: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of each rows (k,) in `chosen`; from files, the next batches are read ahead."""
        own, read = tee(chosen)
        stored = self._stored.batches(rows % len(self._stored) for rows in read)
        yield from (self._changed(images, rows) for images, rows in zip(stored, own, strict=True))

    def split(self, chunk: int) -> Iterator[torch.Tensor]:
        """All of them in order, `chunk` at a time."""
        return self.batches(torch.arange(len(self)).split(chunk))

    def _changed(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Stored images (k, c, s, s), freshly read, as the copies that rows (k,) are."""
        copies = rows >= self._originals
        if not copies.any():
            return images
        changes, where = self._changes.of(rows[copies] - self._originals), copies.to(images.device)
        images[where] = _together(images[where], changes)
        return images


def _together(images: torch.Tensor, changes: Changes) -> torch.Tensor:
    """`changed` of at least two images: threads add up the pixels of a single one in another order."""
    if len(images) > 1:
        return changed(images, changes)
    return changed(images.repeat(2, 1, 1, 1), changes.of(torch.tensor([0, 0])))[:1]
