"""What is lost is tried again so often and no more; what stays lost has failed, is named, and has a log."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from grid.costs import Costs
from grid.in_process import InProcessExecutor
from grid.limits import LEAST_SECONDS, RETRIES, UNRECORDED_SECONDS, Limits
from grid.reconcile import ExecutorLostError, Reconciler, Result
from grid.runner import Outcome, git_revision, run_stage, versions
from grid.store import Store
from tasks.stage import Stage
from tests.grid.specs import only
from tests.grid.test_reconcile import spoil
from tests.grid.toys import Notes, Toy, ToyPlan, reconcile
from tests.grid.troubles import Trouble


@pytest.fixture(autouse=True)
def fresh() -> None:
    Toy.ran.clear()
    Toy.failing.clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def count(tmp_path: Path) -> str:
    (tmp_path / "attempts").mkdir()
    return str(tmp_path / "attempts")


def run(roots: list[Stage], store: Store, executor: Any, **timeouts: float) -> tuple[Result, Notes]:
    plan: Any = ToyPlan(roots)
    notes = Notes()
    found = Reconciler(plan, store, executor, notes, Costs(), timeouts).run(plan.stages(), {})
    return found, notes


def test_time_limits_are_the_specs_or_derived_from_records() -> None:
    stage = Toy(number=1)
    costs = Costs()
    assert Limits(costs).seconds(stage) == UNRECORDED_SECONDS
    costs.learn({"kind": "toy", "config": {"number": 2, "parents": []}, "seconds": 5.0})
    assert Limits(costs).seconds(stage) == UNRECORDED_SECONDS, "other settings may take any time"
    costs.learn({"kind": "toy", "config": stage.config, "seconds": 5.0})
    assert Limits(costs).seconds(stage) == LEAST_SECONDS
    costs.learn({"kind": "toy", "config": stage.config, "seconds": 2005.0})
    assert Limits(costs).seconds(stage) == 20 * 1005.0
    assert Limits(costs, {"data": 7.0}).seconds(stage) == 7.0
    assert Limits(costs, {"data": 7.0, "toy": 8.0}).seconds(stage) == 8.0, "the kind is closer than its group"


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        ([3], "timeouts", "maps a kind or a group of stages to seconds, got [3]"),
        ({"finetun": 5}, "timeouts.finetun", "unknown kind or group of stages 'finetun'; did you mean 'finetune'?"),
        ({"wgan": 0}, "timeouts.wgan", "must be seconds from 1 to 2592000, got 0"),
        ({"gan": True}, "timeouts.gan", "must be seconds from 1"),
        ({"gmi": math.nan}, "timeouts.gmi", "must be seconds from 1"),
    ],
)
def test_a_spec_says_which_timeouts_are_none(tmp_path: Path, value: Any, place: str, message: str) -> None:
    where, said = only(tmp_path, timeouts=value)
    assert where == place
    assert message in said


def test_a_stage_that_hangs_is_stopped_tried_again_and_named(store: Store, count: str) -> None:
    hanging = Trouble(number=1, folder=count, does="hangs")
    after, apart = Trouble(number=2, folder=count, parents=(hanging,)), Toy(number=3)
    began = time.monotonic()
    result, notes = run([after, apart], store, InProcessExecutor(store.location, {}), finetune=0.3)
    assert time.monotonic() - began < 60
    assert result.failed == {hanging.key: f"ran longer than its 0.3 s, {RETRIES['timeout'] + 1} times"}
    assert result.blocked == {after.key: hanging.key}
    assert result.computed == [apart.key]
    assert hanging.attempts(count) == RETRIES["timeout"] + 1
    failure = store.failure(hanging.key)
    assert failure is not None
    assert "time.sleep(1000)" in failure["log"], "it says where it hung"
    assert sum("it is tried again" in text for text in notes.texts) == RETRIES["timeout"]


def test_a_stage_that_hangs_once_ends_as_if_it_had_not(store: Store, count: str) -> None:
    stage = Trouble(number=4, folder=count, does="hangs", times=1)
    git_revision(), versions()  # what a process does once is not to be part of a short time
    result, _ = run([stage], store, InProcessExecutor(store.location, {}), trouble=2.0)
    assert result.complete, result.failed
    assert store.load(stage.key).metrics == {"sum": 4.0}
    assert store.failure(stage.key) is None


def test_what_never_returns_to_python_is_ended_with_its_process(tmp_path: Path, count: str) -> None:
    program = (
        "from grid import stage_timeout; stage_timeout.GRACE = 0.5\n"
        "from grid.runner import run_stage\nfrom tests.grid.troubles import Trouble\n"
        f"stage = Trouble(number=1, folder={count!r}, does='sticks')\n"
        f"run_stage(stage, {str(tmp_path / 'store')!r}, {{}}, timeout=0.5, end_process=True)\n"
        "print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Timeout" in done.stderr
    assert "troubles.py" in done.stderr, "and says where it hung"


def test_a_stage_in_time_leaves_no_alarm(store: Store, count: str) -> None:
    assert run_stage(Trouble(number=1, folder=count), store.location, {}, timeout=60).error is None
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


class Losing(InProcessExecutor):
    """Loses the first stages that it is given, for a reason."""

    def __init__(self, store: Store, loss: Any, times: int) -> None:
        super().__init__(store.location, {})
        self.loss, self.times = loss, times

    def wait(self) -> list[Outcome]:
        if self.times and self._next is not None:
            self.times -= 1
            stage, self._next = self._next, None
            return [Outcome(stage.key, error="its worker died", lost=self.loss, log="the end")]
        return super().wait()


@pytest.mark.parametrize("loss", ["worker", "node", "memory"])
def test_losses_are_bounded(store: Store, loss: Any) -> None:
    stage = Toy(number=1)
    result, notes = reconcile([stage], store, executor=Losing(store, loss, RETRIES[loss]))
    assert result.complete
    assert len(notes.texts) == RETRIES[loss]
    other = Toy(number=2)
    result, notes = reconcile([other], store, executor=Losing(store, loss, RETRIES[loss] + 1))
    assert result.failed == {other.key: f"its worker died, {RETRIES[loss] + 1} times"}
    failure = store.failure(other.key)
    assert failure is not None
    assert failure["log"] == "the end"
    assert Toy.ran == [1]


def block(store: Store) -> Path:
    """Put a file where the store's folder is: nothing can be read or written there. Returns where the folder is."""
    root, aside = Path(store.location), Path(store.location).with_name("aside")
    root.rename(aside)
    root.touch()
    return aside


