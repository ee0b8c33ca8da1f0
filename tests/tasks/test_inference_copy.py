"""The inference copy computes what the network computes, with frozen weights, and leaves the network alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tasks.gan.networks import Critic, Generator
from tasks.models.architectures import ARCHITECTURES, build
from tasks.models.inference import inference_copy


def classifier(arch: str) -> Callable[[], nn.Module]:
    return lambda: build(arch, channels=1, size=32, classes=4, width=0.125, dropout=0.2)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{arch: (classifier(arch), (3, 1, 32, 32)) for arch in ARCHITECTURES},
    "generator": (lambda: Generator(8, 3, 32, 4), (3, 8)),
    "generator_64": (lambda: Generator(8, 1, 64, 4), (3, 8)),
    "critic": (lambda: Critic(1, 32, 4), (3, 1, 32, 32)),
}
WITHOUT_NORM = {"vgg16", "vgg16_gn", "critic"}  # GroupNorm looks at the input: it cannot be folded


def unsettled(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A float64 network whose BatchNorm layers all do something, and an input for it."""
    make, shape = NETWORKS[name]
    draws = torch.Generator().manual_seed(3)
    network = make().double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=draws)
    return network, torch.randn(shape, generator=draws, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_to_the_original_in_float64(name: str) -> None:
    network, x = unsettled(name)
    network.eval()
    copy = inference_copy(network)
    y = network(x)
    assert torch.allclose(copy(x), y, rtol=1e-9, atol=1e-9 * float(y.detach().abs().max()))
    if name in ARCHITECTURES:
        assert torch.allclose(copy.features(x), network.features(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_the_input_are_equal_too(name: str) -> None:
    network, x = unsettled(name)
    network.eval()
    gradients = []
    for module in (network, inference_copy(network)):
        inputs = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(module(inputs).square().sum(), inputs)
        gradients.append(gradient)
    assert torch.allclose(*gradients, rtol=1e-8, atol=1e-9 * float(gradients[0].abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_in_eval_mode_and_the_original_untouched(name: str) -> None:
    network, x = unsettled(name)
    network.train()
    before = {key: t.clone() for key, t in network.state_dict().items()}
    copy = inference_copy(network)
    copy(x)
    assert not any(p.requires_grad for p in copy.parameters())
    assert not any(module.training for module in copy.modules() if not isinstance(module, nn.Identity))
    assert all(p.requires_grad for p in network.parameters())
    assert all(module.training for module in network.modules())
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())
    assert not {p.data_ptr() for p in network.parameters()} & {p.data_ptr() for p in copy.parameters()}


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - WITHOUT_NORM))
def test_some_norm_is_folded(name: str) -> None:
    def norms(module: nn.Module) -> int:
        return sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in module.modules())

    network, _ = unsettled(name)
    left = norms(inference_copy(network))
    assert left < norms(network)
    if name in ("vgg16_bn", "generator"):
        assert left == 0
