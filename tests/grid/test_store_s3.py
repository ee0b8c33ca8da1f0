"""A store on an S3 server that stumbles: the same keys and metrics, and nothing half-written is ever read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grid.places import open_store
from grid.problems import SpecError
from grid.store import Store
from grid.store_files import StoreFiles
from grid.views import stage_states
from tasks.artifact import DamagedArtifactError
from tests.grid.faulty_proxy import FaultyProxy
from tests.grid.s3_server import ENVIRONMENT, make_bucket, s3_server, uri
from tests.grid.specs import NETWORKS

pytest.importorskip("moto", reason="moto, an S3 server for tests, is not installed: pip install 'moto[s3]'")

KEY = "toy-0123456789abcdef"
REPOSITORY = Path(__file__).parents[2]
CHANGES = ("dataset={name: synthetic, size: 32}", "budget=smoke", "labels=[0]", "defenses=[none]", *NETWORKS)
SMALL = ["orl_demo", *(part for change in CHANGES for part in ("--set", change))]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with s3_server() as found:
        yield found


@pytest.fixture
def bucket(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in {**ENVIRONMENT, "DECOYGRID_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    name = "b-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")[:50]
    make_bucket(port, name)
    return name


def write(store: Store, folder: Path, attempt: str = "one", text: str = "abc") -> dict[str, Any]:
    (folder / attempt / "deep").mkdir(parents=True)
    (folder / attempt / "a.bin").write_bytes(text.encode())
    (folder / attempt / "deep" / "b.bin").write_bytes(os.urandom(300_000))
    return store.finish(KEY, attempt, folder / attempt, {"metrics": {"x": 0.1}, "seconds": 1.0})


def test_two_drivers_on_one_store_that_stumbles_end_as_one_does_on_a_folder(
    port: int, bucket: str, tmp_path: Path
) -> None:
    """Real drivers at the same time, through a proxy that fails, cuts and stalls."""
    place = ["--tracking", "none", "--in-process", "--json"]
    folder = str(tmp_path / "folder")
    with FaultyProxy(port, seed=3) as proxy:
        stores = [folder, uri(proxy.port, bucket), uri(proxy.port, bucket)]
        drivers = []
        for number, store in enumerate(stores):
            command = [sys.executable, "-m", "grid", "run", *SMALL, *place, "--store", store]
            command += ["--out", str(tmp_path / f"out{number}")]
            environment = {**os.environ, "DECOYGRID_CACHE": str(tmp_path / f"cache{number}")}
            drivers.append(
                subprocess.Popen(
                    command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            )
        ends = [driver.communicate(timeout=400) for driver in drivers]
        for driver, (_, error) in zip(drivers, ends, strict=True):
            assert driver.returncode == 0, error.decode()
        met = dict(proxy.met)
    assert {"error 500", "error 503", "cut before", "cut after", "half an answer"} <= met.keys()
    far = Store(uri(port, bucket))
    expected, found = Store(folder).records(), far.records()
    assert len(expected) > 8
    assert {key: record["metrics"] for key, record in found.items()} == {k: r["metrics"] for k, r in expected.items()}
    assert [far.damage(record) for record in found.values()] == [None] * len(found), "what is done is whole"
    rows = [json.loads(out)["rows"] for out, _ in ends]
    timed = ("seconds", "time")
    bare = [[{k: v for k, v in row.items() if not any(t in k for t in timed)} for row in found] for found in rows]
    assert bare[1] == bare[2] == bare[0]


def test_whatever_is_read_through_a_stumbling_server_is_whole(port: int, bucket: str, tmp_path: Path) -> None:
    """Every document that is read is one that was written; what finishes is loaded to the byte."""
    with FaultyProxy(port, seed=1, stall=0.1) as proxy:
        proxy.faults["stall"] = 0.0
        far = Store(uri(proxy.port, bucket))
        for number in range(10):
            document = {"number": number, "text": "x" * 5000}
            far.write_document("grids/a.json", document)
            assert far.read_document("grids/a.json") == document
        record = write(far, tmp_path)
        artifact = Store(uri(proxy.port, bucket)).load(KEY)
        for name in record["files"]:
            assert artifact.path(name).read_bytes() == (tmp_path / "one" / name).read_bytes()
        assert far.records() == {KEY: record}
        assert proxy.met.total() - proxy.met[""] >= 5, "there was something to get past"


def test_a_cut_upload_leaves_nothing_that_counts(port: int, bucket: str, tmp_path: Path) -> None:
    with FaultyProxy(port) as proxy:
        proxy.faults = {"cut before": 1.0}
        far = Store(uri(proxy.port, bucket))
        with far._files.impatient(), pytest.raises(OSError, match=r"(?i)connection|network"):
            write(far, tmp_path)
        proxy.faults = {}
        assert far.done(KEY) is None
        assert far.records() == {}
        assert write(far, tmp_path, "two") == far.done(KEY)


def test_a_store_that_is_away_is_not_taken_for_an_empty_one(port: int, bucket: str) -> None:
    """Else all would be computed again, and a search's record written over."""
    with FaultyProxy(port) as proxy:
        far = Store(uri(proxy.port, bucket))
        far.write_document("searches/mine.json", {"a": 1})
        proxy.faults = {"error 503": 1.0}
        with far._files.impatient(), pytest.raises(OSError, match=r"(?i)slow|503|unavail"):
            far.read_document("searches/mine.json")
        with far._files.impatient(), pytest.raises(OSError, match=r"(?i)slow|503|unavail"):
            far.records([KEY])


