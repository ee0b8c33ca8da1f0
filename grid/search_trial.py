"""A trial of a search: the fine-tunes of all labels with one set of coefficients, taken from rung to rung.

Each rung ends at a share of the steps. The stages pause there, by their own checkpoints in the store, so a trial
that is killed goes on from the last one; and what ends is stored as a grid would have stored it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.runner import PausedError, numerics_of, run_stage
from grid.search_space import Value
from grid.search_study import RUNGS, Aim, Study
from grid.store import Store
from tasks.context import Context
from tasks.data.split import splits_of
from tasks.finetune.finetune import Finetune
from tasks.lazy import lazy
from tasks.stage import Stage

if TYPE_CHECKING:
    import torch

    from tasks import checkpoint as checkpoints
    from tasks.attacks.gmi import GMI
    from tasks.checkpoint import State
    from tasks.metrics import probe
    from tasks.models.architectures import Network
else:
    torch = lazy("torch")
    checkpoints = lazy("tasks.checkpoint")
    probe = lazy("tasks.metrics.probe")

Point = dict[str, float]


class TrialError(Exception):
    """A trial cannot go on; the message names the stage and the reason."""


def rungs_of(steps: int, shares: Sequence[float] = RUNGS) -> list[int]:
    """The steps at which a fine-tune of so many is measured; fewer rungs where they fall together."""
    return sorted({math.ceil(share * steps) for share in shares})


def search_steps(targets: Mapping[Aim, Finetune], share: float = 1.0) -> int:
    """Fine-tune steps of a trial, over its labels and rounds, when its last round is at `share` of its own."""
    last = {stage.key: stage for stage in targets.values()}
    before = {k: s for stage in last.values() for k, s in stage.closure().items() if isinstance(s, Finetune)}
    own = sum(math.ceil(share * stage.steps) for stage in last.values())
    return own + sum(stage.steps for key, stage in before.items() if key not in last)


class RungContext(Context):
    """Pauses a fine-tune at a step, and ends one that is lost."""

    def __init__(self, *arguments: Any, pause_at: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._pause_at = pause_at

    def log(self, step: int, **values: float) -> None:
        """As ever, but what is not finite is an end: its fine-tune has diverged (FloatingPointError)."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise FloatingPointError(f"the fine-tune has diverged: {name} is {value} at step {step}")
        super().log(step, **values)

    def checkpoint(self, step: int, state: Callable[[], State], *, force: bool = False) -> None:
        """As ever; at the rung the state is saved for certain, and the stage pauses."""
        last = step >= getattr(self.stage, "steps", 0)
        super().checkpoint(step, state, force=force or (step >= self._pause_at and not last))
        if step >= self._pause_at and not last:
            raise PausedError


class Trial:
    """One set of coefficients on its way. `advance` goes to the next rung and says what was measured there.

    A rung is measured on the weights of its very step, or not at all. Another process may have been further on (a
    worker that was lost, a grid with the same coefficients); where it left no weights of a rung, the end comes next.
    """

    def __init__(
        self,
        study: Study,
        coefficients: Mapping[str, Value],
        store: Store,
        sources: Mapping[str, Path],
        curve: Sequence[Point] = (),
    ) -> None:
        """`curve`: what was reported before, by a process that is no more."""
        self._study, self._store, self._sources = study, store, sources
        self.targets = study.targets(coefficients)
        self._stages = {stage.key: stage for stage in self.targets.values()}
        steps = next(iter(self._stages.values())).steps
        self._rungs = rungs_of(steps, study.rungs)
        self._next = min(len(curve), len(self._rungs) - 1)
        self._prepared = False
        self._left: dict[str, int] = {}  # by stage, the steps that another process had left behind

    @property
    def finished(self) -> bool:
        """Whether the last rung is behind it."""
        return self._next >= len(self._rungs)

    def advance(self) -> dict[str, Any]:
        """Train to the next rung and measure: metrics (fractions), `step` of each label, `rung` from 1, `finished`.

        Raises TrialError if a stage fails or the training diverges.
        """
        began = time.monotonic()
        self._prepare()
        networks = self._trained()
        metrics = measure(self._study, self._store, self._sources, networks, self.targets)
        step = self._rungs[self._next]
        self._next += 1
        return {
            **metrics,
            "step": step,
            "steps": search_steps(self.targets, step / self._rungs[-1]),
            "rung": self._next,
            "finished": self.finished,
            "seconds": time.monotonic() - began,
        }

    def _trained(self) -> dict[str, Network]:
        """The fine-tunes at the next rung that can be measured, by key. TrialError if they are gone at the last one."""
        last = len(self._rungs) - 1
        while True:
            if any(self._store.done(key) is not None for key in self._stages):
                self._next = last  # what lies in the store is whole: there is no earlier point to be had of it
            step = self._rungs[self._next]
            for stage in self._stages.values():
                if self._next == last or self._steps_left(stage) < step:
                    self._run(stage, partial(RungContext, pause_at=step))
            networks = {key: self._network(stage, step) for key, stage in self._stages.items()}
            found = {key: network for key, network in networks.items() if network is not None}
            if len(found) == len(networks):
                return found
            if self._next == last:
                gone = sorted(networks.keys() - found.keys())
                raise TrialError(f"{', '.join(gone)}: somebody else removed what this trial had trained")
            self._next = last

    def _prepare(self) -> None:
        """Run what these coefficients need beside the shared stages: other fakes, earlier rounds."""
        if self._prepared:
            return
        needed = {k: s for stage in self._stages.values() for k, s in stage.closure().items() if k not in self._stages}
        done = self._store.records(needed)
        for key, stage in needed.items():
            if key not in done:
                own = partial(RungContext, pause_at=stage.steps) if isinstance(stage, Finetune) else Context
                self._run(stage, own)
        self._prepared = True

    def _run(self, stage: Stage, make_context: Callable[..., Context]) -> None:
        outcome = run_stage(stage, self._store.location, self._sources, make_context=make_context)
        if outcome.error is not None:
            raise TrialError(f"{stage.key}: {outcome.error}")
        if outcome.record is not None and not all(map(math.isfinite, outcome.record["metrics"].values())):
            raise TrialError(f"{stage.key}: the fine-tune has diverged, a metric of its record is not finite")

    def _steps_left(self, stage: Stage) -> int:
        """Steps that a stage had behind it before this process met it: a killed trial may have been further on."""
        if stage.key not in self._left:
            data = self._store.checkpoints(stage.key, "reader").read()
            self._left[stage.key] = 0 if data is None else int(checkpoints.unpack(data)["step"])
        return self._left[stage.key]

    def _network(self, stage: Finetune, step: int) -> Network | None:
        """A fine-tune after `step` steps, from its checkpoint or, whole, from the store; None if it is not there."""
        ctx = _context(stage, self._store, self._sources)
        if step == self._rungs[-1]:
            return stage.network(ctx) if self._store.done(stage.key) is not None else None
        data = self._store.checkpoints(stage.key, "reader").read(step)
        if data is None:
            return None
        network = stage.network_of().blank()
        network.load_state_dict(checkpoints.unpack(data)["state"]["network"])
        return network.to(ctx.device).eval()


