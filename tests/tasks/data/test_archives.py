"""The downloaded datasets on trees of their exact layout: people, parts and crops; keys that know no place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data import DATASETS
from tasks.data.archive import ArchiveDataset
from tasks.data.dataset import Catalogue, DataProblemsError
from tasks.data.picture_pixels import square
from tasks.data.split import Audience, Part, Split
from tasks.data.stored_rows import split_rows
from tests import archives
from tests.lab import Lab

NAMES = tuple(archives.TREES)
SMALL: dict[str, Any] = {"size": 32, "labels": 4, "public": 6, "min_pictures": 5, "root": "data"}


def small(name: str, **fields: Any) -> ArchiveDataset:
    found = DATASETS[name](**{**SMALL, **fields})
    assert isinstance(found, ArchiveDataset)
    return found


def refused(dataset: ArchiveDataset, base: Path) -> str:
    with pytest.raises(DataProblemsError) as caught:
        dataset.catalogue(base)
    return "\n".join(f"{problem.field}: {problem.message}" for problem in caught.value.problems)


def parts(dataset: ArchiveDataset, catalogue: Catalogue, part: Part, audience: Audience = "private") -> Split:
    people = {"private": catalogue.private, "attacker": catalogue.public[1::2], "defender": catalogue.public[::2]}
    return dataset.split(catalogue, people[audience], part, audience)


def stored(lab: Lab, split: Split, catalogue: Catalogue) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Images (uint8) and labels, and index of a split that has been run, with its shards."""
    artifact = lab.run(split, catalogue.sources)
    rows, labels = split_rows(artifact, lab.store.load)
    images = torch.from_numpy(rows.take(np.arange(len(rows))))
    return {"images": images, "labels": torch.from_numpy(labels)}, artifact.table("index.parquet").to_pylist()


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_protocol(lab: Lab, tmp_path: Path, name: str) -> None:
    """So many private and public people, nobody on both sides; 2 test pictures a label, 1 for validation."""
    archives.TREES[name](tmp_path / "data")
    dataset = small(name)
    catalogue = dataset.catalogue(tmp_path)
    assert (len(catalogue.private), len(catalogue.public)) == (4, 6)
    assert not set(catalogue.private) & set(catalogue.public)
    assert catalogue.private == tuple(sorted(catalogue.private))
    assert catalogue == dataset.catalogue(tmp_path), "a second look chooses the same"
    seen: dict[str, set[str]] = {}
    for part, each in (("train", 3), ("val", 1), ("test", 2)):
        tensors, index = stored(lab, parts(dataset, catalogue, part), catalogue)  # type: ignore[arg-type]
        assert tensors["images"].shape == (4 * each, 3, 32, 32)
        assert tensors["labels"].tolist() == [label for label in range(4) for _ in range(each)]
        seen[part] = {row["picture"] for row in index}
    assert len(set().union(*seen.values())) == sum(map(len, seen.values())) == 4 * archives.COUNT
    attackers, _ = stored(lab, parts(dataset, catalogue, "all", "attacker"), catalogue)
    assert attackers["images"].shape == (3 * archives.COUNT, 3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_protocol(lab: Lab, tmp_path: Path, name: str) -> None:
    """The people with the most pictures are private, a tenth of theirs is test, and public pictures are counted."""
    root = archives.TREES[name](tmp_path / "data", people=10, count=12)
    (tmp_path / "data" / "lfw-py" / "lfw-names.txt").unlink(missing_ok=True)
    (root / "identity_meta.csv").unlink(missing_ok=True)
    dataset = small(name, protocol="field", labels=3, public_images=30, val_per_label=0, partial=True)
    everybody = dataset.archive(root, _findings()).people()
    poorer = [person for person in everybody if person not in everybody[2:8:2]]
    for person in poorer:
        archives.of_person(name, root, person)[0].unlink()
    catalogue = dataset.catalogue(tmp_path)
    assert catalogue.private == tuple(everybody[2:8:2])
    assert sum(catalogue.pictures[person] for person in catalogue.public) == 33, "3 people with 11 make 30 or more"
    test, _ = stored(lab, parts(dataset, catalogue, "test"), catalogue)
    train, _ = stored(lab, parts(dataset, catalogue, "train"), catalogue)
    assert test["labels"].tolist() == [0, 1, 2], "a tenth of 12, rounded"
    assert len(train["labels"]) == 33


def _findings() -> Any:
    from tasks.data.findings import Findings

    return Findings()


def test_a_tenth_is_rounded_as_the_field_has_it(tmp_path: Path) -> None:
    """30 pictures: 27 and 3; 35: 31 and 4 (the counts of KED-MI's lists)."""
    archives.celeba(tmp_path / "data")
    dataset = small("celeba", protocol="field", labels=3, public_images=20, val_per_label=0)
    catalogue = dataset.catalogue(tmp_path)
    from tasks.data.split import Picture

    for count, tenth in ((30, 3), (31, 3), (35, 4), (5, 1)):
        pictures = [Picture(f"{i:03d}", lambda: Image.new("L", (8, 8))) for i in range(count)]
        dealt = {part: parts(dataset, catalogue, part).deal("00001", pictures) for part in ("train", "test")}  # type: ignore[arg-type]
        assert (len(dealt["train"]), len(dealt["test"])) == (count - tenth, tenth)


@pytest.mark.parametrize("name", NAMES)
def test_the_key_is_the_content_and_not_the_place(tmp_path: Path, name: str) -> None:
    """A moved tree has the same keys; one changed byte of a chosen picture, or another crop, has others."""
    root = archives.TREES[name](tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "elsewhere" / "data")
    dataset = small(name)
    here, there = dataset.catalogue(tmp_path), dataset.catalogue(tmp_path / "elsewhere")
    key = parts(dataset, here, "train").key
    assert key == parts(dataset, there, "train").key
    path = archives.of_person(name, root, here.private[0])[0]
    path.write_bytes(archives.jpeg(archives.face(77, 7, (200, 230))))
    changed = dataset.catalogue(tmp_path)
    assert parts(dataset, changed, "train").key != key
    assert parts(dataset, changed, "all", "attacker").key == parts(dataset, here, "all", "attacker").key
    other: dict[str, dict[str, Any]] = {"celeba": {"crop": 100}, "vggface": {"face": "whole"}, "lfw": {"crop": 100}}
    if name in other:
        cut = small(name, **other[name])
        assert parts(cut, cut.catalogue(tmp_path / "elsewhere"), "train").key != key


def test_the_fields_crop(lab: Lab, tmp_path: Path) -> None:
    """108 pixels in the middle of 178x218, then resized: rows 55 to 163, columns 35 to 143, as KED-MI's code has it."""
    root = archives.celeba(tmp_path / "data")
    dataset = small("celeba")
    catalogue = dataset.catalogue(tmp_path)
    tensors, index = stored(lab, parts(dataset, catalogue, "test"), catalogue)
    with Image.open(root / index[0]["picture"]) as image:
        theirs = image.crop((35, 55, 143, 163)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(tensors["images"][0].permute(1, 2, 0).numpy(), np.asarray(theirs))


def test_the_lists_box_is_cut_out(lab: Lab, tmp_path: Path) -> None:
    """Of the 200x150 picture the face at (40, 20), and nothing of the white around it."""
    archives.vggface(tmp_path / "data")
    for face, white in (("box", False), ("whole", True)):
        dataset = small("vggface", face=face)
        catalogue = dataset.catalogue(tmp_path)
        tensors, _ = stored(lab, parts(dataset, catalogue, "test"), catalogue)
        assert bool((tensors["images"] > 250).all(dim=1).any()) is white


def test_only_curated_pictures(tmp_path: Path) -> None:
    archives.vggface(tmp_path / "data", count=10)
    catalogue = small("vggface", curated=True).catalogue(tmp_path)
    assert set(catalogue.pictures.values()) == {5}
    assert any("not of the curated list" in finding for finding in catalogue.findings)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_download_says_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In the current folder, where a spec's `root: data` is looked for first."""
    monkeypatch.chdir(tmp_path)
    text = refused(small(name), tmp_path / "specs")
    assert text.startswith("root: ")
    assert str(tmp_path / "data" / small(name).folder) in text
    assert "fetch" in text
    assert "docs/datasets.md" in text
    assert any(unit in text for unit in ("GB", "MB", "million"))


def test_an_archive_that_is_not_whole(tmp_path: Path) -> None:
    """It is refused with counts, or taken as it is by `partial: true` and reported."""
    root = archives.celeba(tmp_path / "data")
    for path in archives.pictures("celeba", root)[-2:]:
        path.unlink()
    assert "2 of 72 pictures of identity_CelebA.txt are not in img_align_celeba" in refused(small("celeba"), tmp_path)
    found = small("celeba", partial=True).catalogue(tmp_path).findings
    gone = found["pictures that identity_CelebA.txt names and that are not there"]
    assert gone == ("img_align_celeba/000071.jpg", "img_align_celeba/000072.jpg")
    shutil.rmtree(archives.vggface2(tmp_path / "data") / "train" / "n000003")
    assert "1 of 12 people of identity_meta.csv are not in train (n000003)" in refused(small("vggface2"), tmp_path)
    archives.pictures("lfw", archives.lfw(tmp_path / "data"))[0].unlink()
    assert "1 of 13 people of lfw-names.txt have too few pictures (Name_A (5 of 6))" in refused(small("lfw"), tmp_path)


def test_celebas_own_mishaps(tmp_path: Path) -> None:
    root = archives.celeba(tmp_path / "data")
    whole = (root / "identity_CelebA.txt").read_text()
    (root / "identity_CelebA.txt").write_text(whole.replace("000002.jpg 2\n", "000002.jpg\n"))
    assert "line 2 of identity_CelebA.txt is not like `000001.jpg 2880`" in refused(small("celeba"), tmp_path)
    (root / "identity_CelebA.txt").unlink()
    assert "identity_CelebA.txt is not there; fetch" in refused(small("celeba"), tmp_path)
    (root / "identity_CelebA.txt").write_text(whole)
    (root / "img_align_celeba").rename(tmp_path / "inner")
    (root / "img_align_celeba").mkdir()
    (tmp_path / "inner").rename(root / "img_align_celeba" / "img_align_celeba")
    assert "one folder too deep" in refused(small("celeba"), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_too_few_people_are_refused_with_what_to_lower(tmp_path: Path, name: str) -> None:
    archives.TREES[name](tmp_path / "data")
    text = refused(small(name, labels=1000, public=1000), tmp_path)
    assert "labels: 12 people have 5 usable pictures or more, but 1000 private and 1000 public are wanted" in text
    assert "lower labels, public or min_pictures" in text


def test_people_by_name(tmp_path: Path) -> None:
    root = archives.lfw(tmp_path / "data")
    named = small("lfw", private_people=["Name_C", "Name_A"], public_people=["Name_B", "Name_D", "Name_E"])
    catalogue = named.catalogue(tmp_path)
    assert catalogue.private == ("Name_C", "Name_A")
    assert catalogue.public == ("Name_B", "Name_D", "Name_E")
    archives.of_person("lfw", root, "Name_C")[0].write_bytes(b"")
    short = small("lfw", private_people=["Name_C", "Name_A"], test_per_label=4, val_per_label=1, partial=True)
    assert "'Name_C' has 5 usable picture(s); 6 are needed" in refused(short, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_that_changed_after_planning_is_refused(lab: Lab, tmp_path: Path, name: str) -> None:
    root = archives.TREES[name](tmp_path / "data")
    dataset = small(name, partial=True)
    catalogue = dataset.catalogue(tmp_path)
    (shard,) = parts(dataset, catalogue, "train").upstream
    archives.of_person(name, root, catalogue.private[0])[0].unlink()
    with pytest.raises(ValueError, match=f"{catalogue.private[0]}.* have changed since they were planned"):
        shard.run(lab.context(shard, sources=catalogue.sources))


def test_the_centre_square_of_loosely_cropped_faces(lab: Lab, tmp_path: Path) -> None:
    root = archives.vggface2(tmp_path / "data")
    dataset = small("vggface2")
    catalogue = dataset.catalogue(tmp_path)
    tensors, index = stored(lab, parts(dataset, catalogue, "test"), catalogue)
    with Image.open(root / index[0]["picture"]) as image:
        ours = np.asarray(square(image, 32, 3))
    assert np.array_equal(tensors["images"][0].permute(1, 2, 0).numpy(), ours)
    assert "n000001" not in (*catalogue.private, *catalogue.public), "people of the test set are not in train/"
