"""The fine-tune's losses (Gong et al. 2023, eq. 7, 8 and 10) as functions of the logits of one label's fakes.

p is the softmax probability of the protected label l_t. Everything is computed from log p and log(1 - p), so
that nothing overflows or loses its gradient at p near 0 or 1, which is where the private fakes start.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

PrivateVariant = Literal["detached", "literal", "ce", "unlikelihood"]


def log_probability(logits: torch.Tensor, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """log p and log(1 - p) of `label`; (n, classes) -> (n,), (n,).

    log(1 - p) is summed over the other classes: finite and exact where 1 - p would round to 0. Raises
    ValueError for a label out of range or fewer than 2 classes.
    """
    classes = logits.shape[1]
    if not 0 <= label < classes or classes < 2:
        raise ValueError(f"0 <= label < classes and classes >= 2 must hold, but got {label=}, {classes=}")
    log_all = logits.log_softmax(dim=1)
    others = torch.cat([log_all[:, :label], log_all[:, label + 1 :]], dim=1)
    return log_all[:, label], others.logsumexp(dim=1)


def private_loss(logits: torch.Tensor, label: int, gamma: float, variant: PrivateVariant = "detached") -> torch.Tensor:
    """L_pri on private fakes, to be MAXIMISED (eq. 10 has -alpha L_pri); (n, classes) -> mean, ().

    Eq. 7 is -p^gamma log p. Variants, with dL/dz_t (z_t is the logit of l_t); raises ValueError for others:
    - `detached` (default): p^gamma is a constant weight, -(1 - p) p^gamma. Always pushes p down and stops by
      itself as p -> 0, as the text says ("its weight will be close to 0").
    - `literal`: eq. 7 differentiated, -(1 - p) p^gamma (1 + gamma log p). Its maximum lies at
      p = e^(-1/gamma), .6065 for gamma 2: below that it pulls p up, against the text's intent.
    - `ce`: gamma is 0, -(1 - p). The earlier WWW 2023 loss; never stops pushing.
    - `unlikelihood`: +p^gamma log(1 - p), differentiated fully, so that the objective minimises the mirror
      image of eq. 8. Strong at p near 1, vanishes at p -> 0. Ours, not the paper's.
    """
    log_p, log_rest = log_probability(logits, label)
    if variant == "detached":
        return -((gamma * log_p).exp().detach() * log_p).mean()
    if variant == "literal":
        return -((gamma * log_p).exp() * log_p).mean()
    if variant == "ce":
        return -log_p.mean()
    if variant == "unlikelihood":
        return ((gamma * log_p).exp() * log_rest).mean()
    raise ValueError(f"unknown L_pri {variant=}, choose one of {get_args(PrivateVariant)}")


def public_loss(logits: torch.Tensor, label: int, gamma: float) -> torch.Tensor:
    """L_pub of eq. 8 on public fakes, to be minimised: -(1 - p)^gamma log p; (n, classes) -> mean, ().

    The focal loss of Lin et al. 2017, differentiated fully; gamma 0 is cross-entropy.
    """
    log_p, log_rest = log_probability(logits, label)
    return -((gamma * log_rest).exp() * log_p).mean()


def defense_objective(
    l_pri: torch.Tensor | None,
    l_pub: torch.Tensor | None,
    l_cl: torch.Tensor | None,
    alpha: float,
    beta: float,
    omega: float,
) -> torch.Tensor:
    """Eq. 10, to be minimised: -alpha L_pri + beta L_pub + omega L_CL, each () -> ().

    A term that is None was not computed (its weight, or lambda3, is 0) and is left out; so is one with weight
    0, finite or not. Raises ValueError if nothing is left.
    """
    weighted = ((-alpha, l_pri), (beta, l_pub), (omega, l_cl))
    terms = [weight * term for weight, term in weighted if term is not None and weight != 0]
    if not terms:
        raise ValueError(f"a term with a weight other than 0 is needed, but got {alpha=}, {beta=}, {omega=}")
    return torch.stack(terms).sum()
