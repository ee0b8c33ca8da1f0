"""The committed records give the published tables again, and no weight or image is among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "results"
PUBLISHED = sorted(path.parent.name for path in RESULTS.glob("*/table.md"))
SEARCHES = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("*/*/search.md"))
IN_README = {"orl_demo": ("| none ", "| gan", "| l\\_pri")}  # beginnings of the lines that README.md repeats


def report(spec: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "grid", "report", spec, "--records", str(RESULTS / "records"), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_there_are_published_tables_and_searches() -> None:
    assert "orl_demo" in PUBLISHED
    assert "orl_search/orl_search-finetune" in SEARCHES


@pytest.mark.parametrize("spec", PUBLISHED)
def test_published_tables_come_from_the_committed_records(tmp_path: Path, spec: str) -> None:
    """Every text file, byte for byte; a picture of what records hold (levers, curves) is at least made again."""
    report(spec, "--out", str(tmp_path))
    texts = {path.name for path in (RESULTS / spec).iterdir() if path.suffix in (".md", ".csv", ".tex")}
    assert {"table.md", "table.csv", "table.tex", "labels.csv"} <= texts
    for name in sorted(texts):
        assert (tmp_path / name).read_text(encoding="utf-8") == (RESULTS / spec / name).read_text(encoding="utf-8")
    pictures = {name for name in ("levers.png", "gans-curves.png") if (RESULTS / spec / name).exists()}
    assert pictures <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("spec", sorted({place.partition("/")[0] for place in SEARCHES}))
def test_published_searches_come_from_the_committed_records(tmp_path: Path, spec: str) -> None:
    """With their confirmations: every text file below the spec's folder, byte for byte; pictures are made again."""
    report(spec, "--out", str(tmp_path))
    found = {path.relative_to(RESULTS / spec) for path in (RESULTS / spec).rglob("*") if path.is_file()}
    below = {path for path in found if len(path.parts) > 1}
    texts = {path for path in found if path.suffix in (".md", ".csv", ".tex")}
    for name in (place.partition("/")[2] for place in SEARCHES if place.startswith(f"{spec}/")):
        own = {path.name for path in below if path.parent == Path(name)}
        assert {"search.md", "trials.csv", "pareto.png", "parallel_coordinates.png"} <= own
    for path in sorted(texts):
        assert (tmp_path / path).read_text(encoding="utf-8") == (RESULTS / spec / path).read_text(encoding="utf-8")
    assert [path for path in below if not (tmp_path / path).exists()] == []


@pytest.mark.parametrize(("spec", "beginnings"), IN_README.items())
def test_the_readme_repeats_the_published_numbers(spec: str, beginnings: tuple[str, ...]) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = 0
    for line in (RESULTS / spec / "table.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(beginnings):
            name, _, top1, top5 = (cell.strip() for cell in line.strip("|").split("|")[:4])
            assert f"| {name} | {top1} | {top5} |" in readme
            found += 1
    assert found >= len(beginnings)


def test_records_hold_no_weights_and_no_images() -> None:
    suffixes = {path.suffix for path in (RESULTS / "records").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".parquet"}
