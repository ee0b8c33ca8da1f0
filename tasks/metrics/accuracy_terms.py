"""The indicator of eq. 11 and 12: is the label among the k highest logits?"""

from __future__ import annotations

import torch


def topk_hits(logits: torch.Tensor, label: int | torch.Tensor, k: int = 1) -> torch.Tensor:
    """Whether `label` is among the k highest logits; (n, classes) -> bool (n,).

    label: one for all rows (attack accuracy, eq. 12: l_t) or one a row, (n,) int64 (model accuracy, eq. 11).
    Equal logits rank by class number, the lowest first (as argmax), so that a constant classifier is right
    for one class and not for all. k above the number of classes: all hit. Raises ValueError for k < 1, a
    label out of range, or a logit that is NaN, which has no rank.
    """
    n, classes = logits.shape
    wanted = torch.as_tensor(label, device=logits.device).long().expand(n)
    if k < 1:
        raise ValueError(f"k >= 1 must hold, but got {k=}")
    if bool(((wanted < 0) | (wanted >= classes)).any()):
        raise ValueError(f"labels must lie in 0..{classes - 1}, but got {label=}")
    if bool(logits.isnan().any()):
        raise ValueError(f"{int(logits.isnan().sum())} of {logits.numel()} logits are NaN and have no rank")
    own = logits.gather(1, wanted[:, None])
    lower = torch.arange(classes, device=logits.device)[None] < wanted[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(dim=1)
    return rank < k
