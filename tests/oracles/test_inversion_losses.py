"""tasks/inversion/losses.py against eq. 5 and 6 by hand, values and gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.inversion.losses import discrimination_loss, identification_loss, inversion_loss
from tests.oracles import loss_formulas as by_hand
from tests.oracles.shapes import logits, normal, quick, seeds


@quick
@given(n=st.integers(1, 8), seed=seeds, kind=st.sampled_from(["critic", "log_sigmoid"]))
def test_discrimination_loss_and_its_gradient(n: int, seed: int, kind: Any) -> None:
    score = normal(n, seed=seed, scale=3).requires_grad_()
    loss = discrimination_loss(score, kind)
    (gradient,) = torch.autograd.grad(loss.sum(), score)
    assert loss.tolist() == pytest.approx([by_hand.discrimination(s, kind) for s in score.tolist()])
    for s, g in zip(score.tolist(), gradient.tolist(), strict=True):
        assert g == pytest.approx(by_hand.slope(lambda at: by_hand.discrimination(at[0], kind), [s])[0], abs=1e-8)


@quick
@given(rows=logits(), seed=seeds, kind=st.sampled_from(["ce", "mse"]))
def test_identification_loss_and_its_gradient(rows: torch.Tensor, seed: int, kind: Any) -> None:
    n, classes = rows.shape
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    rows.requires_grad_()
    loss = identification_loss(rows, labels, kind)
    (gradient,) = torch.autograd.grad(loss.sum(), rows)
    assert loss.shape == (n,)
    for row, label, value, g in zip(rows.tolist(), labels.tolist(), loss.tolist(), gradient.tolist(), strict=True):
        assert value == pytest.approx(by_hand.identification(row, label, kind))
        expected = by_hand.slope(partial(by_hand.identification, label=label, kind=kind), row)
        assert g == pytest.approx(expected, abs=1e-8)


@quick
@given(rows=logits(), lam=st.floats(0, 100), seed=seeds)
def test_eq_6_adds_per_sample_so_that_batch_mates_do_not_matter(rows: torch.Tensor, lam: float, seed: int) -> None:
    labels = torch.zeros(len(rows), dtype=torch.int64)
    score = normal(len(rows), seed=seed)
    together = inversion_loss(discrimination_loss(score), identification_loss(rows, labels), lam)
    for i, (s, row) in enumerate(zip(score.tolist(), rows.tolist(), strict=True)):
        alone = by_hand.discrimination(s, "critic") + lam * by_hand.identification(row, 0, "ce")
        assert together[i].item() == pytest.approx(alone)


def test_extreme_scores_and_logits_stay_finite() -> None:
    score = torch.tensor([-1e4, 1e4], requires_grad=True)
    rows = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    labels = torch.tensor([0, 0])
    total = discrimination_loss(score, "log_sigmoid").sum()
    total = total + identification_loss(rows, labels, "ce").sum() + identification_loss(rows, labels, "mse").sum()
    gradients = torch.autograd.grad(total, [score, rows])
    assert total.item() == pytest.approx(1e4 + 2e4 + 1)
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_unknown_kinds_name_the_choices() -> None:
    bad: Any = "hinge"
    with pytest.raises(ValueError, match="critic"):
        discrimination_loss(torch.zeros(1), bad)
    with pytest.raises(ValueError, match="mse"):
        identification_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), bad)
