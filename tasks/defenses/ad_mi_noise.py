"""Ad-mi's noise: gradient ascent on a decoder's reconstruction error, on the simplex and within a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.gan.latents import to_simplex
from tasks.models.wrapped_network import WrappedNetwork

if TYPE_CHECKING:
    from tasks.models.architectures import Network
    from tasks.models.wrapped import Gradient

Decode = Callable[[torch.Tensor], torch.Tensor]  # confidences (n, classes) -> images (n, c, s, s), row by row

MIXED = 1e-6  # share of the uniform distribution in a noised vector: every p is above 0 and below 1
LEAD = 1e-5  # of the label over every other that noise may not use up


def within_budget(noise: torch.Tensor, budget: float) -> torch.Tensor:
    """Noise (n, classes), scaled down in the rows whose l1 norm is above the budget."""
    size = noise.abs().sum(dim=1, keepdim=True).clamp_min(torch.finfo(noise.dtype).tiny)
    return noise * (budget / size).clamp_max(1)


def keep_label(confidences: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The label modifier: noise (n, classes), scaled down so far that the largest confidence stays the label's.

    Every other label stays LEAD behind, or as far behind as it was: such a row gets no noise that nears it.
    """
    label = confidences.argmax(dim=1, keepdim=True)
    lead = confidences.gather(1, label) - confidences
    lost = noise - noise.gather(1, label)
    tiny = torch.finfo(noise.dtype).tiny
    share = torch.where(lost > 0, (lead - LEAD).clamp_min(0) / lost.clamp_min(tiny), 1.0)
    return noise * share.amin(dim=1, keepdim=True).clamp_max(1)


def feasible(confidences: torch.Tensor, wanted: torch.Tensor, budget: float) -> torch.Tensor:
    """On the way from `confidences` to `wanted`, how far budget and label allow; both (n, classes) on the simplex.

    Scaling towards a point of the simplex stays on it, so all constraints hold at once. MIXED moves a vector by at
    most 2e-6 beyond the budget.
    """
    noise = keep_label(confidences, within_budget(wanted - confidences, budget))
    return (1 - MIXED) * (confidences + noise) + MIXED / confidences.shape[1]


def adversarial_confidences(
    confidences: torch.Tensor, images: torch.Tensor, decode: Decode, *, steps: int, budget: float, rate: float
) -> torch.Tensor:
    """argmax_q ||decode(q) - x||^2 near p, by `steps` of ascent; p (n, classes), x (n, c, s, s) -> q (n, classes).

    A step is `rate` of the budget long, along the gradient (normalised in each row), then back onto the simplex,
    into the budget and to the label. Of all vectors on the way, the first included, the row's worst to decode is
    kept, so no row becomes easier. Rows do not feel each other, gradients are taken even under `torch.no_grad`, and
    nothing of their graph is left. 0 steps: `confidences` as they are.
    """
    confidences, images = confidences.detach(), images.detach()
    if steps == 0:
        return confidences
    current = feasible(confidences, confidences, budget)
    best, highest = current, torch.full_like(confidences[:, 0], -torch.inf)
    for _ in range(steps):
        errors, gradient = _ascent(current, images, decode)
        best, highest = _worse(best, highest, current, errors)
        norm = gradient.norm(dim=1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
        current = feasible(confidences, to_simplex(current + rate * budget * gradient / norm), budget)
    with torch.no_grad():
        return _worse(best, highest, current, _errors(current, images, decode))[0]


def _errors(confidences: torch.Tensor, images: torch.Tensor, decode: Decode) -> torch.Tensor:
    return (decode(confidences) - images).square().mean(dim=(1, 2, 3))


def _ascent(confidences: torch.Tensor, images: torch.Tensor, decode: Decode) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors (n,) and each row's gradient (n, classes)."""
    with torch.enable_grad():
        q = confidences.detach().requires_grad_(True)
        errors = _errors(q, images, decode)
        (gradient,) = torch.autograd.grad(errors.sum(), q)
    return errors.detach(), gradient


def _worse(
    best: torch.Tensor, highest: torch.Tensor, current: torch.Tensor, errors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of two vectors a row, and their errors, the one with the higher error."""
    higher = errors > highest
    return torch.where(higher[:, None], current, best), torch.where(higher, errors, highest)


class AdMINetwork(WrappedNetwork):
    """A network that answers with adversarial noise on its confidences. Its approximation: the noise is constant."""

    def __init__(
        self, inner: Network, decoder: nn.Module, gradient: Gradient, *, steps: int, budget: float, rate: float
    ) -> None:
        """decoder: the defender's, confidences (n, classes) -> images (n, c, s, s)."""
        super().__init__(inner, gradient)
        self.decoder = decoder
        self.steps, self.budget, self.rate = steps, budget, rate

    def answer(self, images: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
        noised = adversarial_confidences(
            confidences, images, self.decoder, steps=self.steps, budget=self.budget, rate=self.rate
        )
        answered = noised + (confidences - confidences.detach())
        return answered.clamp_min(torch.finfo(answered.dtype).tiny).log()
