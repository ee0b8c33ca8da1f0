"""Folders and weights that a spec names and that cannot be used: what is wrong with each, in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tests.grid.specs import only, problems


def faces(root: Path, people: int = 6, count: int = 6) -> Path:
    for person in range(people):
        folder = root / f"p{person}"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((20, 24), 10 * person + i + 1).save(folder / f"{i}.png")
    return root


def folder_spec(root: str, **fields: Any) -> dict[str, Any]:
    return {"name": "folder", "size": 32, "root": root, **fields}


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces")
    for place in ("nowhere", "faces/p0/0.png"):
        where, text = only(tmp_path, dataset=folder_spec(str(tmp_path / place)), labels=[0])
        assert where.endswith("dataset.root")
        assert "no folder" in text
    (root / "p9").mkdir()
    where, text = only(tmp_path, dataset=folder_spec(str(root)), labels=[0])
    assert "the class 'p9' is empty" in text
    (root / "p9" / "0.jpg").write_bytes(b"\xff\xd8 no more")
    where, text = only(tmp_path, dataset=folder_spec(str(root)), labels=[0])
    assert "does not decode as an image" in text
    assert where.endswith("dataset.root")


def test_private_and_public_people_that_overlap(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces")
    spec = folder_spec(str(root), private_people=["p0", "p1"], public_people=["p1", "p2", "p3"])
    _, text = only(tmp_path, dataset=spec, labels=[0])
    assert "private and public people overlap: p1; choose disjoint ones" in text


def test_an_empty_class_is_placed_where_it_lies(tmp_path: Path) -> None:
    faces(tmp_path / "in", 3)
    faces(tmp_path / "out", 3)
    for person in range(3):  # other names, other pictures
        (tmp_path / "out" / f"p{person}").rename(tmp_path / "out" / f"q{person}")
        for i, path in enumerate(sorted((tmp_path / "out" / f"q{person}").iterdir())):
            Image.effect_noise((20, 24), 200 + 10 * person + i).save(path)
    (tmp_path / "out" / "nobody").mkdir()
    dataset = {"name": "folder", "size": 32, "private": str(tmp_path / "in"), "public": str(tmp_path / "out")}
    where, text = only(tmp_path, dataset=dataset, labels=[0])
    assert "the class 'nobody' is empty" in text
    assert where.endswith("dataset.public")


def test_a_size_that_the_gan_cannot_paint(tmp_path: Path) -> None:
    """96 px is fine for classifiers, but the WGAN doubles from 4: 32, 64, 128."""
    assert problems(tmp_path, dataset={"name": "synthetic", "size": 96}, attacks=["privacy"], defenses=["none"]) == ()
    found = problems(tmp_path, dataset={"name": "synthetic", "size": 96}, labels=[0])
    assert any("size" in problem.place for problem in found)


def test_weights_that_are_no_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    where, text = only(tmp_path, victim={"arch": "vgg16", "width": 0.0625, "weights": "w.safetensors"})
    assert where.endswith("victim.weights")
    assert "is not a safetensors file" in text
