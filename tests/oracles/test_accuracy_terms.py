"""tasks/metrics/accuracy_terms.py against sorting in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.accuracy_terms import topk_hits
from tests.oracles.shapes import quick

ROWS = st.integers(1, 5).flatmap(
    lambda classes: st.lists(st.lists(st.integers(-2, 2), min_size=classes, max_size=classes), min_size=1, max_size=6)
)


def hit(row: list[int], label: int, k: int) -> bool:
    """Sort the classes by falling logit; Python's sort keeps the lower class first on ties."""
    return label in sorted(range(len(row)), key=lambda c: -row[c])[:k]


@quick
@given(rows=ROWS, data=st.data(), k=st.integers(1, 7))
def test_topk_hits_with_many_ties(rows: list[list[int]], data: st.DataObject, k: int) -> None:
    logits, classes = torch.tensor(rows, dtype=torch.float32), len(rows[0])
    label = data.draw(st.integers(0, classes - 1))
    labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows)))
    assert topk_hits(logits, label, k).tolist() == [hit(row, label, k) for row in rows]
    each = [hit(row, y, k) for row, y in zip(rows, labels, strict=True)]
    assert topk_hits(logits, torch.tensor(labels), k).tolist() == each


def test_top_1_is_argmax_and_a_constant_classifier_is_right_for_one_class_only() -> None:
    logits = torch.zeros(1, 4).expand(4, 4)
    assert topk_hits(logits, torch.arange(4)).tolist() == [True, False, False, False]
    assert torch.equal(topk_hits(logits, torch.arange(4)), logits.argmax(dim=1) == torch.arange(4))


def test_k_above_the_number_of_classes_hits_always_and_no_rows_give_no_hits() -> None:
    assert topk_hits(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), 3, k=5).all()
    assert topk_hits(torch.zeros(0, 4), 3).shape == (0,)


def test_what_has_no_rank_is_an_error() -> None:
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="k >= 1"):
        topk_hits(logits, 0, 0)
    for label in (3, -1, torch.tensor([0, 3])):
        with pytest.raises(ValueError, match="labels must lie"):
            topk_hits(logits, label)
    with pytest.raises(ValueError, match="NaN"):
        topk_hits(torch.tensor([[math.nan, 0.0]]), 0)
