"""GAN losses one score at a time in Python floats, straight from the printed formulas."""

from __future__ import annotations

import math

from tests.oracles.loss_formulas import Vector, mean, sigmoid


def logistic_critic(real: Vector, fake: Vector) -> float:
    """Goodfellow et al. 2014, eq. 1, with its sign turned: D = sigma(score) is maximised there."""
    return -mean([math.log(sigmoid(s)) for s in real]) - mean([math.log(1 - sigmoid(s)) for s in fake])


def logistic_generator(fake: Vector) -> float:
    """Goodfellow et al. 2014, sec. 3: "maximize log D(G(z))"."""
    return -mean([math.log(sigmoid(s)) for s in fake])


def r1(gradients: list[Vector]) -> float:
    """Mescheder et al. 2018, eq. 9, over gamma: half the mean squared length of the critic's gradients."""
    return mean([math.fsum(g * g for g in gradient) for gradient in gradients]) / 2
