"""Copy the records behind a table: done.json and Parquet of every stage, no weights, no images."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grid.store import Store

_ABOUT_THE_MACHINE = ("host", "pid", "digest", "files", "key", "attempt")


def export_records(document: Mapping[str, Any], name: str, store: Store, folder: Path) -> int:
    """Write the finished stages of a grid document below `folder`, in the store's layout, and the document itself.

    Where a stage ran is left out; what it computed, from what, with which code and in how many seconds stays.
    Returns the number of records. A file that is damaged in the store raises DamagedArtifactError.
    """
    target = Store(str(folder))
    records = store.records(document["stages"])
    for key, record in records.items():
        artifact = store.load(key)
        with tempfile.TemporaryDirectory(prefix="decoygrid-") as scratch:
            for file in record["files"]:
                if file.endswith(".parquet"):
                    (Path(scratch) / file).write_bytes(artifact.path(file).read_bytes())
            kept = {field: value for field, value in record.items() if field not in _ABOUT_THE_MACHINE}
            target.finish(key, record["attempt"], Path(scratch), kept)
    target.write_document(name, document)
    return len(records)
