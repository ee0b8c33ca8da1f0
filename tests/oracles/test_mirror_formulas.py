"""The formulas of tasks/attacks/{style_space,style_search,evolution}.py and the ramp against Mirror by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.attacks.evolution import crossover, first_share, mutated, pairs
from tasks.attacks.style_pool import best_first
from tasks.attacks.style_search import agreeing, chosen
from tasks.attacks.style_space import clip_to_box, from_p, sampled_box, to_p, truncated
from tasks.inversion.search import ramp
from tests.oracles import mirror_formulas as by_hand
from tests.oracles.shapes import normal, quick, seeds

slopes = st.sampled_from([0.2, 0.01, 1.0])


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@quick
@given(n=st.integers(1, 9), d=st.integers(1, 6), seed=seeds, slope=slopes)
def test_p_space_undoes_the_leaky_relu(n: int, d: int, seed: int, slope: float) -> None:
    w = normal(n, d, seed=seed)
    p = to_p(w, slope)
    assert p.flatten().tolist() == pytest.approx([by_hand.leaky_relu(x, 1 / slope) for x in w.flatten().tolist()])
    assert torch.allclose(from_p(p, slope), w)
    assert torch.allclose(from_p(w, slope), torch.nn.functional.leaky_relu(w, slope))
    assert torch.equal(to_p(w, None), w)
    assert torch.equal(from_p(w, None), w)


@quick
@given(n=st.integers(2, 9), d=st.integers(1, 6), seed=seeds, slope=slopes, width=st.sampled_from([0.1, 1.0, 3.0]))
def test_box_and_clipping(n: int, d: int, seed: int, slope: float, width: float) -> None:
    w = normal(n, d, seed=seed, scale=2)
    found = sampled_box(w, slope, width)
    expected = by_hand.box(w.tolist(), slope, width)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.tolist() == pytest.approx(theirs, abs=1e-5)
    far = normal(5, d, seed=seed + 1, scale=4)
    for row, clipped in zip(far.tolist(), clip_to_box(far, found, slope).tolist(), strict=True):
        assert clipped == pytest.approx(by_hand.clip(row, expected[2], expected[3], slope), abs=1e-5)


def test_clipping_leaves_what_is_inside_and_is_done_in_p_not_in_w() -> None:
    w = torch.tensor([[-0.2], [1.0]])  # p = -1 and 1: mean 0, std 1, so the box is [-1, 1] in P, [-0.2, 1] in W
    box = sampled_box(w, 0.2, 1.0)
    asked = torch.tensor([[-0.9], [-0.1], [0.5], [7.0]])
    assert clip_to_box(asked, box, 0.2).flatten().tolist() == pytest.approx([-0.2, -0.1, 0.5, 1.0])


def test_truncation_draws_towards_the_mean() -> None:
    w, mean = normal(4, 3, seed=0), normal(3, seed=1)
    assert torch.equal(truncated(w, mean, 1.0), w)
    assert torch.allclose(truncated(w, mean, 0.7) - mean, 0.7 * (w - mean))


@quick
@given(p=st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_crossover_share_is_that_of_the_softmax_weights(p: list[float], seed: int) -> None:
    first, second = seed % len(p), (seed // len(p)) % len(p)
    fitness = torch.tensor(p, dtype=torch.float64).log()
    share = first_share(fitness[first], fitness[second]).item()
    assert share == pytest.approx(by_hand.crossover_share(p, first, second), abs=1e-5)


def test_the_better_parent_gives_more_of_the_child() -> None:
    """The reference's weights, negative log p, gave the better parent of this pair 1% (facts 2.4)."""
    share = first_share(torch.tensor([-0.1]), torch.tensor([-10.0]))
    assert share.item() > 0.9999
    child = crossover(torch.ones(1, 4000), torch.zeros(1, 4000), torch.tensor([0.8]), draws())
    assert child.mean().item() == pytest.approx(0.8, abs=0.03)
    assert set(child.unique().tolist()) == {0.0, 1.0}, "a dimension comes from one parent, whole"


def test_parents_are_drawn_in_proportion_to_their_confidence() -> None:
    confidence = torch.tensor([0.6, 0.3, 0.1])
    first, second = pairs(confidence.log(), 20_000, draws())
    for drawn in (first, second):
        shares = torch.bincount(drawn, minlength=3) / len(drawn)
        assert torch.allclose(shares, confidence, atol=0.02)


def test_mutation_has_its_rate_and_size_in_p_and_differs_between_children() -> None:
    box = sampled_box(normal(50, 400, seed=2), 0.2, 1.0)
    children = normal(1, 400, seed=3).expand(60, 400)
    after = mutated(children, box, 0.2, 0.1, 0.1, draws())
    moved = (to_p(after, 0.2) - to_p(children, 0.2)) / box.std
    hit = after != children
    assert hit.double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert moved.abs().max().item() == pytest.approx(0.1, abs=0.002)
    assert moved[hit].mean().item() == pytest.approx(0.0, abs=0.005)
    both = hit[0] & hit[1]
    assert bool(both.any())
    assert bool((moved[0, both] != moved[1, both]).all()), "the reference adds one noise to all children"


@quick
@given(steps=st.integers(1, 200), seed=seeds)
def test_ramp(steps: int, seed: int) -> None:
    ages = torch.arange(steps + 1)
    assert ramp(ages, steps).tolist() == pytest.approx([by_hand.ramp(t, steps) for t in range(steps + 1)], abs=1e-5)


@quick
@given(n=st.integers(1, 6), classes=st.integers(2, 9), seed=seeds, pull=st.sampled_from([0.0, 1.0, 4.0]))
def test_agreement_is_the_largest_of_all_subsets(n: int, classes: int, seed: int, pull: float) -> None:
    logits = normal(n, classes, seed=seed)
    logits[:, 1] += pull
    groups = by_hand.largest_agreement(logits.tolist(), 1)
    group = agreeing(logits, 1)
    assert set(group) in groups
    assert logits[group, 1].max().item() == max(logits[list(g), 1].max().item() for g in groups)


def test_agreement_prefers_company_to_the_highest_logit() -> None:
    """Rows 0 and 2 share labels 3 and 4 in their top 5; row 1 is surer of the target but alone."""
    logits = torch.tensor(
        [
            [9.0, 0, 0, 5, 5, 4, 4, 0, 0, 0],
            [12.0, 5, 5, 0, 0, 0, 4, 4, 0, 0],
            [8.0, 0, 0, 5, 5, 0, 0, 0, 4, 4],
        ]
    )
    assert sorted(agreeing(logits, 0)) == [0, 2]
    assert chosen(logits, 0, 3, agreement=True).tolist() == [0]
    twice = torch.cat([logits[[2, 1, 0]], logits])
    assert chosen(twice, 0, 3, agreement=True).tolist() == [2, 3]


def test_confidence_takes_the_highest_p_of_each_image() -> None:
    logits = torch.tensor([[9.0, 8.9], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert chosen(logits, 0, 2, agreement=False).tolist() == [1, 2], "by p, not by the logit"


def test_the_pool_is_dealt_best_first() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.3, 0.8])
    assert best_first(scores, images=2, each=2).tolist() == [1, 3, 5, 2]
    assert best_first(scores, images=3, each=1).tolist() == [1, 5, 3]
    assert best_first(scores, images=1, each=3).tolist() == [1, 5, 3]
    with pytest.raises(ValueError, match=r"a pool of 6 has no 8 starts"):
        best_first(scores, images=4, each=2)
