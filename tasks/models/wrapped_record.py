"""What an output wrapper does to confidences, measured on the defender's public images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from tasks.context import Context
from tasks.models.training import predict
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.models.wrapped import Wrapped


def label_agreement(before: torch.Tensor, after: torch.Tensor) -> float:
    """Share of rows whose largest confidence is the same label's; both (n, classes)."""
    return (before.argmax(dim=1) == after.argmax(dim=1)).double().mean().item()


def distortion(before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean l1 distance of the confidences, in [0, 2]; both (n, classes)."""
    return (after - before).abs().sum(dim=1).double().mean().item()


def dispersion(confidences: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean squared distance of a row (n, classes) from the mean of the rows that share its label (n,).

    How much of an image is left in its vector beside the label: what a purifier is to reduce (Yang et al. 2020
    speak of dispersion; the formula is ours).
    """
    vectors, total = confidences.double(), 0.0
    for label in labels.unique():
        own = vectors[labels == label]
        total += (own - own.mean(dim=0)).square().sum().item()
    return total / len(vectors)


def record(stage: Wrapped, ctx: Context) -> Metrics:
    """Write answers.safetensors (`clean` and `answers`, both (n, classes)); see the functions above for the metrics.

    `dispersion` is that of the answers, `dispersion_clean` that of the inner model, both by the inner model's labels.
    """
    images, _ = stage.measured_on.images(ctx)
    network = stage.network(ctx)
    clean, answers = (predict(n, images).softmax(dim=1) for n in (network.inner, network))
    save_file({"clean": clean.contiguous(), "answers": answers.contiguous()}, ctx.out / "answers.safetensors")
    labels = clean.argmax(dim=1)
    return {
        "label_agreement": label_agreement(clean, answers),
        "distortion": distortion(clean, answers),
        "dispersion_clean": dispersion(clean, labels),
        "dispersion": dispersion(answers, labels),
        **stage.own_metrics(ctx, images, clean, answers),
    }
