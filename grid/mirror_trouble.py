"""When MLflow fails: what is tried again and for how long, what is said at once, and what another writer has done.

mlflow is not imported here: its errors are told apart by their code, their text and what they were raised from.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TypeVar

T = TypeVar("T")
BUSY_STATUS = {408, 425, 429}  # the 4xx that mean `later`
AWAY_CODES = {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
# What MLflow says to the second of two writers: of a run that the first has deleted, or of a row that it has inserted.
_CONTESTED = re.compile(
    r"must be in the 'active' state|RESOURCE_(DOES_NOT_EXIST|ALREADY_EXISTS)|already exists"
    r"|IntegrityError|UniqueViolation|ForeignKeyViolation|UNIQUE constraint|StaleDataError|Changing param values"
)
_STATUS_OF_RETRY = re.compile(r"too many (\d{3}) error responses")
_STATUS_OF_TEXT = re.compile(r"failed with error code (\d{3})")


class Trouble(Enum):
    """What a failure means for the request that failed."""

    AWAY = "nobody answers, or not now: the same request may succeed later"
    CONTESTED = "another writer has changed what it is about: look again"
    REFUSED = "the same request would be refused again"


@dataclass(frozen=True)
class Patience:
    """Waits between tries, in seconds: `first`, then doubled up to `most`; no try begins after `total`.

    Each wait is cut by a random share of up to a half, so that writers that failed together do not come back together.
    """

    first: float = 0.5
    most: float = 15.0
    total: float = 60.0

    def waits(self) -> Iterator[float]:
        wait = self.first
        while True:
            yield wait * random.uniform(0.5, 1.0)
            wait = min(2 * wait, self.most)


def patiently(call: Callable[[], T], patience: Patience) -> T:
    """What `call` returns, tried again while nobody answers; raises its last error, and any other at once."""
    began = time.monotonic()
    for wait in patience.waits():
        try:
            return call()
        except Exception as error:
            late = time.monotonic() + wait - began > patience.total
            if late or trouble_of(error) is not Trouble.AWAY:
                raise
        time.sleep(wait)
    raise AssertionError("waits never end")


def trouble_of(error: BaseException) -> Trouble:
    """Whether to wait, to look again, or to give up."""
    from requests.exceptions import ChunkedEncodingError, ConnectionError, RetryError, SSLError, Timeout
    from sqlalchemy.exc import OperationalError

    chain = list(causes(error))
    if any(isinstance(cause, SSLError) for cause in chain):
        return Trouble.REFUSED
    lost = (ConnectionError, Timeout, RetryError, ChunkedEncodingError)
    if any(isinstance(cause, lost) for cause in chain):
        return Trouble.AWAY
    if _CONTESTED.search(text := " ".join(map(str, chain))):
        return Trouble.CONTESTED
    if (status := _status_of(chain, text)) is not None:
        return Trouble.AWAY if status >= 500 or status in BUSY_STATUS else Trouble.REFUSED
    busy = any(getattr(cause, "error_code", None) in AWAY_CODES for cause in chain)
    return Trouble.AWAY if busy or any(isinstance(cause, OperationalError) for cause in chain) else Trouble.REFUSED


def slow(error: BaseException) -> bool:
    """Whether somebody took the request and did not answer in time, as a busy server does."""
    from requests.exceptions import ReadTimeout
    from urllib3.exceptions import ReadTimeoutError

    return any(isinstance(cause, ReadTimeout | ReadTimeoutError) for cause in causes(error))


def reason_of(error: BaseException) -> str:
    """One line on what went wrong, without the wrappings of a request that nobody answered."""
    from requests.exceptions import ConnectionError, SSLError, Timeout

    chain = list(causes(error))
    if (secure := next((cause for cause in chain if isinstance(cause, SSLError)), None)) is not None:
        return f"no secure connection ({_line(secure)})"
    if found := _STATUS_OF_RETRY.search(" ".join(map(str, chain))):
        return f"the server answers {found[1]} {_phrase(int(found[1]))}".rstrip()
    if slow(error):
        return "the server does not answer in time"
    if any(isinstance(cause, ConnectionError | Timeout) for cause in chain):
        return "nobody answers there"
    line = _line(error)
    if "Invalid Host header" in line:
        line += "; start the server with this name among its --allowed-hosts"
    return line


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, or while."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _status_of(chain: list[BaseException], text: str) -> int | None:
    """HTTP status of an answer that was no success, as far as it is told."""
    for cause in chain:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    found = _STATUS_OF_TEXT.search(text)
    return int(found[1]) if found else None


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
