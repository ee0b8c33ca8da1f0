"""Pictures with something odd about them: each is used rightly or named in the one report, and counted."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import Catalogue
from tests import archives
from tests.lab import Lab
from tests.tasks.data.test_archives import NAMES, SMALL, parts, small, stored


def everybody(name: str, tmp_path: Path, **fields: Any) -> Catalogue:
    """All ten people chosen, so that whatever is odd is met."""
    return small(name, **{"min_pictures": 4, **fields}).catalogue(tmp_path)


def ten(name: str, tmp_path: Path) -> Path:
    root = archives.TREES[name](tmp_path / "data", people=10)
    for path in ("identity_meta.csv", "lfw-names.txt"):
        (root / path).unlink(missing_ok=True)
    return root


def left_out(catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    return {f.removeprefix("pictures left out: "): n for f, n in catalogue.findings.items() if "left out" in f}


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_no_pictures_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    root = ten(name, tmp_path)
    paths = archives.pictures(name, root)
    empty, torn, text = paths[0], paths[7], paths[14]  # of three people
    whole = torn.read_bytes()
    empty.write_bytes(b"")
    torn.write_bytes(whole[: len(whole) // 2])
    text.write_text("<html>404</html>")
    catalogue = everybody(name, tmp_path)
    names = [path.relative_to(root).as_posix() for path in (empty, torn, text)]
    assert left_out(catalogue) == {
        "the file is empty (0 bytes)": (names[0],),
        "the file does not decode as an image (truncated or damaged)": (names[1],),
        "the file does not decode as an image (of no known format)": (names[2],),
    }
    assert sum(catalogue.pictures.values()) == 10 * archives.COUNT - 3


@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture_twice(lab: Lab, tmp_path: Path, name: str) -> None:
    """Under one label it counts once, or it would be trained on and tested on; under two labels it is of no use."""
    root = ten(name, tmp_path)
    people = small(name).catalogue(tmp_path).private
    one, two = (archives.of_person(name, root, person) for person in people[:2])
    one[1].write_bytes(one[0].read_bytes())
    two[3].write_bytes(one[2].read_bytes())
    catalogue = everybody(name, tmp_path)
    found = left_out(catalogue)
    first, second = (path.relative_to(root).as_posix() for path in one[:2])
    assert found["the same as another of that person"] == (f"{second} (= {first})",)
    assert found["the same picture under two labels"] == tuple(
        sorted(path.relative_to(root).as_posix() for path in (one[2], two[3]))
    )
    counts = [catalogue.pictures[person] for person in people[:2]]
    assert counts == [archives.COUNT - 2, archives.COUNT - 1]
    _, index = stored(lab, parts(small(name, min_pictures=4), catalogue, "all"), catalogue)
    assert {row["picture"] for row in index}.isdisjoint(found["the same picture under two labels"])
    assert len(index) == sum(catalogue.pictures[person] for person in catalogue.private)


def test_a_person_who_is_left_with_too_few_is_replaced(tmp_path: Path) -> None:
    """All pictures of a private person are a public one's, too: neither can be chosen."""
    root = archives.lfw(tmp_path / "data", people=14)
    before = small("lfw").catalogue(tmp_path)
    private, public = before.private[0], before.public[0]
    pairs = zip(*(archives.of_person("lfw", root, person) for person in (private, public)), strict=True)
    for mine, theirs in pairs:
        theirs.write_bytes(mine.read_bytes())
    after = small("lfw").catalogue(tmp_path)
    assert {private, public}.isdisjoint((*after.private, *after.public))
    assert (len(after.private), len(after.public)) == (4, 6)
    passed = after.findings["people passed over: too few pictures that stand under no other label"]
    assert set(passed) == {private, public}


def test_a_label_with_one_picture_is_passed_over_and_named(tmp_path: Path) -> None:
    archives.lfw(tmp_path / "data", people=10)  # and one more, of whom there is one picture
    catalogue = everybody("lfw", tmp_path, public_people=None)
    assert "Name_K" not in (*catalogue.private, *catalogue.public)
    with_all = small("lfw", labels=4, public=6, split_seed=_seed_that_meets("Name_K", tmp_path)).catalogue(tmp_path)
    assert with_all.findings["people passed over: 1 picture"] == ("Name_K",)