def unblock(store: Store, aside: Path) -> None:
    Path(store.location).unlink()
    aside.rename(store.location)


def test_a_store_that_is_away_for_a_moment_costs_nothing(store: Store) -> None:
    """Away in the middle of a stage, before its product is stored, and while others wait."""
    stages = [Toy(number=1), Toy(number=2)]
    last = Toy(number=3, parents=tuple(stages))
    back: list[threading.Timer] = []

    class Away(InProcessExecutor):
        def wait(self) -> list[Outcome]:
            if not back:
                aside = block(store)
                back.append(threading.Timer(1.5, unblock, (store, aside)))
                back[0].start()
            return super().wait()

    store.check_writable()
    result, notes = reconcile([last], store, executor=Away(store.location, {}))
    assert result.complete, result.failed
    assert store.load(last.key).metrics == {"sum": 6.0}
    assert any("the store is back" in text for text in notes.texts) or Toy.ran.count(1) == 1


def test_a_store_that_stays_away_ends_the_grid_and_fails_no_stage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECOYGRID_STORE_PATIENCE", "1")
    store.check_writable()
    aside = block(store)
    plan: Any = ToyPlan([Toy(number=1)])
    with pytest.raises(ExecutorLostError, match=r"cannot be written.*it was waited for 1 s"):
        Reconciler(plan, store, InProcessExecutor(store.location, {}), Notes(), Costs()).run(plan.stages(), {})
    unblock(store, aside)
    assert store.failure(Toy(number=1).key) is None
    result, _ = reconcile([Toy(number=1)], store)
    assert result.complete, "the same command goes on"


def test_what_could_not_be_read_for_a_moment_is_not_computed_again(store: Store) -> None:
    one = Toy(number=1)
    two = Toy(number=2, parents=(one,))
    reconcile([one], store)

    class Blinking(InProcessExecutor):
        blinked = False

        def wait(self) -> list[Outcome]:
            if self._next is not None and self._next.key == two.key and not self.blinked:
                self.blinked, self._next = True, None
                record = store.done(one.key)
                assert record is not None
                return [Outcome(two.key, error="cannot be read", damaged=one.key, damaged_attempt=record["attempt"])]
            return super().wait()

    Toy.ran.clear()
    result, _ = reconcile([two], store, executor=Blinking(store.location, {}))
    assert result.complete
    assert Toy.ran == [2]
    assert result.repaired == {}
    spoil(store, one)
    Toy.ran.clear()
    result, _ = reconcile([two, Toy(number=5, parents=(one,))], store, verify=False)
    assert Toy.ran == [5, 1, 5] or Toy.ran == [1, 5], "real damage still is"
