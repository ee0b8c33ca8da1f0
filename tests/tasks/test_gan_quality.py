"""The stage that measures a GAN: what it compares with what, and that better GANs are told from worse ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tasks.artifact import Artifact
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.gan.gan import GAN
from tasks.gan.networks import LatentGenerator
from tasks.metrics.gan_quality import GANQuality
from tasks.metrics.generator_quality import density_coverage
from tasks.metrics.image_distances import frechet_distance
from tasks.models.classifier import Classifier
from tasks.models.training import features
from tasks.stage import Metrics, Stage
from tests.lab import Lab, folder_digests


def judge(lab: Lab) -> Classifier:
    return lab.public_classifier.model_copy(update={"role": "judge"})


def quality(lab: Lab, gan: GAN | None = None, **fields: Any) -> GANQuality:
    own = gan or lab.attacker_gan
    return GANQuality(**{"gan": own, "judge": judge(lab), "reference": own.data, "count": 40, **fields})


@cache
def measured(lab: Lab, steps: int) -> tuple[Metrics, Context]:
    stage = quality(lab, lab.gan("attacker", steps=steps))
    ctx = lab.context(stage)
    return stage.run(ctx), ctx


def test_metrics_are_of_fresh_samples_in_the_judges_features(lab: Lab) -> None:
    metrics, ctx = measured(lab, 100)
    generator, _ = lab.attacker_gan.trained(ctx)
    with torch.no_grad():
        z = torch.randn(40, 16, generator=ctx.generator("quality"))
        samples = to_float(to_uint8(generator(z)))
    network = judge(lab).network(ctx)
    images, _ = lab.attacker_gan.data.tensors(ctx)
    real, fake = features(network, images), features(network, samples)
    assert metrics["frechet"] == pytest.approx(frechet_distance(fake, real), rel=0.02)
    density, coverage = density_coverage(real, fake)
    assert (metrics["density"], metrics["coverage"]) == pytest.approx((density, coverage), abs=0.05)
    assert (metrics["samples"], metrics["reference_images"]) == (40.0, len(images))


def test_curves_are_of_the_grids_that_the_training_left(lab: Lab) -> None:
    _, ctx = measured(lab, 100)
    grids = lab.run(lab.attacker_gan).tensors("samples.safetensors")
    assert [point["step"] for point in ctx.curves] == grids["steps"].tolist() == sorted(grids["steps"].tolist())
    assert len(ctx.curves) == 8
    last = to_float(grids["over_time"][-1])
    images, _ = lab.attacker_gan.data.tensors(ctx)
    network = judge(lab).network(ctx)
    wanted = frechet_distance(features(network, last), features(network, images))
    assert ctx.curves[-1]["frechet"] == pytest.approx(wanted)
    assert ctx.curves[-1].keys() == {"step", "frechet", "density", "coverage"}


def test_an_untrained_generator_is_worse_and_has_one_point(lab: Lab) -> None:
    untrained, ctx = measured(lab, 0)
    assert untrained["frechet"] > 1.5 * measured(lab, 100)[0]["frechet"]
    assert untrained["coverage"] <= measured(lab, 100)[0]["coverage"]
    assert [point["step"] for point in ctx.curves] == [0]


def test_few_images_are_said_to_be_few(lab: Lab) -> None:
    _, ctx = measured(lab, 100)
    assert "rank-deficient: 24 real images and 40 samples" in ctx.notes["frechet"]


class Memory(LatentGenerator):
    """A generator that repeats one real image, or all of them in turn."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images, self.next = images, 0

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        rows = (torch.arange(len(z)) + self.next) % len(self.images)
        self.next += len(z)
        return self.images[rows]


@pytest.mark.parametrize("remembered", [1, 24])
def test_a_generator_that_repeats_one_photograph_covers_little(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    images, _ = lab.attacker_gan.data.tensors(lab.context(lab.attacker_gan))
    generator = Memory(images[:remembered])
    monkeypatch.setattr(type(lab.attacker_gan), "trained", lambda *_: (generator, None))
    stage = quality(lab, count=48)
    metrics = stage.run(lab.context(stage))
    if remembered == 1:
        assert metrics["coverage"] < 0.5
    else:
        assert metrics["coverage"] == 1.0
        assert metrics["frechet"] < 0.1 * measured(lab, 100)[0]["frechet"]


def test_a_generator_whose_samples_are_not_all_there_is_no_reason_to_fail(lab: Lab, tmp_path: Path) -> None:
    """A given generator has one grid of its own samples, at step 0."""
    artifact = lab.run(lab.attacker_gan)
    grids = load_file(artifact.path("samples.safetensors"))
    own = {"images": grids["images"], "over_time": grids["images"][None].clone(), "steps": torch.tensor([0])}
    save_file(own, tmp_path / "samples.safetensors")
    given = {"samples.safetensors": tmp_path / "samples.safetensors"}
    stage = quality(lab)

    def load(wanted: Stage) -> Artifact:
        if wanted.key != lab.attacker_gan.key:
            return lab.run(wanted)
        return Artifact(wanted.key, {}, lambda name: given.get(name) or artifact.path(name))

    ctx = lab.context(stage, load=load)
    assert stage.run(ctx) == measured(lab, 100)[0]
    assert len(ctx.curves) == 1


def test_it_is_deterministic_and_writes_no_image(lab: Lab) -> None:
    stage = quality(lab)
    ctx = lab.context(stage)
    torch.manual_seed(5)
    assert stage.run(ctx) == measured(lab, 100)[0]
    assert folder_digests(ctx.out) == {}
