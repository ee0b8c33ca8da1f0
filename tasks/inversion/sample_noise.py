"""Random numbers of a search that belong to a sample and its step, whichever others share the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.inversion.search import Where

Floats = NDArray[np.float32]


class SampleNoise:
    """Counter-based draws (NumPy's Philox): a function of (seed, sample, evaluation, stream) and nothing else.

    So a search with random losses gives each sample what it would get alone, and a killed one resumes to the
    same numbers without any state.
    """

    def __init__(self, seed: int) -> None:
        """seed: `ctx.seed(name)`."""
        self._seed = seed

    def uniform(self, where: Where, count: int, stream: int = 0) -> torch.Tensor:
        """U(0, 1) (chunk, count) float32."""
        return self._draws(where, stream, lambda rng: rng.random(count, dtype=np.float32))

    def normal(self, where: Where, count: int, stream: int = 0) -> torch.Tensor:
        """N(0, 1) (chunk, count) float32."""
        return self._draws(where, stream, lambda rng: rng.standard_normal(count, dtype=np.float32))

    def _draws(self, where: Where, stream: int, draw: Callable[[np.random.Generator], Floats]) -> torch.Tensor:
        places = zip(where.rows.tolist(), where.ages.tolist(), strict=True)
        drawn = [draw(self._generator(row, age, stream)) for row, age in places]
        return torch.from_numpy(np.stack(drawn))

    def _generator(self, row: int, age: int, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self._seed, counter=[0, row, age, stream]))
