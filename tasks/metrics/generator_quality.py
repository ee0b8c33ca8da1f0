"""How close generated images are to real ones, as functions of features (n, d): density and coverage."""

from __future__ import annotations

from typing import NamedTuple

import torch

NEIGHBOURS = 5  # Naeem et al. 2020, sec. 3.3


class DensityCoverage(NamedTuple):
    """density >= 0, about 1 where fakes lie as densely around real images as these do; coverage in [0, 1]."""

    density: float
    coverage: float


def density_coverage(real: torch.Tensor, fake: torch.Tensor, k: int = NEIGHBOURS) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4) of fake (m, d) against real (n, d), n > k.

    A fake lies in the ball of a real image if it is no further from it than the k-th nearest other real image.
    density = mean over fakes of (balls that hold it) / k; coverage = share of balls that hold any fake. Fidelity
    and diversity: a generator that repeats one training image has density above 0 and coverage near 0.
    ValueError for n <= k, no fakes, or unequal widths.
    """
    if len(real) <= k or len(fake) < 1 or real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"more than {k=} real images and some fakes are needed, but got {real.shape=}, {fake.shape=}")
    x, y = real.detach().double().cpu(), fake.detach().double().cpu()
    exact = "donot_use_mm_for_euclid_dist"
    among_real = torch.cdist(x, x, compute_mode=exact)
    radii = among_real.kthvalue(k + 1, dim=1).values  # the nearest is the image itself
    inside = torch.cdist(x, y, compute_mode=exact) <= radii[:, None]
    return DensityCoverage(float(inside.double().sum(dim=0).mean() / k), float(inside.any(dim=1).double().mean()))
