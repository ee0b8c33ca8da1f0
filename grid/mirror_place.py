"""Where MLflow is: what can be said about a tracking URI without mlflow, and how to keep mlflow quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

LOCK_SECONDS = 5.0
CONNECT_SECONDS = 5.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
KNOWN_SCHEMES = {"sqlite", "http", "https", "databricks", *DATABASE_PORTS}
DEFAULTS = {  # what a user sets himself wins
    "MLFLOW_DISABLE_TELEMETRY": "true",  # mlflow would report its use to its makers
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # read when mlflow is imported
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # mirror_trouble.py tries again: longer, and also of a database
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


class TrackingError(Exception):
    """MLflow cannot be written. Nothing is lost: the store has all of it, and a later sync sends it.

    refused: the server is there and would say the same again.
    """

    def __init__(self, place: str, reason: str, *, refused: bool = False) -> None:
        super().__init__(place, reason)
        self.place, self.reason, self.refused = place, reason, refused

    def __str__(self) -> str:
        return f"--tracking {self.place}: {self.reason}. The store has all results; run `decoygrid sync` later"


def artifact_root_for(tracking_uri: str) -> str | None:
    """Where a SQLite database's artifacts go: `mlartifacts` beside it, absolute. None: the server decides."""
    path = _sqlite_path(tracking_uri)
    return None if path is None else (path.parent / "mlartifacts").as_uri()


def _sqlite_path(uri: str) -> Path | None:
    """The database file, absolute; None for another URI or a database in memory."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return None if match is None or match[1] == ":memory:" else Path(match[1]).expanduser().resolve()


def public(uri: str) -> str:
    """The URI without user and password."""
    return re.sub(r"//[^@/]*@", "//", uri)


def check_place(uri: str) -> None:
    """Find out within seconds, without mlflow's own retries, what will not work: raise TrackingError.

    Makes the folder and the file of a SQLite database.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("", "file"):
        advice = "folders are not supported; use sqlite:///FOLDER/mlflow.db or http://HOST:PORT"
        raise TrackingError(public(uri), advice)
    if scheme not in KNOWN_SCHEMES:
        raise TrackingError(
            public(uri), f"unknown scheme {scheme!r}; choose one of: {', '.join(sorted(KNOWN_SCHEMES))}"
        )
    path = _sqlite_path(uri)
    try:
        if path is not None:
            _check_sqlite(path)
        elif scheme in DATABASE_PORTS and parts.hostname:
            address = (parts.hostname, parts.port or DATABASE_PORTS[scheme])
            socket.create_connection(address, CONNECT_SECONDS).close()
    except (OSError, ValueError, sqlite3.Error) as error:
        raise TrackingError(public(uri), f"the database cannot be written ({error})") from error


def _check_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        if path.stat().st_size == 0:  # a log: readers (`make ui`) do not block the mirror
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep mlflow and alembic from telling how they set up a database."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
