"""The objective of a variational information bottleneck (Alemi et al. 2017; Wang, Zhang, Jia 2021: MID)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional


class BottleneckLoss(NamedTuple):
    """The loss and its two terms, unweighted; each ()."""

    loss: torch.Tensor
    ce: torch.Tensor
    kl: torch.Tensor


def gaussian_kl(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, diag(std^2)) || N(0, I)) in nats, (n, k), (n, k) -> mean over n, ().

    -1/2 sum_k (1 + 2 log std - mean^2 - std^2), std > 0: an upper bound on I(x; z) in expectation.
    """
    return -0.5 * (1 + 2 * std.log() - mean.square() - std.square()).sum(dim=1).mean()


def bottleneck_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> BottleneckLoss:
    """CE(logits, labels) + beta KL (Alemi et al., eq. 17, with one draw of z an image); means over the batch.

    logits (n, classes), labels (n,) int64, mean and std (n, k). With beta = 0 the KL is measured but is no part of
    the loss, so that it has no gradient either.
    """
    ce = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if beta == 0:
        return BottleneckLoss(ce, ce, gaussian_kl(mean.detach(), std.detach()))
    kl = gaussian_kl(mean, std)
    return BottleneckLoss(ce + beta * kl, ce, kl)
