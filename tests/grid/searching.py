"""A tiny search for tests: the small spec, a space of one's own, its shared stages in a store, and no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grid.in_process import InProcessExecutor
from grid.search_objectives import OBJECTIVES, Goals
from grid.search_record import Ledger, new_document
from grid.search_space import Space, load_space
from grid.search_study import SharedWork, Study, study_of
from grid.spec_parser import load_spec
from grid.store import Store
from tests.grid.specs import write
from tests.grid.toys import reconcile

FINETUNE = """
from ray import tune
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # push
    "lambda3": tune.loguniform(1.0, 1000.0),  # stiffness
    "omega": 1.0,  # fixed
}
"""
UNDEFENDED = {"mc_all": 0.9, "mc_target": 1.0, "aa_top1": 0.5, "aa_top5": 0.9, "target_confidence": 1.0}
GOALS = Goals(tuple(OBJECTIVES.items()))


def space_of(folder: Path, text: str = FINETUNE, name: str = "mine") -> Space:
    """A space from a file with this text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return load_space(str(path))


def study(folder: Path, text: str = FINETUNE, **changes: Any) -> tuple[Study, SharedWork]:
    """What a search of the small spec needs; `changes` are of the spec."""
    return study_of(load_spec(write(folder, **changes)), space_of(folder, text))


def build(shared: SharedWork, store: Store) -> None:
    """Run the shared stages in this process."""
    result, _ = reconcile(shared.shared.values(), store, executor=InProcessExecutor(store.location, shared.sources))
    assert result.complete, result.failed


def ledger(store: Store, space: Space, goals: Goals = GOALS, name: str = "mine") -> Ledger:
    """An empty record with what was measured of the undefended victim."""
    about = {"experiment": "small", "seed": 0, "measured_by": {"victims": ["v"]}, "grid_trials": None}
    document = new_document(name, {"name": "small"}, space, goals, "random", "asha", about)
    document["undefended"] = {"search": UNDEFENDED, "confirmed": None}
    return Ledger(store, document, goals)


def metrics(**changes: float) -> dict[str, float]:
    """What a trial reports."""
    return {**UNDEFENDED, **changes}
