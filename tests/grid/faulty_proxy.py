"""An HTTP proxy before a server that behaves as networks do: errors, lost answers, cut and stalled connections."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What may happen to a request, and how often.
FAULTS = {
    "error 500": 0.06,  # the server says that it failed, and has done nothing
    "error 503": 0.06,  # it asks to slow down
    "cut before": 0.05,  # the connection ends, and the server has not seen the request
    "cut after": 0.05,  # the server has done it, and the answer is lost
    "half an answer": 0.05,  # the answer is cut in its middle
    "stall": 0.015,  # nothing comes until the client has given up
}
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>made up</Message></Error>"


class FaultyProxy:
    """Passes requests on to `port` of this machine; which of them meet which fault depends on `seed` alone."""

    def __init__(self, port: int, seed: int = 0, stall: float = 2.0) -> None:
        self.backend, self.stall = port, stall
        self.met: Counter[str] = Counter()
        self.paths: list[str] = []  # of all requests, in order
        self.faults = dict(FAULTS)
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault(self) -> str:
        """What happens to the next request; empty for most of them."""
        with self._lock:
            drawn, name = self._draw.random(), ""
            for fault, share in self.faults.items():
                if drawn < share:
                    name = fault
                    break
                drawn -= share
            self.met[name] += 1
        return name


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultyProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that have gone are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        proxy = self.server.proxy
        body = self._body()
        proxy.paths.append(self.path)
        fault = proxy.fault()
        if fault.startswith("error"):
            self._answer(
                int(fault.split()[1]), [], _ERROR.format("InternalError" if "500" in fault else "SlowDown").encode()
            )
            return
        if fault == "stall":
            time.sleep(proxy.stall)
        if fault in ("stall", "cut before"):
            self.close_connection = True
            return
        backend = http.client.HTTPConnection("127.0.0.1", proxy.backend, timeout=20)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        backend.request(self.command, self.path, body or None, headers)
        answer = backend.getresponse()
        data = answer.read()
        backend.close()
        if fault == "cut after":
            self.close_connection = True
            return
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in (*_HOP, "content-length")]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._answer(answer.status, kept, data, half=fault == "half an answer", length=length)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, *, half: bool = False, length: str | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.close_connection = self.close_connection or half

    def log_message(self, *_: object) -> None:
        """Says nothing."""


_HOP = ("connection", "transfer-encoding", "expect", "keep-alive", "date", "server")
