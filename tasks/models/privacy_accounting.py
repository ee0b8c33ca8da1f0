"""How much noise a privacy budget takes, and what a training has spent: Opacus' accountants."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

from opacus.accountants import IAccountant, PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier

Mechanism = Literal["rdp", "prv"]
ACCOUNTANTS: dict[Mechanism, type[IAccountant]] = {"rdp": RDPAccountant, "prv": PRVAccountant}


@cache
def noise_multiplier(
    epsilon: float | None, delta: float, sample_rate: float, steps: int, mechanism: Mechanism
) -> float:
    """The least sigma with which `steps` Poisson-sampled Gaussian steps stay within (epsilon, delta).

    What it spends lies below epsilon, by 0.1% or 0.01 at most. 0 for `epsilon` None. ValueError where no noise is
    enough: budgets too small for the accountant's resolution.
    """
    if epsilon is None:
        return 0.0
    try:
        with _accounting():
            sigma = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=mechanism,
                epsilon_tolerance=min(0.01, 1e-3 * epsilon),
            )
    except ValueError as error:
        text = f"the {mechanism} accountant finds no noise for {epsilon=}, {delta=}, {sample_rate=}, {steps=}"
        raise ValueError(f"{text}: {error} Take a larger epsilon, a larger delta or fewer steps.") from error
    return float(sigma)


def spent(accountant: IAccountant, delta: float, mechanism: Mechanism | None = None) -> float:
    """Epsilon of the steps that an accountant has seen, by itself or by another mechanism."""
    judge = ACCOUNTANTS[mechanism]() if mechanism else accountant
    judge.history = list(accountant.history)
    with _accounting():
        return float(judge.get_epsilon(delta=delta))


@contextmanager
def without_warnings(*messages: str) -> Iterator[None]:
    """Silence the warnings that start with these words."""
    with warnings.catch_warnings():
        for message in messages:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def _accounting() -> Iterator[None]:
    """Orders end at 63, beyond which the bound is only looser; a sample rate of 1 takes log(0), rightly -inf."""
    with without_warnings(
        "Optimal order is the", "divide by zero", "overflow encountered", "invalid value encountered"
    ):
        yield
