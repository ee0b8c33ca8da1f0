"""DeepInversion: it needs BatchNorm, works on the whole batch at once, and comes nearer to the statistics."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tasks.attacks.attack import Inverted
from tasks.attacks.batchnorm_matching import moved, watched
from tasks.attacks.deepinversion import WITHOUT_BATCHNORM, DeepInversion
from tasks.models.architectures import build
from tasks.models.classifier import Arch
from tests.lab import Lab
from tests.resuming import killed_and_resumed


def stage(lab: Lab, **fields: Any) -> DeepInversion:
    return DeepInversion(**{"target": lab.victim, "label": 1, "images": 4, "steps": 30, **fields})


def invert(lab: Lab, **fields: Any) -> Inverted:
    attack = stage(lab, **fields)
    ctx = lab.context(attack)
    return attack.invert(ctx, lab.victim.network(ctx))


def feature_distance(lab: Lab, images: torch.Tensor) -> float:
    """R_feature of a batch, unweighted, for the victim."""
    network = lab.victim.network(lab.context(stage(lab)))
    with torch.no_grad(), watched(network) as distances:
        network(images)
        return float(torch.stack(distances).sum())


@pytest.mark.parametrize("arch", get_args(Arch))
def test_which_architectures_have_batchnorm_is_known_without_torch(arch: str) -> None:
    network = build(arch, channels=1, size=32, classes=3, width=0.25)
    found = any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules())
    assert found == (arch not in WITHOUT_BATCHNORM)


def test_a_target_without_batchnorm_is_refused_by_name(lab: Lab) -> None:
    plain = lab.victim.model_copy(update={"arch": "vgg16"})
    reason = DeepInversion.refusal(plain)
    assert reason is not None
    assert "vgg16 has none" in reason
    assert "vgg16_bn" in reason.partition("that have:")[2]
    with pytest.raises(ValidationError, match="vgg16 has none; architectures that have: vgg16_bn, ir50"):
        stage(lab, target=plain)
    assert DeepInversion.refusal(lab.victim) is None


def test_the_batch_comes_nearer_to_the_statistics_of_training(lab: Lab) -> None:
    start = invert(lab, steps=1, lr=1e-9).images
    free, bound = invert(lab, bn_weight=0.0).images, invert(lab, bn_weight=0.1).images
    assert feature_distance(lab, bound) < 0.8 * feature_distance(lab, start)
    assert feature_distance(lab, bound) < 0.8 * feature_distance(lab, free)


def test_an_image_feels_its_batch(lab: Lab) -> None:
    """As the algorithm has it: `images` is a setting. With more images the first is another."""
    few, many = invert(lab, images=2, steps=5), invert(lab, images=4, steps=5)
    assert not torch.allclose(few.images[0], many.images[0], atol=1e-3)
    assert stage(lab, images=2).key != stage(lab, images=4).key


def test_one_image_alone_is_possible(lab: Lab) -> None:
    """Its single features (BatchNorm1d) have a batch variance of 0, which has a finite gradient."""
    found = invert(lab, images=1, steps=3)
    assert bool(found.images.isfinite().all())
    assert found.images.std() > 0.1


@pytest.mark.parametrize("name", ["first_bn", "tv", "l2", "bn_weight"])
def test_every_weight_reaches_the_images(lab: Lab, name: str) -> None:
    """`invert` is a function of each term: scaled up, it gives other images."""
    usual, heavy = invert(lab, steps=3), invert(lab, steps=3, **{name: 1000.0})
    assert not torch.equal(usual.images, heavy.images)


def test_total_variation_smoothes(lab: Lab) -> None:
    rough, smooth = (invert(lab, tv=tv).images for tv in (0.0, 1.0))
    assert (smooth[..., 1:] - smooth[..., :-1]).abs().mean() < 0.5 * (rough[..., 1:] - rough[..., :-1]).abs().mean()


def test_the_moves_are_rolls_and_flips_of_the_whole_batch() -> None:
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    seen = set()
    for _ in range(60):
        found = moved(images, True, 0.1, draws)  # by up to int(1.6) = 1 pixel
        options = {
            (flip, down, across): (
                images.roll((down, across), (2, 3)).flip(3) if flip else images.roll((down, across), (2, 3))
            )
            for flip in (False, True)
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
        }
        seen |= {move for move, image in options.items() if torch.equal(image, found)}
    assert len(seen) == 18
    assert torch.equal(moved(images, False, 0.0, draws), images)


def test_a_warm_attack_starts_where_the_other_ended(lab: Lab) -> None:
    first = stage(lab)
    ended = lab.run(first).tensors("points.safetensors")["points"]
    found = invert(lab, warm=first, steps=1, lr=1e-9)
    assert torch.allclose(found.images, ended, atol=1e-6)


def test_the_target_keeps_no_hook(lab: Lab) -> None:
    attack = stage(lab, steps=2)
    ctx = lab.context(attack)
    target = lab.victim.network(ctx)
    attack.invert(ctx, target)
    assert all(not module._forward_pre_hooks for module in target.modules())


def test_its_cost_and_its_terms_are_recorded(lab: Lab) -> None:
    attack = stage(lab)
    ctx = lab.context(attack)
    metrics = attack.run(ctx)
    assert (metrics["passes"], metrics["queries"]) == (4 * 30, 4)
    assert set(ctx.curves[-1]) == {"step", "cross_entropy", "feature", "variation", "norm"}


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_attack_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    attack = stage(lab, steps=4, flip=True)
    killed_and_resumed(lab, attack, kill_at)
