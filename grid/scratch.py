"""Empty folders for running stages: each is used again by the next stage of the same process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_idle: list[Path] = []


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder of this machine; what is put there is gone afterwards.

    Making and removing a folder for each of many small stages costs more than some of them do.
    """
    folder = _idle.pop() if _idle else _new()
    if not folder.is_dir():  # a cleaner of temporary folders took it
        folder = _new()
    try:
        yield folder
    finally:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        _idle.append(folder)


def _new() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="decoygrid-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
