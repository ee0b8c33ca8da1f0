"""The layers of a StyleGAN2: equalised learning rates, blurred resampling, modulated convolutions with noise."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

SLOPE = 0.2  # of every LeakyReLU
GAIN = math.sqrt(2)  # keeps the variance through a LeakyReLU
SMALL = 1e-8


class Drawn(nn.Module):
    """A layer that draws its own weights; zero until then, so that building one needs no random numbers."""

    def draw(self, generator: torch.Generator) -> None:
        """Replace all parameters and buffers that are drawn."""
        raise NotImplementedError


@torch.no_grad()
def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every layer of `network` in order from a CPU generator, wherever the network is."""
    for module in network.modules():
        if isinstance(module, Drawn):
            module.draw(generator)


def normal_like(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """N(0, 1) of a tensor's shape, drawn on the CPU."""
    return torch.randn(tensor.shape, generator=generator).to(tensor)


class EqualLinear(Drawn):
    """x (n, inputs) -> (n, outputs) with weights N(0, 1), scaled by gain / sqrt(inputs) when used.

    `rate` is the layer's share of the learning rate: Adam's steps have no scale, so weights and bias are kept
    larger by 1/rate than they are used.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.first_bias, self.rate = gain * rate / math.sqrt(inputs), bias, rate

    def draw(self, generator: torch.Generator) -> None:
        self.weight.copy_(normal_like(self.weight, generator) / self.rate)
        self.bias.fill_(self.first_bias / self.rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight * self.scale, self.bias * self.rate)


class Blur(nn.Module):
    """The separable filter [1, 3, 3, 1] / 8 on each channel of its own; a constant, stored with no weights."""

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, x: torch.Tensor, *, padding: int, stride: int = 1) -> torch.Tensor:
        """(n, c, h, w) -> (n, c, (h + 2 padding - 4) / stride + 1, ...), zeros outside."""
        channels = x.shape[1]
        return functional.conv2d(
            x, self.kernel.expand(channels, 1, 4, 4), stride=stride, padding=padding, groups=channels
        )

    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) -> (n, c, 2h, 2w): linear interpolation, zeros outside."""
        channels = x.shape[1]
        kernel = 4 * self.kernel.expand(channels, 1, 4, 4)
        return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)


class EqualConv(Drawn):
    """x (n, inputs, h, w) -> (n, outputs, h, w), or half the size with `down`: filtered, then with stride 2."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, gain: float = 1.0, bias: bool = True, down: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.kernel = gain / math.sqrt(inputs * kernel**2), kernel
        self.blur = Blur() if down else None

    def draw(self, generator: torch.Generator) -> None:
        self.weight.copy_(normal_like(self.weight, generator))
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight * self.scale
        if self.blur is None:
            return functional.conv2d(x, weight, self.bias, padding=self.kernel // 2)
        if self.kernel == 1:  # then every second pixel of the filtered image is never looked at
            return functional.conv2d(self.blur(x, padding=1, stride=2), weight, self.bias)
        return functional.conv2d(self.blur(x, padding=self.kernel // 2 + 1), weight, self.bias, stride=2)


class StyledConv(Drawn):
    """x (n, inputs, h, w), style (n, d) -> LeakyReLU of a modulated 3x3 convolution with noise and bias.

    Modulation and demodulation (Karras et al. 2020, eq. 1 and 3) scale what enters and what leaves one shared
    convolution, which equals a weight of each sample's own because both are constant over its pixels. With `up`
    the size doubles: transposed convolution, then the filter.
    """

    noise: torch.Tensor

    def __init__(self, inputs: int, outputs: int, style: int, size: int, *, up: bool = False) -> None:
        """`size`: pixels a side of what comes out."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.zeros(1, 1, size, size))
        self.affine = EqualLinear(inputs=style, outputs=inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * 9)
        self.blur = Blur() if up else None

    def draw(self, generator: torch.Generator) -> None:
        self.weight.copy_(normal_like(self.weight, generator))
        self.bias.zero_()
        self.strength.zero_()
        self.noise.copy_(normal_like(self.noise, generator))

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        out = self.modulated(x, self.affine(style))
        out = torch.add(out, self._noise(out) * self.strength + self.bias[:, None, None])
        return functional.leaky_relu(out, SLOPE)

    def modulated(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """The convolution of x (n, inputs, h, w) with the weights that scales (n, inputs) give, times sqrt(2)."""
        weight = self.weight * self.scale
        energy = scales.square() @ weight.square().sum(dim=(2, 3)).T
        x = x * scales[:, :, None, None]
        if self.blur is None:
            out = functional.conv2d(x, weight, padding=1)
        else:
            out = self.blur(functional.conv_transpose2d(x, 4 * weight.transpose(0, 1), stride=2), padding=1)
        return out * (GAIN * torch.rsqrt(energy + SMALL))[:, :, None, None]

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        """Fresh for each image in training, from torch's global generator; else the stored one for all."""
        if not self.training:
            return self.noise
        return torch.randn(len(like), *self.noise.shape[1:], device=like.device, dtype=like.dtype)


class ToImage(Drawn):
    """x (n, inputs, h, w), style (n, d) -> pixels (n, channels, h, w): modulated 1x1, not demodulated."""

    def __init__(self, inputs: int, channels: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = EqualLinear(style, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs)

    def draw(self, generator: torch.Generator) -> None:
        self.weight.copy_(normal_like(self.weight, generator))
        self.bias.zero_()

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scaled = x * self.affine(style)[:, :, None, None]
        return functional.conv2d(scaled, self.weight * self.scale, self.bias)


class Start(Drawn):
    """The learned constant from which every image starts: n -> (n, channels, side, side)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(1, channels, side, side))

    def draw(self, generator: torch.Generator) -> None:
        self.constant.copy_(normal_like(self.constant, generator))

    def forward(self, n: int) -> torch.Tensor:
        return self.constant.expand(n, -1, -1, -1).contiguous(memory_format=torch.channels_last)
