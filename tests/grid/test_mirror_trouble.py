"""What the mirror does when a server fails: it waits, looks again or says so, and never for longer than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from grid import mirror, mirror_background, mirror_trouble
from grid.mirror import TrackingError, send
from grid.mirror_background import BackgroundMirror, Progress
from grid.mirror_trouble import Patience, Trouble, patiently, reason_of, trouble_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
SHORT = Patience(first=0.01, most=0.04, total=0.5)


class Server:
    """Answers every request with the next of `answers` (the last one again and again); remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, b"{}")]
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                server.asked.append(self.path.split("?")[0].rpartition("/2.0/")[2])
                status, body = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if status == 0:  # cut the connection
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 - as http.server calls them

            def log_message(self, *arguments: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(mirror, "PATIENCE", SHORT)
    for name, value in mirror.DEFAULTS.items():
        monkeypatch.setenv(name, value)
    found = Server()
    yield found
    found.close()


EXPERIMENT = (200, b'{"experiment": {"experiment_id": "1", "name": "faces", "lifecycle_stage": "active"}}')


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408, 0])
def test_what_may_pass_is_tried_again_until_it_has(server: Server, status: int) -> None:
    server.answers = [EXPERIMENT, (status, b"busy"), (status, b"busy"), (200, b"{}")]
    send([], "faces", server.uri, ours=())
    assert server.asked == ["mlflow/experiments/get-by-name", *["mlflow/runs/search"] * 3]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no such filter"}', "no such filter"),
        (401, b"who are you", "401"),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
        (404, b"nothing here", "404"),
        (413, b"too large", "413"),
        (501, b'{"error_code": "NOT_IMPLEMENTED", "message": "not by this server"}', "not by this server"),
        (200, b"<html>a page of something else</html>", "not in a valid JSON format"),
    ],
)
def test_what_is_refused_is_asked_once_and_said(server: Server, status: int, body: bytes, reason: str) -> None:
    server.answers = [EXPERIMENT, (status, body)]
    with pytest.raises(TrackingError) as caught:
        send([], "faces", server.uri, ours=())
    assert caught.value.refused
    assert reason in caught.value.reason
    assert server.asked.count("mlflow/runs/search") == 1


def test_a_server_that_stays_away_is_given_up_in_time(server: Server) -> None:
    server.answers = [EXPERIMENT, (503, b"busy")]
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        send([], "faces", server.uri, ours=())
    assert time.monotonic() - began < 5
    assert not caught.value.refused
    assert caught.value.reason == "the server answers 503 Service Unavailable"
    assert 10 < server.asked.count("mlflow/runs/search") < 40, "about 0.02 to 0.04 s between two of them"


