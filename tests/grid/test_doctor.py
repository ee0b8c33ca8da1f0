"""`doctor`: what it makes of machines that differ, and this machine alone. Real clusters: tests/cluster."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from grid import doctor
from grid.doctor import read_answer, run_doctor, tracking_findings
from grid.doctor_findings import GIB, Finding, findings
from grid.doctor_node import NodeFacts, examine, store_problem
from grid.problems import SpecError
from grid.store import Store
from tests.grid.dashboards import Dashboard, dashboard
from tests.grid.specs import complaint, decoygrid

GOOD = NodeFacts(
    name="head",
    python="3.11.7",
    versions={"decoygrid": "0.1.0", "ray": "2.60.0", "torch": "2.14.1"},
    driver_gpus=0,
    torch_gpus=None,
    gpu_error=None,
    store_error=None,
    disk={"/tmp": 100 * GIB},
    shared_memory=8 * GIB,
    ray_gpus=0.0,
    object_store=4.0 * GIB,
    skew=0.01,
    skew_error=0.02,
    head=True,
)
GPU = replace(GOOD, name="gpu", driver_gpus=1, torch_gpus=1, ray_gpus=1.0, head=False)


def test_machines_in_order_give_nothing() -> None:
    assert findings([GOOD, GPU], GOOD) == []


@pytest.mark.parametrize(
    ("changes", "severity", "what"),
    [
        ({"python": "3.12.1"}, "error", "Python 3.12.1, but 3.11.7 on head"),
        ({"versions": {**GOOD.versions, "ray": "2.59.0"}}, "error", "ray 2.59.0, but 2.60.0 on head"),
        ({"versions": {**GOOD.versions, "torch": "2.13.0"}}, "warning", "torch 2.13.0, but 2.14.1 on head"),
        ({"versions": {**GOOD.versions, "decoygrid": None}}, "error", "decoygrid is not installed"),
        ({"torch_gpus": 0, "gpu_error": "old driver"}, "error", "the driver has 1 GPUs, torch can use 0 (old driver)"),
        ({"ray_gpus": 2.0}, "error", "Ray counts 2 GPUs, torch can use 1"),
        ({"ray_gpus": 0.0}, "warning", "torch can use 1 GPUs, Ray counts 0: the rest is idle"),
        ({"store_error": "Access Denied"}, "error", "store: Access Denied"),
        ({"skew": 5.0}, "warning", "its clock is 5.0 s ahead of that of the driver"),
        ({"skew": -60.0}, "error", "its clock is 60.0 s behind that of the driver"),
        ({"disk": {"/tmp": 5 * GIB}}, "warning", "5.0 GiB free in /tmp"),
        ({"disk": {"/tmp": GIB}}, "error", "1.0 GiB free in /tmp"),
        ({"shared_memory": 64 * 2**20}, "warning", "shared memory of 0.06 GiB"),
        ({"shared_memory": 2 * GIB}, "warning", "Ray's object store has 4.0 GiB, /dev/shm only 2.0"),
        ({"silent": "Get timed out"}, "error", "does not answer: Get timed out"),
    ],
)
def test_one_thing_wrong_is_one_finding_with_its_node_and_remedy(
    changes: dict[str, Any], severity: str, what: str
) -> None:
    (found,) = findings([GOOD, replace(GPU, **changes)], GOOD)
    assert (found.severity, found.node) == (severity, "gpu")
    assert found.what.startswith(what)
    assert len(found.remedy) > 20


def test_no_finding_on_what_is_within_the_measurement() -> None:
    """A busy node answers late: its clock may be right, and then nothing is said."""
    assert findings([replace(GPU, skew=4.0, skew_error=3.0)], GOOD) == []
    assert findings([replace(GPU, python="3.11.9")], GOOD) == []
    assert findings([replace(GPU, skew=None, shared_memory=None, object_store=None)], GOOD) == []


def test_the_worst_comes_first() -> None:
    nodes = [replace(GPU, skew=5.0), replace(GPU, name="other", store_error="no")]
    assert [one.severity for one in findings(nodes, GOOD)] == ["error", "warning"]


def test_a_store_that_another_node_cannot_see(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "shared"))
    store.write_document("marker.json", {"written": 1})
    assert store_problem(str(tmp_path / "shared"), "marker.json") is None
    assert "not the same place on all nodes" in str(store_problem(str(tmp_path / "own"), "marker.json"))
    (tmp_path / "file").write_text("")
    assert "cannot be written" in str(store_problem(str(tmp_path / "file")))
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["marker.json"], "the probe is gone"


def test_this_machine_in_seconds_and_without_a_trace(tmp_path: Path) -> None:
    began = time.monotonic()
    done = decoygrid("doctor", "--json", cwd=tmp_path)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    (node,) = said["nodes"]
    assert node["name"] == socket.gethostname()
    assert node["store_error"] is None
    assert done.returncode == int(any(one["severity"] == "error" for one in said["findings"]))
    assert list(tmp_path.iterdir()) == [], "neither a store nor a database was left"
    assert time.monotonic() - began < 60, "a bound for a busy machine; 2 s on an idle one"


def test_it_loads_neither_ray_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom grid.doctor import run_doctor\n"
        "run_doctor(None, store_uri='s', tracking='none', as_json=True)\n"
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.ray
def test_every_node_of_a_real_ray_is_looked_at_by_a_task(tmp_path: Path) -> None:
    done = decoygrid("doctor", "--address", "local", "--store", "store", "--json", cwd=tmp_path)
    said = json.loads(done.stdout)
    (node,) = said["nodes"]
    assert (node["name"], node["head"], node["silent"]) == (socket.gethostname(), True, None)
    assert node["object_store"] > 0
    assert abs(node["skew"]) <= node["skew_error"] + 0.5, "it is the same clock"
    assert [one for one in said["findings"] if one["what"].startswith(("store", "its clock", "Python"))] == []
    assert list((tmp_path / "store").iterdir()) == [], "the marker is gone"


def test_an_unusable_store_is_an_error_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run_doctor(None, store_uri=str(tmp_path / "file"), tracking="none", as_json=False) == 1
    said = capsys.readouterr().out
    assert f"error on {socket.gethostname()}: store: --store" in said
    assert "a folder mounted at the same path everywhere" in said


def test_an_address_where_nobody_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"):
        assert "nobody answers" in complaint(decoygrid("doctor", "--address", address, cwd=tmp_path))
    assert "neither local, auto nor HOST:PORT" in complaint(decoygrid("doctor", "--address", "nonsense", cwd=tmp_path))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Dashboard]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "examine", lambda *_: GOOD)
    with dashboard() as found:
        found.logs["raysubmit_0"] = [""]
        yield found


def test_from_afar_it_is_a_job_that_answers_for_all_nodes(
    cluster: Dashboard, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**GOOD.versions, "ray": "2.59.0"}
    there = [replace(GOOD, versions=other), replace(GPU, versions=other)]
    found = [Finding("warning", "gpu", "its clock", "chrony")._asdict()]
    answer = json.dumps({"nodes": [asdict(node) for node in there], "findings": found}, indent=1)
    cluster.logs["raysubmit_0"] = [f"INFO job\n{{\nnoise\n{answer}\n"]
    assert run_doctor(cluster.address, store_uri="s3://b/x y", tracking=None, as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in said["nodes"]] == ["head", "gpu"]
    assert [(one["node"], one["what"]) for one in said["findings"]] == [
        ("gpu", "its clock"),
        ("this machine", "ray 2.60.0, but 2.59.0 on head"),
    ]
    assert cluster.jobs["raysubmit_0"]["entrypoint"].endswith("doctor --address auto --json --store 's3://b/x y'")


def test_a_job_that_says_nothing_is_named_with_its_last_words(cluster: Dashboard) -> None:
    cluster.logs["raysubmit_0"], cluster.exit_code = ["Traceback\nModuleNotFoundError: No module named 'grid'\n"], 1
    with pytest.raises(SpecError) as caught:
        run_doctor(cluster.address, store_uri=None, tracking=None, as_json=True)
    assert "No module named 'grid'" in str(caught.value)


def test_no_answer_in_a_log() -> None:
    assert read_answer("") is None
    assert read_answer('{\n "nodes": 1\n}\n') is None
    assert read_answer("{\n broken\n") is None


def test_mlflow(cluster: Dashboard, tmp_path: Path) -> None:
    assert tracking_findings("none", "head") == []
    assert tracking_findings(f"sqlite:///{tmp_path}/mlflow.db", "head") == []
    (wrong,) = tracking_findings("folder/", "head")
    assert wrong.severity == "error"
    cluster.page = b"OK"
    assert tracking_findings(cluster.address, "head") == []
    cluster.page = b"<html>"
    assert "something else answers there" in tracking_findings(cluster.address, "head")[0].what
    cluster.page, cluster.fail = None, [403]
    assert "--allowed-hosts" in tracking_findings(cluster.address, "head")[0].what
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (away,) = tracking_findings(f"http://127.0.0.1:{port}", "head")
    assert away.severity == "warning", "the grid runs without, and sync brings it back"


def test_this_machines_own_facts() -> None:
    facts = examine(None)
    assert facts.versions["torch"] is not None
    assert facts.disk
    assert facts.store_error is None
    assert json.loads(json.dumps(asdict(facts))) == asdict(facts)
