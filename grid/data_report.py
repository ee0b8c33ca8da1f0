"""What a spec's datasets hold and what of it cannot be used: `decoygrid data SPEC`, and a line for plan and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from grid.cli import emit_json
from grid.problems import Problem, SpecError, join_place
from grid.spec_parser import load_spec
from tasks.data.dataset import Catalogue, DataProblemsError
from tasks.data.findings import lines

Findings = Mapping[str, tuple[str, ...]]


def show_data(spec: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Look at every dataset of a spec and print who is in it and all findings. SpecError for data that is not there."""
    checked = load_spec(spec, overrides, look=False)
    content: dict[str, Any] = {}
    problems: list[Problem] = []
    for choice in checked.datasets:
        try:
            catalogue = checked.catalogue(choice)
        except DataProblemsError as error:
            where = (Problem(join_place(choice.place, p.field), p.message) for p in error.problems)
            problems += [Problem(checked.source.place(p.place), p.message) for p in where]
            continue
        content[choice.shown] = _content(catalogue)
    if problems:
        raise SpecError(problems)
    if as_json:
        emit_json(content)
        return
    console = Console(highlight=False)
    for shown, one in content.items():
        text = f"{shown}: {len(one['private'])} private people, {one['private_pictures']:,} pictures; "
        text += f"{len(one['public'])} public people, {one['public_pictures']:,} pictures"
        console.print(text, markup=False, soft_wrap=True)
        for line in lines(one["findings"]) or ["nothing was left out"]:
            console.print(f"  {line}", markup=False, soft_wrap=True)


def data_lines(found: Mapping[str, Findings]) -> list[str]:
    """A line for each dataset of which something is not used."""
    told = []
    for shown, findings in found.items():
        pictures = sum(len(names) for finding, names in findings.items() if finding.startswith("pictures left out"))
        people = sum(len(names) for finding, names in findings.items() if finding.startswith("people passed over"))
        if pictures or people:
            text = f"{shown}: {pictures:,} pictures left out, {people:,} people passed over"
            told.append(f"{text}; `decoygrid data SPEC` says which and why")
    return told


def _content(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "private": list(catalogue.private),
        "public": list(catalogue.public),
        "private_pictures": sum(catalogue.pictures[person] for person in catalogue.private),
        "public_pictures": sum(catalogue.pictures[person] for person in catalogue.public),
        "channels": catalogue.channels,
        "findings": dict(catalogue.findings),
    }
