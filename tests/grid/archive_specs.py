"""The shipped specs of the downloaded datasets, on small trees in their places."""

from __future__ import annotations

from pathlib import Path

from grid.spec_parser import load_spec
from grid.spec_source import SPECS
from tests import archives

PEOPLE, COUNT = 9, 5
ON_TREES = ("labels=3", "public=6", "min_pictures=5")  # in each dataset, where the specs have 1000, 1000 and 20


def named() -> list[str]:
    """Shipped specs that name a dataset whose files the user has to fetch."""
    return sorted(path.stem for path in SPECS.glob("*.yaml") if downloaded(path.stem))


def downloaded(spec: str) -> list[str]:
    """Which of the downloaded datasets a shipped spec names, in its order."""
    return [
        choice.dataset.name for choice in load_spec(spec, look=False).datasets if choice.dataset.name in archives.TREES
    ]


def write_trees(folder: Path) -> Path:
    """`folder`/data with a small tree of every archive; shipped specs find it from `folder`."""
    for tree in archives.TREES.values():
        tree(folder / "data", people=PEOPLE, count=COUNT)
    return folder


def on_trees(spec: str) -> list[str]:
    """Overrides by which a shipped spec fits the small trees; none for a spec that needs no download."""
    count = len(downloaded(spec))
    found = [f"dataset.{i}.{value}" for i in range(count) for value in ON_TREES]
    return [*found, "labels=[0, 2]"] if count else []
