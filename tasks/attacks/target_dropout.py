"""Dropout inside the target while it is attacked, so that no image leans on a few of its features (Mirror)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.inversion.sample_noise import SampleNoise
from tasks.inversion.search import Where

if TYPE_CHECKING:
    from tasks.models.architectures import Network

Hook = Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor | None]
AFTER_LINEAR = (nn.BatchNorm1d, nn.GroupNorm, nn.ReLU, nn.PReLU, nn.Dropout, nn.Identity)


class DropoutTarget:
    """A frozen copy of the target in eval mode that drops features, by masks of the sample's and the step's own.

    dropout: of the hidden fully connected activations. dropout2d: of whole channels, where a layer has made the
    map smaller (the reference: after the pooling layers of its VGG-16; an IR unit with a stride pools as well).
    """

    def __init__(self, target: Network, dropout: float, dropout2d: float, seed: int) -> None:
        """seed: `ctx.seed(name)` of the masks."""
        self._network = copy.deepcopy(target).eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._noise = SampleNoise(seed)
        self._where = Where(torch.empty(0), torch.empty(0))
        layers = list(_layers(self._network.body))
        for stream, layer in enumerate(layers):
            if dropout and _ends_hidden(layers, stream):
                layer.register_forward_hook(self._hook(dropout, stream, maps=False))
            elif dropout2d:
                layer.register_forward_hook(self._hook(dropout2d, stream, maps=True))

    def __call__(self, images: torch.Tensor, where: Where) -> torch.Tensor:
        """Logits (n, classes) of images (n, c, s, s), of which `where` says the samples and their steps."""
        self._where = where
        out: torch.Tensor = self._network(images)
        return out

    def _hook(self, rate: float, stream: int, *, maps: bool) -> Hook:
        def drop(_: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor | None:
            if maps and not (out.ndim == 4 and out.shape[-1] < inputs[0].shape[-1]):
                return None
            mask = (self._noise.uniform(self._where, out.shape[1], stream) >= rate).to(out) / (1 - rate)
            return out * mask.view(*out.shape[:2], *[1] * (out.ndim - 2))

        return drop


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested nn.Sequential, in order; any other module is one layer."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _layers(child)
    else:
        yield module


def _ends_hidden(layers: list[nn.Module], i: int) -> bool:
    """Whether layer i gives a fully connected layer's activation: the last of a linear layer, its norm, its ReLU."""
    if i + 1 < len(layers) and isinstance(layers[i + 1], AFTER_LINEAR):
        return False
    while i > 0 and isinstance(layers[i], AFTER_LINEAR):
        i -= 1
    return isinstance(layers[i], nn.Linear)
