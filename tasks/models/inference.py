"""The inference copy: what every loop that optimises an input runs through, in place of the network itself.

Frozen weights (no weight gradients are computed), BatchNorm folded into the layer before it, channels_last.
Never for the Fisher or the fine-tune, nor for attacks that need BatchNorm statistics or dropout; final scores
come from the original network. Equality of both is tested in float64.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


def inference_copy(network: nn.Module) -> nn.Module:
    """A frozen copy of `network` in eval mode that computes the same function with fewer operations.

    Only a BatchNorm that directly follows a convolution or linear layer in an `nn.Sequential` is folded;
    one that comes before a zero-padded convolution (the IR blocks) cannot be, exactly, and stays.
    """
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    for module in frozen.modules():
        if isinstance(module, nn.Sequential):
            _fold(module)
    return frozen.to(memory_format=torch.channels_last)


def _fold(layers: nn.Sequential) -> None:
    for i in range(len(layers) - 1):
        first, second = layers[i], layers[i + 1]
        if isinstance(second, nn.BatchNorm2d) and isinstance(first, nn.Conv2d | nn.ConvTranspose2d):
            layers[i] = fuse_conv_bn_eval(first, second, transpose=isinstance(first, nn.ConvTranspose2d))
        elif isinstance(second, nn.BatchNorm1d) and isinstance(first, nn.Linear):
            layers[i] = fuse_linear_bn_eval(first, second)
        else:
            continue
        layers[i].requires_grad_(False)
        layers[i + 1] = nn.Identity()
