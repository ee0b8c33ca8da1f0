"""What `run`, `report` and `sync` do, put together from plan, store, executor, mirror and analysis."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from grid.cli import emit_json
from grid.execution import run_missing
from grid.expand import expand
from grid.export import export_records
from grid.plan import Plan
from grid.problems import Problem, SpecError, choices
from grid.reconcile import Result, missing_stages
from grid.search_record import search_document_name, searches_of
from grid.spec import Spec
from grid.spec_parser import load_spec
from grid.store import Store, StoreError

if TYPE_CHECKING:
    from grid.mirror_background import Mirror

Document = Mapping[str, Any]


SENT = ("created", "updated", "unchanged", "removed")  # what a sync counts
FORMATS = ("table", "markdown", "latex", "csv", "html")


def run_grid(
    spec_path: str,
    overrides: Sequence[str],
    *,
    store_uri: str,
    tracking: str,
    address: str,
    in_process: bool,
    out: Path | None,
    private_images: bool,
    as_json: bool,
) -> int:
    """Run what is missing; 0 if all is done, 1 if something failed."""
    say = console(stderr=as_json)
    spec = load_spec(spec_path, overrides)
    store = open_store(store_uri)
    done = run_spec(spec, store, tracking, address, in_process, out, private_images, say)
    if as_json and done is not None:
        emit_json(done.content())
    return 0 if done is not None and done.result.complete else 1


class GridRun(NamedTuple):
    """How a grid ended: its stages, the lines of its table, and the files of its report."""

    plan: Plan
    result: Result
    rows: list[dict[str, Any]]
    files: Mapping[str, Path]

    def content(self) -> dict[str, Any]:
        """For `--json`."""
        result = self.result
        return {
            "spec": self.plan.name,
            "complete": result.complete,
            "rows": self.rows,
            "stages": {
                "total": result.total,
                "reused": result.reused,
                "computed": sorted(set(result.computed)),
            },
            "failed": result.failed,
            "blocked": result.blocked,
            "repaired": result.repaired,
            "files": {name: str(path) for name, path in self.files.items()},
        }


def run_spec(
    spec: Spec,
    store: Store,
    tracking: str,
    address: str,
    in_process: bool,
    out: Path | None,
    private_images: bool,
    say: Console,
) -> GridRun | None:
    """Run what is missing of a grid and report it; None if what runs stages was lost on the way."""
    plan = expand(spec)
    folder = out or Path("results") / plan.name
    check_folder(folder)
    document = {**plan.document(), "written": time.time()}
    if _without_time(store.read_document(document_name(plan.name)) or {}) != _without_time(document):
        store.write_document(document_name(plan.name), document)
    check_tracking(tracking)
    missing, damaged, _ = missing_stages(plan, store, verify=True)
    result = Result(len(plan.stages()), len(plan.stages()) - len(missing))
    mirror = _mirror(document, store, tracking, private_images)
    if missing:
        found = run_missing(plan, spec, store, address, in_process, missing, damaged, say, mirror)
        if found is None:
            return None
        result = found
    return _finish(plan, store, result, mirror, folder, say)


def report_grid(
    spec_path: str,
    overrides: Sequence[str],
    *,
    store_uri: str,
    records: Path | None,
    format_: str,
    out: Path | None,
    private: bool,
    export: Path | None,
) -> int:
    """Tables and pictures from the store, or from committed records."""
    from analysis.figure2 import shown_images
    from analysis.report import read_report, render, write_report
    from analysis.terminal import terminal

    if format_ not in FORMATS:
        raise SpecError([Problem("--format", choices(format_, FORMATS, what="format"))])
    spec = load_spec(spec_path, overrides, look=records is None)
    if records is not None and not records.is_dir():
        raise SpecError([Problem("--records", f"no folder {str(records)!r}")])
    store = open_store(str(records) if records is not None else store_uri, writable=False)
    document = store.read_document(document_name(spec.name)) if records is not None else expand(spec).document()
    if document is None:
        raise SpecError(
            [
                Problem(
                    "--records",
                    f"{records} holds no records of {spec.name!r} (no {document_name(spec.name)})",
                )
            ]
        )
    if "paper" in spec.source.content:  # how it is shown, not what ran: the spec's word counts, not the records'
        document = {**document, "spec": {**document.get("spec", {}), "paper": spec.source.content["paper"]}}
    say = console()
    for folder in (out, export):
        if folder is not None:
            check_folder(folder)
    if export is not None:
        count = export_records(document, document_name(spec.name), store, export, shown_images(document, store))
        for search in searches_of(store, spec.name):
            Store(str(export)).write_document(search_document_name(search["name"]), search)
        say.print(f"{count} records: {export}", markup=False, soft_wrap=True)
        return 0
    report = read_report(document, store)
    if out is not None:
        files = write_report(document, store, out, private=private)
        for search in searches_of(store, spec.name):
            own = report_search(search, out / str(search["name"]))
            files |= {f"{search['name']} {name}": path for name, path in own.items()}
        for name, path in files.items():
            say.print(f"{name}: {path}", markup=False, soft_wrap=True)
    elif format_ == "table":
        say.print(terminal(report.rows, report.remarks, report.failures, width=say.width, papers=report.papers))
    else:
        sys.stdout.write(render(document, store, format_, private=private))
    return 0


def report_search(document: Document, folder: Path) -> dict[str, Path]:
    """Tables, pictures and page of a search, from its record."""
    from analysis.search_report import write_search_report

    return write_search_report(document, folder)


def sync_grid(spec_path: str, overrides: Sequence[str], *, store_uri: str, tracking: str, private_images: bool) -> int:
    """Rebuild the MLflow view of a grid; 0 if it is complete, 1 if the server could not be reached."""
    from analysis.report import read_report, write_report
    from grid.mirror import sync
    from grid.mirror_place import TrackingError
    from grid.mirror_search import sync_search

    document = expand(load_spec(spec_path, overrides)).document()
    store = open_store(store_uri, writable=False)
    if tracking == "none":
        raise SpecError([Problem("--tracking none", "there is nothing to sync to")])
    rows = [asdict(row) for row in read_report(document, store).rows]
    try:
        with tempfile.TemporaryDirectory(prefix="decoygrid-") as folder:
            files = write_report(document, store, Path(folder), private=private_images)
            done = sync(
                document,
                store,
                absolute(tracking),
                rows=rows,
                attachments=files,
                private_images=private_images,
            )
        for search in searches_of(store, document["name"]):
            found = sync_search(search, absolute(tracking))
            done = replace(done, **{name: getattr(done, name) + getattr(found, name) for name in SENT})
    except TrackingError as error:
        print(f"decoygrid: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(  # noqa: T201
        f"MLflow at {tracking}: {done.created} runs created, {done.updated} updated, "
        f"{done.unchanged} unchanged, {done.removed} removed"
    )
    return 0


def check_folder(folder: Path) -> None:
    """SpecError (exit 2) unless files can be written into the folder, before anything is computed for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SpecError([Problem(f"--out {folder}", f"cannot be written: {error.strerror or error}")]) from error


