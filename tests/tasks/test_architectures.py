"""Networks: torchvision's VGG-16 at full size, face.evoLVe's IR units, any small size; weights from generators."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from tasks.gan.networks import Critic, Generator
from tasks.models.architectures import ARCHITECTURES, BottleneckIR, build
from tasks.models.initialise import initialise


def test_vgg16_at_full_size_has_torchvisions_shapes() -> None:
    with torch.device("meta"):
        ours = build("vgg16", channels=3, size=224, classes=1000, width=1.0)
        theirs = torchvision.models.vgg16(weights=None)
    shapes = [[tuple(p.shape) for p in network.parameters()] for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_vgg16_bn_has_torchvisions_convolutions() -> None:
    with torch.device("meta"):
        ours = build("vgg16_bn", channels=3, size=224, classes=1000, width=1.0)
        theirs = torchvision.models.vgg16_bn(weights=None)

    def convolutions(network: nn.Module) -> list[tuple[int, ...]]:
        kinds = nn.Conv2d | nn.BatchNorm2d
        return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kinds)]

    assert convolutions(ours) == convolutions(theirs)


def test_ir50_has_face_evolves_units() -> None:
    with torch.device("meta"):
        network = build("ir50", channels=3, size=112, classes=10, width=1.0)
    units = [m for m in network.modules() if isinstance(m, BottleneckIR)]
    depths = [unit.residual[1].out_channels for unit in units]
    assert {depth: depths.count(depth) for depth in depths} == {64: 3, 128: 4, 256: 14, 512: 3}
    strides = [unit.residual[3].stride[0] for unit in units]
    assert [i for i, stride in enumerate(strides) if stride == 2] == [0, 3, 7, 21]
    assert network.classifier.in_features == 512
    embedding = next(m for m in network.modules() if isinstance(m, nn.Linear))
    assert embedding.in_features == 512 * 7 * 7


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 64), (1, 96), (3, 112)])
def test_any_small_size(arch: str, channels: int, size: int) -> None:
    network = build(arch, channels=channels, size=size, classes=5, width=0.0625, dropout=0.1).eval()
    x = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, found = network(x), network.features(x)
        assert logits.shape == (2, 5)
        assert found.shape == (2, network.classifier.in_features)
        assert torch.allclose(network.classifier(found), logits)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_weight_comes_from_the_generator(arch: str) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # must not matter
        network = build(arch, channels=1, size=32, classes=3, width=0.0625)
        initialise(network, torch.Generator().manual_seed(9))
        states.append(network.state_dict())
    assert all(torch.equal(t, states[1][name]) for name, t in states[0].items())


@pytest.mark.parametrize("size", [32, 64, 112, 128, 224])
def test_gan_networks_fit_their_size(size: int) -> None:
    z = torch.zeros(3, 8)
    images = Generator(8, 3, size, 4)(z)
    assert images.shape == (3, 3, size, size)
    assert images.abs().max() <= 1
    assert Critic(3, size, 4)(images).shape == (3,)


def test_a_layer_without_a_known_initialisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no initialisation is known for 0: Embedding"):
        initialise(nn.Sequential(nn.Embedding(3, 2)), torch.Generator())


def test_weights_are_drawn_before_a_network_moves() -> None:
    """A CPU generator cannot fill weights on a GPU; `meta` stands for one."""
    network = build("vgg16_gn", channels=1, size=32, classes=3, width=0.0625).to("meta")
    with pytest.raises(ValueError, match="before it moves to meta"):
        initialise(network, torch.Generator())
