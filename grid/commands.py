"""What `run`, `report` and `sync` do, put together from plan, store, executor, mirror and analysis."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from grid.cli import emit_json
from grid.data_report import data_lines
from grid.execution import run_missing
from grid.expand import expand
from grid.export import export_records
from grid.outcome import outcome, say_outcome
from grid.places import absolute, check_folder, check_tracking, console, document_name, open_store
from grid.plan import Plan
from grid.problems import Problem, SpecError, choices
from grid.reconcile import Result, missing_stages
from grid.search_pages import (
    export_searches,
    links_of,
    readable_searches,
    report_confirmations,
    report_pages,
    report_search,
)
from grid.search_record import held_by_search
from grid.spec import Spec
from grid.spec_parser import load_spec
from grid.store import Store

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
        files = {name: str(path) for name, path in self.files.items()}
        return {"spec": self.plan.name, "rows": self.rows, "files": files, **outcome(self.result)}


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
    _check_place(plan.name, store)
    document = {**plan.document(), "written": time.time()}
    if _without_time(store.read_document(document_name(plan.name)) or {}) != _without_time(document):
        store.write_document(document_name(plan.name), document)
    check_tracking(tracking)
    for line in data_lines(plan.findings):
        say.print(line, markup=False, style="yellow", soft_wrap=True)
    missing, damaged, done = missing_stages(plan, store, verify=True)
    result = Result(len(plan.stages()), len(plan.stages()) - len(missing))
    mirror = _mirror(document, store, tracking, private_images)
    if missing:
        found = run_missing(plan, spec, store, address, in_process, missing, damaged, say, mirror, done)
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
    from analysis.terminal import report_terminal

    if format_ not in FORMATS:
        raise SpecError([Problem("--format", choices(format_, FORMATS, what="format"))])
    spec = load_spec(spec_path, overrides, look=records is None)
    document, store = _to_report(spec, store_uri, records)
    say = console()
    for folder in (out, export):
        if folder is not None:
            check_folder(folder)
    searches = readable_searches(store, spec.name, partial(_warn, console(stderr=True)))
    if export is not None:
        count = export_records(document, document_name(spec.name), store, export, shown_images(document, store))
        count += export_searches(searches, store, export)
        say.print(f"{count} records: {export}", markup=False, soft_wrap=True)
        return 0
    if out is not None:
        files = report_confirmations(searches, store, out, private=private)
        files = {**write_report(document, store, out, private=private, searches=links_of(searches, out)), **files}
        files |= report_pages(searches, out)
        for name, path in files.items():
            say.print(f"{name}: {path}", markup=False, soft_wrap=True)
    elif format_ == "table":
        say.print(report_terminal(read_report(document, store, links_of(searches)), say.width))
    else:
        sys.stdout.write(render(document, store, format_, private=private, searches=links_of(searches)))
    return 0


def _to_report(spec: Spec, store_uri: str, records: Path | None) -> tuple[Document, Store]:
    """The grid's document and where its records are: a store, or a folder of committed records."""
    if records is None:
        store = open_store(store_uri, writable=False)
        return expand(spec).document(), store
    if not records.is_dir():
        raise SpecError([Problem("--records", f"no folder {str(records)!r}")])
    store, name = open_store(str(records), writable=False), document_name(spec.name)
    document = store.read_document(name)
    if document is None:
        raise SpecError([Problem("--records", f"{records} holds no records of {spec.name!r} (no {name})")])
    if "paper" in spec.source.content:  # how it is shown, not what ran: the spec's word counts, not the records'
        document = {**document, "spec": {**document.get("spec", {}), "paper": spec.source.content["paper"]}}
    return document, store


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
        for search in readable_searches(store, document["name"], partial(_warn, console(stderr=True))):
            with tempfile.TemporaryDirectory(prefix="decoygrid-") as folder:
                files = report_search(search, Path(folder))
                found = sync_search(search, absolute(tracking), attachments=files)
            done = replace(done, **{name: getattr(done, name) + getattr(found, name) for name in SENT})
    except TrackingError as error:
        print(f"decoygrid: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(  # noqa: T201
        f"MLflow at {tracking}: {done.created} runs created, {done.updated} updated, "
        f"{done.unchanged} unchanged, {done.removed} removed"
    )
    return 0


def _warn(say: Console, text: str) -> None:
    say.print(text, markup=False, style="yellow", soft_wrap=True)


def _check_place(name: str, store: Store) -> None:
    """SpecError for a grid whose document would overwrite a search's record that an earlier version put there."""
    if (search := held_by_search(store, document_name(name))) is not None:
        text = f"{name!r} would overwrite the record of the search {search!r}, which an earlier version put where "
        text += "this grid's goes; `decoygrid search ... --resume` moves it, or give the spec another name"
        raise SpecError([Problem("name", text)])


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


def _finish(plan: Plan, store: Store, result: Result, mirror: Mirror | None, folder: Path, say: Console) -> GridRun:
    """Write the report, wait for MLflow, and say how it went."""
    from analysis.report import read_report, write_report
    from analysis.terminal import report_terminal

    document = plan.document()
    links = links_of(readable_searches(store, plan.name, partial(_warn, say)))
    report = read_report(document, store, links)
    files = write_report(document, store, folder, searches=links)
    say.print(report_terminal(report, say.width))
    for name, path in files.items():
        if name.endswith(".png"):
            say.print(f"picture: {path}", markup=False, soft_wrap=True)
    say.print(f"tables and page: {folder}", markup=False, soft_wrap=True)
    if mirror is not None and (problem := mirror.close()):
        say.print(f"MLflow does not show this grid yet: {problem}", markup=False, style="yellow", soft_wrap=True)
    say_outcome(say, plan, store, result)
    return GridRun(plan, result, [asdict(row) for row in report.rows], files)
