"""A trial of a search: the stages of a grid, paused at rungs, measured by nothing that reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grid import search_trial
from grid.expand import expand
from grid.plan import Plan
from grid.problems import SpecError
from grid.reconcile import missing_stages
from grid.runner import run_stage
from grid.search_study import SEARCH_SEED, Aim, SharedWork, Study, study_of
from grid.search_trial import RungContext, Trial, TrialError, measure_undefended, rungs_of, search_steps
from grid.spec_parser import load_spec
from grid.store import Store
from tasks.attacks.attack import Attack
from tasks.attacks.gmi import GMI
from tasks.data.split import Split
from tasks.finetune.finetune import Finetune
from tasks.gan.gan import GAN
from tasks.models.classifier import Classifier
from tests.grid.searching import build, study
from tests.grid.specs import write

CHOSEN = {"alpha": 2.34, "lambda3": 45.6, "omega": 1.0}


class Bench:
    """The small search with its shared stages in a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study, self.shared = study(folder)
        self.store = Store(str(folder / "store"))
        build(self.shared, self.store)

    def elsewhere(self, folder: Path) -> Store:
        """A store of its own with the shared stages in it."""
        build(self.shared, store := Store(str(folder / "store")))
        return store

    def trial(self, coefficients: Mapping[str, Any], store: Store | None = None, **more: Any) -> Trial:
        return Trial(self.study, coefficients, store or self.store, self.shared.sources, **more)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("search"))


def whole(trial: Trial) -> list[dict[str, Any]]:
    """What a trial reports from where it is to its end."""
    points = []
    while not trial.finished:
        points.append(trial.advance())
    return points


def files(store: Store, key: str) -> dict[str, str]:
    record = store.done(key)
    assert record is not None
    return {name: entry["sha256"] for name, entry in record["files"].items()}


def grid_with(folder: Path, **settings: Any) -> Plan:
    """An ordinary grid whose defense has these settings."""
    return expand(load_spec(write(folder, defenses=["none", {"name": "gan_id", **settings}])))


def test_rungs_are_a_quarter_a_half_and_all() -> None:
    assert rungs_of(100) == [25, 50, 100]
    assert rungs_of(5) == [2, 3, 5]
    assert rungs_of(1) == [1]
    assert rungs_of(10, (0.35, 1.0)) == [4, 10]


def test_a_trial_may_be_measured_at_its_end_alone(bench: Bench, tmp_path: Path) -> None:
    """The end is the same, and so is what was trained, whatever was measured on the way."""
    ended = dataclasses.replace(bench.study, rungs=(1.0,))
    store = bench.elsewhere(tmp_path)
    alone = Trial(ended, CHOSEN, store, bench.shared.sources)
    (point,) = whole(alone)
    *_, last = whole(bench.trial(CHOSEN, bench.elsewhere(tmp_path / "again")))
    assert {name: value for name, value in point.items() if name not in ("seconds", "rung")} == {
        name: value for name, value in last.items() if name not in ("seconds", "rung")
    }
    assert (point["rung"], point["finished"], alone.finished) == (1, True, True)


def test_a_trial_ends_in_the_artifacts_of_a_grid(bench: Bench, tmp_path: Path) -> None:
    """Paused at each rung or run in one go: the same files, and a grid with these coefficients finds them."""
    trial = bench.trial(CHOSEN)
    points = whole(trial)
    assert [point["step"] for point in points] == [2, 3, 5]
    assert [point["steps"] for point in points] == [4, 6, 10], "of both labels"
    assert [point["finished"] for point in points] == [False, False, True]
    store = bench.elsewhere(tmp_path)
    for stage in trial.targets.values():
        assert run_stage(stage, store.location, {}).error is None
        assert files(bench.store, stage.key) == files(store, stage.key)
    plan = grid_with(tmp_path, **CHOSEN)
    missing, _, _ = missing_stages(plan, bench.store, verify=True)
    tuned = {key for key, stage in plan.stages().items() if isinstance(stage, Finetune)}
    assert tuned == {stage.key for stage in trial.targets.values()}
    assert not tuned & set(missing), "the grid computes the fine-tunes again"
    assert not list((bench.folder / "store").glob("finetune-*/checkpoints")), "a finished stage leaves no state"


