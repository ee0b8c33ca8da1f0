"""A network whose confidences are changed on their way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tasks.models.architectures import Network

if TYPE_CHECKING:
    from tasks.models.wrapped import Gradient


class WrappedNetwork(Network):
    """Images (n, c, s, s) -> log of the wrapped confidences (n, classes), whose softmax they are.

    `inner` is the whole network that is wrapped. Its `body` and `classifier` are reachable under their own names as
    well, so features, dropout in hidden layers and the like are the inner network's.
    """

    def __init__(self, inner: Network, gradient: Gradient) -> None:
        """gradient: see tasks/models/wrapped.py."""
        super().__init__(inner.body, inner.classifier)
        self.inner, self.gradient = inner, gradient

    def answer(self, images: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
        """Finite logarithms (n, classes) of what is answered, each row a function of its own image and confidences.

        Differentiable in `confidences` (n, classes) as `bpda` has it. Has to work under `torch.no_grad` too.
        """
        raise NotImplementedError

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The inner network's penultimate features, (n, c, s, s) -> (n, d)."""
        return self.inner.features(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(x)
        with torch.autocast(x.device.type, enabled=False):  # whatever precision its caller has
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if self.gradient == "bpda":
                return self.answer(x.detach(), exact.softmax(dim=1))
            value = self.answer(x.detach(), exact.detach().softmax(dim=1)).detach()
            if self.gradient == "straight_through":
                return value + (exact - exact.detach())
            return value + 0 * exact  # a graph, so that an attack can ask, and 0 in it


def unwrapped(network: Network) -> Network:
    """The network inside all wrappers; one without a wrapper is itself."""
    while isinstance(network, WrappedNetwork):
        network = network.inner
    return network
