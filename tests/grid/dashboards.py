"""A dashboard that answers as Ray's does, as far as the Jobs API goes: for what real ones are slow or unable to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Dashboard:
    """Its jobs by id, what was asked of it, and how it shall answer."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[str]] = {}  # what the log is at each reading; the last one stays
        self.packages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.token: str | None = None
        self.page: bytes | None = None  # answered to everything: it is no Ray at all
        self.fail: list[int] = []  # codes of the next answers
        self.ends_after = 0  # readings of a job until it has ended
        self.exit_code = 0
        self.address = ""

    def add(self, entrypoint: str, metadata: dict[str, str], status: str = "RUNNING") -> str:
        name = f"raysubmit_{len(self.jobs)}"
        self.jobs[name] = {
            "type": "SUBMISSION",
            "submission_id": name,
            "status": status,
            "entrypoint": entrypoint,
            "message": "",
            "start_time": 1_700_000_000_000 + len(self.jobs),
            "end_time": None,
            "metadata": metadata,
            "driver_exit_code": None,
        }
        return name


@contextmanager
def dashboard() -> Iterator[Dashboard]:
    """One that listens on this machine."""
    state = Dashboard()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(state: Dashboard) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def _answer(self, code: int, content: object) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.asked.append(f"{self.command} {self.path}")
            given = self.headers.get("Authorization")
            if state.page is not None:
                self._answer(200, state.page)
            elif state.token is not None and given is None:
                self._answer(401, b"Unauthorized: Missing authentication token")
            elif state.token is not None and given != f"Bearer {state.token}":
                self._answer(403, b"Forbidden: Invalid authentication token")
            elif state.fail:
                self._answer(state.fail.pop(0), b"Traceback\nValueError: no room")
            else:
                self._answer(*_reply(state, self.command, self.path.strip("/").split("/"), body))

        do_GET = do_POST = do_PUT = _handle  # noqa: N815  http.server's names

    return Handler


def _reply(state: Dashboard, method: str, parts: list[str], body: bytes) -> tuple[int, object]:
    match method, parts:
        case "PUT", ["api", "packages", "gcs", name]:
            state.packages[name] = body
            return 200, b""
        case "GET", ["api", "packages", "gcs", name]:
            return (200, b"") if name in state.packages else (404, b"")
        case "POST", ["api", "jobs"]:
            asked = json.loads(body)
            name = state.add(asked["entrypoint"], asked["metadata"])
            state.jobs[name]["runtime_env"] = asked["runtime_env"]
            return 200, {"submission_id": name}
        case "GET", ["api", "jobs"]:
            return 200, [*state.jobs.values(), {"type": "DRIVER", "submission_id": None, "status": "RUNNING"}]
        case "GET", ["api", "jobs", name] if name in state.jobs:
            state.ends_after -= 1
            if state.ends_after < 0 and state.jobs[name]["status"] == "RUNNING":
                ended = {0: "SUCCEEDED"}.get(state.exit_code, "FAILED")
                state.jobs[name] |= {"status": ended, "driver_exit_code": state.exit_code, "message": "it ended"}
            return 200, state.jobs[name]
        case "GET", ["api", "jobs", name, "logs"]:
            found = state.logs.get(name, [""])
            return 200, {"logs": found.pop(0) if len(found) > 1 else found[0]}
        case "POST", ["api", "jobs", name, "stop"]:
            running = state.jobs[name]["status"] == "RUNNING"
            state.jobs[name]["status"] = "STOPPED" if running else state.jobs[name]["status"]
            return 200, {"stopped": running}
    return 404, b"not found"
