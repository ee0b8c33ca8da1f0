"""The Ray Jobs API of a cluster, over HTTP: submit, list, look at, stop. No Ray is needed here, nor loaded.

Every request carries the cluster's token if there is one here, has a timeout, and fails with one sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from grid.problems import Problem, SpecError

TIMEOUT = 10.0  # seconds of silence after which a request is given up
UPLOAD_TIMEOUT = 300.0
LARGEST = 90 * 2**20  # bytes of a package; the dashboard takes 100 MiB
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
TUNNEL = "`ray dashboard CLUSTER.yaml` brings a cluster's to http://127.0.0.1:8265"


class JobServerAwayError(ConnectionError):
    """Nobody answers, or not in time. Jobs that run go on."""


class Job(NamedTuple):
    """A submitted job, as the cluster knows it. Times are seconds since 1970."""

    id: str
    status: str
    entrypoint: str
    message: str
    started: float | None
    ended: float | None
    metadata: Mapping[str, str]
    exit_code: int | None

    @property
    def over(self) -> bool:
        return self.status in ENDED


class JobServer:
    """The jobs of the cluster whose dashboard is at `address`, such as http://127.0.0.1:8265."""

    def __init__(self, address: str) -> None:
        """SpecError if it cannot be used: wrong address, nobody there, no Ray, no or a wrong token."""
        self.address = _checked(address)
        try:
            self.jobs()
        except JobServerAwayError as error:
            raise SpecError([Problem(f"--address {address}", f"{error}; {TUNNEL}")]) from error

    def jobs(self) -> list[Job]:
        """All that were ever submitted, the oldest first."""
        found = [_job(one) for one in self._json("GET", "/api/jobs/") if one.get("submission_id")]
        return sorted(found, key=lambda job: job.started or 0.0)

    def job(self, name: str) -> Job:
        """SpecError for one that is not there."""
        return _job(self._json("GET", f"/api/jobs/{self._known(name)}"))

    def logs(self, name: str) -> str:
        """All that it has printed so far."""
        return str(self._json("GET", f"/api/jobs/{self._known(name)}/logs")["logs"] or "")

    def stop(self, name: str) -> bool:
        """Ask it to end; False if it had ended."""
        return bool(self._json("POST", f"/api/jobs/{self._known(name)}/stop")["stopped"])

    def submit(
        self, entrypoint: str, package: bytes, metadata: Mapping[str, str], environment: Mapping[str, str]
    ) -> str:
        """Run a shell command in the unpacked `package` (a zip) on the cluster; returns the job's id."""
        if len(package) > LARGEST:
            size = f"{len(package) / 2**20:.0f} MiB"
            text = f"what has to travel has {size}, more than {LARGEST // 2**20}; put weights where all nodes find them"
            raise SpecError([Problem("submit", f"{text}, and name their absolute path")])
        name = f"_ray_pkg_{hashlib.sha256(package).hexdigest()[:16]}.zip"
        if self._request("GET", f"/api/packages/gcs/{name}", missing_is_fine=True) is None:
            self._request("PUT", f"/api/packages/gcs/{name}", package, timeout=UPLOAD_TIMEOUT)
        runtime = {"working_dir": f"gcs://{name}", "env_vars": dict(environment)}
        asked = {"entrypoint": entrypoint, "runtime_env": runtime, "metadata": dict(metadata)}
        return str(self._json("POST", "/api/jobs/", json.dumps(asked).encode())["submission_id"])

    def _known(self, name: str) -> str:
        """The id, which goes into a path; SpecError if it cannot be one, or there is none of that name."""
        known = [job.id for job in self.jobs()]
        if name not in known:
            there = f"the last ones: {', '.join(known[-5:])}" if known else "none was ever submitted there"
            raise SpecError([Problem(f"job {name}", f"no such job at {self.address}; {there}")])
        return name

    def _json(self, method: str, path: str, body: bytes | None = None) -> Any:
        data = self._request(method, path, body)
        try:
            return json.loads(data or b"")
        except ValueError as error:
            raise self._no_ray() from error

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout: float | None = None,
        missing_is_fine: bool = False,
    ) -> bytes | None:
        headers = {"Content-Type": "application/json" if method == "POST" else "application/octet-stream"}
        if token := find_token():
            headers["Authorization"] = f"Bearer {token}"
        asked = urllib.request.Request(self.address + path, body, headers, method=method)  # noqa: S310  http(s) only
        try:
            with _opener(self.address).open(asked, timeout=timeout or TIMEOUT) as answer:
                data: bytes = answer.read()
            return data
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                if error.code == 404 and missing_is_fine:
                    return None
                raise self._refusal(error, token) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise JobServerAwayError(f"nobody answers at {self.address}: {reason}") from error

    def _refusal(self, error: urllib.error.HTTPError, token: str | None) -> SpecError:
        if error.code in (401, 403):
            what = "it asks for a token, and there is none here" if token is None else "it has another token than this"
            text = f"{what}; put the cluster's into ~/.ray/auth_token (or RAY_AUTH_TOKEN)"
            return SpecError([Problem(f"--address {self.address}", text)])
        if error.code == 404:
            return self._no_ray()
        said = error.read().decode(errors="replace").strip().splitlines() or [str(error.reason)]
        return SpecError(
            [Problem(f"--address {self.address}", f"the cluster refused ({error.code}): {said[-1][:300]}")]
        )

    def _no_ray(self) -> SpecError:
        text = f"something answers, but it is no Ray dashboard with the Jobs API (ray[default]); {TUNNEL}"
        return SpecError([Problem(f"--address {self.address}", text)])


def find_token() -> str | None:
    """The token for clusters, found as Ray does: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _checked(address: str) -> str:
    """The address without a trailing slash; SpecError unless it is http(s)://HOST[:PORT]."""
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in address):
        text = f"expected the address of a dashboard, http://HOST:8265; {TUNNEL}"
        raise SpecError([Problem(f"--address {address}", text)])
    return address.rstrip("/")


def _opener(address: str) -> urllib.request.OpenerDirector:
    """Proxies of the environment are not asked for this machine itself (a tunnel to the head)."""
    if urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1"):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _job(found: Mapping[str, Any]) -> Job:
    times = [found.get(name) for name in ("start_time", "end_time")]
    started, ended = (time / 1000 if time else None for time in times)
    metadata, message = found.get("metadata") or {}, str(found.get("message") or "")
    code = found.get("driver_exit_code")
    return Job(
        str(found["submission_id"]), str(found["status"]), found["entrypoint"], message, started, ended, metadata, code
    )
