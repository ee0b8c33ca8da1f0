"""Distributions of confidence vectors for a label: one vector, one image of the decoder."""

from __future__ import annotations

import torch


def mixed_one_hot(n: int, classes: int, label: int, spread: float, generator: torch.Generator) -> torch.Tensor:
    """(n, classes): row 0 is the one-hot vector of `label`; the others are (1 - e) one-hot + e m.

    e ~ U(0, spread) and m ~ Dirichlet(1, ..., 1) over the other labels. Row i is the same whatever n is.
    """
    draws = torch.rand(n, classes + 1, generator=generator)
    mix = -(1 - draws[:, :classes]).log()  # exponential; normalised, they are uniform on the simplex
    mix[:, label] = 0.0
    mix = mix / mix.sum(dim=1, keepdim=True).clamp_min(torch.finfo(mix.dtype).tiny)
    share = spread * draws[:, classes:]
    share[0] = 0.0
    vectors = share * mix
    vectors[:, label] = 1 - share[:, 0]
    return vectors


def resampled_means(vectors: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """(n, classes): row 0 is the mean of `vectors` (m, classes), the others of m rows drawn with replacement."""
    m = len(vectors)
    rows = torch.randint(m, (n, m), generator=generator)
    rows[0] = torch.arange(m)
    counts = torch.zeros(n, m, dtype=vectors.dtype).scatter_add(1, rows, torch.ones(n, m, dtype=vectors.dtype))
    return counts @ vectors / m


def taken_for(predictions: torch.Tensor, label: int, nearest: int) -> tuple[torch.Tensor, bool]:
    """Rows (m,) of `predictions` (n, classes) whose largest confidence is `label`'s, and True.

    If there are none, the `nearest` rows with the highest confidence for it, and False.
    """
    rows = (predictions.argmax(dim=1) == label).nonzero().flatten()
    if len(rows):
        return rows, True
    return predictions[:, label].topk(min(nearest, len(predictions))).indices, False


def observed_or_mixed(vectors: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
    """(n, classes): the rows of `vectors` (m, classes) as they are, and beyond m means of rows resampled.

    ValueError if m is 0.
    """
    if len(vectors) == 0:
        raise ValueError("no prediction of this label was observed; choose another `vector`")
    if n <= len(vectors):
        return vectors[:n]
    return torch.cat([vectors, resampled_means(vectors, n - len(vectors) + 1, generator)[1:]])
