"""The way from a grid's report to the pages of its searches and their confirmations, and back. Relative links only.

They work from a folder of files as from a repository: pages in Markdown link Markdown, pages in HTML link HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from analysis.formats import escape_markdown
from analysis.search_parts import STATES, Metrics, Search
from analysis.wording import interval, percent

Suffix = Literal[".md", ".html"]
GRID_PAGE: dict[Suffix, str] = {".md": "table.md", ".html": "report.html"}
SEARCH_PAGE: dict[Suffix, str] = {".md": "search.md", ".html": "search.html"}
_SHOWN = {"aa_top1": "AA top-1", "mc_all": "MC all"}


class SearchLink(NamedTuple):
    """A search in its spec's report: what it found, in a line, and the grids whose reports lie below its folder.

    folder: of its pages, relative to the report's; None where there are none. confirmations: (pick, grid).
    """

    name: str
    found: str
    folder: str | None = None
    confirmations: tuple[tuple[str, str], ...] = ()


class Around(NamedTuple):
    """What lies around a search's page: the folder of its spec's report, relative to it, and grids that confirm."""

    back: str | None = None
    confirmed: tuple[str, ...] = ()


def search_link(search: Search, out: Path | None = None) -> SearchLink:
    """The link of a search; `out`: the folder of the spec's report, below which the search's pages lie."""
    if out is None:
        return SearchLink(search.name, found(search))
    around = around_page(search, out / search.name)
    picks = tuple((pick.name, pick.grid) for pick in search.picks if pick.grid and pick.grid in around.confirmed)
    return SearchLink(search.name, found(search), search.name, picks)


def around_page(search: Search, folder: Path, back: str | None = None) -> Around:
    """What there is around a search's pages in `folder`: only files that are there are linked."""
    grids = dict.fromkeys(pick.grid for pick in search.picks if pick.grid)
    confirmed = tuple(grid for grid in grids if (folder / grid / GRID_PAGE[".html"]).exists())
    return Around(back if back is not None and (folder / back / GRID_PAGE[".html"]).exists() else None, confirmed)


def found(search: Search) -> str:
    """What a search found, in a line: its trials, its front, and what each pick was worth, confirmed if it was."""
    states = [f"{count} {state}" for state in STATES if (count := len(search.by_state(state)))]
    parts = [f"{len(search.trials)} trials ({', '.join(states)}), {len(search.front)} on the front"]
    outcomes = [("undefended", search.undefended)] if search.undefended else []
    outcomes += [(f"{pick.name} ({pick.trial})", pick.outcome) for pick in search.picks]
    for name, outcome in outcomes:
        confirmed = f", confirmed {_rates(outcome.confirmed)}" if outcome.confirmed else ", not confirmed"
        parts.append(f"{name}: searched {_rates(outcome.search)}{confirmed}")
    return "; ".join(parts) + "."


def links_markdown(links: Sequence[SearchLink]) -> str:
    """A heading and a line a search; nothing without any."""
    return _listed(links, ".md", "### Searches\n\n{}\n", "- {}: {}", _markdown_link, escape_markdown)


def links_html(links: Sequence[SearchLink]) -> str:
    """The same as HTML."""
    return _listed(links, ".html", "<h2>Searches</h2>\n<ul>\n{}\n</ul>", "<li>{}: {}</li>", _html_link, escape)


def links_plain(links: Sequence[SearchLink]) -> list[str]:
    """The same for a terminal, a line each."""
    return [f"search {link.name}: {link.found}" for link in links]


def way_back(search: Search, around: Around, suffix: Suffix) -> str:
    """The Markdown line of a search's page that leads to its spec's report; empty where there is none."""
    if around.back is None:
        return ""
    return f"A search of the spec {_markdown_link(search.spec, f'{around.back}/{GRID_PAGE[suffix]}')}."


def ways_on(search: Search, around: Around, suffix: Suffix) -> str:
    """The Markdown line that leads to the reports of the confirming grids; empty without any."""
    linked = [
        _markdown_link(f"{pick.name} ({pick.grid})", f"{pick.grid}/{GRID_PAGE[suffix]}")
        for pick in search.picks
        if pick.grid and pick.grid in around.confirmed
    ]
    return f"The whole tables of the confirmations: {', '.join(linked)}." if linked else ""


def _listed(
    links: Sequence[SearchLink],
    suffix: Suffix,
    frame: str,
    item: str,
    link_to: Callable[[str, str], str],
    plain: Callable[[str], str],
) -> str:
    def line(link: SearchLink) -> str:
        if link.folder is None:
            return item.format(plain(link.name), plain(link.found))
        name = link_to(link.name, f"{link.folder}/{SEARCH_PAGE[suffix]}")
        return item.format(name, " ".join([plain(link.found), *_confirmations(link, suffix, link_to)]))

    return frame.format("\n".join(map(line, links))) if links else ""


def _confirmations(link: SearchLink, suffix: Suffix, link_to: Callable[[str, str], str]) -> Iterator[str]:
    if link.confirmations:
        pages = [link_to(pick, f"{link.folder}/{grid}/{GRID_PAGE[suffix]}") for pick, grid in link.confirmations]
        yield f"Confirmed in {', '.join(pages)}."


def _markdown_link(text: str, place: str) -> str:
    return f"[{escape_markdown(text)}]({quote(place, safe='/+')})"


def _html_link(text: str, place: str) -> str:
    return f'<a href="{escape(quote(place, safe="/+"))}">{escape(text)}</a>'


def _rates(metrics: Metrics) -> str:
    shown = []
    for name, title in _SHOWN.items():
        if name in metrics:
            around = interval(metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
            shown.append(f"{title} {percent(metrics[name])}%" + (f" [{around}]" if around else ""))
    return " at ".join(shown)