def _seed_that_meets(person: str, tmp_path: Path) -> int:
    """A seed by which the protocol comes by a person before it has enough."""
    for seed in range(20):
        found = small("lfw", split_seed=seed).catalogue(tmp_path).findings
        if any(person in names for names in found.values()):
            return seed
    raise AssertionError(person)


def test_grey_and_cmyk_pictures_are_used_in_their_colours(lab: Lab, tmp_path: Path) -> None:
    root = ten("vggface2", tmp_path)
    person = small("vggface2").catalogue(tmp_path).private[0]
    grey, cmyk, *_ = archives.of_person("vggface2", root, person)
    grey.write_bytes(archives.jpeg(Image.new("L", (90, 90), 200)))
    cmyk.write_bytes(archives.jpeg(Image.new("RGB", (90, 90), (210, 40, 40)).convert("CMYK")))
    catalogue = everybody("vggface2", tmp_path)
    names = [path.relative_to(root).as_posix() for path in (grey, cmyk)]
    assert catalogue.findings["grey pictures, used like the others"] == (names[0],)
    assert catalogue.findings["CMYK pictures, converted to RGB"] == (names[1],)
    assert left_out(catalogue) == {}
    tensors, index = stored(lab, parts(small("vggface2", min_pictures=4), catalogue, "all"), catalogue)
    shown = {row["picture"]: image.float() for row, image in zip(index, tensors["images"], strict=True)}
    assert (shown[names[0]] - 200).abs().max() < 4
    assert (shown[names[1]].mean(dim=(1, 2)).numpy() - np.array([210, 40, 40])).max() < 12


