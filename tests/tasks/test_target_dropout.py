"""Dropout inside the target: in a copy, where the reference has it, by its rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.attacks.target_dropout import DropoutTarget
from tasks.models.architectures import ARCHITECTURES, Network, build
from tasks.models.initialise import initialise
from tests.tasks.mirror_lab import where


def all_ones(convolution: bool) -> Network:
    """A target whose features are all 1, but for dropout: (n, 64), of a hidden layer or of a pooled map."""
    layers = [nn.Conv2d(1, 64, 1), nn.MaxPool2d(2), nn.Flatten()] if convolution else [nn.Flatten(), nn.Linear(4, 64)]
    network = Network(nn.Sequential(*layers, *([] if convolution else [nn.ReLU()])), nn.Linear(64, 2))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.5)
    return network


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_dropout_is_in_the_copy_and_only_there(arch: str) -> None:
    target = build(arch, channels=1, size=64, classes=5, width=0.25).eval()
    for parameter in target.parameters():
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    x = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = target(x)
        dropped = DropoutTarget(target, 0.5, 0.2, seed=1)(x, where([0, 1, 2]))
        maps = DropoutTarget(target, 0.0, 0.2, seed=1)(x, where([0, 1, 2]))
        hidden = DropoutTarget(target, 0.5, 0.0, seed=1)(x, where([0, 1, 2]))
        assert torch.equal(target(x), before)
    assert not any(module._forward_hooks for module in target.modules())
    assert not torch.allclose(dropped, before)
    assert not torch.allclose(maps, before)
    assert torch.allclose(hidden, before, rtol=1e-4, atol=1e-4) == (arch == "densenet_small"), "it has no hidden layer"


@pytest.mark.parametrize("convolution", [False, True])
def test_dropout_drops_its_share_and_keeps_the_mean(convolution: bool) -> None:
    """Inverted dropout: a share `rate` is 0 and the rest is larger by 1 / (1 - rate)."""
    target = all_ones(convolution).eval()
    dropped = DropoutTarget(target, 0.0 if convolution else 0.4, 0.4 if convolution else 0.0, seed=3)
    seen: list[torch.Tensor] = []
    dropped._network.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.ones(400, 1, 2, 2)
    with torch.no_grad():
        dropped(x, where(list(range(400))))
        full = target.features(x[:1])[0, 0].item()
    assert (seen[0] == 0).double().mean().item() == pytest.approx(0.4, abs=0.02)
    assert seen[0].max().item() == pytest.approx(full / 0.6)
    assert seen[0].mean().item() == pytest.approx(full, rel=0.03)


def test_dropout2d_takes_whole_channels() -> None:
    target = all_ones(convolution=True).eval()
    dropped = DropoutTarget(target, 0.0, 0.5, seed=3)
    seen: list[torch.Tensor] = []
    dropped._network.get_submodule("body.2").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    dropped._network.classifier = nn.Linear(64 * 9, 2)
    with torch.no_grad():
        dropped(torch.ones(5, 1, 6, 6), where([0, 1, 2, 3, 4]))
    maps = seen[0].flatten(2)
    assert maps.shape == (5, 64, 9)
    assert bool(((maps == 0).all(dim=2) | (maps != 0).all(dim=2)).all())
    assert 0.3 < (maps == 0).double().mean().item() < 0.7


@pytest.mark.parametrize("arch", ["vgg16", "vgg16_bn", "vgg16_gn"])
def test_what_is_dropped_is_dropped_from_the_features(arch: str) -> None:
    """Behind every norm and activation of the layer: a norm that came after would fill the gaps again."""
    target = build(arch, channels=1, size=32, classes=5, width=0.25).eval()
    initialise(target, torch.Generator().manual_seed(0))
    dropped = DropoutTarget(target, 0.5, 0.0, seed=1)
    seen: list[torch.Tensor] = []
    dropped._network.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        dropped(x, where(list(range(8))))
        alive = (target.features(x) != 0).double().mean().item()
    assert (seen[0] != 0).double().mean().item() == pytest.approx(0.5 * alive, abs=0.15 * alive)
