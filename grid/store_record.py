"""The record of a finished stage: `done.json`, which carries a digest of itself and of every file."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

DONE = "done.json"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the digest of all its other fields."""
    return {**record, "digest": _digest(record)}


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record is what was sealed."""
    return record.get("digest") == _digest(record)


def new_attempt() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex[:12]


def _digest(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=True).encode()).hexdigest()
