"""The command line. Each command imports what it needs, so that `--help` is quick and `plan` knows no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from grid.cli_cluster import add_to
from grid.problems import Problem, SpecError

app = typer.Typer(
    name="decoygrid",
    help="Model inversion attacks against defended and undefended classifiers, as one resumable grid.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

HOME = ".decoygrid"
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="a YAML file, or the name of a shipped spec")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change one value of the spec")
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="DECOYGRID_STORE", help="folder or URI (s3://, gs://) of all results")
]
TrackingOption = Annotated[
    str,
    typer.Option("--tracking", envvar="DECOYGRID_TRACKING", help="MLflow tracking URI, or `none`"),
]
WorkersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--workers",
        metavar="NODES",
        help="nodes=8,cpus=16,gpus=1,accelerator=A10G,memory=64; can be repeated for several kinds",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON to stdout, and nothing else there")]
STORE, TRACKING = f"{HOME}/store", f"sqlite:///{HOME}/mlflow.db"


def main() -> None:
    """Entry point: a user's mistake is a message and exit code 2, never a traceback."""
    try:
        app()
    except SpecError as error:
        _complain(error.problems)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"decoygrid: {where}{error.strerror or error}; what is stored stays", file=sys.stderr)  # noqa: T201
        sys.exit(1)


