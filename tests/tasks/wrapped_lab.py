"""The lab's victim behind each output wrapper, and a wrapper small enough to differentiate by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tasks.attacks.decoder import Decoder
from tasks.defenses.ad_mi import Noised
from tasks.defenses.defense import Defender
from tasks.defenses.purifier import Purified, Purifier
from tasks.models.architectures import Network
from tasks.models.wrapped import Gradient, Wrapped
from tasks.models.wrapped_network import WrappedNetwork
from tests.lab import Lab
from tests.tasks.test_finetune import defender as finetuning_defender

WRAPPERS = ("ad_mi", "purified")
COMMON: dict[str, Any] = {"seed": 0, "numerics": "cpu_fp32", "threads": 1}


def decoder(lab: Lab, **fields: Any) -> Decoder:
    """The defender's decoder of its 24 public images."""
    small = {"width": 4, "batch": 16, "lr": 2e-3, "steps": 150, "copies": 2}
    return Decoder(
        **{"target": lab.victim, "data": lab.split("all", "defender"), "role": "defender", **small, **fields}
    )


def noised(lab: Lab, **fields: Any) -> Noised:
    return Noised(**{"model": lab.victim, "decoder": decoder(lab), **fields})


def purifier(lab: Lab, **fields: Any) -> Purifier:
    small = {"hidden": 64, "code": 16, "steps": 800, "batch": 32, "lr": 2e-3}
    return Purifier(**{"model": lab.victim, "data": lab.split("all", "defender"), **small, **fields})


def purified(lab: Lab, **fields: Any) -> Purified:
    return Purified(**{"model": lab.victim, "purifier": purifier(lab), **fields})


def wrapped(lab: Lab, name: str, **fields: Any) -> Wrapped:
    return noised(lab, **fields) if name == "ad_mi" else purified(lab, **fields)


def network(lab: Lab, stage: Wrapped) -> WrappedNetwork:
    for parent in stage.upstream:
        lab.run(parent)
    return stage.network(lab.context(stage))


def pictures(lab: Lab, part: Any = "train", audience: Any = "private") -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a split of the lab."""
    split = lab.split(part, audience)
    holder = lab.victim.model_copy(update={"train": split, "val": None})
    return split.tensors(lab.context(holder))


def defender(lab: Lab) -> Defender:
    def no_gan(_: object) -> Any:
        raise AssertionError("a wrapper trains no GAN")

    return finetuning_defender(lab)._replace(make_gan=no_gan, decoy=lambda label: label, common=COMMON)


def pullback(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, cotangent: torch.Tensor
) -> torch.Tensor:
    """cotangent (n, classes) times the derivative of `function` at x, by autograd."""
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((function(x) * cotangent).sum(), x)
    return gradient


def toy_inner() -> Network:
    """4 pixels -> 3 logits in float64, with BatchNorm that does something."""
    draws = torch.Generator().manual_seed(5)
    norm = nn.BatchNorm1d(6)
    inner = Network(nn.Sequential(nn.Flatten(), nn.Linear(4, 6), norm, nn.Tanh()), nn.Linear(6, 3)).double()
    for tensor in inner.parameters():
        tensor.data = torch.randn(tensor.shape, generator=draws, dtype=torch.float64)
    norm.running_mean = torch.randn(6, generator=draws, dtype=torch.float64)
    return inner.eval()


class ToyWrapper(WrappedNetwork):
    """Answers with p^2, normalised, and a little of the image's mean for the first label; has BatchNorm of its own.

    Its approximation takes the image's share as constant.
    """

    def __init__(self, inner: Network, gradient: Gradient) -> None:
        super().__init__(inner, gradient)
        self.norm = nn.BatchNorm1d(3)
        self.calls = 0

    def answer(self, images: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.norm(confidences.float())
        return (confidences.square() + 0.1 * images.mean(dim=(1, 2, 3)).square()[:, None]).log().log_softmax(dim=1)
