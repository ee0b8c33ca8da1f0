"""Every GAN structure learns its images, resumes, takes every size and scores images alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tasks.data.pixels import to_float
from tasks.gan import training
from tasks.gan.gan import TrainedGAN
from tasks.gan.latents import blocks, draw, project
from tasks.models.classifier import Classifier
from tasks.models.inference import inference_copy
from tests.lab import Lab
from tests.resuming import killed_and_resumed
from tests.tasks.gan_lab import STRUCTURES, build, distance, generator_weights

every_structure = pytest.mark.parametrize("name", STRUCTURES)


def misfit(lab: Lab, stage: TrainedGAN) -> float:
    """How far mean and spread of each pixel over samples are from those over the real images."""
    fake = to_float(lab.run(stage).tensors("samples.safetensors")["images"])
    real, _ = stage.data.tensors(lab.context(stage))
    mean = (fake.mean(dim=0) - real.mean(dim=0)).abs().mean()
    spread = (fake.std(dim=0) - real.std(dim=0)).abs().mean()
    return (mean + spread).item()


@every_structure
def test_it_learns_its_images_and_steps_0_is_the_control(lab: Lab, name: str) -> None:
    stage = build(lab, STRUCTURES[name])
    untrained = stage.model_copy(update={"steps": 0})
    metrics = lab.run(stage).metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert misfit(lab, stage) < 0.7 * misfit(lab, untrained)
    ctx = lab.context(untrained)
    assert set(untrained.run(ctx)) <= {"target_queries"}
    fresh, _ = training._start(untrained, ctx)
    assert distance(generator_weights(lab, untrained), fresh.state_dict()) == 0


@every_structure
@pytest.mark.parametrize("kill_at", [2, 4])
def test_a_killed_training_ends_as_an_undisturbed_one(lab: Lab, name: str, kill_at: int) -> None:
    """`kill_at` 4 is after the last step: what is left is only to write the product."""
    stage = build(lab, STRUCTURES[name], steps=4)
    killed_and_resumed(lab, stage, kill_at)


@every_structure
def test_after_training_every_image_is_painted_and_judged_alone(lab: Lab, name: str) -> None:
    stage = build(lab, STRUCTURES[name])
    ctx = lab.context(stage)
    lab.run(stage)
    generator, critic = stage.trained(ctx)
    assert not generator.training
    assert not critic.training
    z = draw(stage.latent_space, 5, ctx.generator("try"))
    with torch.no_grad():
        images = generator(z)
        for i in range(5):
            assert torch.allclose(generator(z[i : i + 1]), images[i : i + 1], atol=1e-5)
        for judge in (critic, inference_copy(critic)):
            scores = judge(images)
            assert scores.shape == (5,)
            for i in range(5):
                assert torch.allclose(judge(images[i : i + 1]), scores[i : i + 1], atol=1e-4)
        assert scores.std() > 0


@every_structure
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (64, 1), (112, 3), (128, 3), (224, 1), (256, 1)])
def test_every_size_and_colour(lab: Lab, name: str, size: int, channels: Any) -> None:
    changes = {"size": size, "channels": channels}
    target = Classifier(train=lab.split("train").model_copy(update=changes), arch="ir_small")
    data = lab.split("all", "defender").model_copy(update=changes)
    stage = build(lab, STRUCTURES[name], data=data, target=target, width=4)
    assert size in stage.sizes
    generator, critic = training.build_pair(stage)
    with torch.no_grad():
        images = generator(draw(stage.latent_space, 3, torch.Generator().manual_seed(0)))
        assert images.shape == (3, channels, size, size)
        assert critic(images).shape == (3,)


@every_structure
def test_a_search_keeps_to_the_latents_that_the_generator_takes(lab: Lab, name: str) -> None:
    """From a one-hot condition a step leads to a valid mixture, not off the simplex."""
    stage = build(lab, STRUCTURES[name])
    ctx = lab.context(stage)
    lab.run(stage)
    space = stage.latent_space
    z = draw(space, 6, ctx.generator("try"))
    assert torch.allclose(project(space, z), z, atol=1e-6)
    moved = project(space, z + torch.randn(z.shape, generator=ctx.generator("step")))
    _, hot, codes = blocks(space, moved)
    for block in hot:
        assert bool((block >= 0).all())
        assert torch.allclose(block.sum(dim=1), torch.ones(6), atol=1e-5)
    assert codes.numel() == 0 or codes.abs().max() <= 1
    generator, _ = stage.trained(ctx)
    with torch.no_grad():
        images = generator(moved)
    assert bool(images.isfinite().all())
    assert images.abs().max() <= 1
