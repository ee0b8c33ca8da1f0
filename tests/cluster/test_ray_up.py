"""A real `ray up` of grid/clusters/local.yaml on two machines of the test's own, and grids submitted to them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grid.store import Store
from tests.cluster.launched import Cluster, answers, launched, until
from tests.cluster.machines import what_is_missing

pytestmark = [pytest.mark.cluster, pytest.mark.ray]

PEOPLE = "dataset={name: synthetic, size: 32, people: 8}"
SMALL = ("budget=smoke", "labels=[0, 1]", PEOPLE, "defenses=[none, gan_id]", "name=try")
SMALLER = (*SMALL, "defenses=[none]", "name=smaller")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("aiohttp_cors", reason="the dashboard needs ray[default]")
    if (reason := what_is_missing()) is not None:
        pytest.skip(reason)
    with launched(tmp_path_factory.mktemp("machines")) as found:
        until(lambda: answers(found), "the tunnel stands")
        yield found


def submit(cluster: Cluster, store: Path, changes: tuple[str, ...] = SMALL) -> Any:
    overrides = [part for change in changes for part in ("--set", change)]
    places = ["--store", str(store), "--tracking", "none", "--address", cluster.dashboard]
    return cluster.decoygrid("submit", "orl_demo", *overrides, *places, "--follow")


def records(store: Path) -> dict[str, dict[str, Any]]:
    return {record["key"]: record for path in store.glob("*/done.json") if (record := json.loads(path.read_text()))}


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """A submitted grid, and what it left in the store that both machines see."""
    store = cluster.folder / "store"
    done = submit(cluster, store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray is up: " in done.stdout
    assert "2 nodes" in done.stdout
    return records(store)


def test_a_submitted_grid_is_computed_on_both_machines(undisturbed: dict[str, dict[str, Any]]) -> None:
    assert {record["host"] for record in undisturbed.values()} == {"head", "worker"}
    assert all(record["git"] for record in undisturbed.values()), "the copy on the cluster knows its revision"


def test_submitted_again_it_finds_what_is_done(cluster: Cluster, undisturbed: dict[str, dict[str, Any]]) -> None:
    store = cluster.folder / "store"
    done = submit(cluster, store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(store) == undisturbed
    listed = json.loads(cluster.decoygrid("jobs", "--json", "--address", cluster.dashboard).stdout)
    assert [job["status"] for job in listed] == ["succeeded", "succeeded"]


def test_what_only_the_cluster_can_see_ends_as_it_would_here(cluster: Cluster) -> None:
    done = submit(cluster, cluster.folder / "store", (*SMALL, "labels=[99]"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "label 99 is out of range" in done.stdout


def test_doctor_finds_both_machines_in_order(cluster: Cluster) -> None:
    done = cluster.decoygrid(
        "doctor", "--json", "--store", str(cluster.folder / "store"), "--address", cluster.dashboard
    )
    said = json.loads(done.stdout)
    assert [(node["name"], node["head"]) for node in said["nodes"]] == [("head", True), ("worker", False)]
    assert [one for one in said["findings"] if one["severity"] == "error"] == [], done.stdout
    assert done.returncode == 0
    assert all(abs(node["skew"]) - node["skew_error"] < 1 for node in said["nodes"])
    assert list((cluster.folder / "store").glob("*doctor*")) == []


def test_nothing_is_open(cluster: Cluster) -> None:
    """Neither the dashboard from outside, nor anything without the token."""
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection((cluster.head.ip, 8265), timeout=5)
    without = {**cluster.environment, "HOME": str(cluster.folder.parent)}
    done = cluster._replace(environment=without).decoygrid("jobs", "--address", cluster.dashboard)
    assert done.returncode == 2
    assert "it asks for a token, and there is none here" in done.stderr
    joined = cluster.on_head(
        "RAY_AUTH_MODE=disabled RAY_NUM_REDIS_GET_RETRIES=2 python -c \"import ray; ray.init('auto')\""
    )
    assert joined.returncode != 0
    assert "InvalidAuthToken" in joined.stderr


def test_a_machine_lost_amid_a_grid_changes_no_number(
    cluster: Cluster, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """The last test, since the worker does not come back."""
    store = tmp_path / "store"
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(submit(cluster, store, SMALLER)))
    thread.start()

    def busy() -> bool:
        assert thread.is_alive(), done
        keys = [path.parent.name for path in store.glob("*/running")]
        beats = [Store(str(store)).running(key) for key in keys]
        return any(beat is not None and beat["host"] == "worker" for beat in beats)

    until(busy, "the worker has work")
    cluster.worker.cut()
    cut = time.time()
    thread.join()
    assert done[0].returncode == 0, done[0].stdout + done[0].stderr
    found = records(store)
    assert max(record["ended"] for record in found.values()) > cut
    assert {key: record["metrics"] for key, record in found.items()} == {
        key: undisturbed[key]["metrics"] for key in found
    }
