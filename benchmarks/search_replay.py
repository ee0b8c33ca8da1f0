r"""Optuna with ASHA against random search, at an equal number of fine-tune steps, replayed on a recorded table.

    decoygrid search orl_search_table --space finetune_reduced --algorithm random --scheduler none --trials 200 \
        --seed 100 --pick none --tracking none
    decoygrid report orl_search_table --export docs/results/records
    python -m benchmarks.search_replay docs/results/records --out docs/results/search_replay

The first two lines record the table (grid/specs/orl_search_table.yaml says how long that takes); the third trains
nothing and takes minutes. Strategies are those of `decoygrid search`, by its own proposers and halving. Written:
replay.csv, replay.md, replay.png. Exit code 2 on bad input, with every problem.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from analysis.search_parts import Search
from analysis.search_record import read_search
from benchmarks.measured import refuse
from benchmarks.replay import WORKERS, Run, Strategy, parse_strategies, replay
from benchmarks.replay_report import replay_csv, replay_markdown, replay_picture
from benchmarks.search_table import Table, read_table
from grid.problems import Problem, SpecError, choices
from grid.search_record import all_searches
from grid.store import Store

SEARCH = "orl_search_table-finetune_reduced"
STRATEGIES = "random,random+asha,optuna,optuna+asha,hyperopt+asha"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when the files are written, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_replay", description="Replay recorded searches.")
    parser.add_argument("records", type=Path, help="folder of records, or a store, that holds the table's search")
    parser.add_argument("--search", default=SEARCH, help="name of the search that is the table")
    parser.add_argument("--strategies", default=STRATEGIES, help=f"default: {STRATEGIES}")
    parser.add_argument("--seeds", type=int, default=5, help="replays of each strategy; default 5")
    parser.add_argument("--trials", type=int, default=60, help="whole trials whose steps a replay spends; default 60")
    parser.add_argument("--out", type=Path, default=Path("results/search_replay"), help="folder for the results")
    options = parser.parse_args(arguments)
    try:
        table, strategies, searches = _checked(options)
        runs = _runs(table, strategies, options.seeds, options.trials)
    except SpecError as error:
        return refuse(error)
    files = {
        "replay.csv": replay_csv(table, runs).encode(),
        "replay.md": replay_markdown(table, runs, searches, "replay.png").encode(),
        "replay.png": replay_picture(table, runs),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (options.out / name).write_bytes(data)
        print(options.out / name)
    return 0


def _checked(options: argparse.Namespace) -> tuple[Table, list[Strategy], list[Search]]:
    """The table, the strategies, and the other searches of the folder. SpecError with all that is wrong."""
    problems: list[Problem] = []
    strategies = parse_strategies(options.strategies, problems)
    for place, number in (("--seeds", options.seeds), ("--trials", options.trials)):
        if number < 1:
            problems.append(Problem(place, f"must be at least 1, got {number}"))
    documents = {}
    if options.records.is_dir():
        documents = {document["name"]: document for document in all_searches(Store(str(options.records)))}
    if not documents:
        problems.append(Problem("records", f"{str(options.records)!r} holds no record of a search"))
    elif options.search not in documents:
        problems.append(Problem("--search", choices(options.search, documents, what="search")))
    if problems:
        raise SpecError(problems)
    table = read_table(documents[options.search])
    return table, strategies, [read_search(found) for name, found in documents.items() if name != options.search]


def _runs(table: Table, strategies: list[Strategy], seeds: int, trials: int) -> dict[Strategy, list[Run]]:
    steps = WORKERS * round(trials * fmean(point.max_steps for point in table.points) / WORKERS)
    runs: dict[Strategy, list[Run]] = {}
    for strategy in strategies:
        runs[strategy] = [replay(table, strategy, seed, steps) for seed in range(seeds)]
        print(f"{strategy.name}: {seeds} replays of {steps} steps", file=sys.stderr)
    return runs


if __name__ == "__main__":
    sys.exit(main())
