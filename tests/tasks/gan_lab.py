"""Small GANs of any structure for tests, and how to look at their weights."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file

from tasks.gan import GANS, training
from tasks.gan.gan import TargetGAN, TrainedGAN
from tasks.gan.play import Play
from tests.lab import Lab

STRUCTURES: dict[str, type[TrainedGAN]] = {name: kind for name, kind in GANS.items() if issubclass(kind, TrainedGAN)}
SMALL: dict[str, Any] = {  # of these, a structure takes what it has fields for
    "latent_dim": 16,
    "width": 8,
    "steps": 80,
    "n_critic": 1,
    "batch": 8,
    "lr": 2e-3,
    "critic_lr": 2e-3,
    "beta1": 0.0,
    "beta2": 0.99,
    "ema": 0.9,
    "r1_weight": 1.0,
    "r1_every": 4,
    "categories": 3,
    "continuous": 1,
    "similarities": 6,
    "similarity_dims": 4,
}


def build(lab: Lab, structure: type[TrainedGAN], **settings: Any) -> Any:
    """A small GAN of any structure on the defender's images; one that needs a target gets the victim."""
    fields = {name: value for name, value in {**SMALL, **settings}.items() if name in structure.model_fields}
    if issubclass(structure, TargetGAN):
        fields.setdefault("target", lab.victim)
    fields.setdefault("data", lab.split("all", "defender"))
    return structure(**fields)


def play(lab: Lab, stage: TrainedGAN) -> Play:
    """One step's world, with networks as they are initialised."""
    ctx = lab.context(stage)
    target = getattr(stage, "target", None)
    pair = training._start(stage, ctx)
    draws = ctx.generator("training")
    return Play(stage, *pair, stage.data.tensors(ctx), target.network(ctx) if target else None, draws)


def generator_weights(lab: Lab, stage: TrainedGAN) -> dict[str, torch.Tensor]:
    """The trained parameters (BatchNorm statistics are settled apart)."""
    weights = load_file(lab.run(stage).path("generator.safetensors"))
    return {name: t for name, t in weights.items() if "running" not in name and "num_batches" not in name}


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Root mean square of the difference of all weights."""
    gaps = torch.cat([(t - b[name]).flatten() for name, t in a.items()])
    return gaps.square().mean().sqrt().item()
