"""Latents and their random numbers: the simplex by bisection, draws and reparameterisation written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.attacks.distribution import reparameterise
from tasks.gan.gan import LatentSpace
from tasks.gan.latents import blocks, draw, project, to_simplex
from tasks.inversion.sample_noise import SampleNoise
from tasks.inversion.search import Where
from tests.oracles.shapes import normal, quick, seeds

SPACE = LatentSpace(3, categorical=(4, 2), uniform=2)


def nearest_on_the_simplex(row: list[float]) -> list[float]:
    """p = max(x - t, 0) with the t at which p sums to 1, found by bisection: the sum falls as t grows."""
    low, high = min(row) - 1.0, max(row)
    for _ in range(200):
        middle = (low + high) / 2
        if math.fsum(max(x - middle, 0.0) for x in row) > 1:
            low = middle
        else:
            high = middle
    return [max(x - high, 0.0) for x in row]


@quick
@given(
    n=st.integers(1, 5),
    k=st.integers(1, 9),
    scale=st.sampled_from([0.01, 0.3, 1.0, 20.0]),
    seed=seeds,
    even=st.booleans(),
)
def test_the_simplex_projection(n: int, k: int, scale: float, seed: int, even: bool) -> None:
    x = normal(n, k, seed=seed, scale=scale)
    x = x.round() if even else x  # ties
    for found, row in zip(to_simplex(x).tolist(), x.tolist(), strict=True):
        assert found == pytest.approx(nearest_on_the_simplex(row), abs=1e-9)


@quick
@given(n=st.integers(1, 5), k=st.integers(1, 9), seed=seeds)
def test_no_point_of_the_simplex_is_nearer(n: int, k: int, seed: int) -> None:
    x, others = normal(n, k, seed=seed, scale=2), normal(n, k, seed=seed + 1).softmax(dim=1)
    found = to_simplex(x)
    assert bool(((x - found).norm(dim=1) <= (x - others).norm(dim=1) + 1e-12).all())
    assert torch.allclose(to_simplex(found), found), "a point of the simplex stays where it is"


@pytest.mark.parametrize("size", [1e4, 1e8, 1e20])
def test_a_step_far_too_long_still_ends_on_the_simplex(size: float) -> None:
    """float32 has no fraction left at 2^24; a search with too large a rate gets there."""
    found = to_simplex(size * torch.tensor([[1.0, -1.0, 0.5], [0.0, 1.0, 1.0]]))
    assert torch.allclose(found, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))


def test_a_row_that_is_no_number_leaves_the_others_alone() -> None:
    """As in the search: a sample that has diverged may not take the others with it."""
    x = torch.tensor([[0.2, 0.9, 0.4], [torch.nan, 0.0, 1.0], [3.0, 0.0, 0.0]])
    assert torch.equal(to_simplex(x)[[0, 2]], to_simplex(x[[0, 2]]))


@quick
@given(n=st.integers(1, 4), seed=seeds, clip=st.sampled_from([None, 0.5, 2.0]))
def test_projection_goes_block_by_block(n: int, seed: int, clip: float | None) -> None:
    latents = normal(n, SPACE.size, seed=seed, scale=3)
    found = project(SPACE, latents, clip)
    for row, x in zip(found.tolist(), latents.tolist(), strict=True):
        z = x[:3] if clip is None else [min(max(v, -clip), clip) for v in x[:3]]
        codes = [min(max(v, -1.0), 1.0) for v in x[9:]]
        wanted = [*z, *nearest_on_the_simplex(x[3:7]), *nearest_on_the_simplex(x[7:9]), *codes]
        assert row == pytest.approx(wanted, abs=1e-9)


def test_draws_are_valid_latents_of_the_right_distribution() -> None:
    n = 20_000
    latents = draw(SPACE, n, torch.Generator().manual_seed(1))
    assert latents.shape == (n, SPACE.size) == (n, 11)
    assert torch.equal(project(SPACE, latents), latents)
    z, (four, two), codes = blocks(SPACE, latents)
    assert z.mean(dim=0).tolist() == pytest.approx([0] * 3, abs=0.03)
    assert z.T.cov().flatten().tolist() == pytest.approx(torch.eye(3).flatten().tolist(), abs=0.04)
    for hot, classes in ((four, 4), (two, 2)):
        assert set(hot.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(hot.sum(dim=1), torch.ones(n))
        assert hot.mean(dim=0).tolist() == pytest.approx([1 / classes] * classes, abs=0.02)
    assert codes.min() >= -1
    assert codes.max() <= 1
    assert codes.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.02)
    assert codes.var(dim=0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.01)


def test_a_space_of_z_alone_is_plain_noise() -> None:
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert torch.equal(draw(LatentSpace(5), 4, generators[0]), torch.randn(4, 5, generator=generators[1]))


@quick
@given(n=st.integers(1, 4), d=st.integers(1, 5), seed=seeds)
def test_reparameterisation_written_out(n: int, d: int, seed: int) -> None:
    """z_ij = mu_ij + sqrt(exp(log_var_ij)) eps_ij: exp(log_var / 2) is a standard deviation."""
    parameters, eps = normal(n, 2 * d, seed=seed), normal(n, d, seed=seed + 1)
    for found, row, noise in zip(
        reparameterise(parameters, eps).tolist(), parameters.tolist(), eps.tolist(), strict=True
    ):
        for j in range(d):
            assert found[j] == pytest.approx(row[j] + math.sqrt(math.exp(row[d + j])) * noise[j])


def test_reparameterised_noise_has_the_variance_that_is_asked_for() -> None:
    parameters = torch.tensor([[3.0, -1.0, math.log(4.0), math.log(0.01)]]).expand(20_000, -1)
    z = reparameterise(parameters, torch.randn(20_000, 2, generator=torch.Generator().manual_seed(3)))
    assert z.mean(dim=0).tolist() == pytest.approx([3, -1], abs=0.05)
    assert z.var(dim=0).tolist() == pytest.approx([4.0, 0.01], rel=0.05)


def at(*places: tuple[int, int]) -> Where:
    """(sample, evaluation) of each place of a batch."""
    rows, ages = zip(*places, strict=True)
    return Where(torch.tensor(rows), torch.tensor(ages))


@quick
@given(seed=st.integers(0, 2**63 - 1), places=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 99)), min_size=1))
def test_a_samples_noise_is_its_own_whoever_shares_the_batch(seed: int, places: list[tuple[int, int]]) -> None:
    noise = SampleNoise(seed)
    for kind in (noise.normal, noise.uniform):
        together = kind(at(*places), 6)
        alone = [kind(at(place), 6)[0] for place in reversed(places)]
        assert torch.equal(together, torch.stack(alone[::-1]))
        assert together.dtype == torch.float32
        assert together.shape == (len(places), 6)


def test_sample_evaluation_stream_and_seed_each_give_other_noise() -> None:
    drawn = [
        SampleNoise(seed).normal(at((row, age)), 4, stream=stream)[0].tolist()
        for seed in (0, 1, 2**62)
        for row in (0, 1, 7)
        for age in (0, 1, 7)
        for stream in (0, 1, 7)
    ]
    values = [value for row in drawn for value in row]
    assert len(set(values)) == len(values), "not even shifted copies of each other"


def test_moments_of_the_noise_and_no_correlation_between_its_counters() -> None:
    noise = SampleNoise(5)
    rows = torch.arange(3000)
    first = noise.normal(Where(rows, torch.zeros_like(rows)), 8)
    others = [
        noise.normal(Where(rows, torch.ones_like(rows)), 8),
        noise.normal(Where(rows, torch.zeros_like(rows)), 8, stream=1),
        noise.normal(Where(rows + 1, torch.zeros_like(rows)), 8),
    ]
    assert first.mean().item() == pytest.approx(0, abs=0.02)
    assert first.var().item() == pytest.approx(1, abs=0.03)
    assert first.pow(4).mean().item() == pytest.approx(3, abs=0.15)
    for other in others:
        assert (first * other).mean().item() == pytest.approx(0, abs=0.03)
    uniform = noise.uniform(Where(rows, torch.zeros_like(rows)), 8)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.003)


def test_noise_leaves_the_global_generators_alone() -> None:
    import numpy as np

    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    SampleNoise(1).normal(at((0, 0)), 3)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))
