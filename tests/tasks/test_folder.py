"""A folder of faces: any size, grey or colour, JPEG or PNG, keyed by content and not by place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataProblemsError
from tasks.data.folder import Folder, picture_files
from tasks.data.inspection import read
from tasks.data.split import Split
from tasks.data.stored_rows import split_rows
from tests.lab import Lab

PEOPLE = tuple(f"person{i}" for i in range(10))


def picture(seed: int, *, grey: bool) -> Image.Image:
    """Smooth noise of an odd size."""
    draws = np.random.default_rng(seed)
    coarse = draws.integers(0, 256, (4, 5) if grey else (4, 5, 3), dtype=np.uint8)
    size = tuple(int(side) for side in draws.integers(30, 70, 2))
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def fill(root: Path, people: tuple[str, ...] = PEOPLE, count: int = 8, *, colour: bool = True, seed: int = 0) -> Path:
    """Pictures of mixed sizes, modes and formats."""
    for p, person in enumerate(people):
        (root / person).mkdir(parents=True)
        for i in range(count):
            suffix = ("jpg", "png", "JPEG")[i % 3]
            image = picture(seed + 100 * p + i, grey=not colour or i % 2 == 0)
            image.save(root / person / f"{i}.{suffix}", format="PNG" if suffix == "png" else "JPEG")
    return root


def splits(folder: Folder, base: Path, part: Any = "train") -> tuple[Split, dict[str, Path]]:
    catalogue = folder.catalogue(base)
    return folder.split(catalogue, catalogue.private, part, "private"), dict(catalogue.sources)


def refused(folder: Folder, base: Path) -> str:
    with pytest.raises(DataProblemsError) as caught:
        folder.catalogue(base)
    return "\n".join(f"{problem.field}: {problem.message}" for problem in caught.value.problems)


def test_mixed_pictures_become_one_split(lab: Lab, tmp_path: Path) -> None:
    root = fill(tmp_path / "faces")
    catalogue = Folder(size=32, root=str(root)).catalogue(tmp_path)
    assert catalogue.channels == 3
    assert (catalogue.private, catalogue.public) == (PEOPLE[:5], PEOPLE[5:])
    split, sources = splits(Folder(size=32, root=str(root)), tmp_path)
    assert lab.run(split, sources).metrics == {"images": 25.0, "labels": 5.0}


def test_grey_folders_have_one_channel_and_the_user_may_say_otherwise(tmp_path: Path) -> None:
    root = str(fill(tmp_path / "grey", colour=False))
    assert Folder(size=32, root=root).catalogue(tmp_path).channels == 1
    assert Folder(size=32, root=root, channels=3).catalogue(tmp_path).channels == 3


def test_the_key_is_the_content_and_not_the_place(tmp_path: Path) -> None:
    here = fill(tmp_path / "here")
    there = tmp_path / "deep" / "there"
    shutil.copytree(here, there)
    keys = {splits(Folder(size=32, root=str(root)), tmp_path)[0].key for root in (here, there)}
    assert len(keys) == 1
    (there / PEOPLE[9] / "0.jpg").rename(there / PEOPLE[9] / "new.jpg")
    assert splits(Folder(size=32, root=str(there)), tmp_path)[0].key in keys, "somebody else's picture"
    (there / PEOPLE[0] / "0.jpg").rename(there / PEOPLE[0] / "new.jpg")
    assert splits(Folder(size=32, root=str(there)), tmp_path)[0].key not in keys


def test_one_changed_pixel_changes_the_key(tmp_path: Path) -> None:
    root = fill(tmp_path / "faces")
    before = splits(Folder(size=32, root=str(root)), tmp_path)[0].key
    path = root / PEOPLE[0] / "1.png"
    with Image.open(path) as image:
        changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    changed.save(path)
    assert splits(Folder(size=32, root=str(root)), tmp_path)[0].key != before


def test_a_folder_that_changed_after_planning_is_refused(lab: Lab, tmp_path: Path) -> None:
    root = fill(tmp_path / "faces")
    split, sources = splits(Folder(size=32, root=str(root)), tmp_path)
    (root / PEOPLE[0] / "0.jpg").unlink()
    (shard,) = split.upstream
    with pytest.raises(ValueError, match=r"'person0' .* have changed since they were planned"):
        shard.run(lab.context(shard, sources=sources))


def test_private_and_public_roots(lab: Lab, tmp_path: Path) -> None:
    fill(tmp_path / "in", PEOPLE[:4])
    fill(tmp_path / "out", tuple(f"other{i}" for i in range(4)), count=5, colour=False, seed=5000)
    folder = Folder(size=32, private=str(tmp_path / "in"), public="out")  # a path relative to the spec
    catalogue = folder.catalogue(tmp_path)
    assert catalogue.private == PEOPLE[:4]
    assert catalogue.public == ("other0", "other1", "other2", "other3")
    assert catalogue.channels == 3
    public = folder.split(catalogue, catalogue.public[::2], "all", "defender")
    assert public.run(lab.context(public, sources=catalogue.sources))["images"] == 10


def test_bright_and_dark_survive_16_bits(lab: Lab, tmp_path: Path) -> None:
    """A 16-bit grey PNG is a picture of 65,536 tones, not one that is white wherever it is above 255."""
    root = fill(tmp_path / "deep", PEOPLE[:6], count=4, colour=False)
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    for path in list(picture_files(root)[PEOPLE[0]]):
        path.unlink()
    for i in range(4):
        Image.fromarray(ramp + i).save(root / PEOPLE[0] / f"{i}.png")
    split, sources = splits(Folder(size=32, root=str(root)), tmp_path)
    images, _ = split_rows(lab.run(split, sources), lab.store.load)
    assert abs(images.take(np.array([0])).mean() - 127.5) < 5


def test_a_picture_is_turned_upright_by_its_exif(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    _, upright = read(tmp_path / "a.jpg")
    assert upright is not None
    assert upright.size == (20, 40)


def test_an_empty_class(tmp_path: Path) -> None:
    root = fill(tmp_path / "faces")
    (root / "nobody").mkdir()
    (root / ".hidden").mkdir()
    assert "the class 'nobody' is empty" in refused(Folder(size=32, root=str(root)), tmp_path)


def test_pictures_that_do_not_decode_are_all_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "faces")
    (root / PEOPLE[0] / "bad.png").write_bytes(b"not a picture")
    whole = (root / PEOPLE[1] / "1.png").read_bytes()
    (root / PEOPLE[1] / "1.png").write_bytes(whole[: len(whole) // 2])
    text = refused(Folder(size=32, root=str(root)), tmp_path)
    assert "bad.png does not decode" in text
    assert "1.png does not decode" in text
    assert text == refused(Folder(size=32, root=str(root)), tmp_path), "a bad folder is remembered as good"


def test_people_or_pictures_on_both_sides(tmp_path: Path) -> None:
    fill(tmp_path / "in", PEOPLE[:4])
    fill(tmp_path / "out", ("person3", "x", "y", "z"))
    text = refused(Folder(size=32, private=str(tmp_path / "in"), public=str(tmp_path / "out")), tmp_path)
    assert "overlap: 'person3' is in both folders" in text
    assert "is the same picture as the private" in text  # x repeats person1's


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give either root, or private and public; got none"),
        ({"private": "a"}, "got private"),
        ({"root": "a", "public": "b"}, "got root, public"),
        ({"root": "nowhere"}, "no folder 'nowhere' (looked at"),
        ({"root": "empty"}, "has no folder of pictures in it"),
        ({"root": "file"}, "no folder 'file'"),
    ],
)
def test_roots_that_are_none(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert message in refused(Folder(size=32, **fields), tmp_path)


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the permission is taken away in the call that asks for it."""
    root = fill(tmp_path / "faces")
    monkeypatch.setattr("tasks.data.folder.os.access", lambda *_: False)
    assert "cannot be read: permission denied" in refused(Folder(size=32, root=str(root)), tmp_path)


@pytest.mark.parametrize("broken", ["a file where the folder should be", "a torn memory"])
def test_the_memory_of_good_folders_is_only_a_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A cache that cannot be written or read costs time, never the run."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    folder = Folder(size=32, root=str(fill(tmp_path / "faces")))
    if broken.startswith("a file"):
        cache.write_text("")
    else:
        folder.catalogue(tmp_path)
        for path in cache.rglob("*.json"):
            path.write_text('{"gr')
    assert folder.catalogue(tmp_path).channels == 3
