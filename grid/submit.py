"""`decoygrid submit` and `decoygrid jobs`: grids as jobs of a cluster, from anywhere."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from grid.bundle import make_bundle
from grid.cli import emit_json
from grid.job_server import Job, JobServer, JobServerAwayError
from grid.places import console
from grid.problems import Problem, SpecError
from grid.runner import REVISION, git_revision
from grid.spec_parser import load_spec
from grid.store_address import StoreError, parse_address

PATIENCE = 120.0  # seconds without an answer after which following a job is given up
POLL = 2.0
NO_STORE = "no store is named: submit with --store, or set DECOYGRID_STORE on the nodes"


def submit_grid(
    spec_path: str,
    overrides: Sequence[str],
    *,
    address: str,
    store_uri: str | None,
    tracking: str | None,
    follow: bool,
    as_json: bool,
) -> int:
    """Run a grid as a job of a cluster: 0 once it is there, or with `follow` what the grid itself ends with."""
    spec = load_spec(spec_path, overrides, look=False)  # the data and weights may be on the cluster
    problems = [*_store_problems(store_uri), *_tracking_problems(tracking)]
    if problems:
        raise SpecError(problems)
    bundle = make_bundle(spec)
    server = JobServer(address)
    say = console(stderr=True)
    for path in bundle.left:
        say.print(f"looked for on the cluster's nodes: {path}", markup=False, soft_wrap=True)
    metadata = {"decoygrid": spec.name, "store": store_uri or ""}
    twins = [job.id for job in server.jobs() if not job.over and job.metadata.get("decoygrid") == spec.name]
    if twins:
        text = f"{', '.join(twins)} runs a grid of this name; with the same store each finds what the other has done"
        say.print(text, markup=False, soft_wrap=True)
    environment = {REVISION: revision} if (revision := git_revision()) else {}
    name = server.submit(entrypoint(bundle.spec, store_uri, tracking), bundle.data, metadata, environment)
    if follow:
        say.print(f"job {name}", markup=False)
        return follow_job(server, name)
    if as_json:
        emit_json({"job": name, "address": server.address, "spec": spec.name})
    else:
        print(name)  # noqa: T201
        say.print(f"follow it: decoygrid jobs {name} --logs --follow --address {server.address}", markup=False)
    return 0


def entrypoint(spec: str, store_uri: str | None, tracking: str | None) -> str:
    """The job's shell command. A place that is not named here is the one that the nodes name, or an error there."""
    store = shlex.quote(store_uri) if store_uri is not None else f'"${{DECOYGRID_STORE:?{NO_STORE}}}"'
    mirror = shlex.quote(tracking) if tracking is not None else '"${DECOYGRID_TRACKING:-none}"'
    return f"exec python -m grid run {shlex.quote(spec)} --address auto --store {store} --tracking {mirror}"


def follow_job(server: JobServer, name: str) -> int:
    """Print a job's log as it grows; returns the exit code of what it ran, 1 if it was stopped or lost."""
    try:
        for text in _growing_log(server, name):
            sys.stdout.write(text)
            sys.stdout.flush()
        job = server.job(name)
    except KeyboardInterrupt:
        print(f"\nthe job goes on; decoygrid jobs {name} --stop ends it", file=sys.stderr)  # noqa: T201
        return 130
    except JobServerAwayError as error:
        print(f"decoygrid: {error}; the job goes on if the cluster does", file=sys.stderr)  # noqa: T201
        return 1
    if job.status == "SUCCEEDED":
        return 0
    print(f"decoygrid: job {name}: {job.status.lower()}: {job.message}".splitlines()[0], file=sys.stderr)  # noqa: T201
    return job.exit_code if job.exit_code in (1, 2) else 1


def _growing_log(server: JobServer, name: str) -> Iterator[str]:
    """What is added to the log until the job has ended. A server that is away is asked again for a while."""
    seen, answered = 0, time.monotonic()
    while True:
        try:
            over = server.job(name).over  # asked first: what it printed last is then in the log
            log = server.logs(name)
            answered = time.monotonic()
        except JobServerAwayError:
            if time.monotonic() - answered > PATIENCE:
                raise
            over, log = False, ""
        if len(log) > seen:
            yield log[seen:]
            seen = len(log)
        if over:
            return
        time.sleep(POLL)


def show_jobs(name: str | None, *, address: str, logs: bool, follow: bool, stop: bool, as_json: bool) -> int:
    """List a cluster's jobs, or show one, print its log, or stop it. 1 if the job shown has failed or was stopped."""
    if name is None and (logs or follow or stop):
        raise SpecError([Problem("jobs", "--logs, --follow and --stop need the ID of a job")])
    server = JobServer(address)
    if name is None:
        _list(server.jobs(), as_json)
        return 0
    if stop:
        ended = server.stop(name)
        text = "is being stopped; what is done is stored" if ended else f"had ended: {server.job(name).status.lower()}"
        print(f"job {name} {text}")  # noqa: T201
        return 0
    if follow:
        return follow_job(server, name)
    if logs:
        sys.stdout.write(server.logs(name))
        return 0
    job = server.job(name)
    if as_json:
        emit_json(_content(job))
    else:
        say = console()
        for key, value in _content(job).items():
            if value not in (None, "", {}):
                say.print(f"{key}: {value}", markup=False, soft_wrap=True)
    return 1 if job.status in ("FAILED", "STOPPED") else 0


def _list(jobs: Sequence[Job], as_json: bool) -> None:
    if as_json:
        emit_json([_content(job) for job in jobs])
        return
    table = Table(box=None, padding=(0, 2))
    for name in ("job", "grid", "state", "started", "minutes"):
        table.add_column(name)
    for job in jobs:
        minutes = f"{((job.ended or time.time()) - job.started) / 60:.1f}" if job.started else ""
        row = (job.id, job.metadata.get("decoygrid", ""), job.status.lower(), _clock(job.started), minutes)
        table.add_row(*(Text(cell) for cell in row))
    console().print(table if jobs else "no jobs yet")


def _content(job: Job) -> dict[str, Any]:
    found = job._asdict()
    return {**found, "status": job.status.lower(), "metadata": dict(job.metadata)}


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _store_problems(uri: str | None) -> list[Problem]:
    """A store that means another place on the cluster than here."""
    if uri is None:
        return []
    path = uri.removeprefix("file://") if uri.startswith("file://") or "://" not in uri else None
    if not uri.strip() or (path is not None and not path.startswith("/")):
        text = "means a folder of this machine, and the job runs on the cluster, in a copy that goes when it ends; "
        text += "give a URI (s3://BUCKET/FOLDER, gs://...) or the absolute path of a folder that all nodes share"
        return [Problem(f"--store {uri}", text)]
    try:
        parse_address(uri)
    except StoreError as error:
        place, _, message = str(error).partition(": ")
        return [Problem(place, message)]
    return []


def _tracking_problems(uri: str | None) -> list[Problem]:
    if (
        uri is None
        or uri == "none"
        or ("://" in uri and not uri.startswith("sqlite:"))
        or uri.startswith("sqlite:////")
    ):
        return []
    text = "means a file of this machine, and the job runs on the cluster; give the address of a server "
    return [Problem(f"--tracking {uri}", f"{text}(http://HOST:5000), sqlite:////ABSOLUTE/PATH on the head, or none")]
