"""A real Ray cluster that asks for a token, as cluster.yaml starts one: who has it joins, who has not is refused."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.grid.test_ray_grids import LIMIT, descendants
from tests.source_tree import REPOSITORY

pytestmark = pytest.mark.ray
RAY = str(Path(sys.executable).parent / "ray")
UP = "Ray runtime started."
CLIENT = """
import sys
from grid.executors import join_ray
join_ray(sys.argv[1])
import ray
print(sum(node["Alive"] for node in ray.nodes()))
"""


class Node(NamedTuple):
    """A `ray start` that stays in the foreground, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until_up(self) -> None:
        deadline = time.monotonic() + LIMIT
        while UP not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)


class Cluster(NamedTuple):
    """The head's address; homes of a person who has its token, of one who has another, and of one who has none."""

    address: str
    knows: Path
    errs: Path
    stranger: Path


def environment(home: Path, **more: str) -> dict[str, str]:
    """Ray's as it is on a fresh machine, where the token, if there is one, lies in the home."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**mine, "HOME": str(home), "PYTHONPATH": str(REPOSITORY), **more}


@contextmanager
def node(log: Path, home: Path, *arguments: str, **more: str) -> Iterator[Node]:
    """Ends with all that it started, and at once: by SIGTERM a node would first be drained."""
    command = [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=80000000", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment(home, **more), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield Node(process, log)
    finally:
        with suppress(FileNotFoundError):
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("token")
    homes = [folder / name for name in ("knows", "errs", "stranger")]
    for home in homes:
        home.mkdir()
    for home in homes[:2]:
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = ("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
    with (  # a folder of its own, lest others find this cluster as `auto`; a short one, since sockets lie in it
        tempfile.TemporaryDirectory(prefix="ray-token-", ignore_cleanup_errors=True) as own,
        node(folder / "head.log", homes[0], *place, f"--temp-dir={own}", RAY_AUTH_MODE="token") as head,
    ):
        head.until_up()
        yield Cluster(f"127.0.0.1:{port}", *homes)


def client(cluster: Cluster, home: Path) -> Any:
    """As `decoygrid` joins, which finds a token by itself."""
    command = [sys.executable, "-c", CLIENT, cluster.address]
    own = environment(home, RAY_NUM_REDIS_GET_RETRIES="2")
    return subprocess.run(command, env=own, capture_output=True, text=True, timeout=LIMIT)


def test_a_worker_and_a_client_with_the_token_join(cluster: Cluster, tmp_path: Path) -> None:
    at = f"--address={cluster.address}"
    with node(tmp_path / "log", cluster.knows, at, "--node-ip-address=127.0.0.1", RAY_AUTH_MODE="token") as worker:
        worker.until_up()
        done = client(cluster, cluster.knows)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_a_worker_without_the_token_or_with_another_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Both at once; and where the mode is set, as cluster.yaml sets it, a node without any does not start."""
    few = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
    at = f"--address={cluster.address}"
    with (
        node(tmp_path / "stranger", cluster.stranger, at, **few) as stranger,
        node(tmp_path / "errs", cluster.errs, at, RAY_AUTH_MODE="token", **few) as errs,
        node(tmp_path / "bare", cluster.stranger, at, RAY_AUTH_MODE="token", **few) as bare,
    ):
        assert 0 not in [one.process.wait(LIMIT) for one in (stranger, errs, bare)]
    assert "InvalidAuthToken" in stranger.said
    assert "InvalidAuthToken" in errs.said
    assert "no authentication token was found" in bare.said
    assert UP not in stranger.said + errs.said + bare.said


@pytest.mark.parametrize("who", ["errs", "stranger"])
def test_a_client_without_the_token_or_with_another_is_refused(cluster: Cluster, who: str) -> None:
    done = client(cluster, getattr(cluster, who))
    assert done.returncode != 0
    assert "InvalidAuthToken" in done.stderr
    assert done.stdout == ""
