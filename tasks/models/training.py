"""Training of classifiers, and strict loading of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from tasks.checkpoint import TrainingState
from tasks.context import Context
from tasks.data.stored_images import Images
from tasks.models.architectures import Network, build
from tasks.models.augment import augment
from tasks.models.chunks import in_chunks
from tasks.models.initialise import initialise
from tasks.models.weights import misfits
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.models.classifier import Classifier, GivenClassifier

EVAL_BATCH = 64

# (network in training mode, images (n, c, s, s), labels (n,)) -> (the loss, what else the curves show of it), each ()
Objective = Callable[[Network, torch.Tensor, torch.Tensor], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]


def train_classifier(stage: Classifier, ctx: Context, objective: Objective | None = None) -> Metrics:
    """Train by cross-entropy (eq. 4), write model.safetensors; accuracies are fractions in [0, 1].

    objective: what is minimised instead; torch's global generator is seeded inside it, as dropout needs.
    """
    objective = objective if objective is not None else _cross_entropy(stage)
    images, labels = stage.train.images(ctx)
    network = stage.blank()
    initialise(network, ctx.generator("init"))  # on the CPU, where its generator is
    network.to(ctx.device)
    batch = min(stage.batch, len(images))
    per_epoch = len(images) // batch
    optimizer = decaying_optimizer(stage, network)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=stage.lr, total_steps=stage.epochs * per_epoch, cycle_momentum=False
    )
    order, changes = ctx.generator("order"), ctx.generator("augment")
    state = TrainingState(network, optimizer, schedule, order=order, augment=changes)
    first = state.resume(ctx)

    for epoch in range(first, stage.epochs):
        network.train()
        totals: dict[str, float] = {}
        chosen = torch.randperm(len(images), generator=order)[: per_epoch * batch]
        parts = chosen.split(batch)
        for step, (rows, x) in enumerate(zip(parts, images.batches(parts), strict=True), start=epoch * per_epoch):
            x = (augment(x, changes) if stage.augment else x).contiguous(memory_format=torch.channels_last)
            with ctx.seeded("dropout", step):
                loss, shown = objective(network, x, labels[rows.to(ctx.device)])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            for name, value in {"loss": loss, **shown}.items():
                totals[name] = totals.get(name, 0.0) + value.item()
        means = {name: total / per_epoch for name, total in totals.items()}
        ctx.log(epoch + 1, **means, lr=float(schedule.get_last_lr()[0]))
        ctx.checkpoint(epoch + 1, state.snapshot)
    save_network(network, ctx.out)
    measured = {"train_accuracy": accuracy(network, images, labels), "train_loss": ctx.curves[-1]["loss"]}
    return {**measured, **val_accuracy(stage, ctx, network)}


def _cross_entropy(stage: Classifier) -> Objective:
    """Eq. 4, with the stage's label smoothing."""

    def objective(
        network: Network, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        return functional.cross_entropy(network(images), labels, label_smoothing=stage.label_smoothing), {}

    return objective


def decaying_optimizer(stage: Classifier, network: Network) -> torch.optim.Optimizer:
    """The stage's optimizer on what is trained of `network`; weights decay, biases and norms do not."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": stage.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=stage.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=stage.lr)


def val_accuracy(stage: Classifier, ctx: Context, network: Network) -> Metrics:
    """`val_accuracy` of a trained network, a fraction in [0, 1]; nothing without a validation split."""
    if stage.val is None:
        return {}
    images, labels = stage.val.images(ctx)
    return {"val_accuracy": accuracy(network, images, labels)}


def blank(stage: Classifier | GivenClassifier) -> Network:
    """The stage's network without trained weights."""
    channels, size = stage.shape
    dropout = getattr(stage, "dropout", 0.0)
    return build(
        stage.arch,
        channels=channels,
        size=size,
        classes=len(stage.people),
        width=stage.width,
        dropout=dropout,
    )


def save_network(network: Network, out: Path) -> None:
    """Write model.safetensors."""
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()},
        out / "model.safetensors",
    )


def load_network(stage: Classifier | GivenClassifier, path: Path, device: torch.device) -> Network:
    """The network in eval mode with the weights of `path`; every name and shape must fit (strict)."""
    network = stage.blank()
    network.load_state_dict({name: t.clone() for name, t in load_file(path).items()}, strict=True)
    return network.to(device).eval()


def weight_problems(stage: GivenClassifier, path: Path) -> list[str]:
    """Everything in which a weights file differs from what the architecture needs; empty if it fits."""
    return misfits(stage.blank().state_dict(), path, stage.arch)


def adopt_weights(stage: GivenClassifier, ctx: Context) -> Metrics:
    """Copy the user's weights into the store after a strict check; ValueError names every misfit."""
    path = ctx.source(stage.weights)
    if problems := weight_problems(stage, path):
        raise ValueError(f"the weights in {path} do not fit {stage.arch}: " + "; ".join(problems))
    network = load_network(stage, path, ctx.device)
    save_network(network, ctx.out)
    return {"parameters": float(sum(p.numel() for p in network.parameters()))}


def predict(network: Network, images: Images) -> torch.Tensor:
    """Logits (n, classes) of images (n, c, s, s) in eval mode, on the CPU."""
    return _in_batches(network, network, images)


def features(network: Network, images: Images) -> torch.Tensor:
    """Penultimate features (n, d) of images (n, c, s, s) in eval mode, on the CPU."""
    return _in_batches(network, network.features, images)


def _in_batches(network: Network, function: Callable[[torch.Tensor], torch.Tensor], images: Images) -> torch.Tensor:
    device = next(network.eval().parameters()).device
    return in_chunks(lambda x: function(x.contiguous(memory_format=torch.channels_last)), images, EVAL_BATCH, device)


def accuracy(network: Network, images: Images, labels: torch.Tensor) -> float:
    """Share of images whose largest logit is the label (eq. 11)."""
    return (predict(network, images).argmax(dim=1) == labels.cpu()).double().mean().item()
