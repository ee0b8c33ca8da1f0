"""Splits: parts that never meet, the same on every machine; and the project's one pixel range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.data.dataset import DataProblemsError
from tasks.data.picture_pixels import square
from tasks.data.pixels import to_float, to_uint8
from tasks.data.split import Part, Picture
from tasks.data.synthetic import Synthetic, SyntheticSplit
from tests.lab import Lab

quick = settings(max_examples=50, deadline=None, derandomize=True)
PARTS: tuple[Part, ...] = ("train", "val", "test")


def dealt(part: Part, person: str, count: int, test: int, val: int, seed: int) -> list[str]:
    split = SyntheticSplit(
        people=(person,),
        part=part,
        audience="private",
        size=32,
        test_per_label=test,
        val_per_label=val,
        seed=seed,
    )
    pictures = [Picture(f"{i:03d}", lambda: Image.new("L", (8, 8))) for i in range(count)]
    return [picture.name for picture in split.deal(person, pictures)]


@quick
@given(
    count=st.integers(0, 30),
    test=st.integers(0, 4),
    val=st.integers(0, 4),
    seed=st.integers(0, 9),
    person=st.text(min_size=1, max_size=5),
)
def test_parts_are_disjoint_exhaustive_and_deterministic(
    count: int, test: int, val: int, seed: int, person: str
) -> None:
    parts = {part: dealt(part, person, count, test, val, seed) for part in PARTS}
    everything = [name for names in parts.values() for name in names]
    assert len(everything) == len(set(everything)) == count
    assert dealt("all", person, count, test, val, seed) == sorted(everything)
    assert len(parts["test"]) == min(test, count)
    assert len(parts["val"]) == max(0, min(val, count - test))
    assert parts == {part: dealt(part, person, count, test, val, seed) for part in PARTS}


def test_the_deal_differs_between_people_and_seeds() -> None:
    deals = {tuple(dealt("test", p, 30, 4, 0, s)) for p in ("a", "b", "c") for s in (0, 1)}
    assert len(deals) == 6


def test_the_deal_is_pinned() -> None:
    """Another order here is another split under the same key: bump the version of every split kind."""
    assert dealt("test", "s1", 10, 2, 1, 0) == dealt("test", "s1", 10, 2, 3, 0)
    assert [dealt(part, "s1", 10, 2, 1, 0) for part in ("test", "val")] == [["000", "001"], ["002"]]


def test_stored_splits_are_disjoint_pictures(lab: Lab) -> None:
    names = {part: lab.run(lab.split(part)).table("index.parquet").to_pylist() for part in PARTS}
    pictures = [row["picture"] for rows in names.values() for row in rows]
    assert len(pictures) == len(set(pictures)) == 6 * 8
    for part, rows in names.items():
        assert all(lab.catalogue.private[row["label"]] == row["person"] for row in rows)
        labels = lab.run(lab.split(part)).tensors("images.safetensors")["labels"]
        assert labels.tolist() == [row["label"] for row in rows]


def test_public_people_are_dealt_to_defender_and_attacker_apart(lab: Lab) -> None:
    private, public = set(lab.catalogue.private), set(lab.catalogue.public)
    attacker, defender = (set(lab.split("all", who).people) for who in ("attacker", "defender"))
    assert not attacker & defender
    assert attacker | defender == public
    assert not private & public


def test_pixels_there_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = to_float(every)
    assert images.min() == -1
    assert images.max() == 1
    assert torch.equal(to_uint8(images), every)
    assert torch.equal(to_uint8(torch.tensor([-3.0, 3.0])), torch.tensor([0, 255], dtype=torch.uint8))


@quick
@given(st.integers(0, 2**31))
def test_pixels_are_rounded_to_the_nearest(seed: int) -> None:
    images = torch.rand(50, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    assert (to_float(to_uint8(images)) - images).abs().max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (64, 64), (20, 21)])
def test_the_centre_square_is_cut_out(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    side = min(size)
    centre = Image.new("RGB", (side, side), (0, 0, 255))
    image.paste(centre, ((size[0] - side) // 2, (size[1] - side) // 2))
    cut = square(image, 32, 3)
    assert cut.size == (32, 32)
    assert cut.getcolors() == [(32 * 32, (0, 0, 255))]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"people": 5, "private_people": (0, 5)}, "no range of people; positions are 0..4"),
        ({"people": 6, "private_people": (0, 2), "public_people": (2, 5)}, "overlap: p002"),
        ({"people": 6, "private_people": ("p000", "nobody")}, "unknown people nobody"),
        ({"people": 6, "private_people": (0, 4)}, "at least 3 are needed"),
        ({"per_person": 3}, "3 are held out"),
    ],
)
def test_impossible_people_are_refused(lab: Lab, fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataProblemsError, match=message):
        Synthetic(size=32, **fields).catalogue(lab.root)  # type: ignore[arg-type]


def test_all_problems_of_a_dataset_at_once(lab: Lab) -> None:
    with pytest.raises(DataProblemsError) as caught:
        Synthetic(size=32, people=6, private_people=(0, 0), public_people=("x",)).catalogue(lab.root)
    assert {problem.field for problem in caught.value.problems} == {"private_people", "public_people"}
    assert len(caught.value.problems) == 3