def test_stages_that_are_stored_are_not_run_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.trial({**CHOSEN, "alpha": 3.21})
    last = whole(trial)[-1]
    monkeypatch.setattr(Finetune, "run", lambda *_: pytest.fail("it was run again"))
    again = bench.trial({**CHOSEN, "alpha": 3.21})
    found = again.advance()
    assert again.finished
    assert {**found, "seconds": 0} == {**last, "seconds": 0}


def test_a_killed_trial_goes_on_from_its_rung(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One label is past the rung when it is killed: what the trial measures and what it leaves are the same."""
    coefficients = {**CHOSEN, "alpha": 4.56}
    expected = whole(bench.trial(coefficients, bench.elsewhere(tmp_path)))
    first = bench.trial(coefficients)
    curve = [first.advance()]
    monkeypatch.setattr(first, "_network", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        first.advance()
    resumed = bench.trial(coefficients, curve=curve)
    points = [*curve, *whole(resumed)]
    assert [{**point, "seconds": 0} for point in points] == [{**point, "seconds": 0} for point in expected]
    for stage in resumed.targets.values():
        record = bench.store.done(stage.key)
        assert record is not None
        assert record["resumed_from_step"] == 3


def weights(study: Any, store: Any, sources: Any, networks: Mapping[str, Any], targets: Mapping[Aim, Any]) -> Any:
    """In place of a measurement, which so few steps hardly move: a number for the weights that are measured."""
    summed = {key: sum(float(p.detach().double().sum()) for p in net.parameters()) for key, net in networks.items()}
    return {f"label {aim.label}": summed[stage.key] for aim, stage in targets.items()}


def test_a_retry_measures_each_rung_on_the_weights_of_its_step(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the second rung's measurement, one label there already, and started anew without a known point.

    The curve is that of an undisturbed trial, not an early rung with later weights.
    """
    monkeypatch.setattr(search_trial, "measure", weights)
    coefficients = {**CHOSEN, "alpha": 6.54}
    expected = whole(bench.trial(coefficients, bench.elsewhere(tmp_path)))
    lost = bench.trial(coefficients)
    lost.advance()
    ahead = lost.targets[Aim(0, 0)]
    assert run_stage(ahead, bench.store.location, {}, make_context=partial(RungContext, pause_at=3)).paused
    points = whole(bench.trial(coefficients))
    assert [{**point, "seconds": 0} for point in points] == [{**point, "seconds": 0} for point in expected]
    assert len({point["label 0"] for point in expected}) == 3, "rungs that are alike cannot tell weights apart"


def test_a_rung_whose_weights_are_no_more_is_not_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid finishes a label while the trial runs, or a checkpoint is lost: what comes next is the end."""
    monkeypatch.setattr(search_trial, "measure", weights)
    trial = bench.trial({**CHOSEN, "alpha": 7.65})
    assert trial.advance()["step"] == 2
    assert run_stage(trial.targets[Aim(0, 3)], bench.store.location, {}).record is not None
    last = trial.advance()
    assert (last["step"], last["rung"], last["finished"]) == (5, 3, True)
    again = bench.trial({**CHOSEN, "alpha": 8.76})
    assert again.advance()["step"] == 2
    stage = again.targets[Aim(0, 0)]
    for path in (bench.folder / "store" / stage.key / "checkpoints").glob("*.json"):
        path.unlink()
    assert run_stage(
        again.targets[Aim(0, 0)], bench.store.location, {}, make_context=partial(RungContext, pause_at=4)
    ).paused
    resumed = bench.trial({**CHOSEN, "alpha": 8.76})
    assert [point["step"] for point in whole(resumed)] == [5]


def test_a_fine_tune_that_diverges_fails_the_trial(bench: Bench) -> None:
    study = bench.study
    choice = study.choice._replace(defense=study.choice.defense.model_copy(update={"lr": 1e30}))
    lost = Study(study.world, study.space, choice, study.seeds, study.gan_choice, study.attack_settings)
    trial = Trial(lost, CHOSEN, bench.store, {})
    with pytest.raises((TrialError, FloatingPointError), match="diverged"):
        whole(trial)
    assert all(bench.store.done(stage.key) is None for stage in trial.targets.values())


def test_a_stored_artifact_that_is_no_number_fails_the_trial(bench: Bench, tmp_path: Path) -> None:
    trial = bench.trial({**CHOSEN, "alpha": 5.0})
    stage = trial.targets[Aim(0, 0)]
    (tmp_path / "empty").mkdir()
    record = {"kind": "finetune", "metrics": {"loss": float("nan")}, "seconds": 1.0, "config": {}}
    bench.store.finish(stage.key, "nan", tmp_path / "empty", record)
    with pytest.raises(TrialError, match="not finite"):
        bench.trial({**CHOSEN, "alpha": 5.0}).advance()


def test_what_is_shared_does_not_depend_on_the_coefficients(bench: Bench) -> None:
    kinds = [stage.kind for stage in bench.shared.shared.values()]
    assert kinds.count("fakes") == 4
    assert "fisher" in kinds
    assert "finetune" not in kinds
    for alpha in (0.5, 9.0):
        for stage in bench.study.targets({**CHOSEN, "alpha": alpha}).values():
            assert set(stage.closure()) - {stage.key} <= set(bench.shared.shared)


def test_fakes_that_a_space_varies_are_left_to_the_trials(tmp_path: Path) -> None:
    text = 'from ray import tune\nSPACE = {"fakes.count": tune.choice([4, 8]), "rounds": tune.choice([1, 2])}\n'
    found, shared = study(tmp_path, text)
    assert not [stage for stage in shared.shared.values() if stage.kind in ("fakes", "finetune")]
    targets = found.targets({"fakes.count": 4, "rounds": 2})
    assert search_steps(targets) == 20, "two labels, two rounds of 5 steps"
    assert search_steps(targets, 0.5) == 16, "the first round is whole"
    store = Store(str(tmp_path / "store"))
    build(shared, store)
    trial = Trial(found, {"fakes.count": 4, "rounds": 2}, store, shared.sources)
    assert trial.advance()["steps"] == 14
    assert len(list((tmp_path / "store").glob("fakes-*/done.json"))) == 6, "2 labels, 2 rounds, 2 decoys"


def test_a_search_sees_nothing_that_a_table_reports(bench: Bench) -> None:
    """Not F_E, not a test image, not the attacker's half of the public people, not the attacker's GAN."""
    attack = bench.study.attack(bench.study.targets(CHOSEN)[Aim(0, 0)], Aim(0, 0))
    seen = {**bench.shared.shared, **attack.closure()}
    for stage in seen.values():
        assert not (isinstance(stage, Classifier) and stage.role in ("evaluator", "judge"))
        assert not (isinstance(stage, Split) and (stage.part == "test" or stage.audience == "attacker"))
        assert not (isinstance(stage, GAN) and stage.role in ("attacker", "confirm"))
        assert stage.kind not in ("evaluate", "accuracy", "distance")
    assert (attack.role, attack.gan.role, attack.gan.data.audience) == ("search", "search", "defender")
    assert attack.gan.seed == attack.seed == SEARCH_SEED
    defenders = {stage.key for stage in attack.target.closure().values() if isinstance(stage, GAN)}
    assert attack.gan.key not in defenders
    plan = grid_with(bench.folder, **CHOSEN)
    assert attack.gan.key not in plan.stages()
    assert not {s.key for s in plan.stages().values() if isinstance(s, Attack)} & {attack.key}


def test_metrics_are_measured_on_what_they_say(bench: Bench) -> None:
    found = measure_undefended(bench.study, bench.store, {})
    record = bench.store.done(bench.study.victim(0).key)
    assert record is not None
    assert found["mc_all"] == pytest.approx(record["metrics"]["val_accuracy"])
    assert "training images" in bench.study.target_images
    assert all(0 <= value <= 1 for value in found.values())
    held, _ = study(bench.folder, dataset={"name": "synthetic", "size": 32, "people": 10, "val_per_label": 5})
    assert held.target_images == "validation split"


def who_met_whom(attack: GMI, network: Any, second: Any, *_: Any) -> dict[str, float]:
    """In place of a measurement, which so small a search hardly tells apart: a number for each that takes part."""
    model, judge = (sum(float(p.detach().double().sum()) for p in net.parameters()) for net in (network, second))
    return {"model": model, "judge": judge, "attacker": float(attack.seed)}


def test_a_trial_on_two_seeds_is_the_mean_of_a_trial_on_each(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its models are those of the two searches with one seed, to the key; each meets its own seed's judge."""
    monkeypatch.setattr("tasks.metrics.probe.measure_target", who_met_whom)
    spec = load_spec(write(tmp_path, seeds=[0, 1]))
    both, shared = study_of(spec, bench.study.space, seeds=2)
    other, of_other = study_of(load_spec(write(tmp_path, seeds=[1])), bench.study.space)
    build(shared, store := Store(str(tmp_path / "store")))
    assert set(bench.shared.shared) | set(of_other.shared) == set(shared.shared)
    assert both.aims == [(0, 0), (0, 3), (1, 0), (1, 3)]
    keys = {both.name_of(aim): stage.key for aim, stage in both.targets(CHOSEN).items()}
    alone = {**bench.study.targets(CHOSEN), **other.targets(CHOSEN)}
    assert keys == {f"{label}:{seed}": stage.key for (seed, label), stage in alone.items()}
    ends = [whole(Trial(found, CHOSEN, store, shared.sources))[-1] for found in (bench.study, other, both)]
    for name in ("model", "judge", "attacker"):
        assert ends[2][name] == pytest.approx((ends[0][name] + ends[1][name]) / 2)
        assert ends[0][name] != ends[1][name], "else the mean would show nothing"
    assert ends[2]["steps"] == ends[0]["steps"] + ends[1]["steps"]


def test_more_seeds_than_the_spec_has_are_refused(tmp_path: Path, bench: Bench) -> None:
    with pytest.raises(SpecError, match="--seeds 2 asks for more"):
        study_of(load_spec(write(tmp_path, seeds=[4])), bench.study.space, seeds=2)


def test_a_joint_search_has_one_model(tmp_path: Path) -> None:
    found, shared = study(tmp_path, protect="joint")
    targets = found.targets(CHOSEN)
    assert set(targets) == {(0, 0), (0, 3)}
    assert len({stage.key for stage in targets.values()}) == 1
    assert [pair.label for pair in targets[Aim(0, 0)].pairs] == [0, 3]
    assert search_steps(targets) == 5, "one fine-tune"
    tuned = {k for k, s in expand(load_spec(write(tmp_path, protect="joint"))).stages().items() if s.kind == "fakes"}
    assert tuned <= set(shared.shared)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"defenses": ["none", "dp"]}, "has no 'gan_id'"),
        ({"victim": [{"arch": "vgg16_bn", "width": 0.0625, "as": "a"}, {"arch": "vgg16_bn", "as": "b"}]}, "about one"),
        ({"dataset": {"name": "synthetic", "size": 32, "people": 10, "val_per_label": 0}}, "give at least 1"),
    ],
)
def test_a_spec_that_cannot_be_searched_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        study(tmp_path, **changes)
    assert "small.yaml" in str(caught.value)


@pytest.mark.parametrize(("of_space", "of_spec"), [("joint", "single"), ("single", "joint")])
def test_a_space_for_the_other_protection_says_how_the_spec_takes_it(
    tmp_path: Path, of_space: str, of_spec: str
) -> None:
    text = f'from ray import tune\nPROTECT = "{of_space}"\nSPACE = {{"alpha": tune.uniform(1, 2)}}\n'
    with pytest.raises(SpecError) as caught:
        study(tmp_path, text, protect=of_spec)
    (problem,) = caught.value.problems
    assert f"is for '{of_space}', got '{of_spec}'; give --set protect={of_space}, or" in problem.message
    study(tmp_path, text, protect=of_space)


def test_the_shared_work_has_names(bench: Bench) -> None:
    assert isinstance(bench.shared, SharedWork)
    named = set(bench.shared.names.values())
    assert {"search wgan seed 1000", "private fakes label 0", "private fakes label 3", "fisher"} <= named
