"""The store: done.json last, every flipped byte found, writers that never harm each other, any file system."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs as pafs
import pytest

from grid import heartbeat
from grid.heartbeat import Heartbeat
from grid.store import Store
from grid.store_files import StoreError, StoreFiles
from grid.store_record import DONE
from tasks.artifact import DamagedArtifactError

KEY = "toy-0123456789abcdef"


@pytest.fixture(params=["folder", "file_uri", "other_fs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A folder, the same as a URI, and a file system that is not the local one (as s3:// would be)."""
    root = tmp_path / "store"
    if request.param == "folder":
        yield Store(str(root))
    elif request.param == "file_uri":
        yield Store(root.as_uri())
    else:
        root.mkdir()
        below = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
        opener = SimpleNamespace(from_uri=lambda _: (below, "store"))
        monkeypatch.setattr("grid.store_uri.pafs", SimpleNamespace(**{**vars(pafs), "FileSystem": opener}))
        monkeypatch.setenv("DECOYGRID_CACHE", str(tmp_path / "cache"))
        found = Store("other://store")
        assert not found._files.local
        yield found


def write(store: Store, tmp_path: Path, attempt: str = "one", text: str = "abc", **record: Any) -> dict[str, Any]:
    """Finish KEY with two files, one of them in a folder."""
    folder = tmp_path / f"out-{attempt}"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(text.encode())
    (folder / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return store.finish(KEY, attempt, folder, {"metrics": {"x": 0.1}, "seconds": 1.0, **record})


def on_disk(tmp_path: Path, name: str) -> Path:
    return tmp_path / "store" / KEY / name


def test_what_is_finished_can_be_loaded(store: Store, tmp_path: Path) -> None:
    assert store.done(KEY) is None
    record = write(store, tmp_path, notes={"why": "text"})
    assert store.done(KEY) == record
    assert set(record["files"]) == {"a.bin", "deep/b.bin"}
    artifact = store.load(KEY)
    assert artifact.metrics == {"x": 0.1}
    assert artifact.path("a.bin").read_text() == "abc"
    assert artifact.path("deep/b.bin").read_bytes() == bytes(range(256))
    assert store.damage(record) is None
    assert not store.has_damaged_record(KEY)
    assert store.records() == {KEY: record}
    assert store.find("toy-01") == [KEY]
    with pytest.raises(KeyError, match=r"no file 'c.bin'; it has \['a.bin', 'deep/b.bin'\]"):
        artifact.path("c.bin")


def test_a_store_that_is_empty_or_missing(store: Store) -> None:
    assert store.records() == {}
    assert store.find("toy") == []
    assert store.running(KEY) is None
    assert store.failure(KEY) is None
    assert store.checkpoints(KEY, "one").read() is None
    assert store.read_document("grids/x.json") is None
    with pytest.raises(DamagedArtifactError, match=r"no readable done\.json"):
        store.load(KEY)
    store.check_writable()
    assert store.records() == {}


def test_done_is_written_last(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any upload, nothing is done; and when done.json is written, all it names is there."""
    copy, copied = pafs.copy_files, list[str]()
    monkeypatch.setattr("grid.store_retries.FIRST_PAUSE", 0.0)

    def torn(source: str, *arguments: Any, **named: Any) -> None:
        if len(copied) == 1:
            raise OSError("killed")
        copied.append(source)
        copy(source, *arguments, **named)

    monkeypatch.setattr("grid.store_files.pafs.copy_files", torn)
    monkeypatch.setattr("grid.store_finished.SMALL_BYTES", -1)  # all files go the way of large ones
    with pytest.raises(OSError, match="killed"):
        write(store, tmp_path)
    assert store.done(KEY) is None
    assert not store.has_damaged_record(KEY)
    monkeypatch.setattr("grid.store_files.pafs.copy_files", copy)
    seen = []
    write_json = StoreFiles.write_json

    def watched(self: StoreFiles, name: str, content: dict[str, Any]) -> None:
        if name.endswith(DONE):
            seen.append(store.damage(content))
        write_json(self, name, content)

    monkeypatch.setattr(StoreFiles, "write_json", watched)
    write(store, tmp_path, "two")
    assert seen == [None]


@pytest.mark.parametrize("name", ["a.bin", "deep/b.bin"])
def test_a_flipped_byte_in_a_file_is_found(store: Store, tmp_path: Path, name: str) -> None:
    record = write(store, tmp_path)
    path = on_disk(tmp_path, f"one/{name}")
    whole = path.read_bytes()
    for position in (0, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert store.damage(record) == f"{name} has other content than was written (sha256 differs)"
        assert store.damage(record, contents=False) is None
        fresh = Store.__new__(Store)
        fresh.__dict__.update(store.__dict__, _verified=set())
        with pytest.raises(DamagedArtifactError, match="other content") as caught:
            fresh.load(KEY).path(name)
        assert caught.value.key == KEY


def test_a_short_or_missing_file_is_found(store: Store, tmp_path: Path) -> None:
    record = write(store, tmp_path)
    path = on_disk(tmp_path, "one/a.bin")
    path.write_bytes(b"ab")
    assert store.damage(record) == "a.bin has 2 bytes, 3 were written"
    path.unlink()
    assert store.damage(record) == "a.bin is missing"
    with pytest.raises(DamagedArtifactError, match=r"a\.bin cannot be read"):
        store.load(KEY).path("a.bin")


def test_any_flipped_byte_in_done_json_is_found(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    record = write(store, tmp_path, config={"lr": 0.1, "name": "wgan"}, notes={"n": "t"})
    path = on_disk(tmp_path, DONE)
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert store.done(KEY) is None, f"{whole[:position][-20:]!r} -> {bytes(flipped[position:][:1])!r}"
        assert store.has_damaged_record(KEY)
    for length in (0, 1, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:length])
        assert store.done(KEY) is None
    path.write_bytes(whole)
    assert store.done(KEY) == record


def test_invalidate_forgets_and_a_new_attempt_counts(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path, "one")
    store.invalidate(KEY)
    assert store.done(KEY) is None
    store.invalidate(KEY)  # twice does no harm
    write(store, tmp_path, "two", text="xyz")
    assert store.load(KEY).path("a.bin").read_text() == "xyz"


def test_two_writers_never_harm_each_other(store: Store, tmp_path: Path) -> None:
    """Two drivers compute one key: the last done.json counts, and who read the first one can go on."""
    write(store, tmp_path, "one", text="from one")
    reader = store.load(KEY)
    write(store, tmp_path, "two", text="from two")
    assert reader.path("a.bin").read_text() == "from one"
    assert store.load(KEY).path("a.bin").read_text() == "from two"
    record = store.done(KEY)
    assert record is not None
    assert record["attempt"] == "two"
    assert store.damage(record) is None


def test_a_torn_upload_of_another_writer_is_not_seen(store: Store, tmp_path: Path) -> None:
    record = write(store, tmp_path, "one")
    torn = on_disk(tmp_path, "two")
    torn.mkdir()
    (torn / "a.bin").write_bytes(b"a")
    assert store.done(KEY) == record
    assert store.damage(record) is None


def test_who_reads_while_another_writes_finds_the_old_or_the_new(tmp_path: Path) -> None:
    """In a folder, where a write in place could be seen half done: documents, records, and what they name."""
    store, over = Store(str(tmp_path / "store")), threading.Event()
    texts = {"one": "x" * 5000, "two": "y" * 9000}
    for attempt, text in texts.items():
        write(store, tmp_path, attempt, text)

    def rewrite(attempt: str) -> None:
        while not over.is_set():
            store.finish(KEY, attempt, tmp_path / f"out-{attempt}", {"metrics": {}, "seconds": 1.0})
            store.write_document("grids/a.json", {"text": texts[attempt]})

    writers = [threading.Thread(target=rewrite, args=(attempt,)) for attempt in texts]
    for writer in writers:
        writer.start()
    try:
        for _ in range(100):
            artifact = Store(store.location).load(KEY)
            assert artifact.path("a.bin").read_text() in texts.values()
            assert not store.has_damaged_record(KEY)
            document = store.read_document("grids/a.json")
            assert document is None or document["text"] in texts.values()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert not list((tmp_path / "store").rglob("*.part"))


def test_what_a_killed_writer_left_is_nothing(store: Store, tmp_path: Path) -> None:
    store.write_document("grids/a.json", {"a": 1})
    (tmp_path / "store" / "grids" / ".0123.part").write_text('{"a":')
    assert store.documents("grids") == ["grids/a.json"]


def test_failures_are_noted_and_cleared_by_success(store: Store, tmp_path: Path) -> None:
    store.fail(KEY, "ValueError: no", "Traceback ...")
    failure = store.failure(KEY)
    assert failure is not None
    assert (failure["error"], failure["log"]) == ("ValueError: no", "Traceback ...")
    assert store.failure_place(KEY).endswith(f"{KEY}/failed.json")
    assert store.done(KEY) is None
    write(store, tmp_path)
    assert store.failure(KEY) is None


def test_checkpoints_the_furthest_whole_one_counts(store: Store, tmp_path: Path) -> None:
    first = store.checkpoints(KEY, "one")
    first.write(9, b"nine")
    first.write(100, b"hundred")
    assert store.checkpoints(KEY, "two").read() == b"hundred"
    folder = on_disk(tmp_path, "checkpoints")
    assert sorted(path.name for path in folder.iterdir()) == ["000000100-one.json", "000000100-one.safetensors"]
    second = store.checkpoints(KEY, "two")
    second.write(50, b"fifty")
    assert second.read() == b"hundred"
    second.write(200, b"two hundred")
    assert first.read() == b"two hundred"


@pytest.mark.parametrize("tear", ["short", "no seal", "no data", "torn seal", "flipped"])
def test_a_torn_checkpoint_is_passed_over(store: Store, tmp_path: Path, tear: str) -> None:
    store.checkpoints(KEY, "one").write(10, b"good")
    store.checkpoints(KEY, "two").write(20, b"torn later")
    data, seal = (on_disk(tmp_path, f"checkpoints/000000020-two.{s}") for s in ("safetensors", "json"))
    if tear == "short":
        data.write_bytes(b"torn")
    elif tear == "flipped":
        data.write_bytes(b"torn latex")
    elif tear == "no data":
        data.unlink()
    elif tear == "no seal":
        seal.unlink()
    else:
        seal.write_text(seal.read_text()[:10])
    assert store.checkpoints(KEY, "three").read() == b"good"


def test_checkpoints_go_when_the_stage_is_finished(store: Store, tmp_path: Path) -> None:
    store.checkpoints(KEY, "one").write(10, b"state")
    write(store, tmp_path)
    assert store.checkpoints(KEY, "two").read() is None


def test_heartbeat_and_who_is_running(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.01)
    with Heartbeat(store, KEY, "one", {"host": "here", "pid": 7, "started": 5.0}):
        first = store.running(KEY)
        assert first is not None
        assert (first["host"], first["pid"], first["started"]) == ("here", 7, 5.0)
        deadline = time.monotonic() + 20
        while (later := store.running(KEY)) is None or later["beat"] <= first["beat"]:
            assert time.monotonic() < deadline, "no second beat"
            time.sleep(0.01)
    assert store.running(KEY) is None


def test_a_lost_worker_is_not_running(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.beat(KEY, "dead", {"host": "gone"})
    later = time.time() + 3600
    monkeypatch.setattr("grid.store_attempts.time.time", lambda: later)
    assert store.running(KEY) is None
    store.beat(KEY, "alive", {"host": "here"})
    running = store.running(KEY)
    assert running is not None
    assert running["host"] == "here"


def test_documents(store: Store) -> None:
    store.write_document("grids/orl.json", {"rows": [1, 2.5, None]})
    assert store.read_document("grids/orl.json") == {"rows": [1, 2.5, None]}
    assert store.records() == {}, "a document is no stage"


def test_a_second_process_sees_the_same(tmp_path: Path) -> None:
    record = write(Store(str(tmp_path / "store")), tmp_path)
    again = Store((tmp_path / "store").as_uri())
    assert again.done(KEY) == record
    assert json.loads(on_disk(tmp_path, DONE).read_text())["digest"] == record["digest"]


@pytest.mark.parametrize("uri", ["nosuch://bucket/x", "file://host/x"])
def test_a_uri_that_nothing_opens(uri: str) -> None:
    with pytest.raises(StoreError, match=f"--store {uri}"):
        Store(uri)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot be written"):
            Store(str(place)).check_writable()


def test_a_read_only_store_is_not_writable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(StoreFiles, "write", refuse)
    with pytest.raises(StoreError, match="read-only file system"):
        store.check_writable()
