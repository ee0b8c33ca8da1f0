"""The loss of a latent (Gong et al. 2023, eq. 5 and 6), per sample: no image's value depends on its batch."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch.nn.functional import cross_entropy, logsigmoid, one_hot

Discrimination = Literal["critic", "log_sigmoid"]
Identification = Literal["ce", "mse"]


def discrimination_loss(score: torch.Tensor, kind: Discrimination = "critic") -> torch.Tensor:
    """L_discri of eq. 5, low where the critic takes G(z) for real; (n,) -> (n,).

    score (n,): raw output D(G(z)), without a sigmoid. Raises ValueError for an unknown `kind`.
    `log_sigmoid` is -log sigmoid(D), eq. 5 to the letter, which needs a D that gives a probability. `critic`,
    the default, is -D: the paper's substitute is a Wasserstein GAN, whose score has no such scale (as in GMI
    and KED-MI).
    """
    if kind == "critic":
        return -score
    if kind == "log_sigmoid":
        return -logsigmoid(score)
    raise ValueError(f"unknown discrimination loss {kind=}, choose one of {get_args(Discrimination)}")


def identification_loss(logits: torch.Tensor, labels: torch.Tensor, kind: Identification = "ce") -> torch.Tensor:
    """L_iden of eq. 5, low where the classifier answers the label; (n, classes) and (n,) -> (n,).

    labels (n,): int64. Raises ValueError for an unknown `kind`. `ce`, the default, is -log p(label). `mse` is
    section IV-B's text, "the MSE loss between the output and l_p"; which output is left open, so here it
    is the mean over classes of (softmax(logits) - onehot(label))^2, whose gradient vanishes as p(label) -> 0.
    """
    if kind == "ce":
        return cross_entropy(logits, labels, reduction="none")
    if kind == "mse":
        wanted = one_hot(labels, logits.shape[1]).to(logits.dtype)
        return (logits.softmax(dim=1) - wanted).square().mean(dim=1)
    raise ValueError(f"unknown identification loss {kind=}, choose one of {get_args(Identification)}")


def inversion_loss(discri: torch.Tensor, iden: torch.Tensor, lam: float) -> torch.Tensor:
    """Eq. 6, what z* minimises: L_discri + lambda L_iden; (n,), (n,) -> (n,).

    The sum over samples is what to differentiate: a mean would divide each sample's step by the batch size.
    """
    return discri + lam * iden
