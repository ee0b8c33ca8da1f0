"""The spaces of a style: W, where a generator takes it, and P, where it is about normal (Mirror).

P undoes the LeakyReLU that ends a mapping network: p = LeakyReLU_{1/slope}(w), 5 for a slope of 0.2 (Zhu et
al. 2020, "Improved StyleGAN embedding", sec. 3.1; An et al., NDSS 2022). Without a mapping network (slope None)
both are one. Styles are (n, d) throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Box(NamedTuple):
    """Mean and standard deviation of sampled styles in P, by dimension, and the box around the mean; each (d,)."""

    mean: torch.Tensor
    std: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def to(self, device: torch.device) -> Box:
        """The same on a device."""
        return Box(*(t.to(device) for t in self))

    def bounding(self, dimensions: int) -> Box:
        """The same, but only the first `dimensions` are bounded."""
        low, high = self.low.clone(), self.high.clone()
        low[dimensions:], high[dimensions:] = -torch.inf, torch.inf
        return self._replace(low=low, high=high)


def to_p(w: torch.Tensor, slope: float | None) -> torch.Tensor:
    """W -> P: the inverse of a LeakyReLU of this negative slope; the identity if it is None."""
    return w if slope is None else torch.where(w < 0, w / slope, w)


def from_p(p: torch.Tensor, slope: float | None) -> torch.Tensor:
    """P -> W, the inverse of `to_p`."""
    return p if slope is None else torch.where(p < 0, p * slope, p)


def sampled_box(w: torch.Tensor, slope: float | None, width: float) -> Box:
    """mean +- width * std of sampled styles, by dimension of P; std is the biased one (of n, not n - 1)."""
    p = to_p(w, slope)
    mean, std = p.mean(dim=0), p.std(dim=0, correction=0)
    return Box(mean, std, mean - width * std, mean + width * std)


def clip_to_box(w: torch.Tensor, box: Box, slope: float | None) -> torch.Tensor:
    """The nearest style in the box. P -> W is increasing, so its image in W is a box as well."""
    return torch.maximum(torch.minimum(w, from_p(box.high, slope)), from_p(box.low, slope))


def truncated(w: torch.Tensor, mean: torch.Tensor, psi: float) -> torch.Tensor:
    """mean + psi (w - mean), mean (d,) of styles in W (Karras et al. 2019, app. B)."""
    return w if psi == 1 else mean + psi * (w - mean)
