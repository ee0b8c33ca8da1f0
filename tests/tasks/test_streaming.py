"""Stages that take many images read them by rows, and the numbers are those of all images in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from tasks.attacks import decoder_training
from tasks.attacks.decoder import Decoder
from tasks.data import stored_images
from tasks.data.split import Audience, Split
from tasks.data.stored_images import StoredImages
from tasks.data.stored_rows import StoredRows
from tasks.data.synthetic import SyntheticSplit
from tasks.defenses.ad_mi import Noised
from tasks.defenses.purifier import Purified, Purifier
from tasks.finetune.fisher import Fisher
from tasks.gan import GANS
from tasks.gan.gan import TrainedGAN
from tasks.models.augment import augment
from tasks.models.augmented_images import AugmentedImages
from tasks.models.private_classifier import DPClassifier
from tasks.stage import Stage
from tests.lab import Lab, folder_digests
from tests.resuming import killed_and_resumed
from tests.tasks.dp_lab import SMALL

MOST = 64  # images that a stage may have at a time: a batch of what passes a network
BLOCK = 48 * 4 * 32 * 32  # bytes of 48 images


def crowd(audience: Audience) -> Split:
    """100 images of 50 public people, more than a stage may have at a time."""
    fields: dict[str, Any] = {"size": 32, "per_person": 2, "test_per_label": 0, "val_per_label": 0}
    names = tuple(f"{audience}{i:02d}" for i in range(50))
    return SyntheticSplit(people=names, part="all", audience=audience, **fields)


def decoder(lab: Lab, audience: Audience = "attacker") -> Decoder:
    role = "defender" if audience == "defender" else "attacker"
    return Decoder(target=lab.victim, data=crowd(audience), role=role, width=4, batch=16, steps=6, copies=1)


def purifier(lab: Lab) -> Purifier:
    return Purifier(model=lab.victim, data=crowd("defender"), hidden=16, code=8, steps=20, batch=16, copies=2)


def fisher(lab: Lab) -> Fisher:
    return Fisher(model=lab.victim, data=crowd("private"), labels="sampled", augmented=1)


STAGES: dict[str, Callable[[Lab], Stage]] = {
    "decoder": decoder,
    "purifier": purifier,
    "ad_mi": lambda lab: Noised(model=lab.victim, decoder=decoder(lab, "defender"), steps=1),
    "purified": lambda lab: Purified(model=lab.victim, purifier=purifier(lab)),
    "fisher": fisher,
}


def gan(lab: Lab, name: str) -> TrainedGAN:
    against = {"target": lab.victim} if name == "inversion" else {}
    settings = {"steps": 6, "n_critic": 2, "batch": 8, "width": 8, "latent_dim": 16}
    return GANS[name](data=crowd("attacker"), role="attacker", **settings, **against)  # type: ignore[return-value]


READ_AHEAD: dict[str, Callable[[Lab], Stage]] = {
    **{name: partial(gan, name=name) for name in ("wgan", "cgan", "inversion")},
    "decoder": decoder,
    "dp": lambda _: DPClassifier(train=crowd("private"), **SMALL),
}


class Frugal(StoredImages):
    """Images from files, as far as a training can tell, which refuse to be read many at a time."""

    def __init__(self, rows: StoredRows, device: torch.device | str) -> None:
        rows.mapped = True
        super().__init__(rows, device, resident=False)
        self.read = Counter[bool]()  # images, by whether they were read ahead

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        assert len(rows) <= MOST, f"{len(rows)} of {len(self)} images are read at once"
        self.read[threading.current_thread() is not threading.main_thread()] += len(rows)
        return super()._read(rows)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Frugal]:
    """What is opened from now on, and is frugal."""
    found: list[Frugal] = []

    def frugal(rows: StoredRows, device: torch.device | str) -> Frugal:
        found.append(Frugal(rows, device))
        return found[-1]

    monkeypatch.setattr(stored_images, "StoredImages", frugal)
    monkeypatch.setattr(stored_images, "BLOCK_BYTES", BLOCK)
    return found


@pytest.mark.parametrize("name", STAGES)
def test_all_images_are_never_there_at_once(lab: Lab, request: pytest.FixtureRequest, name: str) -> None:
    """And what is learned is the same, bit for bit; of the metrics, those that are sums over blocks may round."""
    stage = STAGES[name](lab)
    calm = lab.context(stage)
    expected = stage.run(calm)
    opened = request.getfixturevalue("opened")
    ctx = lab.context(stage)
    assert stage.run(ctx) == pytest.approx(expected, rel=1e-5)
    assert folder_digests(ctx.out) == folder_digests(calm.out)
    assert ctx.curves == calm.curves
    assert sum(images.read.total() for images in opened) >= 100


@pytest.mark.parametrize("name", ["wgan", "inversion", "stylegan"])
def test_a_gan_reads_the_batch_that_its_critic_meets_next_ahead(lab: Lab, opened: list[Frugal], name: str) -> None:
    """Of 12 batches all but the first; the inversion GAN's second batch of a step and its generator's are not."""
    stage = gan(lab, name)
    stage.run(lab.context(stage))
    beside = {"inversion": 8 * (12 + 6) + stage.batch - 1}.get(name, 0)  # and the reference of its critic
    assert opened[0].read == {True: 8 * 11, False: 8 + beside}


@pytest.mark.parametrize("name", READ_AHEAD)
def test_who_reads_ahead_learns_the_same_killed_or_not(lab: Lab, request: pytest.FixtureRequest, name: str) -> None:
    stage = READ_AHEAD[name](lab)
    calm = lab.context(stage)
    stage.run(calm)
    opened = request.getfixturevalue("opened")
    again = killed_and_resumed(lab, stage, kill_at=2)
    assert again.curves == calm.curves
    assert folder_digests(again.out) == folder_digests(calm.out)
    assert all(images.read[True] for images in opened if len(images) == 100)


def stored(count: int = 11, size: int = 8) -> StoredImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    here = np.arange(count)
    return StoredImages(StoredRows([lambda: pixels], np.zeros_like(here), here, mapped=True))


@pytest.mark.parametrize(("copies", "originals"), [(2, True), (2, False), (0, True), (1, False)])
@pytest.mark.parametrize("threads", [1, 2])
def test_copies_are_those_of_all_images_augmented_at_once(copies: int, originals: bool, threads: int) -> None:
    """224 pixels and two threads: where one image alone would be added up in another order."""
    images = stored(size=224)
    draws, again = (torch.Generator().manual_seed(7) for _ in range(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = [augment(images[:], draws) for _ in range(copies)]
        expected = torch.cat([images[:], *whole] if originals else whole)
        found = AugmentedImages(images, copies, again, originals=originals)
        assert len(found) == len(expected)
        assert torch.equal(found[:], expected)
        for chunk in (1, 3, 5):
            assert torch.equal(torch.cat(list(found.split(chunk))), expected)
        rows = torch.tensor([len(found) - 1, 0, 10, 3, 0])
        assert torch.equal(found[rows], expected[rows])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again.get_state(), draws.get_state())


def test_errors_over_blocks_are_those_of_all_images(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = decoder(lab)
    images, _ = stage.data.images(lab.context(stage))
    network = stage.network()
    predictions = torch.rand(100, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    error = (decoder_training.paint(network, predictions) - images[:]).square().double().mean().item()
    spread = images[:].double().var(dim=0, unbiased=False).mean().item()
    for block in (BLOCK, stored_images.BLOCK_BYTES):
        monkeypatch.setattr(stored_images, "BLOCK_BYTES", block)
        assert decoder_training.reconstruction_error(network, predictions, images) == pytest.approx(error, rel=1e-5)
        assert decoder_training.mean_image_error(images) == pytest.approx(spread, rel=1e-5)
