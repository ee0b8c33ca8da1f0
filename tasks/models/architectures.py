"""Classifier networks by name. Each maps images (n, c, s, s) in [-1, 1] to logits (n, classes).

`features(x)` gives the input of the last fully connected layer, (n, d): `feature(F_E(x))` of eq. 13.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.vgg import cfgs, make_layers


class Network(nn.Module):
    """A body that ends in features (n, d) and one linear layer, `classifier`."""

    def __init__(self, body: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Penultimate features, (n, c, s, s) -> (n, d)."""
        out: torch.Tensor = self.body(x)
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.classifier(self.body(x))
        return out


def vgg16(channels: int, size: int, classes: int, width: float, *, norm: bool = False, dropout: float = 0.0) -> Network:
    """VGG-16: torchvision's 13 convolutions with `width` times the channels and 3 fully connected layers.

    At width 1, 224 px and without `norm`, every weight has torchvision's shape. Differences: the pooled map
    is size/32 a side, at most torchvision's 7, so small images work; with `norm` the two hidden fully connected layers
    have BatchNorm too, without which training from scratch on few images does not start (facts in
    docs/PROTOCOL.md); dropout is off by default.
    """
    plan = [layer if isinstance(layer, str) else max(8, round(layer * width)) for layer in cfgs["D"]]
    convolutions = make_layers(plan, batch_norm=norm)
    if channels != 3:
        convolutions[0] = nn.Conv2d(channels, int(plan[0]), kernel_size=3, padding=1)
    side, hidden = min(7, size // 32), max(64, round(4096 * width))
    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
    inputs = int(plan[-2]) * side * side
    for _ in range(2):
        head.append(nn.Linear(inputs, hidden))
        head.extend([nn.BatchNorm1d(hidden)] if norm else [])
        head.append(nn.ReLU(inplace=True))
        head.extend([nn.Dropout(dropout)] if dropout else [])
        inputs = hidden
    return Network(nn.Sequential(*convolutions, *head), nn.Linear(hidden, classes))


def vgg16_bn(channels: int, size: int, classes: int, width: float, *, dropout: float = 0.0) -> Network:
    """VGG-16 with BatchNorm after every hidden layer; see `vgg16`."""
    return vgg16(channels, size, classes, width, norm=True, dropout=dropout)


def group_norm(features: int) -> nn.GroupNorm:
    """GroupNorm (Wu & He 2018) with the most groups, at most their 32, that leave 16 features or more to each.

    Opacus' own replacement of BatchNorm takes gcd(32, features) groups: 2 features a group in a layer of 64, one in
    a narrow layer. After a fully connected layer a group of one is one number, and normalised it is 0 (Opacus #567).
    A layer with no such divisor is one group.
    """
    fitting = [groups for groups in range(2, 33) if features % groups == 0 and features // groups >= 16]
    return nn.GroupNorm(max(fitting, default=1), features)


def vgg16_gn(channels: int, size: int, classes: int, width: float, *, dropout: float = 0.0) -> Network:
    """`vgg16_bn` with GroupNorm for BatchNorm, so that no image's output depends on another's: what DP-SGD needs.

    ReLUs are not in place: the hooks that take gradients per image do not allow it (Opacus #828).
    """
    whole = vgg16_bn(channels, size, classes, width, dropout=dropout)
    return Network(nn.Sequential(*(_image_alone(layer) for layer in whole.body.children())), whole.classifier)


def _image_alone(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return group_norm(layer.num_features)
    return nn.ReLU() if isinstance(layer, nn.ReLU) else layer


class BottleneckIR(nn.Module):
    """The residual unit of face.evoLVe's IR networks: BN, conv, PReLU, conv, BN beside a shortcut."""

    def __init__(self, inputs: int, depth: int, stride: int) -> None:
        super().__init__()
        if inputs == depth:
            self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, depth, 1, stride, bias=False), nn.BatchNorm2d(depth))
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, depth, 3, 1, 1, bias=False),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, stride, 1, bias=False),
            nn.BatchNorm2d(depth),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.residual(x) + self.shortcut(x)
        return out


def _ir(
    channels: int,
    size: int,
    classes: int,
    depths: list[int],
    units: list[int],
    embedding: int,
    dropout: float,
) -> Network:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, depths[0], 3, 1, 1, bias=False),
        nn.BatchNorm2d(depths[0]),
        nn.PReLU(depths[0]),
    ]
    inputs = depths[0]
    for depth, count in zip(depths, units, strict=True):
        for unit in range(count):
            layers.append(BottleneckIR(inputs, depth, stride=2 if unit == 0 else 1))
            inputs = depth
    side = -(-size // 16)
    layers += [nn.BatchNorm2d(inputs), *([nn.Dropout(dropout)] if dropout else []), nn.Flatten()]
    layers += [nn.Linear(inputs * side * side, embedding), nn.BatchNorm1d(embedding)]
    return Network(nn.Sequential(*layers), nn.Linear(embedding, classes))


def ir50(channels: int, size: int, classes: int, width: float, *, dropout: float = 0.0) -> Network:
    """face.evoLVe's IR-50 (units 3, 4, 14, 3; 512-d embedding), any size that is a multiple of 16."""
    depths = [max(8, round(depth * width)) for depth in (64, 128, 256, 512)]
    return _ir(channels, size, classes, depths, [3, 4, 14, 3], 512, dropout)


def ir_small(channels: int, size: int, classes: int, width: float, *, dropout: float = 0.0) -> Network:
    """The IR family at laptop scale: one unit per depth of 16, 32, 64, 128; 64-d embedding."""
    depths = [max(8, round(depth * width)) for depth in (16, 32, 64, 128)]
    return _ir(channels, size, classes, depths, [1, 1, 1, 1], 64, dropout)


def densenet_small(channels: int, size: int, classes: int, width: float, *, dropout: float = 0.0) -> Network:
    """torchvision's DenseNet with three blocks of three layers and a 3x3 stem for small images."""
    growth = max(4, round(12 * width))
    net = DenseNet(growth, (3, 3, 3), 2 * growth, drop_rate=dropout, num_classes=classes)
    net.features.conv0 = nn.Conv2d(channels, 2 * growth, 3, 1, 1, bias=False)
    body = nn.Sequential(net.features, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(body, net.classifier)


ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "vgg16_gn": vgg16_gn,
    "ir50": ir50,
    "ir_small": ir_small,
    "densenet_small": densenet_small,
}


def build(arch: str, *, channels: int, size: int, classes: int, width: float = 1.0, dropout: float = 0.0) -> Network:
    """The network `arch`, not yet initialised (see `initialise`), in channels_last layout."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
        network = ARCHITECTURES[arch](channels, size, classes, width, dropout=dropout)
    return network.to(memory_format=torch.channels_last)
