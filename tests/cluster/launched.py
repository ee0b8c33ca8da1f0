"""grid/clusters/local.yaml, launched by `ray up` on machines of the test's own, and the commands of docs/cluster.md."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import yaml

from grid.job_server import JobServer
from grid.problems import SpecError
from tests.cluster.machines import Machine, machines, over_ssh
from tests.source_tree import REPOSITORY

LIMIT = 900.0  # seconds for a step on a machine that is busy with other things
RAY = str(Path(sys.executable).parent / "ray")
ALIVE = "import ray; ray.init('auto', logging_level='error'); print(sum(n['Alive'] for n in ray.nodes()))"


class Cluster(NamedTuple):
    """Machines under one head, the dashboard through a tunnel, and the person's own environment."""

    head: Machine
    worker: Machine
    file: Path
    key: Path
    dashboard: str
    environment: dict[str, str]
    folder: Path

    def decoygrid(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, typed on this machine."""
        command = [sys.executable, "-m", "grid", *arguments]
        return _run(command, self.environment, cwd=self.folder)

    def on_head(self, command: str) -> subprocess.CompletedProcess[str]:
        return over_ssh(self.head, self.key, f"export PATH=~/decoygrid-env/bin:$PATH RAY_AUTH_MODE=token; {command}")

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _run([RAY, arguments[0], str(self.file), *arguments[1:]], self.environment)


@contextmanager
def launched(folder: Path) -> Iterator[Cluster]:
    """`ray up` as docs/cluster.md has it, until both machines are there; `ray down` at the end."""
    with machines(folder, ("head", "worker")) as ((head, worker), key):
        laptop = folder / "laptop"
        (laptop / ".ray").mkdir(parents=True)
        (laptop / ".ray" / "auth_token").write_text(secrets.token_hex(32))
        file = folder / "local.yaml"
        file.write_text(_rendered(head, worker, key, laptop))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DECOYGRID_"))}
        environment |= {"HOME": str(laptop), "RAY_UP_enable_autoscaler_v2": "0", "PYTHONPATH": str(REPOSITORY)}
        with _tunnel(file, environment) as address:
            cluster = Cluster(head, worker, file, key, address, environment, laptop)
            until(lambda: cluster.on_head(f'python -c "{ALIVE}"').stdout.strip() == "2", "the worker joins")
            yield cluster


def _rendered(head: Machine, worker: Machine, key: Path, laptop: Path) -> str:
    """The shipped file with these machines. Nothing is installed: theirs is the environment of this test."""
    content = yaml.safe_load((REPOSITORY / "grid" / "clusters" / "local.yaml").read_text(encoding="utf-8"))
    content["cluster_name"] = f"decoygrid-test-{os.getpid()}"
    content["provider"] |= {"head_ip": head.ip, "worker_ips": [worker.ip]}
    content["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
    content["file_mounts"]["~/.ray/auth_token"] = str(laptop / ".ray" / "auth_token")
    content["setup_commands"] = []
    return yaml.safe_dump(content)


@contextmanager
def _tunnel(file: Path, environment: dict[str, str]) -> Iterator[str]:
    """`ray up`, then `ray dashboard` in the background: the dashboard listens on the head alone."""
    _succeed([RAY, "up", "-y", str(file)], environment)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [RAY, "dashboard", "-p", str(port), str(file)]
    with file.with_suffix(".tunnel").open("wb") as log:
        tunnel = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(tunnel.pid, signal.SIGKILL)
        tunnel.wait()
        _succeed([RAY, "down", "-y", str(file)], environment)


def answers(cluster: Cluster) -> bool:
    """Whether the tunnel stands."""
    token = Path(cluster.environment["HOME"], ".ray", "auth_token").read_text()
    before = os.environ.get("RAY_AUTH_TOKEN")
    os.environ["RAY_AUTH_TOKEN"] = token
    try:
        JobServer(cluster.dashboard)
    except SpecError:
        return False
    finally:
        os.environ.pop("RAY_AUTH_TOKEN") if before is None else os.environ.update(RAY_AUTH_TOKEN=before)
    return True


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {LIMIT:.0f} s: {what}"
        time.sleep(0.5)


def _succeed(command: list[str], environment: dict[str, str]) -> None:
    done = _run(command, environment)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"


def _run(command: list[str], environment: dict[str, str], cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
    )
