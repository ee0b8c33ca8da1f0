"""Training of a classifier with an information bottleneck: the classifiers' loop, another objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from tasks.context import Context
from tasks.models.architectures import Network
from tasks.models.bottleneck_loss import bottleneck_loss
from tasks.models.bottleneck_network import BottleneckNetwork
from tasks.models.training import blank, train_classifier
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.models.bottleneck_classifier import BottleneckClassifier


def blank_bottleneck(stage: BottleneckClassifier) -> BottleneckNetwork:
    """The stage's network without trained weights."""
    return BottleneckNetwork(blank(stage), stage.code_size, stage.seed if stage.at_test == "sampled" else None)


def train_bottleneck(stage: BottleneckClassifier, ctx: Context) -> Metrics:
    """Minimise CE + beta KL, write model.safetensors. ce and kl (nats) are means over the last epoch's batches."""

    def objective(
        network: Network, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        if not isinstance(network, BottleneckNetwork):
            raise TypeError(f"a bottleneck's loss needs a BottleneckNetwork, not {type(network).__name__}")
        mean, std = network.posterior(images)
        logits = network.classifier(network.code(images, mean, std))
        terms = bottleneck_loss(logits, labels, mean, std, stage.beta, stage.label_smoothing)
        return terms.loss, {"ce": terms.ce, "kl": terms.kl}

    metrics = train_classifier(stage, ctx, objective)
    return {**metrics, **{name: ctx.curves[-1][name] for name in ("ce", "kl")}}