def measure(
    study: Study,
    store: Store,
    sources: Mapping[str, Path],
    networks: Mapping[str, Network],
    targets: Mapping[Aim, Stage],
) -> Point:
    """Metrics of the targets (stages whose network is in `networks` by key), means over labels and seeds."""
    load = partial(_context, store=store, sources=sources)
    with numerics_of(study.victim(study.seeds[0])):
        seconds = {seed: study.second(seed).network(load(study.second(seed))) for seed in study.seeds}
        held = held_images(study, load)
        found = []
        for aim, stage in targets.items():
            attack = study.attack(study.victim(aim.seed), aim)
            with _attacking(attack, store, sources) as ctx:
                warm = _warm(attack, load, ctx)
                found.append(probe.measure_target(attack, networks[stage.key], seconds[aim.seed], held, warm, ctx))
    return {name: sum(outcome[name] for outcome in found) / len(found) for name in found[0]}


def measure_undefended(study: Study, store: Store, sources: Mapping[str, Path]) -> Point:
    """The same measurement of the victims as they are."""
    victims = {seed: study.victim(seed) for seed in study.seeds}
    networks = {victim.key: victim.network(_context(victim, store, sources)) for victim in victims.values()}
    return measure(study, store, sources, networks, {aim: victims[aim.seed] for aim in study.aims})


def held_images(study: Study, load: Callable[[Stage], Context]) -> probe.Held:
    """What MC is measured on; `load` gives a context for reading a stage's product."""
    val, train = (study.world.split(part, "private") for part in ("val", "train"))
    images, labels = val.tensors(load(val))
    if study.target_images == "validation split":
        return probe.Held(images, labels, images, labels)
    more, of = train.tensors(load(train))
    return probe.Held(images, labels, torch.cat([images, more]), torch.cat([labels, of]))


_WARM: dict[str, torch.Tensor] = {}  # of this process: the same for every trial of a search


def _warm(attack: GMI, load: Callable[[Stage], Context], ctx: Context) -> torch.Tensor:
    if attack.key not in _WARM:
        _WARM[attack.key] = probe.start_points(attack, attack.target.network(load(attack.target)), ctx)
    return _WARM[attack.key]


@contextmanager
def _attacking(attack: GMI, store: Store, sources: Mapping[str, Path]) -> Iterator[Context]:
    """A context in which the attack has what an attacker has: nothing private, nothing of the defender's."""
    private = splits_of(attack, "private")
    ctx = _context(attack, store, sources)
    with ctx.closed_to(private):
        yield ctx


def _context(stage: Stage, store: Store, sources: Mapping[str, Path]) -> Context:
    """For reading a stage's product and drawing its numbers; it writes nothing."""
    return Context(stage, Path(tempfile.gettempdir()), lambda upstream: store.load(upstream.key), sources=sources)
