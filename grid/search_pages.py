"""What `report` and `sync` do with a spec's searches: pages, links, confirming grids, committed records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.export import export_records, export_stages
from grid.places import document_name
from grid.problems import SpecError
from grid.search_record import forget_before, search_document_name, searches_of
from grid.store import Store

if TYPE_CHECKING:
    from analysis.search_links import SearchLink

Document = Mapping[str, Any]
BACK = ".."  # a search's pages lie in a folder below its spec's report


def readable_searches(store: Store, experiment: str, said: Callable[[str], None]) -> list[dict[str, Any]]:
    """The records of a spec's searches that can be read; what is wrong with another one goes to `said`."""
    from analysis.search_record import read_search

    found = []
    for document in searches_of(store, experiment):
        try:
            read_search(document)
        except SpecError as error:
            wrong = "; ".join(f"{problem.place}: {problem.message}" for problem in error.problems)
            said(f"search {document.get('name')}: left out, its record in the store is damaged: {wrong}")
        else:
            found.append(document)
    return found


def report_search(document: Document, folder: Path, back: str | None = None) -> dict[str, Path]:
    """Tables, pictures and page of a search, from its record; `back` leads to its spec's report, if it is there."""
    from analysis.search_report import write_search_report

    return write_search_report(document, folder, back)


def report_confirmations(searches: Sequence[Document], store: Store, out: Path, *, private: bool) -> dict[str, Path]:
    """The reports of the grids that confirm, each below its search's folder; without those that the store lacks."""
    from analysis.report import write_report

    files: dict[str, Path] = {}
    for search in searches:
        for grid in confirming_grids(search, store):
            own = write_report(grid, store, out / str(search["name"]) / str(grid["name"]), private=private)
            files |= {f"{grid['name']} {name}": path for name, path in own.items()}
    return files


def report_pages(searches: Sequence[Document], out: Path) -> dict[str, Path]:
    """The pages of the searches, each in a folder below `out`, where its spec's report is; one more for several."""
    from analysis.searches_page import write_searches_page

    files: dict[str, Path] = {}
    for search in searches:
        own = report_search(search, out / str(search["name"]), BACK)
        files |= {f"{search['name']} {name}": path for name, path in own.items()}
    return files | write_searches_page(searches, out)


def links_of(searches: Sequence[Document], out: Path | None = None) -> list[SearchLink]:
    """A line a search, for its spec's report in `out`; without a folder there is nothing to link."""
    from analysis.search_links import search_link
    from analysis.search_record import read_search

    return [search_link(read_search(search), out) for search in searches]


def export_searches(searches: Sequence[Document], store: Store, folder: Path) -> int:
    """Copy the records of searches: their documents, what they name of the store, and the grids that confirm.

    Of the stages: the victim, the judge and the GAN that all trials met, and the fine-tunes of the picked trials.
    Those of the other trials are in the document, curve by curve. Returns the number of records.
    """
    from analysis.figure2 import shown_images

    count = 0
    for search in searches:
        count += export_stages(_named(search), store, folder)
        for grid in confirming_grids(search, store):
            name = document_name(str(grid["name"]))
            count += export_records(grid, name, store, folder, shown_images(grid, store))
        target = Store(str(folder))
        target.write_document(search_document_name(str(search["name"])), search)
        forget_before(target, str(search["name"]))
    return count


def confirming_grids(search: Document, store: Store) -> Iterator[dict[str, Any]]:
    """The documents of the grids that confirm a search's picks, as far as they are in the store."""
    for name in dict.fromkeys(pick["grid"] for pick in search["picks"] if pick.get("grid")):
        if (document := store.read_document(document_name(str(name)))) is not None:
            yield {key: value for key, value in document.items() if key != "written"}


def _named(search: Document) -> list[str]:
    measured, picked = search.get("measured_by", {}), {pick["trial"] for pick in search["picks"]}
    keys = [key for name in ("victims", "second_evaluators", "gans") for key in measured.get(name, [])]
    return [*keys, *(key for trial in search["trials"] if trial["id"] in picked for key in trial["artifacts"].values())]
