"""Shards: each picture decoded once for all splits, in bounded memory; read by memory map, the same numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from grid.runner import run_stage
from tasks.data import inspection, sharded_split
from tasks.data.dataset import Catalogue
from tasks.data.findings import Findings
from tasks.data.picture_pixels import pixels_of
from tasks.data.pixels import to_float
from tasks.data.shard import Shard, in_shards
from tasks.data.shard_files import Writer
from tasks.data.split import Audience, Part, Split, splits_of
from tasks.data.stored_images import StoredImages
from tasks.data.stored_rows import StoredRows, split_rows
from tasks.models.classifier import Classifier
from tests import archives
from tests.lab import Lab, folder_digests
from tests.tasks.data.test_archives import NAMES, small

SPLITS: tuple[tuple[Part, Audience], ...] = (
    ("train", "private"),
    ("val", "private"),
    ("test", "private"),
    ("all", "attacker"),
    ("all", "defender"),
    ("train", "classifier"),
)


def split_of(name: str, catalogue: Catalogue, part: Part, audience: Audience, **fields: Any) -> Split:
    dataset = small(name, **fields)
    people = {"private": catalogue.private, "attacker": catalogue.public[1::2]}.get(audience, catalogue.public[::2])
    return dataset.split(catalogue, people, part, audience)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two people each."""
    runs = in_shards
    monkeypatch.setattr(sharded_split, "in_shards", lambda people, counts: runs(people, counts, 2 * archives.COUNT))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("few")
def test_no_picture_is_decoded_twice_however_many_parts_there_are(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = archives.TREES[name](tmp_path / "data")
    catalogue = small(name).catalogue(tmp_path)
    opened: Counter[Path] = Counter()
    decode = inspection.decode

    def counted(path: Path) -> Any:
        opened[path] += 1
        return decode(path.read_bytes())

    monkeypatch.setattr(inspection, "read", counted)
    monkeypatch.setattr(Image, "open", _only_from_memory(Image.open))
    splits = [split_of(name, catalogue, *which) for which in SPLITS]
    for split in splits:
        lab.run(split, catalogue.sources)
    chosen = (*catalogue.private, *catalogue.public)
    assert opened == {path: 1 for person in chosen for path in archives.of_person(name, root, person)}
    assert len({shard.key for split in splits for shard in split.upstream}) == 2 + 2 + 2, "4, 3 and 3 people by two"


def _only_from_memory(real: Any) -> Any:
    def opening(source: Any, *rest: Any) -> Any:
        assert not isinstance(source, str | Path), f"{source} is opened past the count"
        return real(source, *rest)

    return opening


@pytest.mark.usefixtures("few")
def test_the_rows_are_those_of_a_plain_decode(lab: Lab, tmp_path: Path) -> None:
    root = archives.vggface2(tmp_path / "data")
    catalogue = small("vggface2").catalogue(tmp_path)
    split = split_of("vggface2", catalogue, "train", "private")
    artifact = lab.run(split, catalogue.sources)
    rows, labels = split_rows(artifact, lab.store.load)
    index = artifact.table("index.parquet").to_pylist()
    assert rows.mapped
    assert not (lab.root / "store" / split.key / "images.safetensors").exists()
    for label, line, image in zip(labels, index, rows.take(np.arange(len(rows))), strict=True):
        assert line["person"] == split.people[label]
        with Image.open(root / line["picture"]) as picture:
            assert np.array_equal(image, pixels_of(picture, 32, 3))
    for shard in split.upstream:
        mapped = np.load(lab.store.load(shard.key).path("images.npy"), mmap_mode="r")
        assert isinstance(mapped, np.memmap)


def test_a_model_learns_the_same_from_memory_and_from_files(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.celeba(tmp_path / "data")
    catalogue = small("celeba").catalogue(tmp_path)
    train = split_of("celeba", catalogue, "train", "private")
    lab.run(train, catalogue.sources)
    fields = {"arch": "vgg16_bn", "width": 0.0625, "epochs": 2, "batch": 4}
    stage = Classifier(train=train, val=split_of("celeba", catalogue, "val", "private"), **fields)
    learnt = []
    for resident in (False, True):
        monkeypatch.setattr(
            "tasks.data.stored_images.StoredImages",
            lambda rows, device, resident=resident: StoredImages(rows, device, resident=resident),
        )
        ctx = lab.context(stage, sources=catalogue.sources)
        stage.run(ctx)
        learnt.append(folder_digests(ctx.out))
    assert learnt[0] == learnt[1]


def test_images_by_rows_are_those_that_are_in_memory() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 4, 4), dtype=np.uint8)
    where = np.array([0] * 5 + [1] * 6), np.array([*range(5), *range(6)])
    plain = to_float(torch.from_numpy(pixels))
    rows = StoredRows([lambda: pixels[:5], lambda: pixels[5:]], *where, mapped=True)
    for resident in (False, True):
        images = StoredImages(rows, resident=resident)
        chosen = torch.tensor([7, 0, 7, 10])
        mask = torch.arange(11) % 3 == 0
        assert torch.equal(images[chosen], plain[chosen])
        assert torch.equal(images[mask], plain[mask])
        assert torch.equal(images[2:9], plain[2:9])
        assert torch.equal(images.only(mask)[:], plain[mask])
        assert torch.equal(torch.cat(list(images.split(4))), plain)
    assert torch.equal(StoredImages(rows)._table, to_float(torch.arange(256, dtype=torch.uint8)))


