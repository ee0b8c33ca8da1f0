"""Attacks on pixels, from their formulas: loops over pixels and steps, Python floats, no batch."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]  # (c, h, w)


def mirrored(place: int, count: int) -> int:
    """Index of a place beyond the border, reflected without repeating the border."""
    place = abs(place)
    return 2 * (count - 1) - place if place >= count else place


def at(image: Image, channel: int, down: int, across: int) -> float:
    """A pixel of the reflected image."""
    _, height, width = image.shape
    return float(image[channel, mirrored(down, height), mirrored(across, width)])


def non_local_means(image: Image, strength: float) -> Image:
    """Buades et al. 2005: sum_q w(p, q) x(q) / sum_q w(p, q), q in the 5x5 around p, patches of 3x3."""
    channels, height, width = image.shape
    result = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            total, weights = [0.0] * channels, 0.0
            for dy in range(-2, 3):
                for dx in range(-2, 3):
                    apart = [
                        (at(image, c, y + i, x + j) - at(image, c, y + dy + i, x + dx + j)) ** 2
                        for c in range(channels)
                        for i in (-1, 0, 1)
                        for j in (-1, 0, 1)
                    ]
                    weight = math.exp(-(math.fsum(apart) / len(apart)) / strength**2)
                    weights += weight
                    for c in range(channels):
                        total[c] += weight * at(image, c, y + dy, x + dx)
            result[:, y, x] = [value / weights for value in total]
    return result


def sharpen(image: Image, amount: float) -> Image:
    """x + amount (x - blur(x)); the blur weighs a pixel 4, its sides 2, its corners 1, of 16."""
    channels, height, width = image.shape
    result = np.empty_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                blur = math.fsum(
                    (2 - abs(i)) * (2 - abs(j)) / 16 * at(image, c, y + i, x + j)
                    for i in (-1, 0, 1)
                    for j in (-1, 0, 1)
                )
                result[c, y, x] = image[c, y, x] + amount * (image[c, y, x] - blur)
    return result


class Softmax(NamedTuple):
    """The model of Fredrikson et al.'s first experiment: f(x) = softmax(W x + b)."""

    weight: NDArray[np.float64]  # (classes, d)
    bias: NDArray[np.float64]

    def confidences(self, x: Image) -> NDArray[np.float64]:
        logits = self.weight @ x.ravel() + self.bias
        powers = np.exp(logits - logits.max())
        return np.asarray(powers / powers.sum())

    def cost(self, x: Image, label: int, kind: str) -> float:
        p = float(self.confidences(x)[label])
        return 1 - p if kind == "probability" else -math.log(p)

    def gradient(self, x: Image, label: int, kind: str) -> Image:
        """d p_t / d x = p_t (w_t - sum_k p_k w_k), in closed form."""
        p = self.confidences(x)
        rise = self.weight[label] - p @ self.weight
        return np.asarray((-rise * (p[label] if kind == "probability" else 1.0)).reshape(x.shape))


class Filters(NamedTuple):
    every: int
    strength: float
    amount: float


def mi_face(
    model: Softmax,
    start: Image,
    label: int,
    *,
    steps: int,
    lr: float,
    momentum: float = 0.0,
    cost: Literal["ce", "probability"] = "probability",
    filters: Filters | None = None,
    gamma: float | None = None,
) -> tuple[Image, float, int]:
    """Fredrikson et al. 2015, Algorithm 1: (image of least cost, its cost, how often the cost was evaluated)."""
    x, velocity = start.copy(), np.zeros_like(start)
    best, least = x, math.inf
    for done in range(1, steps + 1):
        value = model.cost(x, label, cost)
        if value < least:
            best, least = x, value
        if gamma is not None and value <= gamma:
            return best, least, done
        before = velocity
        velocity = momentum * before - lr * model.gradient(x, label, cost)
        x = x - momentum * before + (1 + momentum) * velocity
        if filters is not None and done % filters.every == 0:
            x = sharpen(non_local_means(x, filters.strength), filters.amount)
        x = np.clip(x, -1, 1)
    return best, least, steps


def statistics_distance(features: NDArray[np.float64], mean: list[float], var: list[float]) -> float:
    """R_feature of Yin et al. 2020, one layer, of features (n, c, places): two Euclidean norms over channels."""
    means, variances = [], []
    for c in range(features.shape[1]):
        values = features[:, c].ravel().tolist()
        own = math.fsum(values) / len(values)
        means.append(own)
        variances.append(math.fsum((v - own) ** 2 for v in values) / len(values))
    return math.dist(means, mean) + math.dist(variances, var)


def total_variation(images: NDArray[np.float64]) -> float:
    """Four norms, of the differences to the right, below, and to both lower diagonals; images (n, c, h, w)."""
    total = 0.0
    _, _, height, width = images.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = [
            float(np.square(images[:, :, y + dy, x + dx] - images[:, :, y, x]).sum())
            for y in range(height)
            for x in range(width)
            if 0 <= y + dy < height and 0 <= x + dx < width
        ]
        total += math.sqrt(math.fsum(squares))
    return total
