"""Privacy (MI-Face): its PROCESS step, its stopping rules, and what a published port of it gets wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tasks.attacks.attack import Inverted
from tasks.attacks.pixels import process
from tasks.attacks.privacy import Privacy
from tasks.inversion.search import Where
from tests.lab import Lab
from tests.resuming import killed_and_resumed


def stage(lab: Lab, **fields: Any) -> Privacy:
    return Privacy(**{"target": lab.victim, "label": 1, "images": 5, "steps": 30, "chunk": 5, **fields})


def invert(lab: Lab, **fields: Any) -> Inverted:
    attack = stage(lab, **fields)
    ctx = lab.context(attack)
    return attack.invert(ctx, attack.target.network(ctx))


def roughness(images: torch.Tensor) -> float:
    return (images[..., 1:] - images[..., :-1]).abs().mean().item()


def test_process_makes_smoother_images_that_still_convince(lab: Lab) -> None:
    fields: dict[str, Any] = {"steps": 120, "target": lab.sure_victim}
    plain, filtered = invert(lab, **fields), invert(lab, process="denoise", **fields)
    assert roughness(filtered.images) < 0.85 * roughness(plain.images)
    assert filtered.losses.mean() < 1.0, "p(l_t) above 0.37, where a guess has 0.17"


def test_the_default_filters_do_not_amplify_noise(lab: Lab) -> None:
    """Applied again and again, sharpening must not win: it did at half the strength and twice the amount."""
    usual, where = stage(lab, process="denoise", process_every=1), Where(torch.arange(2), torch.ones(2))
    loud = usual.model_copy(update={"denoise_strength": 0.1, "sharpen": 0.5})
    start = 0.15 * torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    calm, noise = start, start
    for _ in range(20):
        calm, noise = process(usual, calm, where), process(loud, noise, where)
    assert roughness(calm) < 0.2 * roughness(start)
    assert roughness(noise) > 1.5 * roughness(start)


def test_process_goes_by_the_age_of_a_sample_not_by_the_batch(lab: Lab) -> None:
    """Samples that entered the queue late are filtered after steps of their own, as they would be alone."""
    fields: dict[str, Any] = {"process": "denoise", "process_every": 4, "steps": 14, "patience": 3}
    fields |= {"optimizer": "sgd", "lr": 0.05}  # Adam makes much of the rounding that a batch's shape brings
    together, alone = invert(lab, chunk=5, **fields), invert(lab, chunk=1, **fields)
    queued, other = invert(lab, chunk=2, **fields), invert(lab, chunk=2, **{**fields, "process_every": 5})
    assert together.passes == alone.passes == queued.passes < 5 * 14, "all stopped late, so nothing was queued"
    for found in (together, queued):
        assert (found.images - alone.images).abs().mean() < 1e-3
    assert (other.images - alone.images).abs().mean() > 0.05, "a filter at another age would be seen"


def test_the_interval_matters(lab: Lab) -> None:
    often, never = invert(lab, process="denoise", process_every=2), invert(lab, process="denoise", process_every=31)
    assert not torch.equal(often.images, never.images)
    assert torch.equal(never.images, invert(lab).images)


def test_an_image_below_gamma_has_converged(lab: Lab) -> None:
    patient, content = invert(lab, steps=60), invert(lab, steps=60, stop_below=0.5)
    assert patient.passes == 5 * 60
    assert content.passes < 5 * 60
    assert bool((content.losses <= 0.5).all())
    assert patient.losses.mean() < content.losses.mean()


def test_pixels_are_clamped_not_stretched_to_the_range(lab: Lab) -> None:
    """The port rescales every image by its minimum and maximum after each step: a grey one becomes black and white."""
    found = invert(lab, steps=3, lr=0.01, optimizer="sgd", momentum=0.0, noise=0.05)
    assert found.images.abs().max() < 0.5
    wild = invert(lab, steps=3, lr=5.0)
    assert wild.images.min() >= -1
    assert wild.images.max() <= 1


def test_momentum_is_used(lab: Lab) -> None:
    """In the port its buffer is never updated, so any momentum gives plain descent."""
    fields: dict[str, Any] = {"optimizer": "sgd", "lr": 0.005, "steps": 8}
    assert not torch.equal(invert(lab, momentum=0.0, **fields).images, invert(lab, momentum=0.9, **fields).images)


@pytest.mark.parametrize("kill_at", [1, 4, 9])
def test_a_killed_attack_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    attack = stage(lab, steps=9, chunk=2, process="denoise", process_every=2, stop_below=0.5)
    killed_and_resumed(lab, attack, kill_at)
