"""The cache of a far store, and trying again: what stays, what goes, what is worth another try."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from grid.store_cache import FileCache
from grid.store_retries import TRIES, is_lasting, retried


def _content(number: int) -> tuple[str, bytes]:
    data = bytes([number]) * 100
    return hashlib.sha256(data).hexdigest(), data


def _take(cache: FileCache, number: int, fetched: list[int]) -> Path:
    digest, data = _content(number)

    def fetch(path: Path) -> None:
        fetched.append(number)
        path.write_bytes(data)

    return cache.path(digest, len(data), fetch)


def test_the_least_recently_used_go_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    fetched: list[int] = []
    for number, age in ((1, 300), (2, 200), (3, 100)):
        path = _take(FileCache(tmp_path, 350), number, fetched)
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    fresh = FileCache(tmp_path, 350)
    _take(fresh, 1, fetched)  # used again, so that 2 is the oldest now
    _take(fresh, 4, fetched)
    assert fetched == [1, 2, 3, 4]
    there = {path.name for path in tmp_path.glob("??/*")}
    assert there == {_content(number)[0] for number in (1, 3, 4)}
    tight = FileCache(tmp_path, 0)
    kept = [_take(tight, number, fetched) for number in (1, 4)]
    _take(tight, 2, fetched)
    assert all(path.exists() for path in kept), "this process may be reading them"


def test_a_failed_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fetch(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        FileCache(tmp_path, 1000).path(_content(1)[0], 100, fetch)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_pauses_grow_with_jitter_and_end() -> None:
    calls, pauses = [], list[float]()

    def call() -> None:
        calls.append(1)
        raise OSError("AWS Error SLOW_DOWN during PutObject operation")

    with pytest.raises(OSError, match="SLOW_DOWN"):
        retried(call, sleep=pauses.append)
    assert len(calls) == TRIES
    assert len(pauses) == TRIES - 1
    assert pauses[-1] > 10 * pauses[0]
    assert sum(pauses) < 60


def test_what_passes_is_tried_again_and_what_lasts_is_not() -> None:
    answers = iter([OSError("AWS Error NETWORK_CONNECTION"), OSError("HTTP status 500"), None])

    def call() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "there"

    assert retried(call, sleep=lambda _: None) == "there"
    for error in (
        FileNotFoundError("x"),
        PermissionError("x"),
        OSError("AWS Error ACCESS_DENIED during GetObject operation"),
        OSError("AWS Error NO_SUCH_BUCKET during PutObject operation: The specified bucket does not exist"),
    ):
        assert is_lasting(error)
    assert not is_lasting(OSError("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation"))
