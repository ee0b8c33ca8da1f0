"""The accounts of DP-SGD against quadrature, the exact Gaussian mechanism and simulated trainings."""

from __future__ import annotations

import pytest
from opacus.accountants import RDPAccountant

from tasks.models.privacy_accounting import ACCOUNTANTS, noise_multiplier, spent
from tests.oracles import dp_formulas as by_hand

ORDERS = RDPAccountant.DEFAULT_ALPHAS
SETTINGS = [(140, 32, 60), (140, 140, 20), (30, 8, 15), (2000, 50, 200)]  # images, batch, steps
PAPER = 27_018  # images of the paper's CelebA subset


def after(sigma: float, q: float, steps: int) -> RDPAccountant:
    """An accountant that has seen these steps."""
    accountant = RDPAccountant()
    accountant.history = [(sigma, q, steps)]
    return accountant


@pytest.mark.parametrize(("images", "batch", "steps"), SETTINGS)
@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0])
def test_rdp_is_the_quadrature_of_its_definition(images: int, batch: int, steps: int, sigma: float) -> None:
    q, delta = batch / images, 1 / images
    reference = by_hand.renyi_epsilon(q, sigma, steps, delta, ORDERS)
    assert spent(after(sigma, q, steps), delta) == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 12.0])
@pytest.mark.parametrize("steps", [1, 20, 100])
def test_prv_is_exact_without_sampling(sigma: float, steps: int) -> None:
    """With q = 1 all steps are one Gaussian mechanism, whose epsilon is known. PRV may err by its 0.01, upwards."""
    exact = by_hand.gaussian_epsilon(sigma, steps, 1e-3)
    found = spent(after(sigma, 1.0, steps), 1e-3, "prv")
    assert exact - 1e-3 <= found <= exact + 0.025
    assert spent(after(sigma, 1.0, steps), 1e-3) >= exact, "RDP is an upper bound"


@pytest.mark.parametrize(("images", "batch", "steps"), [(140, 32, 60), (30, 8, 15)])
def test_prv_holds_in_simulated_trainings(images: int, batch: int, steps: int) -> None:
    q, delta = batch / images, 1 / images
    epsilon = spent(after(1.0, q, steps), delta, "prv")
    assert by_hand.simulated_delta(q, 1.0, steps, epsilon, runs=100_000, seed=3) == pytest.approx(delta, rel=0.1)
    assert by_hand.simulated_delta(q, 1.0, steps, 0.7 * epsilon, runs=100_000, seed=3) > 1.3 * delta


@pytest.mark.parametrize(
    ("epsilon", "images", "batch", "steps"),
    [(8.0, *SETTINGS[0]), (1.0, *SETTINGS[1]), (50.0, *SETTINGS[1]), (1.0, *SETTINGS[2]), (8.0, *SETTINGS[3])],
)
def test_what_is_spent_is_at_most_the_target(epsilon: float, images: int, batch: int, steps: int) -> None:
    q, delta = batch / images, 1 / images
    sigma = noise_multiplier(epsilon, delta, q, steps, "rdp")
    rdp, prv = (spent(after(sigma, q, steps), delta, name) for name in ("rdp", "prv"))
    assert 0.99 * epsilon - 0.01 <= rdp <= epsilon
    assert spent(after(0.97 * sigma, q, steps), delta) > epsilon, "no smaller noise would do"
    assert 0.7 * rdp <= prv <= rdp, "both are upper bounds; measured, PRV lies 6-30% lower at epsilon from 1 up"


def test_the_tighter_accountant_takes_less_noise() -> None:
    rdp, prv = (noise_multiplier(8.0, 1 / 30, 1.0, 5, name) for name in ("rdp", "prv"))
    assert 0.7 * rdp < prv < rdp
    assert 7.9 < spent(after(prv, 1.0, 5), 1 / 30, "prv") <= 8.0


def test_noise_falls_with_epsilon_and_rises_with_steps() -> None:
    sigmas = [noise_multiplier(epsilon, 0.01, 0.05, 12, "rdp") for epsilon in (0.5, 2.0)]
    assert sigmas[1] < sigmas[0]
    assert noise_multiplier(2.0, 0.01, 0.05, 48, "rdp") > 1.2 * sigmas[1]
    assert noise_multiplier(None, 0.01, 0.05, 12, "rdp") == 0


@pytest.mark.parametrize(("batch", "epochs", "sigma"), [(64, 50, 0.60), (256, 50, 0.77)])
def test_noise_of_the_papers_setting(batch: int, epochs: int, sigma: float) -> None:
    """epsilon = 8 on 27,018 images at delta = 1e-5."""
    steps = epochs * round(PAPER / batch)
    assert noise_multiplier(8.0, 1e-5, batch / PAPER, steps, "rdp") == pytest.approx(sigma, abs=0.01)


def test_the_references_dp_is_none() -> None:
    """Noise multiplier 0.01, batches of 64, 200 epochs: its code counts no epsilon, which is above a million."""
    q, steps = 64 / PAPER, 200 * round(PAPER / 64)
    assert by_hand.renyi_epsilon(q, 0.01, steps, 1 / PAPER, [1.01, 1.1, 1.5, 2.0]) > 1e5


def test_a_budget_that_no_noise_meets_is_refused_in_words() -> None:
    advice = r"finds no noise for epsilon=0\.001, .*Take a larger epsilon, a larger delta or fewer steps"
    with pytest.raises(ValueError, match=advice):
        noise_multiplier(0.001, 1e-5, 0.1, 1000, "rdp")


# (sample rate, sigma, steps, delta) -> epsilon by dp-accounting 0.6.0 (Google): RdpAccountant and PLDAccountant of
# SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), steps). It cannot be a dependency: it wants
# an older attrs than the rest.
OTHER_LIBRARY = {
    (32 / 140, 1.0, 50, 1 / 140): (7.8455, 6.47386),
    (0.01, 0.8, 1000, 1e-5): (3.69561, 3.14102),
    (0.05, 1.5, 400, 1e-4): (3.19909, 2.86167),
}


@pytest.mark.parametrize("case", OTHER_LIBRARY)
def test_another_library_counts_alike(case: tuple[float, float, int, float]) -> None:
    rate, sigma, steps, delta = case
    for mechanism, theirs in zip(("rdp", "prv"), OTHER_LIBRARY[case], strict=True):
        accountant = ACCOUNTANTS[mechanism]()
        accountant.history = [(sigma, rate, steps)]
        assert spent(accountant, delta) == pytest.approx(theirs, rel=0.01), mechanism