@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, True), (6, True), (8, True)])
def test_exif_is_followed_before_the_crop(lab: Lab, tmp_path: Path, orientation: int, turned: bool) -> None:
    """A picture stored on its side is cut and shown like the upright one."""
    root = ten("celeba", tmp_path)
    person = small("celeba").catalogue(tmp_path).private[0]
    path = archives.of_person("celeba", root, person)[0]
    with Image.open(path) as image:
        upright = image.copy()
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored_as = upright.transpose(back[orientation]) if orientation in back else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(archives.jpeg(stored_as, exif=exif))
    catalogue = everybody("celeba", tmp_path)
    name = path.relative_to(root).as_posix()
    assert (name in catalogue.findings.get("pictures turned upright by their EXIF", ())) is turned
    tensors, index = stored(lab, parts(small("celeba", min_pictures=4), catalogue, "all"), catalogue)
    row = [row["picture"] for row in index].index(name)
    expected = upright.crop((35, 55, 143, 163)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(tensors["images"][row].permute(1, 2, 0).float().numpy() - np.asarray(expected, np.float32)).mean() < 4


@pytest.mark.parametrize("name", ["vggface2", "lfw"])
def test_symbolic_links(lab: Lab, tmp_path: Path, name: str) -> None:
    """Links to pictures and to people's folders are followed; one that leads nowhere is named."""
    root = ten(name, tmp_path)
    person = small(name).catalogue(tmp_path).private[0]
    linked, *_ = archives.of_person(name, root, person)
    linked.rename(tmp_path / "kept.jpg")
    linked.symlink_to(tmp_path / "kept.jpg")
    folder = linked.parent
    folder.rename(tmp_path / "person")
    folder.symlink_to(tmp_path / "person")
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    catalogue = everybody(name, tmp_path)
    gone = f"{folder.relative_to(root).as_posix()}/gone.jpg"
    assert left_out(catalogue) == {"the symbolic link leads nowhere": (gone,)}
    assert catalogue.pictures[person] == archives.COUNT
    _, index = stored(lab, parts(small(name, min_pictures=4), catalogue, "all"), catalogue)
    assert linked.relative_to(root).as_posix() in {row["picture"] for row in index}


def test_names_beyond_ascii_are_one_name_however_they_are_stored(tmp_path: Path) -> None:
    """An accent may be one character or two; the keys of both trees are the same."""
    keys = []
    for form in ("NFC", "NFD"):
        base = tmp_path / form
        root = archives.lfw(base / "data", people=10)
        (root / "lfw-names.txt").unlink()
        for person in ("Name_A", "Name_B"):
            new = unicodedata.normalize(form, f"Zoë_Åström_{person}")  # type: ignore[arg-type]
            for path in archives.of_person("lfw", root, person):
                path.rename(path.with_name(path.name.replace(person, new)))
            (root / "lfw-deepfunneled" / person).rename(root / "lfw-deepfunneled" / new)
        dataset = small("lfw", private_people=["Zoë_Åström_Name_A", "Zoë_Åström_Name_B"])
        catalogue = dataset.catalogue(base)
        keys.append(parts(dataset, catalogue, "train").key)
    assert keys[0] == keys[1]


def test_what_lies_beside_the_pictures_is_named(tmp_path: Path) -> None:
    root = ten("vggface2", tmp_path)
    person = small("vggface2").catalogue(tmp_path).private[0]
    (root / "train" / person / "Thumbs.db").write_bytes(b"x")
    (root / "train" / person / ".DS_Store").write_bytes(b"x")
    (root / "train" / "README").write_text("x")
    found = everybody("vggface2", tmp_path).findings
    assert found["entries that are no pictures by their names, ignored"] == (f"train/{person}/Thumbs.db",)
    assert found["files beside the folders of people, ignored"] == ("train/README",)
    assert "lists that are not there, so that nobody knows whether all people are" in found


def test_pictures_that_the_annotation_does_not_know(tmp_path: Path) -> None:
    root = ten("celeba", tmp_path)
    archives.put(root / "img_align_celeba" / "999999.jpg", archives.jpeg(archives.face(50, 0, (178, 218))))
    found = everybody("celeba", tmp_path).findings
    assert found["pictures without an identity, ignored"] == ("img_align_celeba/999999.jpg",)
    root = ten("vggface", tmp_path)
    archives.put(root / "images" / "Person_A" / "extra.jpg", archives.jpeg(archives.face(50, 1)))
    with (root / "files" / "Person_A.txt").open("a") as file:
        file.write("no such line\n")
    found = everybody("vggface", tmp_path).findings
    assert found["pictures that the list does not name, ignored"] == ("images/Person_A/extra.jpg",)
    assert found["lines of the lists that are not understood"] == ("Person_A.txt:8",)
    dead = found["people with pictures that are listed and not there (dead addresses?)"]
    assert len(dead) == 10
    assert dead[0] == "Person_A (1 of 7)"


def test_boxes_and_crops_that_do_not_fit(tmp_path: Path) -> None:
    root = ten("vggface", tmp_path)
    path = archives.put(root / "images" / "Person_A" / "00000001.jpg", archives.jpeg(archives.face(0, 0, (30, 15))))
    found = left_out(everybody("vggface", tmp_path))
    assert found == {"the face's box lies outside the picture": (path.relative_to(root).as_posix(),)}
    root = ten("celeba", tmp_path)
    path = archives.put(root / "img_align_celeba" / "000001.jpg", archives.jpeg(archives.face(0, 0, (90, 110))))
    found = left_out(everybody("celeba", tmp_path))
    assert found == {"smaller than the 108 pixels that are cut out of it": ("img_align_celeba/000001.jpg",)}


def test_the_record_of_a_shard_says_what_it_left_out(lab: Lab, tmp_path: Path) -> None:
    root = ten("lfw", tmp_path)
    dataset = small("lfw", min_pictures=4)
    person = dataset.catalogue(tmp_path).private[0]
    archives.of_person("lfw", root, person)[0].write_bytes(b"")
    catalogue = dataset.catalogue(tmp_path)
    split = parts(dataset, catalogue, "train")
    (shard,) = split.upstream
    ctx = lab.context(shard, sources=catalogue.sources)
    shard.run(ctx)
    assert "1 pictures left out: the file is empty (0 bytes)" in ctx.notes["pictures"]
    assert SMALL["labels"] == len(split.people)
