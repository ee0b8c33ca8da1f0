"""A Ray that does not start is a sentence and exit code 2, whatever Ray raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grid.executors import make_ray_executor
from grid.expand import expand
from grid.places import console
from grid.problems import SpecError
from grid.spec_parser import load_spec
from grid.store import Store
from tests.grid.specs import write


def start(folder: Path) -> None:
    spec = load_spec(write(folder))
    make_ray_executor(spec, expand(spec), Store(str(folder / "store")), "local", {}, console())


def test_a_ray_that_is_not_up_in_time_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray")

    def late(**options: Any) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(SpecError) as caught:
        start(tmp_path)
    (problem,) = caught.value.problems
    assert problem.place == "--address"
    assert (
        "cannot use Ray at 'local': The current node timed out during startup.; this machine may be" in problem.message
    )
    assert "token" not in problem.message, "nobody asks for one here"
    assert capsys.readouterr().out.count("starting Ray") == 1
