"""Asking a store about many stages: several requests at a time, and none for stages that it has never heard of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from grid.store_files import StoreFiles

T = TypeVar("T")
R = TypeVar("R")
LOCAL_REQUESTS, FAR_REQUESTS = 8, 32  # at a time
FEW = 16  # stages that are asked for by name; for more, one list of what is there is cheaper


class Batch:
    """The files of a store, and questions about many of its keys."""

    def __init__(self, files: StoreFiles) -> None:
        self._files = files

    def each(self, ask: Callable[[T], R], things: Iterable[T]) -> list[R]:
        """Answers in order, several requests at a time."""
        listed = list(things)
        if len(listed) < 2:
            return [ask(thing) for thing in listed]
        most = LOCAL_REQUESTS if self._files.local else FAR_REQUESTS
        with ThreadPoolExecutor(min(most, len(listed))) as pool:
            return list(pool.map(ask, listed))

    def known(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys of which the store holds anything, in their order; a few keys are all taken for known."""
        listed = list(keys)
        if len(listed) <= FEW:
            return listed
        there = set(self._keys())
        return [key for key in listed if key in there]

    def find(self, beginning: str) -> list[str]:
        """Keys that begin so."""
        return [key for key in self._keys() if key.startswith(beginning)]

    def _found(self, ask: Callable[[str], R | None], keys: Iterable[str]) -> dict[str, R]:
        """What `ask` answers for the keys, by key, without None."""
        names = self.known(keys)
        answers = zip(names, self.each(ask, names), strict=True)
        return {key: answer for key, answer in answers if answer is not None}

    def _keys(self) -> list[str]:
        return [name for name in self._files.names(folders=True) if "-" in name]
