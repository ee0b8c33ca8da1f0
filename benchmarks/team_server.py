"""A team's MLflow for a test or a benchmark: PostgreSQL in a folder of its own, and `mlflow server` that can be killed.

Needs the programs of PostgreSQL (apt install postgresql) and psycopg2-binary; `missing()` says what is not there.
PostgreSQL does not run as root: root lends it to another user, and its folder lies in the system's temporary one,
which that user can reach.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

OWNERS = ("postgres", "nobody")  # who may run it for root
WAIT = 300.0  # seconds for a server to answer: mlflow imports much, and makes its tables at first
QUIET_SERVER = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job workers take 1.5 GB
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def missing() -> str | None:
    """Why there can be no such server here, or None."""
    if _programs() is None:
        return "no PostgreSQL: neither initdb on PATH nor in /usr/lib/postgresql/*/bin (apt install postgresql)"
    if importlib.util.find_spec("psycopg2") is None:
        return "no psycopg2 (pip install psycopg2-binary)"
    if os.geteuid() == 0 and _owner() is None:
        return f"PostgreSQL does not run as root, and there is none of the users {', '.join(OWNERS)}"
    return None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URI of an empty database on this machine, gone afterwards."""
    programs, owner = _programs(), _owner()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="decoygrid-postgres-"))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    port = free_port()
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        with open(folder / "log", "ab") as log:
            user = owner.pw_uid if owner is not None else None
            group = owner.pw_gid if owner is not None else None
            groups: list[int] | None = [] if owner is not None else None
            done = subprocess.run(
                command, user=user, group=group, extra_groups=groups, cwd=folder, stdout=log, stderr=log, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {(folder / 'log').read_text()[-2000:]}")

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "decoygrid", "-A", "trust", "--no-sync")
        run("pg_ctl", "-D", data, "-o", settings, "-l", str(folder / "server.log"), "-w", "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "decoygrid", "mlflow")
            yield f"postgresql+psycopg2://decoygrid@127.0.0.1:{port}/mlflow"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class TrackingServer:
    """`mlflow server` over a database, with proxied artifacts, as docs/mlflow.md starts it.

    It is a process group of its own; `kill` is a SIGKILL to all of it, as a machine that is gone.
    """

    def __init__(self, database: str, folder: Path) -> None:
        self._database, self._folder, self._port = database, folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def artifacts(self) -> Path:
        return self._folder / "artifacts"

    def start(self) -> None:
        """Returns when it answers."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self.artifacts)]
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=_without_mlflow(os.environ) | QUIET_SERVER, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + WAIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"mlflow server did not start: {(self._folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def memory_mib(self) -> float:
        """Of all its processes, what they share counted once (Linux; 0 elsewhere)."""
        found = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                group = int(stat.read_text().rpartition(")")[2].split()[2])
                if self._process is not None and group == self._process.pid:
                    rollup = (stat.parent / "smaps_rollup").read_text()
                    found += int(rollup.split("\nPss:")[1].split()[0])
        return found / 1024

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def __enter__(self) -> TrackingServer:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.kill()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3].zfill(4))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def _owner() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL instead of root; None if we are not root, or if there is nobody."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return next((known[name] for name in OWNERS if name in known), None)


def _without_mlflow(environment: Mapping[str, str]) -> dict[str, str]:
    """A person's own settings of MLflow are no part of a test."""
    return {name: value for name, value in environment.items() if not name.startswith("MLFLOW_")}