def test_an_object_whose_content_changed_is_found_and_a_torn_record_is_no_record(
    port: int, bucket: str, tmp_path: Path
) -> None:
    far = Store(uri(port, bucket))
    record = write(far, tmp_path)
    files = StoreFiles(uri(port, bucket))
    files.write(f"{KEY}/one/a.bin", b"abd")
    with pytest.raises(DamagedArtifactError, match="other content"):
        Store(uri(port, bucket)).load(KEY).path("a.bin")
    assert "other content" in str(far.damage(record))
    assert far.damages([record]) == {}, "far away only sizes are looked at before a file is used"
    files.write(f"{KEY}/one/a.bin", b"ab")
    assert far.damages([record]) == {KEY: "a.bin has 2 bytes, 3 were written"}
    files.write(f"{KEY}/done.json", files.read(f"{KEY}/done.json")[:50])
    assert far.done(KEY) is None
    assert far.damaged_records([KEY, "other-0123456789abcdef"]) == [KEY]


def test_training_states_are_found_by_the_next_attempt(port: int, bucket: str) -> None:
    far = Store(uri(port, bucket))
    first = far.checkpoints(KEY, "one")
    assert first.read() is None
    for step in (10, 20):
        first.write(step, b"state %d" % step)
    assert far.checkpoints(KEY, "two").read() == b"state 20"
    StoreFiles(uri(port, bucket)).write(f"{KEY}/checkpoints/{30:09d}-x.safetensors", b"half")
    assert far.checkpoints(KEY, "two").read() == b"state 20", "a state without its seal does not count"
    far.drop_checkpoints(KEY)
    assert far.checkpoints(KEY, "two").read() is None


def test_files_come_over_the_network_once_for_all_processes(port: int, bucket: str, tmp_path: Path) -> None:
    with FaultyProxy(port) as proxy:
        proxy.faults = {}
        write(Store(uri(proxy.port, bucket)), tmp_path)
        Store(uri(proxy.port, bucket)).load(KEY).path("deep/b.bin")
        proxy.paths.clear()
        again = Store(uri(proxy.port, bucket)).load(KEY)
        local = again.path("deep/b.bin")
        again.path("deep/b.bin")
        assert {path.rpartition("/")[2] for path in proxy.paths} == {"done.json"}, "and no file"
        local.write_bytes(b"damaged")
        whole = Store(uri(proxy.port, bucket)).load(KEY).path("deep/b.bin").read_bytes()
        assert whole == (tmp_path / "one" / "deep" / "b.bin").read_bytes(), "a damaged copy is fetched again"


def test_what_a_store_has_never_heard_of_costs_no_request(port: int, bucket: str, tmp_path: Path) -> None:
    """A plan of 400 stages, of which one is done and one has failed; each question is a list and a few files."""
    stages = [f"toy-{number:016x}" for number in range(398)] + [KEY, "toy-failed"]
    with FaultyProxy(port) as proxy:
        proxy.faults = {}
        far = Store(uri(proxy.port, bucket))
        record = write(far, tmp_path)
        far.fail("toy-failed", "no", "log")

        def counted(ask: Callable[[], object]) -> object:
            proxy.paths.clear()
            answer = ask()
            assert len(proxy.paths) < 12, proxy.paths
            return answer

        assert counted(lambda: far.records(stages)) == {KEY: record}
        assert counted(far.records) == {KEY: record}
        assert counted(lambda: far.damaged_records(stages)) == []
        assert counted(lambda: far.failures(stages)) == {"toy-failed": far.failure("toy-failed")}
        assert counted(lambda: far.damages([record] * 100)) == {}
        states = counted(lambda: stage_states(far, stages))
        assert isinstance(states, dict)
        assert Counter(state["state"] for state in states.values()) == {"missing": 398, "done": 1, "failed": 1}
        assert counted(lambda: far.records(at_hand={KEY: record, "toy-failed": record})) is not None
        assert not any("done.json" in path for path in proxy.paths), "what is at hand is not asked for"


@pytest.mark.parametrize("writable", [True, False])
def test_what_is_not_there_is_said_at_once(port: int, bucket: str, writable: bool) -> None:
    """A bucket that does not exist, and a server that does not."""
    for place, said in ((uri(port, "no-such-bucket"), "no-such-bucket"), (uri(9, bucket), "AWS_ACCESS_KEY_ID")):
        began = time.monotonic()
        with pytest.raises(SpecError) as caught:
            open_store(place, writable=writable)
        assert time.monotonic() - began < 20
        (problem,) = caught.value.problems
        assert problem.place.startswith("--store s3://")
        assert said in f"{problem.place} {problem.message}"
