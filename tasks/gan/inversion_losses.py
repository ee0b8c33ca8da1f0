"""The losses of the inversion-specific GAN (Chen et al., ICCV 2021, "KED-MI"; used by DMI), as in its code.

The discriminator has K logits, one for each label of the target. The class "fake" is implicit, with a logit of 0
(Salimans et al. 2016, sec. 5): D(x) = Z / (Z + 1) = sigmoid(lse), lse = log Z = logsumexp of the K logits.
"""

from __future__ import annotations

import torch
from torch.nn.functional import log_softmax, softplus


def realness(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds (n,) that an image is real: lse of logits (n, K). -log sigmoid of it is softplus(lse) - lse."""
    return logits.logsumexp(dim=1)


def supervised_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """-E_x sum_k softmax(T(x))_k log p_D(k | x, real): cross-entropy with the target's soft labels.

    logits, target (n, K): outputs of the discriminator and of the target for the same real images.
    """
    return -(target.softmax(dim=1) * log_softmax(logits, dim=1)).sum(dim=1).mean()


def real_loss(logits: torch.Tensor) -> torch.Tensor:
    """-E[log D(x)] = E[softplus(lse)] - E[lse] of real images; logits (n, K)."""
    score = realness(logits)
    return softplus(score).mean() - score.mean()


def fake_loss(logits: torch.Tensor) -> torch.Tensor:
    """-E[log(1 - D(G(z)))] = E[softplus(lse)]; logits (n, K)."""
    return softplus(realness(logits)).mean()


def feature_matching(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean over features of |E f(G(z)) - E f(x)|; fake (n, d), real (m, d)."""
    return (fake.mean(dim=0) - real.mean(dim=0)).abs().mean()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy of the discriminator's labels, SUMMED over the batch as in the code; logits (n, K)."""
    logs = log_softmax(logits, dim=1)
    return -(logs.exp() * logs).sum()