@app.command()
def run(
    spec: SpecArgument,
    overrides: SetOption = None,
    store: StoreOption = STORE,
    tracking: TrackingOption = TRACKING,
    address: Annotated[str, typer.Option(help="Ray cluster: local, auto, or HOST:PORT")] = "local",
    in_process: Annotated[bool, typer.Option("--in-process", help="no Ray: one stage at a time, here")] = False,
    out: Annotated[Path | None, typer.Option(help="folder of tables and pictures; default results/SPEC")] = None,
    log_private_images: Annotated[
        bool, typer.Option("--log-private-images", help="let private photographs into MLflow")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run what is missing of a grid, mirror it to MLflow, print the table."""
    from grid.commands import run_grid

    try:
        code = run_grid(
            spec,
            overrides or [],
            store_uri=store,
            tracking=tracking,
            address=address,
            in_process=in_process,
            out=out,
            private_images=log_private_images,
            as_json=as_json,
        )
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        code = 130
    raise typer.Exit(code)


@app.command()
def plan(
    spec: SpecArgument,
    overrides: SetOption = None,
    nodes: Annotated[int | None, typer.Option(help="simulate the schedule on so many nodes")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of each node")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPUs of each node; default: 8 a GPU, else this machine's")] = None,
    price: Annotated[float | None, typer.Option(help="$ an hour for a node")] = None,
    workers: WorkersOption = None,
    anew: Annotated[bool, typer.Option("--anew", help="simulate as if nothing were done yet")] = False,
    cost: Annotated[
        list[str] | None, typer.Option(help="what a stage of a kind takes, as classifier=2h, where none was recorded")
    ] = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Show the stages of a grid: shared, done, missing, and what the missing ones will cost, also on a cluster."""
    from grid.schedule_view import simulated_workers
    from grid.views import show_plan

    simulated = simulated_workers(nodes, gpus, cpus, price, workers or [], anew=anew)
    show_plan(spec, overrides or [], store_uri=store, as_json=as_json, workers=simulated, anew=anew, stated=cost or [])


@app.command()
def data(spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Look at a spec's datasets: who is private and who public, and which pictures cannot be used and why."""
    from grid.data_report import show_data

    show_data(spec, overrides or [], as_json=as_json)


@app.command()
def status(
    spec: SpecArgument, overrides: SetOption = None, store: StoreOption = STORE, as_json: JsonOption = False
) -> None:
    """Show what is done, failed (with its log), running and missing."""
    from grid.views import show_status

    show_status(spec, overrides or [], store_uri=store, as_json=as_json)


@app.command()
def report(
    spec: SpecArgument,
    overrides: SetOption = None,
    store: StoreOption = STORE,
    records: Annotated[
        Path | None, typer.Option(help="committed records to report from, in place of the store")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="table, markdown, latex, csv or html; to stdout unless --out")
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="write all formats and the pictures into this folder")] = None,
    private: Annotated[
        bool, typer.Option("--private/--no-private", help="private photographs in pictures, beside the inverted ones")
    ] = True,
    export: Annotated[
        Path | None, typer.Option(help="copy the records (no weights, no photographs) into this folder")
    ] = None,
) -> None:
    """Rebuild tables and pictures from records."""
    from grid.commands import report_grid

    code = report_grid(
        spec,
        overrides or [],
        store_uri=store,
        records=records,
        format_=format_,
        out=out,
        private=private,
        export=export,
    )
    raise typer.Exit(code)


@app.command()
def search(
    spec: SpecArgument,
    space: Annotated[str, typer.Option(help="a shipped space (`decoygrid list spaces`), or a file of your own")],
    trials: Annotated[int, typer.Option(help="how many sets of coefficients are tried, those done included")],
    overrides: SetOption = None,
    algorithm: Annotated[str, typer.Option(help="optuna, hyperopt, random or grid")] = "optuna",
    scheduler: Annotated[str, typer.Option(help="asha stops trials that fall behind; none lets all end")] = "asha",
    objectives: Annotated[
        str, typer.Option(help="which of mc_all, mc_target (higher is better), aa_top1, aa_top5 (lower)")
    ] = "mc_all,mc_target,aa_top1,aa_top5",
    max_drop: Annotated[
        float | None, typer.Option("--max-drop", help="points of MC(all) that a trial of the front may lose")
    ] = None,
    pick: Annotated[
        list[str] | None,
        typer.Option(help="knee, max-privacy-at-drop=POINTS or none: what is confirmed; default knee; can be repeated"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the search of this name in the store")] = False,
    concurrency: Annotated[int | None, typer.Option(help="trials at a time; default: one a CPU")] = None,
    name: Annotated[str | None, typer.Option(help="of the search; default SPEC-SPACE")] = None,
    seed: Annotated[int, typer.Option(help="of the algorithm's draws")] = 0,
    seeds: Annotated[int, typer.Option(help="of the spec that trials are measured on, the first so many")] = 1,
    rungs: Annotated[
        str, typer.Option(help="shares of its steps after which a trial is measured; 1: at its end alone")
    ] = "0.25,0.5,1",
    store: StoreOption = STORE,
    tracking: TrackingOption = TRACKING,
    address: Annotated[str, typer.Option(help="Ray cluster: local, auto, or HOST:PORT")] = "local",
    out: Annotated[Path | None, typer.Option(help="folder of the confirmations; default results/NAME")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search the coefficients of a defense by Ray Tune, and confirm what is picked."""
    from grid.search import run_search
    from grid.search_options import SearchOptions

    options = SearchOptions(
        space,
        trials,
        algorithm,
        scheduler,
        objectives,
        max_drop,
        tuple(pick or ["knee"]),
        resume,
        concurrency,
        name,
        seed,
        seeds,
        rungs,
    )
    try:
        code = run_search(
            spec,
            overrides or [],
            options,
            store_uri=store,
            tracking=tracking,
            address=address,
            out=out,
            as_json=as_json,
        )
    except KeyboardInterrupt:
        print("\nstopped; the same command with --resume goes on from here", file=sys.stderr)  # noqa: T201
        code = 130
    raise typer.Exit(code)


@app.command()
def sync(
    spec: SpecArgument,
    overrides: SetOption = None,
    store: StoreOption = STORE,
    tracking: TrackingOption = TRACKING,
    log_private_images: Annotated[
        bool, typer.Option("--log-private-images", help="let private photographs into MLflow")
    ] = False,
) -> None:
    """Rebuild the MLflow view of a grid from the store."""
    from grid.commands import sync_grid

    raise typer.Exit(
        sync_grid(spec, overrides or [], store_uri=store, tracking=tracking, private_images=log_private_images)
    )


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="a stage's key, or its unambiguous beginning")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Show one artifact: config, metrics, files, upstream."""
    from grid.views import show_artifact

    show_artifact(key, store_uri=store, as_json=as_json)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="attacks, defenses, gans, datasets, metrics, spaces, budgets or specs")],
    as_json: JsonOption = False,
) -> None:
    """List what can stand in a spec, with every setting."""
    from grid.listing import show_list

    show_list(what, as_json=as_json)


add_to(app)


def _complain(problems: Sequence[Problem]) -> None:
    word = "problem" if len(problems) == 1 else "problems"
    print(f"decoygrid: {len(problems)} {word}", file=sys.stderr)  # noqa: T201
    for problem in problems:
        print(f"  {problem.place}: {problem.message}", file=sys.stderr)  # noqa: T201


def emit_json(content: Any) -> None:
    """Write JSON to stdout, alone."""
    json.dump(content, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
