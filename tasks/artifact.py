"""What a finished stage left behind, as its dependants read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


class DamagedArtifactError(Exception):
    """A stored file is missing or is not what was written; the stage `key` has to be computed again."""

    def __init__(self, key: str, reason: str, attempt: str | None = None) -> None:
        super().__init__(key, reason, attempt)
        self.key, self.reason, self.attempt = key, reason, attempt

    def __str__(self) -> str:
        return f"artifact {self.key} is damaged: {self.reason}"


class Artifact:
    """Read access to one finished stage. `fetch(name)` returns the verified local path of a file."""

    def __init__(self, key: str, metrics: Mapping[str, float], fetch: Callable[[str], Path]) -> None:
        self.key, self.metrics, self._fetch = key, dict(metrics), fetch

    def path(self, name: str) -> Path:
        """Local path of the file `name`; raises DamagedArtifactError if it is not what was written."""
        return self._fetch(name)

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of a safetensors file, each in memory of its own (mapped memory may be unaligned)."""
        from safetensors.torch import load_file

        return {key: value.clone() for key, value in load_file(self.path(name)).items()}

    def table(self, name: str) -> pa.Table:
        """Rows of a Parquet file."""
        import pyarrow.parquet as pq

        return pq.read_table(self.path(name))
