"""The committed records give the published table again, and no weight or image is among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "results"


def test_the_published_table_comes_from_the_committed_records() -> None:
    command = [sys.executable, "-m", "grid", "report", "orl_demo", "--records", str(RESULTS / "records")]
    done = subprocess.run(
        [*command, "--format", "markdown"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    table = (RESULTS / "orl_demo" / "table.md").read_text(encoding="utf-8")
    assert done.stdout == table
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for line in table.splitlines():
        if line.startswith(("| none ", "| gan", "| l\\_pri")):
            name, _, top1, top5 = (cell.strip() for cell in line.strip("|").split("|")[:4])
            assert f"| {name} | {top1} | {top5} |" in readme


def test_records_hold_no_weights_and_no_images() -> None:
    suffixes = {path.suffix for path in (RESULTS / "records").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".parquet"}
