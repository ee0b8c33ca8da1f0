"""What grids have fine-tuned is tried first by a search, and found in the store instead of trained again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from grid.expand import expand
from grid.in_process import InProcessExecutor
from grid.places import document_name
from grid.search_proposals import make_proposals
from grid.search_seeds import trained_by_grids
from grid.search_study import Study
from grid.search_trial import Trial
from grid.spec_parser import load_spec
from grid.store import Store
from tasks.finetune.finetune import Finetune
from tests.grid.searching import GOALS, UNDEFENDED, build, study
from tests.grid.specs import write
from tests.grid.toys import reconcile

SPACE = """
from ray import tune
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),
    "lambda3": tune.loguniform(1.0, 1000.0),
    "fakes.count": tune.choice([4, 8]),
    "rounds": tune.choice([1, 2]),
    "omega": 1.0,
}
"""
ROWS: dict[str, dict[str, Any]] = {
    "inside": {"alpha": 2.5, "lambda3": 40.0},
    "nested": {"alpha": 2.5, "lambda3": 40.0, "fakes": {"count": 4}},
    "twice": {"alpha": 0.7, "lambda3": 3.0, "rounds": 2},
    "outside": {"alpha": 20.0, "lambda3": 40.0},
    "fine": {"alpha": 2.512, "lambda3": 40.0},  # a search would round it, so it is another model
    "elsewhere": {"alpha": 1.0, "lambda3": 40.0, "beta": 3.0},  # the space leaves beta to the spec
}
FOUND = [
    {"alpha": 0.7, "lambda3": 3.0, "fakes.count": 8, "rounds": 1},  # the first round of the other
    {"alpha": 0.7, "lambda3": 3.0, "fakes.count": 8, "rounds": 2},
    {"alpha": 2.5, "lambda3": 40.0, "fakes.count": 4, "rounds": 1},
    {"alpha": 2.5, "lambda3": 40.0, "fakes.count": 8, "rounds": 1},
]


def run_grid(folder: Path, store: Store, name: str, **changes: Any) -> None:
    """The fine-tunes of a grid, without its attacks; the grid's document stands in the store."""
    plan = expand(load_spec(write(folder, name=name, **changes)))
    tuned = [stage for stage in plan.stages().values() if isinstance(stage, Finetune)]
    stages = {key: stage for one in tuned for key, stage in one.closure().items()}
    done, _ = reconcile(stages.values(), store, executor=InProcessExecutor(store.location, plan.sources))
    assert done.complete, done.failed
    store.write_document(document_name(name), {**plan.document(), "written": time.time()})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    """A store in which a grid has run, another of one label only, and one with another seed."""
    folder = tmp_path_factory.mktemp("seeds")
    store = Store(str(folder / "store"))
    rows = [{"name": "gan_id", "as": name, **settings} for name, settings in ROWS.items()]
    run_grid(folder, store, "grid", defenses=["none", *rows])
    run_grid(folder, store, "half", labels=[0], defenses=[{"name": "gan_id", "alpha": 5.0, "lambda3": 40.0}])
    run_grid(folder, store, "later", seeds=[1], defenses=[{"name": "gan_id", "alpha": 6.0, "lambda3": 40.0}])
    made, shared = study(folder, SPACE)
    build(shared, store)
    return made, store


def test_only_what_lies_in_the_space_for_every_label_and_this_seed_counts(found: tuple[Study, Store]) -> None:
    made, store = found
    assert sorted(trained_by_grids(store, made, 40), key=lambda chosen: list(map(str, chosen.values()))) == FOUND


def test_grids_get_a_quarter_of_the_trials_at_most(found: tuple[Study, Store]) -> None:
    made, store = found
    whole = trained_by_grids(store, made, 40)
    assert [trained_by_grids(store, made, trials) for trials in (3, 4, 15, 16)] == [[], whole[:1], whole[:3], whole]


def test_without_the_grids_document_nothing_is_known_of_it(found: tuple[Study, Store], tmp_path: Path) -> None:
    made, _ = found
    assert trained_by_grids(Store(str(tmp_path)), made, 40) == []


def test_such_a_trial_is_measured_and_not_trained(found: tuple[Study, Store]) -> None:
    made, store = found
    chosen = made.space.complete(FOUND[3])
    before = {key: record["attempt"] for key, record in store.records().items()}
    trial = Trial(made, chosen, store, made.world.sources)
    result = trial.advance()
    assert result["finished"], "its end is in the store: there is nothing to wait for"
    after = {key: record["attempt"] for key, record in store.records().items()}
    assert after == before


@pytest.mark.parametrize("algorithm", ["optuna", "hyperopt"])
def test_an_algorithm_that_learns_proposes_them_first(algorithm: str, found: tuple[Study, Store]) -> None:
    made, _ = found
    ended = [{"id": "t", "state": "finished", "coefficients": {**FOUND[0], "omega": 1.0}, "metrics": UNDEFENDED}]
    proposals = make_proposals(algorithm, made.space, GOALS, UNDEFENDED, 0, 9, ended, FOUND[1:3])
    asked = [made.space.complete(proposals.ask(f"x{n}", n) or {}) for n in range(2, 5)]
    assert asked[:2] == [made.space.complete(chosen) for chosen in FOUND[1:3]]
    assert asked[2] not in asked[:2], "then its own"


def test_decoys_that_the_gan_made_up_are_known_again(tmp_path: Path) -> None:
    text = """
from ray import tune
SPACE = {"decoys": "synthetic", "spread": tune.uniform(0.1, 0.9), "alpha": tune.loguniform(0.3, 10.0)}
"""
    (found, shared), store = study(tmp_path, text), Store(str(tmp_path / "store"))
    build(shared, store)
    rows: list[dict[str, Any]] = [{"decoys": "synthetic", "spread": spread, "alpha": 2.5} for spread in (0.3, 0.05)]
    rows.append({"spread": 0.3, "alpha": 2.5})  # of people, whom no spread changes
    entries = [{"name": "gan_id", "as": f"row {number}", **row} for number, row in enumerate(rows)]
    run_grid(tmp_path, store, "before", defenses=["none", *entries])
    assert trained_by_grids(store, found, 40) == [{"spread": 0.3, "alpha": 2.5}]
