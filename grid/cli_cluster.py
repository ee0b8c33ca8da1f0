"""Commands for clusters: `submit`, `jobs`, `doctor`. grid.cli adds them to its own."""

from __future__ import annotations

from typing import Annotated

import typer

Dashboard = Annotated[
    str, typer.Option(envvar="DECOYGRID_DASHBOARD", help="the cluster's dashboard, http://HOST:8265 (`ray dashboard`)")
]
Json = Annotated[bool, typer.Option("--json", help="JSON to stdout, and nothing else there")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (submit, jobs, doctor):
        app.command()(command)


def submit(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="a YAML file, or the name of a shipped spec")],
    address: Dashboard,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change one value of the spec")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(envvar="DECOYGRID_STORE", help="URI, or a folder that all nodes share; default: what they name"),
    ] = None,
    tracking: Annotated[
        str | None,
        typer.Option(envvar="DECOYGRID_TRACKING", help="MLflow server, or `none`; default: what the nodes name"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="print its log until it ends, and exit as it does")] = False,
    as_json: Json = False,
) -> None:
    """Run a grid as a job of a Ray cluster. This code, the spec and its weights travel; photographs do not."""
    from grid.submit import submit_grid

    code = submit_grid(
        spec,
        overrides or [],
        address=address,
        store_uri=store,
        tracking=tracking,
        follow=follow,
        as_json=as_json,
    )
    raise typer.Exit(code)


def jobs(
    address: Dashboard,
    job: Annotated[str | None, typer.Argument(metavar="[ID]", help="one job; without it all are listed")] = None,
    logs: Annotated[bool, typer.Option("--logs", help="print its log")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="print its log until it ends, and exit as it does")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="end it; what is done is stored")] = False,
    as_json: Json = False,
) -> None:
    """List the jobs of a Ray cluster, or show one: its state, its log; or stop it."""
    from grid.submit import show_jobs

    raise typer.Exit(show_jobs(job, address=address, logs=logs, follow=follow, stop=stop, as_json=as_json))


def doctor(
    address: Annotated[
        str | None,
        typer.Option(help="a cluster: http://HOST:8265, HOST:6379 or auto; local: a Ray of this machine's own"),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", envvar="DECOYGRID_STORE", help="folder or URI that every node must write")
    ] = None,
    tracking: Annotated[
        str | None, typer.Option("--tracking", envvar="DECOYGRID_TRACKING", help="MLflow tracking URI, or `none`")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine, or every node of a cluster: versions, GPUs, store, MLflow, clocks, disk. 1 for an error."""
    from grid.doctor import run_doctor

    raise typer.Exit(run_doctor(address, store_uri=store, tracking=tracking, as_json=as_json))
