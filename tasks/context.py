"""What a running stage may see of the world: upstream products, its folder, its random numbers, its device."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tasks.lazy import lazy
from tasks.stage import Stage

if TYPE_CHECKING:
    import torch

    from tasks import checkpoint as checkpoints
    from tasks.artifact import Artifact
    from tasks.checkpoint import State
else:
    torch = lazy("torch")
    checkpoints = lazy("tasks.checkpoint")


class CheckpointStorage(Protocol):
    """Where the last good checkpoint of a stage lives; it survives the process and the node."""

    def write(self, step: int, data: bytes) -> None: ...

    def read(self) -> bytes | None: ...


class Context:
    """Handed to `Stage.run`. It gives a stage everything it may use, and nothing else."""

    def __init__(
        self,
        stage: Stage,
        out: Path,
        load: Callable[[Stage], Artifact],
        *,
        sources: Mapping[str, Path] | None = None,
        checkpoints: CheckpointStorage | None = None,
        checkpoint_seconds: float = 20.0,
    ) -> None:
        """`out` is an empty folder; `sources` maps a content manifest to where the data lie on this machine."""
        self.stage, self.out = stage, out
        self._load, self._sources = load, dict(sources or {})
        self._storage, self._interval = checkpoints, checkpoint_seconds
        self._last_checkpoint = time.monotonic()
        self.curves: list[dict[str, float]] = []
        self.notes: dict[str, str] = {}
        self.resumed_from: int | None = None
        self._closed: frozenset[str] = frozenset()

    def load(self, stage: Stage) -> Artifact:
        """The finished product of a stage upstream of this one, however far; any other is refused."""
        if stage.key not in {parent.key for parent in self.stage.closure().values()}:
            raise KeyError(f"{self.stage.key} may not read {stage.key}: it is not upstream of it")
        if stage.key in self._closed:
            raise PermissionError(f"{self.stage.key} may not read {stage.key}: an attacker does not have it")
        return self._load(stage)

    @contextmanager
    def closed_to(self, keys: Iterable[str]) -> Iterator[None]:
        """Inside, `load` refuses these stages (PermissionError): what the one who runs there may not have."""
        before, self._closed = self._closed, self._closed | set(keys)
        try:
            yield
        finally:
            self._closed = before

    def source(self, manifest: str) -> Path:
        """Where the user's files with this content manifest lie here; their path is in no key."""
        if manifest not in self._sources:
            raise FileNotFoundError(f"no folder is known for content {manifest}; known: {sorted(self._sources)}")
        return self._sources[manifest]

    @property
    def device(self) -> torch.device:
        """The device that the stage's `numerics` name."""
        numerics = getattr(self.stage, "numerics", "cpu_fp32")
        return torch.device("cpu" if numerics == "cpu_fp32" else "cuda")

    def seed(self, name: str) -> int:
        """63-bit seed of the draw `name`, a function of (seed, role, label, name) and not of the key.

        So a defended and an undefended target are attacked with the same latents, while attacker and
        defender (another role) never share a draw.
        """
        text = json.dumps([*self.stage.scope, name])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def generator(self, name: str) -> torch.Generator:
        """A CPU generator for the draw `name`; the same on every device, so GPUs start from equal noise."""
        return torch.Generator().manual_seed(self.seed(name))

    @contextmanager
    def seeded(self, name: str, step: int) -> Iterator[None]:
        """Layers that draw from torch's global generator (dropout) depend, inside, on (name, step) alone."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed(f"{name}/{step}"))
            yield

    def log(self, step: int, **values: float) -> None:
        """Append a point to the stage's curves; units and names are the stage's."""
        self.curves.append({"step": float(step), **{name: float(value) for name, value in values.items()}})

    def note(self, name: str, text: str) -> None:
        """Say in the record why a metric is absent or how it is to be read."""
        self.notes[name] = text

    def checkpoint(self, step: int, state: Callable[[], State], *, force: bool = False) -> None:
        """Save weights, optimizer, generators and data order, unless that was done a moment ago."""
        if self._storage is None or (not force and time.monotonic() - self._last_checkpoint < self._interval):
            return
        data = checkpoints.pack({"step": step, "curves": list(self.curves), "state": state()})
        self._last_checkpoint = time.monotonic()
        try:
            self._storage.write(step, data)
        except OSError as error:  # a checkpoint only saves time; the training goes on
            self.note("checkpoint", f"could not be written at step {step}: {error}")

    def restore(self) -> tuple[int, State] | None:
        """(step, state) of the last good checkpoint of a killed run, or None; its curves are taken up."""
        data = self._storage.read() if self._storage is not None else None
        if data is None:
            return None
        saved = checkpoints.unpack(data)
        self.curves, self.resumed_from = saved["curves"], saved["step"]
        return saved["step"], saved["state"]
