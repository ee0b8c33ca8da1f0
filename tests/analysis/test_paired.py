"""Defended against undefended by label and seed: what is paired, how sure the report is, and what it says of that."""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.formats import csv as csv_of
from analysis.intervals import cluster_bootstrap
from analysis.paired import PairedRow, paired_rows
from analysis.permutation import FLIPS, holm, sign_flip_p, smallest_p
from analysis.records import read_records
from grid.store import Store
from tests.analysis.paired_grid import paired_grid
from tests.oracles import paired_formulas as by_hand
from tests.oracles.shapes import quick

DIFFERENCES = st.dictionaries(
    st.integers(0, 99), st.lists(st.integers(-6, 6), min_size=1, max_size=3), min_size=1, max_size=7
)


@quick
@given(DIFFERENCES)
def test_exact_p_is_that_of_every_flip_named(found: dict[int, list[int]]) -> None:
    """In sixths, which floats cannot hold: flips that tie with the seen one must count."""
    slow = by_hand.sign_flip_p({label: [Fraction(d, 6) for d in own] for label, own in found.items()})
    assert sign_flip_p({label: [d / 6 for d in own] for label, own in found.items()}) == float(slow)


def test_exact_p_is_scipys() -> None:
    values = np.random.default_rng(5).normal(-0.4, 1, size=9)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p({i: [value] for i, value in enumerate(values)}) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_seeds_of_a_label_flip_together() -> None:
    """Forty seeds of one person are one cluster: not 2^40 flips but two, so p is 1."""
    assert sign_flip_p({3: [-0.5] * 40}) == 1.0
    assert sign_flip_p({3: [-0.5] * 40, 5: [-0.5] * 40}) == 0.5


def test_monte_carlo_is_near_the_exact_p_and_the_same_every_time() -> None:
    values = np.random.default_rng(1).normal(-0.25, 0.5, size=14)
    found = {i: [float(value)] for i, value in enumerate(values)}
    exact, sampled = sign_flip_p(found), sign_flip_p(found, exact=0)
    assert sampled == sign_flip_p(found, exact=0)
    assert 0.01 < exact < 0.5
    assert sampled == pytest.approx(exact, abs=5 * (exact * (1 - exact) / FLIPS) ** 0.5 + 2 / FLIPS)


def test_p_is_never_below_the_smallest() -> None:
    for labels in (1, 2, 5, 16, 17, 40):
        clear = {label: [-1.0 - label / 100] for label in range(labels)}
        assert sign_flip_p(clear) == pytest.approx(smallest_p(labels), abs=2 / FLIPS)
        assert sign_flip_p(clear) >= smallest_p(labels)
    assert smallest_p(5) == 0.0625
    assert sign_flip_p({label: [0.0] for label in range(5)}) == 1.0
    with pytest.raises(ValueError, match="no label"):
        sign_flip_p({})


def test_under_no_effect_small_p_are_as_rare_as_they_say() -> None:
    generator = np.random.default_rng(0)
    found = [sign_flip_p({i: [v] for i, v in enumerate(generator.normal(size=8))}) for _ in range(600)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)


@quick
@given(
    st.lists(st.integers(0, 200).map(lambda n: n / 200), min_size=1, max_size=8), st.sampled_from([0.013, 0.05, 0.2])
)
def test_holm_is_the_step_down_procedure(values: list[float], level: float) -> None:
    assert [p <= level + 1e-12 for p in holm(values)] == by_hand.holm_rejects(values, level + 1e-12)