def open_store(uri: str, *, writable: bool = True) -> Store:
    """The store; SpecError (exit 2) if it is not usable."""
    try:
        store = Store(uri)
        if writable:
            store.check_writable()
        else:
            store.check_readable()
    except StoreError as error:
        place, _, message = str(error).partition(": ")
        raise SpecError([Problem(place, message)]) from error
    return store


def console(*, stderr: bool = False) -> Console:
    """A terminal as wide as it is; elsewhere (a pipe, a log) wide enough for every column."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def document_name(grid: str) -> str:
    """Where a grid's rows and cells are kept in a store."""
    return f"grids/{grid}.json"


def _without_time(document: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({key: value for key, value in document.items() if key != "written"}))  # type: ignore[no-any-return]


def _mirror(document: Document, store: Store, tracking: str, private_images: bool) -> Mirror | None:
    """The owner of the grid's MLflow runs, or None for `--tracking none`."""
    from grid.mirror_background import Mirror

    if tracking == "none":
        return None

    def rows() -> list[dict[str, Any]]:
        from analysis.report import read_report

        return [asdict(row) for row in read_report(document, store).rows]

    folder = tempfile.TemporaryDirectory(prefix="decoygrid-")

    def attachments() -> dict[str, Path]:
        from analysis.report import write_report

        return write_report(document, store, Path(folder.name), private=private_images)

    return Mirror(
        lambda: document,
        store,
        absolute(tracking),
        rows,
        attachments=attachments,
        private_images=private_images,
    )


def check_tracking(tracking: str) -> None:
    """SpecError (exit 2) for a place that can never be; a server that is only away is met at the end."""
    from grid.mirror_place import TrackingError, check_place

    if tracking == "none" or tracking.startswith(("http://", "https://")):
        return
    try:
        check_place(absolute(tracking))
    except TrackingError as error:
        raise SpecError([Problem(f"--tracking {tracking}", f"{error.reason}; or use `none`")]) from error


def absolute(tracking: str) -> str:
    """A tracking URI whose SQLite path does not depend on the current folder."""
    prefix = "sqlite:///"
    return prefix + str(Path(tracking.removeprefix(prefix)).resolve()) if tracking.startswith(prefix) else tracking


def _finish(
    plan: Plan,
    store: Store,
    result: Result,
    mirror: Mirror | None,
    folder: Path,
    say: Console,
) -> GridRun:
    """Write the report, wait for MLflow, and say how it went."""
    from analysis.report import read_report, write_report
    from analysis.terminal import terminal

    document = plan.document()
    report = read_report(document, store)
    files = write_report(document, store, folder)
    say.print(terminal(report.rows, report.remarks, report.failures, width=say.width, papers=report.papers))
    for name, path in files.items():
        if name.endswith(".png"):
            say.print(f"picture: {path}", markup=False, soft_wrap=True)
    say.print(f"tables and page: {folder}", markup=False, soft_wrap=True)
    if mirror is not None and (problem := mirror.close()):
        say.print(f"MLflow does not show this grid yet: {problem}", markup=False, style="yellow", soft_wrap=True)
    reused = f"{result.reused} of {result.total} stages were there already"
    say.print(
        f"{reused}, {len(set(result.computed))} computed, {len(result.failed)} failed, {len(result.blocked)} blocked"
    )
    for key, error in result.failed.items():
        place = store.failure_place(key)
        say.print(
            f"FAILED {plan.names[key]} ({key}): {error}\n  log: {place}",
            markup=False,
            style="red",
            soft_wrap=True,
        )
    for key, cause in result.blocked.items():
        say.print(f"blocked {plan.names[key]} ({key}) by {cause}", markup=False, style="red", soft_wrap=True)
    return GridRun(plan, result, [asdict(row) for row in report.rows], files)
