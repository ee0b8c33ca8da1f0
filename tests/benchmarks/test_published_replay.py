"""The published replay comes from the committed table: its cheaper strategies are replayed again, to the last digit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.replay import Run, Strategy, replay
from benchmarks.replay_report import replay_csv, replay_markdown
from benchmarks.search_replay import SEARCH
from benchmarks.search_table import Table, read_table
from grid.search_record import read_search_document
from grid.store import Store

RESULTS = Path(__file__).parents[2] / "docs" / "results"
SEEDS = 5


@pytest.fixture(scope="module")
def table() -> Table:
    document = read_search_document(Store(str(RESULTS / "records")), SEARCH)
    assert document is not None
    return read_table(document)


@pytest.fixture(scope="module")
def published() -> list[str]:
    return (RESULTS / "search_replay" / "replay.csv").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def runs(table: Table, published: list[str]) -> dict[Strategy, list[Run]]:
    steps = max(int(line.split(",")[3]) for line in published[1:])
    return {
        strategy: [replay(table, strategy, seed, steps) for seed in range(SEEDS)]
        for strategy in (Strategy("random", False), Strategy("random", True))
    }


def test_every_strategy_spent_the_same_steps_on_five_seeds(published: list[str]) -> None:
    ends: dict[tuple[str, str, str], int] = {}
    for algorithm, scheduler, seed, steps, *_ in (line.split(",") for line in published[1:]):
        ends[algorithm, scheduler, seed] = max(int(steps), ends.get((algorithm, scheduler, seed), 0))
    assert len(set(ends.values())) == 1
    strategies = Counter((algorithm, scheduler) for algorithm, scheduler, _ in ends)
    assert set(strategies.values()) == {SEEDS}
    assert {("optuna", "asha"), ("random", "none")} <= strategies.keys()


def test_the_published_replays_are_had_again(
    table: Table, runs: dict[Strategy, list[Run]], published: list[str]
) -> None:
    again = replay_csv(table, runs).splitlines()
    assert again[0] == published[0]
    own = [line for line in published[1:] if line.startswith("random,")]
    assert again[1:] == own


def test_the_page_says_what_the_replays_say(table: Table, runs: dict[Strategy, list[Run]]) -> None:
    """Every line of a table on these strategies."""
    page = (RESULTS / "search_replay" / "replay.md").read_text(encoding="utf-8").splitlines()
    again = [line for line in replay_markdown(table, runs).splitlines() if line.startswith(("| random", "- Table:"))]
    assert len(again) >= 5
    assert [line for line in again if line not in page] == []
