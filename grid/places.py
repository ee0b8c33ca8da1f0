"""Where a command reads and writes: store, folders, MLflow, the terminal. What cannot be used is exit code 2."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from grid.problems import Problem, SpecError
from grid.store import Store
from grid.store_files import StoreError


def check_folder(folder: Path) -> None:
    """SpecError (exit 2) unless files can be written into the folder, before anything is computed for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SpecError([Problem(f"--out {folder}", f"cannot be written: {error.strerror or error}")]) from error


def open_store(uri: str, *, writable: bool = True) -> Store:
    """The store; SpecError (exit 2) if it is not usable."""
    try:
        store = Store(uri)
        if writable:
            store.check_writable()
        else:
            store.check_readable()
    except StoreError as error:
        place, _, message = str(error).partition(": ")
        raise SpecError([Problem(place, message)]) from error
    return store


def console(*, stderr: bool = False) -> Console:
    """A terminal as wide as it is; elsewhere (a pipe, a log) wide enough for every column."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def document_name(grid: str) -> str:
    """Where a grid's rows and cells are kept in a store."""
    return f"grids/{grid}.json"


def check_tracking(tracking: str) -> None:
    """SpecError (exit 2) for a place that can never be; a server that is only away is met at the end."""
    from grid.mirror_place import TrackingError, check_place

    if tracking == "none" or tracking.startswith(("http://", "https://")):
        return
    try:
        check_place(absolute(tracking))
    except TrackingError as error:
        raise SpecError([Problem(f"--tracking {tracking}", f"{error.reason}; or use `none`")]) from error


def absolute(tracking: str) -> str:
    """A tracking URI whose SQLite path does not depend on the current folder."""
    prefix = "sqlite:///"
    return prefix + str(Path(tracking.removeprefix(prefix)).resolve()) if tracking.startswith(prefix) else tracking
