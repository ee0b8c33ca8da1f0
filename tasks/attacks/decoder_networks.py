"""AMI's decoder: from the confidences that a classifier gives an image back to the image."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn.functional import relu

from tasks.attacks.decoder import grid_of


def encode(predictions: torch.Tensor, truncate: int, log_shift: float) -> torch.Tensor:
    """Confidences (n, classes) as the decoder takes them, (n, classes): relu(log p + log_shift), 0 if truncated.

    truncate: how many of the largest confidences of a vector are kept (the truncation of Yang et al. 2019), 0 =
    all. log_shift (c): 0 means the confidences themselves.

    In the authors' code a truncated entry is 0 as well, which is what p = e^-c becomes. But there the whole
    vector is also raised by as much as its smallest kept logarithm, clamped at -1000, lies below -c. So one
    confidence that underflows to 0 moves p = 1 from c to 1000, where the decoder has never been. Here every
    confidence below e^-c is 0, in every vector; both agree while no kept confidence is below e^-c (2e-22).
    """
    classes = predictions.shape[1]
    values = relu(predictions.log() + log_shift) if log_shift else predictions
    if truncate == 0 or truncate >= classes:
        return values
    kept = predictions.topk(truncate, dim=1).indices
    return torch.zeros_like(values).scatter(1, kept, values.gather(1, kept))


class DecoderNetwork(nn.Module):
    """Confidences (n, classes) -> images (n, channels, size, size) in [-1, 1].

    The authors' code (Yang et al. 2019) at 64 px: a vector of `classes` channels at one pixel -> ConvT 4x4 to 8
    width channels, then doublings (ConvT 4x4, stride 2) to 4, 2 and 1 width, each with BatchNorm and Tanh, then
    the image. Other sizes double more or less often, or begin with another side. The last layer is a Tanh where
    theirs is a Sigmoid, because pixels are in [-1, 1] here.

    Before the first layer the encoded vectors are clamped to the range that they had for the public images, and
    standardised by the mean of each class and one deviation there (`fit`). The first layer could learn the latter
    by itself, but not soon: log p + 50 varies by 1 around 47. The former keeps a vector with exact zeros, such as
    a one-hot one, where the decoder has been. (None of this looks at pixels: their code, beside, rescales every
    pixel by its minimum and maximum over the whole dataset, the private images too.)
    """

    centre: torch.Tensor
    scale: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, classes: int, channels: int, size: int, width: int, truncate: int, log_shift: float) -> None:
        super().__init__()
        self.truncate, self.log_shift = truncate, log_shift
        self.register_buffer("centre", torch.zeros(classes))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.full((), max(1.0, log_shift)))
        side, doublings = grid_of(size)
        depths = [max(4, math.ceil(8 * width / 2**i)) for i in range(doublings)]
        layers: list[nn.Module] = [nn.ConvTranspose2d(classes, depths[0], side), nn.BatchNorm2d(depths[0]), nn.Tanh()]
        for inputs, outputs in itertools.pairwise(depths):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.Tanh()]
        layers += [nn.ConvTranspose2d(depths[-1], channels, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    @torch.no_grad()
    def fit(self, predictions: torch.Tensor) -> None:
        """Set range, mean and deviation of the inputs to those of the public images' confidences (n, classes)."""
        vectors = encode(predictions, self.truncate, self.log_shift)
        self.low.copy_(vectors.min())
        self.high.copy_(vectors.max())
        self.centre.copy_(vectors.mean(dim=0))
        self.scale.copy_((vectors - self.centre).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, predictions: torch.Tensor) -> torch.Tensor:
        vectors = encode(predictions, self.truncate, self.log_shift).clamp(self.low, self.high)
        standard = (vectors - self.centre) / self.scale
        out: torch.Tensor = self.layers(standard[:, :, None, None])
        return out
