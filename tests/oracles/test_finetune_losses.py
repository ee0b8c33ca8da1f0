"""tasks/finetune/losses.py against eq. 7, 8 and 10 by hand: values, gradients, and where they push p."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.finetune.losses import defense_objective, log_probability, private_loss, public_loss
from tests.oracles import loss_formulas as by_hand
from tests.oracles.shapes import gammas, logits, quick

VARIANTS = ["detached", "literal", "ce", "unlikelihood"]
# dL_pri/dz_t at gamma 2, worked out from the derivatives on paper: p -> value
LITERAL = {0.01: 0.0008, 0.1: 0.0324, 0.3: 0.0887, 0.5: 0.0483, 0.9: -0.0639, 0.99: -0.0096}
DETACHED = {0.01: -0.0001, 0.1: -0.0090, 0.3: -0.0630, 0.5: -0.1250, 0.9: -0.0810, 0.99: -0.0098}
CE = {0.01: -0.99, 0.1: -0.90, 0.3: -0.70, 0.5: -0.50, 0.9: -0.10, 0.99: -0.01}
UNLIKELIHOOD = {0.01: -0.000003, 0.1: -0.0029, 0.3: -0.0719, 0.5: -0.2983, 0.9: -1.1020, 0.99: -1.0606}


def at(p: float, classes: int = 5) -> torch.Tensor:
    """Logits (1, classes) that give label 0 the probability p."""
    rest = math.log((1 - p) / (classes - 1))
    return torch.tensor([[math.log(p)] + [rest] * (classes - 1)], dtype=torch.float64, requires_grad=True)


def pull(p: float, gamma: float, variant: Any) -> float:
    """dL_pri/dz_t at p: the fine-tune ascends L_pri, so a positive value pulls p up."""
    row = at(p)
    (gradient,) = torch.autograd.grad(private_loss(row, 0, gamma, variant), row)
    return float(gradient[0, 0])


@quick
@given(rows=logits(), data=st.data(), gamma=gammas, variant=st.sampled_from(VARIANTS))
def test_private_loss_and_its_gradient(rows: torch.Tensor, data: Any, gamma: float, variant: Any) -> None:
    label = data.draw(st.integers(0, rows.shape[1] - 1))
    rows.requires_grad_()
    loss = private_loss(rows, label, gamma, variant)
    (gradient,) = torch.autograd.grad(loss, rows)
    values = [by_hand.private(row, label, gamma, variant) for row in rows.tolist()]
    assert loss.item() == pytest.approx(by_hand.mean(values), rel=1e-7)
    for row, found in zip(rows.tolist(), gradient.tolist(), strict=True):
        held = by_hand.softmax(row)[label] ** gamma if variant == "detached" else None
        loss_by_hand = partial(by_hand.private, label=label, gamma=gamma, variant=variant, weight=held)
        expected = by_hand.slope(loss_by_hand, row)
        assert [len(rows) * g for g in found] == pytest.approx(expected, rel=1e-5, abs=1e-7)


@quick
@given(rows=logits(), data=st.data(), gamma=gammas)
def test_public_loss_and_its_gradient(rows: torch.Tensor, data: Any, gamma: float) -> None:
    label = data.draw(st.integers(0, rows.shape[1] - 1))
    rows.requires_grad_()
    loss = public_loss(rows, label, gamma)
    (gradient,) = torch.autograd.grad(loss, rows)
    values = [by_hand.public(row, label, gamma) for row in rows.tolist()]
    assert loss.item() == pytest.approx(by_hand.mean(values), rel=1e-7)
    for row, found in zip(rows.tolist(), gradient.tolist(), strict=True):
        expected = by_hand.slope(partial(by_hand.public, label=label, gamma=gamma), row)
        assert [len(rows) * g for g in found] == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    ("variant", "table"),
    [("literal", LITERAL), ("detached", DETACHED), ("ce", CE), ("unlikelihood", UNLIKELIHOOD)],
)
def test_gradient_table_at_gamma_2(variant: str, table: dict[float, float]) -> None:
    assert {p: pull(p, 2, variant) for p in table} == pytest.approx(table, abs=6e-5)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0, 5.0])
def test_literal_has_its_maximum_at_exp_minus_1_over_gamma(gamma: float) -> None:
    top = math.exp(-1 / gamma)
    assert pull(top, gamma, "literal") == pytest.approx(0, abs=1e-12)
    assert pull(top - 0.05, gamma, "literal") > 0 > pull(top + 0.05, gamma, "literal")
    assert private_loss(at(top), 0, gamma, "literal").item() == pytest.approx(1 / (gamma * math.e))


@quick
@given(p=st.floats(0.001, 0.999), gamma=gammas)
def test_only_literal_ever_pulls_p_up(p: float, gamma: float) -> None:
    assert pull(p, gamma, "detached") == pytest.approx(-(1 - p) * p**gamma)
    assert pull(p, gamma, "ce") == pytest.approx(-(1 - p))
    assert pull(p, gamma, "unlikelihood") < 0


def climb(variant: Any, steps: int, rate: float = 0.5) -> list[float]:
    """p after each step of gradient ascent on L_pri over free logits, from p = .95."""
    row, path = at(0.95).detach(), [0.95]
    for _ in range(steps):
        row.requires_grad_()
        (gradient,) = torch.autograd.grad(private_loss(row, 0, 2.0, variant), row)
        row = (row + rate * gradient).detach()
        path.append(float(row.softmax(dim=1)[0, 0]))
    return path


def test_ascent_ends_where_the_table_says() -> None:
    ends = {variant: climb(variant, 1500) for variant in VARIANTS}
    assert ends["literal"][-1] == pytest.approx(math.exp(-0.5), abs=0.01)
    for variant in ("detached", "ce", "unlikelihood"):
        assert all(later <= earlier for earlier, later in zip(ends[variant], ends[variant][1:], strict=False))
    assert ends["detached"][-1] < 0.05
    assert ends["unlikelihood"][-1] < 0.06  # slower still: its pull is 3 p^3 near 0
    assert ends["ce"][-1] < 1e-100 or ends["ce"][-1] == 0  # never stops


def test_gamma_0_is_cross_entropy() -> None:
    rows, label = at(0.3).detach(), 2
    expected = float(torch.nn.functional.cross_entropy(rows, torch.tensor([label])))
    losses = [private_loss(rows, label, 0, "detached"), private_loss(rows, label, 0, "literal")]
    losses += [private_loss(rows, label, 7, "ce"), public_loss(rows, label, 0)]
    assert [loss.item() for loss in losses] == pytest.approx([expected] * 4)


@pytest.mark.parametrize("gap", [-200.0, -60.0, 60.0, 200.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_certain_and_impossible_labels_keep_finite_losses_and_gradients(gap: float, gamma: float) -> None:
    rows = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)  # float32: 1 - p rounds to 0 at gap 60
    log_p, log_rest = log_probability(rows, 0)
    assert log_rest.item() == pytest.approx(math.log(2) - gap if gap > 0 else 0, abs=1e-5)
    assert log_p.item() == pytest.approx(0 if gap > 0 else gap - math.log(2), abs=1e-5)
    losses = [private_loss(rows, 0, gamma, v) for v in ("detached", "literal", "ce", "unlikelihood")]
    for loss in [*losses, public_loss(rows, 0, gamma)]:
        (gradient,) = torch.autograd.grad(loss, rows, retain_graph=True)
        assert math.isfinite(loss.item())
        assert bool(gradient.isfinite().all())


@quick
@given(terms=st.tuples(*[st.floats(-5, 5)] * 3), weights=st.tuples(*[st.floats(0.01, 10)] * 3))
def test_objective_is_eq_10(terms: tuple[float, float, float], weights: tuple[float, float, float]) -> None:
    l_pri, l_pub, l_cl = (torch.tensor(t, dtype=torch.float64) for t in terms)
    expected = by_hand.objective(*terms, *weights)
    assert float(defense_objective(l_pri, l_pub, l_cl, *weights)) == pytest.approx(expected, abs=1e-12)


def test_descending_the_objective_lowers_p_on_private_and_raises_it_on_public_fakes() -> None:
    private, public = at(0.9), at(0.1)
    loss = defense_objective(private_loss(private, 0, 2), public_loss(public, 0, 2), None, 1, 1, 0)
    on_private, on_public = torch.autograd.grad(loss, [private, public])
    assert float(on_private[0, 0]) > 0 > float(on_public[0, 0])


def test_weight_0_drops_its_term_even_if_it_is_not_finite() -> None:
    l_pri, broken = torch.tensor(2.0), torch.tensor(math.nan)
    assert float(defense_objective(l_pri, broken, None, 3, 0, 0)) == -6
    assert float(defense_objective(None, l_pri, l_pri, 0, 3, 4)) == 14


def test_a_term_that_was_not_computed_is_left_out_and_an_empty_objective_is_an_error() -> None:
    assert defense_objective(torch.tensor(2.0), None, None, 3, 1, 1).item() == -6
    for weights, term in (((0, 0, 0), torch.tensor(1.0)), ((1, 1, 1), None)):
        with pytest.raises(ValueError, match="alpha"):
            defense_objective(term, term, term, *weights)


def test_unknown_variant_and_label_out_of_range() -> None:
    bad: Any = "focal"
    with pytest.raises(ValueError, match="literal"):
        private_loss(torch.zeros(1, 3), 0, 2, bad)
    for label in (-1, 3):
        with pytest.raises(ValueError, match="label"):
            public_loss(torch.zeros(1, 3), label, 2)
    with pytest.raises(ValueError, match="classes=1"):
        public_loss(torch.zeros(1, 1), 0, 2)