def test_a_failure_while_reading_ahead_is_the_readers() -> None:
    def damaged() -> Any:
        raise OSError("the disk is gone")

    here = np.arange(3)
    rows = StoredRows([lambda: np.zeros((3, 1, 2, 2), np.uint8), damaged], np.array([0, 0, 1]), here, mapped=True)
    with pytest.raises(OSError, match="the disk is gone"):
        list(StoredImages(rows).split(1))


@pytest.mark.usefixtures("few")
def test_a_killed_preparation_goes_on_with_the_shards_that_are_done(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives.lfw(tmp_path / "data")
    catalogue = small("lfw", split_seed=5).catalogue(tmp_path)
    split = split_of("lfw", catalogue, "train", "private")
    first, second = split.upstream
    read = inspection.read

    def killed(path: Path) -> Any:
        if second.people[1] in path.as_posix():  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(inspection, "read", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.run(split, catalogue.sources)
    assert lab.store.done(first.key) is not None
    assert lab.store.done(second.key) is None
    again: list[Path] = []
    monkeypatch.setattr(inspection, "read", lambda path: (again.append(path), read(path))[1])
    assert lab.run(split, catalogue.sources).metrics["images"] == 4 * (archives.COUNT - 3)
    assert {path.parent.name for path in again} == set(second.people)  # type: ignore[attr-defined]


@pytest.mark.parametrize("remembered", [True, False])
def test_a_changed_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: bool) -> None:
    """Where planning looked at it on this machine; elsewhere it is the person who is named."""
    monkeypatch.setattr(inspection, "RACY_NS", -(10**12) if remembered else 10**18)
    root = archives.vggface2(tmp_path / "data")
    catalogue = small("vggface2").catalogue(tmp_path)
    (shard,) = split_of("vggface2", catalogue, "train", "private").upstream
    path = archives.of_person("vggface2", root, catalogue.private[1])[2]
    path.write_bytes(archives.jpeg(archives.face(77, 7, (90, 120))))
    outcome = run_stage(shard, str(tmp_path / "store"), catalogue.sources)  # the lab's may hold that shard
    assert f"the pictures of {catalogue.private[1]!r}" in str(outcome.error)
    name = path.relative_to(root).as_posix()
    assert (f"{name} holds another picture" in str(outcome.error)) is remembered


def test_memory_does_not_grow_with_the_pictures_of_a_shard(tmp_path: Path) -> None:
    """Rows are on their way to the disk as they come: what is held is one picture, and the names."""
    import tracemalloc

    picture = Image.new("RGB", (200, 200), (200, 10, 10))
    peaks = []
    for count in (20, 200):
        out = tmp_path / str(count)
        out.mkdir()
        tracemalloc.start()
        with Writer(out, 3, 128) as writer:
            for number in range(count):
                writer.add(picture, f"{number}.jpg", "n000001")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert np.load(out / "images.npy", mmap_mode="r").shape == (count, 3, 128, 128)
    assert peaks[1] - peaks[0] < 128 * 128 * 3, "not one row of 180 is kept"


def test_shards_are_bounded_and_keep_sides_apart(tmp_path: Path) -> None:
    assert in_shards("abcd", {"a": 3, "b": 4, "c": 9, "d": 1}, 7) == [("a", "b"), ("c",), ("d",)]
    archives.lfw(tmp_path / "data")
    catalogue = small("lfw").catalogue(tmp_path)
    private, attacker, defender = (
        {shard.key for shard in split_of("lfw", catalogue, part, side).upstream}
        for part, side in (("train", "private"), ("all", "attacker"), ("all", "defender"))
    )
    assert len(private | attacker | defender) == 3
    test = split_of("lfw", catalogue, "test", "private")
    assert splits_of(test, "private") == {test.key} | private
    assert not splits_of(test, "defender")
    judged = small("lfw").split(catalogue, catalogue.public, "train", "judge")
    assert {shard.key for shard in judged.upstream} == attacker | defender


def test_a_shard_knows_whose_pictures_it_holds(tmp_path: Path) -> None:
    archives.lfw(tmp_path / "data")
    catalogue = small("lfw").catalogue(tmp_path)
    (shard,) = split_of("lfw", catalogue, "train", "private").upstream
    assert isinstance(shard, Shard)
    with pytest.raises(ValueError, match="one print a person"):
        shard.model_copy(update={"people": shard.people[:1]})
    people = [person for person, _ in shard.decode(catalogue.sources[shard.manifest], Findings())]
    assert tuple(people) == shard.people
