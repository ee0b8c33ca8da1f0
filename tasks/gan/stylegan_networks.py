"""A compact StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

As there: a mapping network, weight (de)modulation, noise with learned strength, a generator with skip outputs, a
residual critic, [1, 3, 3, 1] filters wherever the size changes, equalised learning rates (Karras et al. 2018, sec.
4.1). Differences: the image ends in tanh, because pixels are in [-1, 1] here; the gain sqrt(2) of LeakyReLU stands
before it and not behind (the same function, with other units of the biases); the critic has no minibatch standard
deviation, since it has to score an image alone when latents are searched with it; noise is constant in eval mode.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from tasks.gan.networks import LatentGenerator, first_map
from tasks.gan.stylegan_layers import (
    GAIN,
    SLOPE,
    SMALL,
    Blur,
    EqualConv,
    EqualLinear,
    Start,
    StyledConv,
    ToImage,
    draw_weights,
)


def style_layers(size: int) -> int:
    """Styles that an image of `size` pixels a side takes: two per resolution from 4x4 (7x7) on, 8 at 32, 14 at 256."""
    return 2 * (first_map(size)[1] + 1)


def widths(size: int, width: int, most: int) -> list[int]:
    """Channels at 4x4 (7x7), 8x8, ... size x size: `width` at the last, doubling towards the first up to `most`."""
    return [min(most, width * 2**halvings) for halvings in reversed(range(first_map(size)[1] + 1))]


def cross_styles(first: torch.Tensor, second: torch.Tensor, start: torch.Tensor, layers: int) -> torch.Tensor:
    """Styles (n, d) of two latents -> (n, layers, d): the second's from layer `start` (n,) on (Karras et al. 2019)."""
    after = torch.arange(layers, device=start.device) >= start[:, None]
    return torch.where(after[:, :, None], second[:, None], first[:, None])


class StyleGenerator(LatentGenerator):
    """z (n, latent_dim) -> w (n, style_dim) -> images (n, channels, size, size) in [-1, 1]."""

    style_slope = SLOPE

    def __init__(
        self,
        latent_dim: int,
        channels: int,
        size: int,
        *,
        style_dim: int,
        mapping_layers: int,
        mapping_rate: float,
        width: int,
        max_width: int,
    ) -> None:
        """See the fields of tasks/gan/stylegan.py:StyleGAN."""
        super().__init__()
        self.layers = style_layers(size)
        mapping: list[nn.Module] = []
        for inputs in (latent_dim, *[style_dim] * (mapping_layers - 1)):
            mapping += [EqualLinear(inputs, style_dim, gain=GAIN, rate=mapping_rate), nn.LeakyReLU(SLOPE)]
        self.mapping = nn.Sequential(*mapping)
        depths = widths(size, width, max_width)
        side, _ = first_map(size)
        self.start = Start(depths[0], side)
        convs, outputs = [StyledConv(depths[0], depths[0], style_dim, side)], [ToImage(depths[0], channels, style_dim)]
        for i, (before, after) in enumerate(itertools.pairwise(depths)):
            convs.append(StyledConv(before, after, style_dim, 2 * side * 2**i, up=True))
            convs.append(StyledConv(after, after, style_dim, 2 * side * 2**i))
            outputs.append(ToImage(after, channels, style_dim))
        self.convs, self.outputs, self.blur = nn.ModuleList(convs), nn.ModuleList(outputs), Blur()

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights and the noise of eval mode."""
        draw_weights(self, generator)

    def style(self, latents: torch.Tensor) -> torch.Tensor:
        """z (n, latent_dim), whose length does not matter -> w (n, style_dim)."""
        scaled = latents * torch.rsqrt(latents.square().mean(dim=1, keepdim=True) + SMALL)
        out: torch.Tensor = self.mapping(scaled)
        return out

    def paint(self, styles: torch.Tensor) -> torch.Tensor:
        """w (n, style_dim) for all layers, or (n, layers, style_dim) -> images (n, channels, size, size).

        Convolution i takes style i; an output takes the style of the convolution that comes next (authors' code).
        """
        if styles.ndim == 2:
            styles = styles[:, None].expand(-1, self.layers, -1)
        if styles.shape[1] != self.layers:
            raise ValueError(f"styles are (n, d) or (n, {self.layers}, d), but got {tuple(styles.shape)}")
        w = styles.unbind(dim=1)
        x = self.convs[0](self.start(len(styles)), w[0])
        image: torch.Tensor = self.outputs[0](x, w[1])
        for i in range(1, len(self.outputs)):
            x = self.convs[2 * i](self.convs[2 * i - 1](x, w[2 * i - 1]), w[2 * i])
            image = self.blur.doubled(image) + self.outputs[i](x, w[2 * i + 1])
        return image.tanh()


class ResidualBlock(nn.Module):
    """(n, inputs, h, w) -> (n, outputs, h/2, w/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.same = EqualConv(inputs, inputs, 3, gain=GAIN)
        self.down = EqualConv(inputs, outputs, 3, gain=GAIN, down=True)
        self.skip = EqualConv(inputs, outputs, 1, bias=False, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.leaky_relu(self.same(x), SLOPE)
        out = functional.leaky_relu(self.down(out), SLOPE)
        both: torch.Tensor = (out + self.skip(x)) / GAIN
        return both


class StyleCritic(nn.Module):
    """Images (n, channels, size, size) -> log-odds (n,) that each is real, whatever else is in the batch."""

    def __init__(self, channels: int, size: int, width: int, max_width: int) -> None:
        super().__init__()
        depths = widths(size, width, max_width)[::-1]
        top = depths[-1]
        self.score = nn.Sequential(
            EqualConv(channels, depths[0], 1, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            *(ResidualBlock(inputs, outputs) for inputs, outputs in itertools.pairwise(depths)),
            EqualConv(top, top, 3, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            EqualLinear(top * first_map(size)[0] ** 2, top, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            EqualLinear(top, 1),
            nn.Flatten(0),
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        draw_weights(self, generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.score(x)
        return out