def test_a_server_that_is_slow_at_first_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question is a quick one, so that a dead server is found; a busy one is asked again, with more time."""
    monkeypatch.setattr(mirror, "QUICK", {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
    real, slowly = server.answers, [True]

    class Slow(list[tuple[int, bytes]]):
        def __getitem__(self, index: Any) -> Any:
            if slowly:
                slowly.pop()
                time.sleep(1.5)
            return EXPERIMENT if len(server.asked) < 3 else real[0]

    server.answers = Slow([EXPERIMENT])
    send([], "faces", server.uri, ours=())
    assert server.asked.count("mlflow/experiments/get-by-name") == 2


def test_waits_double_up_to_a_limit_and_differ() -> None:
    patience = Patience(first=1.0, most=8.0)
    taken = [[next_ for next_, _ in zip(patience.waits(), range(7), strict=False)] for _ in range(20)]
    for waits in taken:
        for wait, most in zip(waits, [1, 2, 4, 8, 8, 8, 8], strict=True):
            assert most / 2 <= wait <= most
    assert len({waits[0] for waits in taken}) == 20


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from requests.exceptions import ConnectionError

    now, calls = [0.0], [0]
    monkeypatch.setattr(mirror_trouble.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(mirror_trouble.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def away() -> None:
        calls[0] += 1
        raise ConnectionError("nobody")

    with pytest.raises(ConnectionError):
        patiently(away, Patience())
    assert 40 < now[0] <= 60
    assert 7 <= calls[0] <= 14
    calls[0] = 0
    with pytest.raises(ConnectionError):
        patiently(away, Patience(total=0))
    assert calls[0] == 1


def test_what_the_second_of_two_writers_hears_is_no_refusal() -> None:
    from mlflow.exceptions import MlflowException, RestException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from requests.exceptions import ConnectionError, SSLError
    from sqlalchemy.exc import OperationalError

    gone = {"error_code": "INVALID_PARAMETER_VALUE", "message": "The run 1 must be in the 'active' state."}
    twice = {"error_code": "BAD_REQUEST", "message": "(psycopg2.errors.UniqueViolation) duplicate key value"}
    there = {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Experiment(name=x)"}
    for answer in (gone, twice, there):
        assert trouble_of(RestException(answer)) is Trouble.CONTESTED
    assert trouble_of(RestException({"error_code": "BAD_REQUEST", "message": "no"})) is Trouble.REFUSED
    assert trouble_of(MlflowException("down", error_code=TEMPORARILY_UNAVAILABLE)) is Trouble.AWAY
    assert trouble_of(OperationalError("select", {}, Exception("database is locked"))) is Trouble.AWAY
    assert trouble_of(OSError("disk full")) is Trouble.REFUSED
    assert trouble_of(ConnectionError("refused")) is Trouble.AWAY
    assert trouble_of(SSLError("certificate verify failed")) is Trouble.REFUSED
    assert reason_of(SSLError("certificate verify failed")) == "no secure connection (certificate verify failed)"


class Shown:
    """Stands for what a mirror shows: fails as told, and remembers when it was asked."""

    def __init__(self, *errors: TrackingError | None) -> None:
        self.errors, self.live, self.at = list(errors), [], []

    def __call__(self, live: bool, on_progress: Progress) -> None:
        self.live.append(live)
        self.at.append(time.monotonic())
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


def _after(shown: Shown, syncs: int, mirror: BackgroundMirror) -> None:
    """Go on telling news, as a grid does, until there were this many syncs."""
    end = time.monotonic() + 10
    while len(shown.at) < syncs and time.monotonic() < end:
        mirror.notify()
        time.sleep(0.005)
    assert len(shown.at) >= syncs


def test_the_pauses_double_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_background.random, "uniform", lambda low, high: 1.0)
    away = TrackingError("http://x", "nobody answers there")
    shown = Shown(away, away, away, None, None)
    mirror = BackgroundMirror("http://x", shown, interval=0.05)
    _after(shown, 6, mirror)
    pauses = [after - before for before, after in zip(shown.at, shown.at[1:], strict=False)]
    for pause, least in zip(pauses, [0.1, 0.2, 0.4, 0.05, 0.05], strict=False):
        assert least <= pause < least + 0.3
    assert mirror.close() is None


def test_a_refusal_is_asked_for_twice_at_most_and_said_at_the_end() -> None:
    refused = TrackingError("http://x", "403", refused=True)
    shown = Shown(refused, refused)
    mirror = BackgroundMirror("http://x", shown, interval=0.0)
    _after(shown, 1, mirror)
    for _ in range(20):
        mirror.notify()
        time.sleep(0.005)
    assert shown.live == [True]
    assert mirror.close() is refused
    assert shown.live == [True, False], "once more at the end: the server may have been put right"


def test_closing_waits_for_a_sync_that_goes_on_and_not_for_one_that_hangs() -> None:
    released = threading.Event()

    def steady(live: bool, on_progress: Progress) -> None:
        for done in range(8):
            time.sleep(0.05)
            on_progress(done, 8)

    def hanging(live: bool, on_progress: Progress) -> None:
        released.wait(10)

    assert BackgroundMirror("http://x", steady).close(timeout=0.2) is None
    began = time.monotonic()
    error = BackgroundMirror("http://x", hanging).close(timeout=0.2)
    released.set()
    assert time.monotonic() - began < 2
    assert "not finished" in str(error)


def test_news_is_told_at_once_while_a_sync_hangs() -> None:
    released = threading.Event()
    mirror = BackgroundMirror("http://x", lambda live, on_progress: (released.wait(10), None)[1], interval=0.0)
    began = time.monotonic()
    for _ in range(1000):
        mirror.notify()
    assert time.monotonic() - began < 1
    released.set()
    assert mirror.close() is None
