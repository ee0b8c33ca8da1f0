"""Copy the records behind a table: done.json and Parquet of every stage, no weights, no photographs.

Of attacks, and for a spec that asks for figure 2 only, the few images that are shown are kept: `shown.parquet`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from grid.problems import Problem, SpecError
from grid.store import Store
from tasks.artifact import Artifact, DamagedArtifactError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]  # (c, h, w)

IMAGES = "images.safetensors"  # what an attack leaves: images (n, c, h, w), 8 bits
SHOWN = "shown.parquet"  # of these, the ones that figures show
_SCORES = "samples.parquet"  # the attack's own table, an image a line
_SHOWN_SCHEMA = pa.schema(
    [
        ("image", pa.int64()),  # its place among the attack's images
        ("channels", pa.int64()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("pixels", pa.binary()),  # channels x height x width bytes, row by row
    ]
)
_SMALL: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}
_ABOUT_THE_MACHINE = ("host", "pid", "digest", "files", "key", "attempt")


def export_records(
    document: Mapping[str, Any],
    name: str,
    store: Store,
    folder: Path,
    shown: Mapping[str, Iterable[int]] | None = None,
) -> int:
    """Write the finished stages of a grid document below `folder`, in the store's layout, and the document itself.

    Where a stage ran is left out; what it computed, from what, with which code and in how many seconds stays.
    shown: key of an attack's stage -> images of it that figures show; they are kept as SHOWN. What another export
    kept of the same stage in the same folder stays beside them. Returns the number of records. A file that is
    damaged in the store raises DamagedArtifactError, and images of a stage that is no attack ValueError.
    """
    count = export_stages(document["stages"], store, folder, shown)
    Store(str(folder)).write_document(name, document)
    return count


def export_stages(
    keys: Iterable[str], store: Store, folder: Path, shown: Mapping[str, Iterable[int]] | None = None
) -> int:
    """Write the records of those stages that are finished, as `export_records` does; returns their number."""
    target = Store(str(folder))
    records = store.records(dict.fromkeys(keys))
    for key, record in records.items():
        artifact = store.load(key)
        images = _shown_images(store, target, record, (shown or {}).get(key, ()))
        with tempfile.TemporaryDirectory(prefix="decoygrid-") as scratch:
            for file in record["files"]:
                if file.endswith(".parquet"):
                    (Path(scratch) / file).write_bytes(artifact.path(file).read_bytes())
            if images:
                pq.write_table(_packed(images), Path(scratch) / SHOWN, **_SMALL)
            kept = {field: value for field, value in record.items() if field not in _ABOUT_THE_MACHINE}
            target.finish(key, record["attempt"], Path(scratch), kept)
    return len(records)


def read_image(artifact: Artifact, image: int) -> Pixels:
    """One attack image (c, h, w), from all that the attack left or from the few that an export kept.

    Raises KeyError where it is among neither, DamagedArtifactError if a file is not what was written.
    """
    from safetensors.numpy import load_file

    try:
        stored: Pixels = load_file(artifact.path(IMAGES))["images"][image]
    except KeyError:
        return _unpacked(artifact.table(SHOWN))[image]
    return stored


def _shown_images(store: Store, target: Store, record: Mapping[str, Any], wanted: Iterable[int]) -> dict[int, Pixels]:
    """The images to keep of a stage: the wanted ones that are there, and those that the folder has already."""
    key, artifact, wanted = record["key"], store.load(record["key"]), set(wanted)
    if wanted and _SCORES not in record["files"]:
        raise ValueError(f"{key} is no attack (it has no {_SCORES}); photographs and other images are never exported")
    before, same = _kept_before(target, record)
    found: dict[int, Pixels] = _unpacked(artifact.table(SHOWN)) if SHOWN in record["files"] else {}
    for image in (wanted | before.keys()) - found.keys():
        if IMAGES in record["files"]:
            found[image] = read_image(artifact, image)
        elif image in before and same:
            found[image] = before[image]
        elif image in before:
            text = f"holds an image of {key} from another run, and this store has none of its images to replace it"
            raise SpecError([Problem("--export", text + "; export from the store in which it ran")])
    return found


def _kept_before(target: Store, record: Mapping[str, Any]) -> tuple[dict[int, Pixels], bool]:
    """Images of a stage in the folder, and whether they come from the same scores as the record's."""
    before = target.done(record["key"])
    if before is None or SHOWN not in before["files"]:
        return {}, True
    try:
        images = _unpacked(target.load(record["key"]).table(SHOWN))
    except DamagedArtifactError:
        return {}, True  # made again if it is wanted
    return images, before["files"].get(_SCORES) == record["files"].get(_SCORES)


def _packed(images: Mapping[int, Pixels]) -> pa.Table:
    lines = [(image, *pixels.shape, pixels.tobytes()) for image, pixels in sorted(images.items())]
    return pa.table([list(column) for column in zip(*lines, strict=True)], schema=_SHOWN_SCHEMA)


def _unpacked(table: pa.Table) -> dict[int, Pixels]:
    import numpy as np

    found = {}
    for line in table.to_pylist():
        shape = (line["channels"], line["height"], line["width"])
        found[line["image"]] = np.frombuffer(line["pixels"], dtype=np.uint8).reshape(shape)
    return found
