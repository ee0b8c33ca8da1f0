"""Specs for tests: a small one on synthetic people, and how to write variants of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from grid.expand import expand
from grid.plan import Plan
from grid.problems import Problem, SpecError
from grid.spec_parser import load_spec

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "synthetic", "size": 32, "people": 10},
    "victim": {"arch": "vgg16_bn", "width": 0.0625, "epochs": 2},
    "evaluator": {"arch": "ir_small", "width": 0.25, "epochs": 2},
    "second_evaluator": {"arch": "densenet_small", "width": 0.5, "epochs": 2},
    "public_classifier": {"arch": "ir_small", "width": 0.25, "epochs": 2},
    "labels": [0, 3],
    "attacks": ["gmi"],
    "defenses": ["none", "gan_id"],
    "budget": "smoke",
    "numerics": "cpu_fp32",
}


NETWORKS = tuple(
    f"{role}={{{', '.join(f'{name}: {value}' for name, value in SMALL[role].items())}}}"
    for role in ("victim", "evaluator", "second_evaluator", "public_classifier")
)  # as overrides of a shipped spec, whose own take minutes


def write(folder: Path, **changes: Any) -> str:
    """The small spec with top-level keys changed, as a file; a value of `...` leaves the key out."""
    content = {key: value for key, value in {**SMALL, **changes}.items() if value is not ...}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def planned(folder: Path, **changes: Any) -> Plan:
    return expand(load_spec(write(folder, **changes)))


def problems(folder: Path, **changes: Any) -> tuple[Problem, ...]:
    """All that is wrong with a variant; empty if nothing is."""
    try:
        planned(folder, **changes)
    except SpecError as error:
        return error.problems
    return ()


def only(folder: Path, **changes: Any) -> tuple[str, str]:
    """(place in the spec, message) of the one problem of a variant."""
    found = problems(folder, **changes)
    assert len(found) == 1, found
    return found[0].place.split(" ")[-1], found[0].message


def decoygrid(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-c", "from grid.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said about a user's mistake."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr
