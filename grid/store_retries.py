"""Trying again where a store far away stumbles: which errors pass by themselves, and how long to wait for that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
TRIES = 8
FEW_TRIES = 3
FIRST_PAUSE = 0.2  # seconds; doubled each time
MOST_PAUSE = 10.0
# pyarrow has one exception for all; what AWS and Google call it stands in its text.
_LASTING = (
    "ACCESS_DENIED",
    "NO_SUCH_BUCKET",
    "INVALID_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "INVALID_CLIENT_TOKEN_ID",
    "MISSING_AUTHENTICATION_TOKEN",
    "UNRECOGNIZED_CLIENT",
    "EXPIRED_TOKEN",
    "HTTP STATUS 400",
    "HTTP STATUS 401",
    "HTTP STATUS 403",
    "HTTP STATUS 405",
    "HTTP STATUS 411",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "INVALID_ARGUMENT",
    "COULDN'T RESOLVE HOST",
    "COULD NOT RESOLVE HOST",
    "OAUTH2 ACCESS TOKEN",  # Google's library has tried for it already
)


def is_lasting(error: OSError) -> bool:
    """Whether the same request would fail again for the same reason: no such file, no right to it, no such host."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
        return True
    text = str(error).upper()
    return any(word in text for word in _LASTING)


def retried(call: Callable[[], T], tries: int = TRIES, sleep: Callable[[float], None] = time.sleep) -> T:
    """What the call returns, tried again with growing pauses while its OSError may pass; about half a minute in all.

    The pauses have jitter, so that workers which lost the store together do not come back together.
    """
    for number in range(tries - 1):
        try:
            return call()
        except OSError as error:
            if is_lasting(error):
                raise
        sleep(min(MOST_PAUSE, FIRST_PAUSE * 2**number) * random.uniform(0.5, 1.5))
    return call()
