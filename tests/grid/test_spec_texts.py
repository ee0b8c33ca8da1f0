"""Specs that cannot be read, and `--set` options that do not fit: a message with the line, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from grid.problems import SpecError
from grid.spec_parser import load_spec
from tests.grid.specs import write

TEXTS = [
    ("attacks: [gmi", "is not valid YAML"),
    ("a: b: c", "is not valid YAML"),
    ("\tname: x", "is not valid YAML"),
    ("name: !!python/object:os.system x", "is not valid YAML"),
    ("- gmi\n- privacy", "a spec is a mapping of keys to values, but this holds list"),
    ("", "this holds NoneType"),
    ("name: a\nname: b", "is given twice; first on line 1"),
    ("name: 2020-99-99", ""),  # a date to YAML, and none to the calendar
    ("a: &x [*x]", ""),  # refers to itself
    ("? [a, b]\n: 1", ""),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_what_is_no_spec_at_all(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    answer: Exception | None = None
    try:
        load_spec(str(path))
    except (SpecError, ValueError, RecursionError) as error:  # the last one's traceback is too long to show
        answer = error.with_traceback(None)
    assert isinstance(answer, SpecError), type(answer)
    assert "spec.yaml" in answer.problems[0].place
    assert message in str(answer)


def test_the_line_of_a_mistake_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: x\nattacks:\n  - gmi\n  - {name: privacy,\n     stepz: 3}\ndefenses: [none]\n")
    with pytest.raises(SpecError) as caught:
        load_spec(str(path))
    assert [problem.place for problem in caught.value.problems] == [f"{path}:5 attacks[1].stepz"]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file; give a path, or a shipped spec: .*orl_demo"):
        load_spec(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not UTF-8"):
        load_spec(str(tmp_path / "binary.yaml"))
    with pytest.raises(SpecError, match="directory"):
        load_spec(str(tmp_path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget", "expected path=value"),
        ("=3", "expected path=value"),
        ("attacks.9.steps=3", "no position in a list of 1"),
        ("attacks.gmi=3", "no position in a list of 1"),
        ("name.x.y=3", ""),
        ("budget=[", "not valid YAML"),
        ("attaks.0=gmi", ""),
        (".=1", ""),
    ],
)
def test_overrides_that_do_not_fit(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path), [override])
    assert message in str(caught.value)
