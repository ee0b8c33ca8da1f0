"""The memory of what files hold: nothing is read twice, and whatever changed is read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.data import inspection
from tasks.data.inspection import Inspector
from tests import archives


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures that are old enough to be remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inspection, "RACY_NS", -1)
    for i in range(6):
        archives.put(tmp_path / "root" / f"{i}.jpg", archives.jpeg(archives.face(i, 0, (20, 20))))
    return tmp_path / "root"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    real = Path.read_bytes

    def counted(self: Path) -> bytes:
        names.append(self.name)
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return names


NAMES = [f"{i}.jpg" for i in range(6)]


def test_nothing_is_read_a_second_time(root: Path, reads: list[str]) -> None:
    first = Inspector(root).look(NAMES)
    assert sorted(reads) == NAMES
    reads.clear()
    assert Inspector(root).look(NAMES) == first
    assert reads == []


def test_what_changed_is_read_again(root: Path, reads: list[str]) -> None:
    """Another size; the same size and, forged, the same time; a file put in its place; one that is gone and back."""
    first = Inspector(root).look(NAMES)
    data = (root / "1.jpg").read_bytes()
    before = (root / "1.jpg").stat()
    (root / "0.jpg").write_bytes(b"")
    (root / "1.jpg").write_bytes(data[:-3] + b"abc")
    os.utime(root / "1.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "2.jpg").unlink()
    (root / "3.jpg").replace(root / "2.jpg")
    reads.clear()
    second = Inspector(root).look(NAMES)
    assert sorted(reads) == ["0.jpg", "1.jpg", "2.jpg"]
    assert second["0.jpg"].trouble == "is empty (0 bytes)"
    assert second["1.jpg"].digest != first["1.jpg"].digest
    assert second["2.jpg"] == first["3.jpg"]
    assert second["3.jpg"].trouble.startswith("cannot be read: No such file")
    assert second["4.jpg"] == first["4.jpg"]


def test_what_may_be_changing_just_now_is_not_remembered(
    root: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within a tick of the clock leave the same times; the second would be missed."""
    monkeypatch.setattr(inspection, "RACY_NS", 3600 * 10**9)
    Inspector(root).look(NAMES)
    reads.clear()
    Inspector(root).look(NAMES)
    assert sorted(reads) == NAMES


@pytest.mark.parametrize(
    "content", ["", "[1, 2", '{"version": 1, "files": [1]}', '{"version": 1, "files": {"0.jpg": [1]}}']
)
def test_a_torn_memory_is_only_slower(root: Path, tmp_path: Path, content: str) -> None:
    first = Inspector(root).look(NAMES)
    (memory,) = (tmp_path / "cache").rglob("*.json")
    memory.write_text(content)
    assert Inspector(root).look(NAMES) == first


def test_two_roots_do_not_mix(root: Path, tmp_path: Path) -> None:
    other = archives.put(tmp_path / "other" / "0.jpg", b"").parent
    Inspector(root).look(["0.jpg"])
    assert Inspector(other).look(["0.jpg"])["0.jpg"].trouble
    assert not Inspector(root).look(["0.jpg"])["0.jpg"].trouble
