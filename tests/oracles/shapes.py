"""Random shapes and values shared by the tests of this folder."""

from __future__ import annotations

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

quick = settings(max_examples=25, deadline=None, derandomize=True)

seeds = st.integers(0, 2**31)
gammas = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])


def normal(*shape: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """N(0, scale^2) values in float64 from their own generator."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


@st.composite
def logits(draw: DrawFn, most: int = 6) -> torch.Tensor:
    """(n, classes) float64: from almost uniform to almost certain."""
    n, classes = draw(st.integers(1, most)), draw(st.integers(2, most))
    return normal(n, classes, seed=draw(seeds), scale=draw(st.sampled_from([0.1, 1.0, 4.0])))


def feature_pairs(least: int = 1, width: int = 1) -> SearchStrategy[tuple[torch.Tensor, torch.Tensor]]:
    """Two sets (n, d) and (m, d), n, m >= least and d >= width; n may be above or below d."""

    @st.composite
    def pair(draw: DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
        n, m, d = draw(st.integers(least, 9)), draw(st.integers(least, 9)), draw(st.integers(width, 12))
        scale = draw(st.sampled_from([1e-3, 1.0, 100.0]))
        a, b = normal(n, d, seed=draw(seeds), scale=scale), normal(m, d, seed=draw(seeds), scale=scale)
        return a, b + scale * draw(st.sampled_from([0.0, 1.0, 10.0]))

    return pair()