def test_holm_is_less_strict_than_bonferroni_and_never_falls() -> None:
    assert holm([0.03, 0.02, 0.9, 0.001]) == pytest.approx([0.06, 0.06, 0.9, 0.004])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_pair_is_one_label_and_seed_under_both(document: dict[str, Any], store: Store) -> None:
    """Label 5 of gan_id+replay failed: it makes no pair, and its undefended cell does not count either."""
    found = paired_rows(read_records(document, store))
    assert [(row.defense, row.measure) for row in found[::4]] == [("gan_id+replay", "aa_top1"), ("l_pri", "aa_top1")]
    top1, top5, second1, second5 = found[:4]
    assert (top1.labels, top1.pairs, top1.pairs_missing, top1.against) == (1, 1, 1, "none")
    assert (top1.undefended, top1.defended, top1.difference) == (2 / 4, 0.0, -2 / 4)
    assert (top1.undefended_confidence, top1.defended_confidence) == (1.0, 0.5), "of the pair, not of the row"
    assert (top5.difference, second1.difference, second5.difference) == (1 / 4 - 1, -1 / 4, 1 / 4 - 2 / 4)
    assert (top1.low, top1.high) == (None, None), "one label: nothing to resample"
    assert (top1.p, top1.p_holm, top1.p_smallest, top1.method) == (1.0, 1.0, 1.0, "exact")
    assert found[4] == PairedRow(
        dataset="orl",
        victim="vgg16_bn",
        defense="l_pri",
        attack="gmi",
        against="none",
        measure="aa_top1",
        labels=0,
        pairs=0,
        pairs_missing=2,
    )


def test_difference_interval_and_holm(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    before = {label: [1, 1, 1, 0] for label in range(5)}
    hits = {("none", label, 0): bits for label, bits in before.items()}
    hits |= {("gan_id+replay", label, 0): [0] * 4 if label else [1, 0, 0, 0] for label in before}
    hits |= {("l_pri", label, 0): [1, 1, 1, int(label == 2)] for label in before}
    found = paired_grid(document, store, tmp_path / "more", hits)
    good, none = found[0], found[4]
    differences = {label: [(0.0 if label else 0.25) - 0.75] for label in before}
    assert good.difference == pytest.approx(-0.7)
    assert (good.low, good.high) == pytest.approx(cluster_bootstrap(differences))
    assert (good.p, good.p_holm, good.p_smallest, good.rows_tested) == (0.0625, 0.125, 0.0625, 2)
    assert (none.difference, none.p, none.p_holm) == (pytest.approx(0.05), 1.0, 1.0)


def test_seeds_are_paired_with_their_own_and_pooled_by_label(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    """Seed 1 of label 5 is missing from the undefended row, so only three pairs are left, of two labels."""
    hits = {("none", 3, 0): [1, 1], ("none", 3, 1): [1, 0], ("none", 5, 0): [0, 0]}
    hits |= {("gan_id+replay", label, seed): bits for (_, label, seed), bits in dict(hits).items()}
    hits |= {("gan_id+replay", 3, 0): [0, 0], ("gan_id+replay", 5, 0): [1, 0], ("gan_id+replay", 5, 1): [1, 1]}
    row = paired_grid(document, store, tmp_path / "more", hits)[0]
    assert (row.labels, row.pairs, row.pairs_missing) == (2, 3, 1)
    assert row.difference == pytest.approx((-1 + 0 + 0.5) / 3)
    assert (row.low, row.high) == pytest.approx(cluster_bootstrap({3: [-1.0, 0.0], 5: [0.5]}))
    assert row.p == 1.0


def test_pairs_all_alike_have_no_interval(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    """A bootstrap of equal differences is a point, which would read as certainty."""
    hits = {(defense, label, 0): [1, 1] for defense in ("none", "l_pri") for label in (3, 5, 7)}
    row = paired_grid(document, store, tmp_path / "more", hits)[0]
    assert (row.difference, row.low, row.high, row.p) == (0.0, None, None, 1.0)


def test_controls_and_attacks_without_an_undefended_row_are_left_out(document: dict[str, Any], store: Store) -> None:
    records = read_records(document, store)
    document["rows"][1]["control"] = True
    document["rows"][2]["attack"] = "other"
    assert paired_rows(records) == []
    document["rows"] = document["rows"][:1]
    assert paired_rows(read_records(document, store)) == []


def test_csv_holds_every_measure(document: dict[str, Any], store: Store) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_of(paired_rows(read_records(document, store))))))
    assert [line["measure"] for line in lines[:4]] == ["aa_top1", "aa_top5", "aa_top1_second", "aa_top5_second"]
    assert (lines[0]["difference"], lines[0]["low"], lines[4]["difference"]) == ("-0.5", "", "")
