"""The cache of a far store, and trying again: what stays, what goes, what is worth another try."""

from __future__ import annotations

import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grid.store_cache import ABANDONED_SECONDS, KEPT_SECONDS, FileCache, OtherContentError
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
    for number, age in ((1, 3000), (2, 2000), (3, 1000)):
        path = _take(FileCache(tmp_path, 350), number, fetched)
        _age(path, age)
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


def test_what_another_process_may_be_about_to_open_stays(tmp_path: Path) -> None:
    fetched: list[int] = []
    theirs = _take(FileCache(tmp_path, 0), 1, fetched)
    _take(FileCache(tmp_path, 0), 2, fetched)
    assert theirs.exists(), "used a moment ago"
    _age(theirs, 2 * KEPT_SECONDS)
    _take(FileCache(tmp_path, 0), 3, fetched)
    assert not theirs.exists()


def test_what_a_killed_process_left_is_no_file_and_goes_in_time(tmp_path: Path) -> None:
    digest, data = _content(1)
    folder = tmp_path / digest[:2]
    folder.mkdir()
    coming, abandoned = folder / f"{digest}.aaaa.part", folder / f"{digest}.bbbb.part"
    coming.write_bytes(data[:50])
    abandoned.write_bytes(data[:50])
    _age(abandoned, 2 * ABANDONED_SECONDS)
    fetched: list[int] = []
    assert _take(FileCache(tmp_path, 0), 1, fetched).read_bytes() == data
    assert fetched == [1]
    assert coming.exists(), "another process is writing it"
    assert not abandoned.exists()


def test_a_torn_file_is_fetched_again_and_one_that_went_too(tmp_path: Path) -> None:
    fetched: list[int] = []
    cache = FileCache(tmp_path, 1000)
    path = _take(cache, 1, fetched)
    path.write_bytes(b"torn")
    assert _take(FileCache(tmp_path, 1000), 1, fetched).read_bytes() == _content(1)[1]
    path.unlink()
    assert _take(cache, 1, fetched).read_bytes() == _content(1)[1]
    assert fetched == [1, 1, 1]


def test_other_content_than_asked_for_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(OtherContentError):
        FileCache(tmp_path, 1000).path(_content(1)[0], 100, lambda path: path.write_bytes(b"other") and None)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_many_who_fill_one_cache_at_once_find_whole_files(tmp_path: Path) -> None:
    """Each with a cache of its own, as processes have, of one folder that holds half of what they ask for."""

    def fill(seed: int) -> None:
        cache, order = FileCache(tmp_path, 500), random.Random(seed).sample(range(10), 10)
        for number in order:
            digest, data = _content(number)

            def fetch(path: Path, data: bytes = data) -> None:
                with path.open("wb") as file:
                    for byte in data:
                        file.write(bytes([byte]))
                        file.flush()

            assert cache.path(digest, len(data), fetch).read_bytes() == data

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    assert not list(tmp_path.rglob("*.part"))


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert FileCache(tmp_path / "new", 1000).problem() is None
    problem = FileCache(tmp_path / "file" / "cache", 1000).problem()
    assert problem is not None
    assert "file/cache cannot be written" in problem
    assert "DECOYGRID_CACHE" in problem


def _age(path: Path, seconds: float) -> None:
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


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
