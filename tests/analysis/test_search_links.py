"""From a spec's report to its searches and their confirmations and back; and all of it again from exported records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from analysis.search_links import links_html, links_markdown, links_plain, search_link
from analysis.search_record import read_search
from grid.commands import report_grid
from grid.places import document_name
from grid.search_record import search_document_name
from grid.store import Store
from tests.analysis import search_lab

SPEC, NAME = "orl_demo", "orl_search-finetune"
CONFIRMING = f"{NAME}.knee"
GAN = "wgan-of-the-search"  # which no grid has


@pytest.fixture(scope="module")
def search() -> dict[str, Any]:
    """Two picks; the store has the confirming grid of one."""
    made = search_lab.record(24) | {"experiment": SPEC, "spec": {"name": SPEC}}
    for pick in made["picks"]:
        pick["grid"] = f"{NAME}.{pick['pick'].replace('=', '-')}"
    made["measured_by"]["gans"] = [GAN]
    return made


@pytest.fixture
def searched(document: dict[str, Any], store: Store, search: dict[str, Any], tmp_path: Path) -> Store:
    (Path(store.location) / "gmi-gan_id+replay5" / "failed.json").unlink()  # which no export has
    document["stages"] = {key: {"kind": key.split("-")[0], "group": "attack", "name": key} for key in store.records()}
    (tmp_path / "empty").mkdir()
    store.finish(GAN, "attempt", tmp_path / "empty", {"kind": "wgan", "metrics": {}, "seconds": 1.0})
    store.write_document(document_name(SPEC), {**document, "name": SPEC})
    store.write_document(document_name(CONFIRMING), {**document, "name": CONFIRMING})
    store.write_document(search_document_name(NAME), search)
    return store


def report(records: Path | str, **places: Path) -> None:
    chosen: dict[str, Any] = {"out": None, "export": None, **places}
    code = report_grid(SPEC, [], store_uri="", records=Path(records), format_="table", private=False, **chosen)
    assert code == 0


def links(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)]+)\)" if page.suffix == ".md" else r'(?:href|src)="([^"]+)"', text)
    return [place for place in found if not place.startswith("data:")]


def test_every_link_leads_to_a_page_and_back(searched: Store, tmp_path: Path) -> None:
    """Relative, so that they work below file:// and in a repository; no page names what was not written."""
    report(searched.location, out=(out := tmp_path / "out"))
    pages = {path: links(path) for path in out.rglob("*") if path.suffix in (".md", ".html")}
    for page, places in pages.items():
        for place in places:
            assert (page.parent / unquote(place)).exists(), f"{page}: {place}"
            assert page.suffix == Path(place).suffix or place.endswith(".png"), "one form does not lead to the other"
    for top, mine, confirmed in (
        ("report.html", "search.html", "report.html"),
        ("table.md", "search.md", "table.md"),
    ):
        assert f"{NAME}/{mine}" in pages[out / top]
        assert f"{NAME}/{CONFIRMING}/{confirmed}" in pages[out / top]
        own = pages[out / NAME / mine]
        assert f"../{top}" in own
        assert f"{CONFIRMING}/{confirmed}" in own
        assert not [place for place in own if "max-privacy" in place], "that grid is not in the store"


def test_pages_are_rebuilt_from_exported_records(searched: Store, tmp_path: Path) -> None:
    """Byte for byte: tables, pages and pictures of the search, and the confirmation's table."""
    report(searched.location, out=(first := tmp_path / "first"))
    report(searched.location, export=(records := tmp_path / "records"))
    assert {path.suffix for path in records.rglob("*") if path.is_file()} == {".json", ".parquet"}
    assert (records / GAN / "done.json").exists(), "what all trials met is among the records"
    report(records, out=(second := tmp_path / "second"))
    names = {path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file()}
    mine = {name for name in names if name.startswith(f"{NAME}/") and "/" not in name.removeprefix(f"{NAME}/")}
    shown = ("pareto.png", "parallel_coordinates.png", "contour.png")
    assert {f"{NAME}/{name}" for name in ("search.md", "search.html", "trials.csv", *shown)} <= mine
    texts = {name for name in names if name.endswith((".md", ".csv", ".tex"))}
    assert f"{NAME}/{CONFIRMING}/table.md" in texts
    for name in sorted(mine | texts):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name


def test_a_spec_that_was_searched_and_not_run_has_no_empty_table(searched: Store, tmp_path: Path) -> None:
    document = searched.read_document(document_name(SPEC))
    assert document is not None
    for row in document["rows"]:
        for cell in row["cells"]:
            cell["evaluate"] = cell["accuracy"] = "evaluate-0"
    searched.write_document(document_name(SPEC), document)
    report(searched.location, out=tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert text.startswith("- The spec was searched; none of the cells of its own grid has run")
    assert "### Searches" in text
    assert "not run (" not in text


def test_a_line_says_what_a_search_found(search: dict[str, Any]) -> None:
    link = search_link(read_search(search))
    pick, metrics = search["picks"][0], search["picks"][0]["search"]
    assert link.found.startswith("24 trials (")
    assert f"{pick['pick']} ({pick['trial']}): searched AA top-1 {100 * metrics['aa_top1']:.1f}%" in link.found
    assert f"confirmed AA top-1 {100 * pick['confirmed']['aa_top1']:.1f}% [" in link.found
    assert (links_markdown([]), links_html([]), links_plain([])) == ("", "", [])
    assert "](" not in links_markdown([link]), "no page, no link"
    hostile = link._replace(name="<b>&*x*", folder="<b>&*x*")
    assert "<b>" not in links_html([hostile])
    assert "\\<b>&\\*x\\*" in links_markdown([hostile])
