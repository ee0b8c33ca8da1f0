"""Check, store and load the weights of a generator that the user brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file
from torch import nn

from tasks.context import Context
from tasks.gan.networks import LatentGenerator
from tasks.gan.training import build_pair, load_weights, save_samples
from tasks.models.weights import misfits
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.gan.given import GivenGAN


def gan_misfits(stage: GivenGAN, generator: Path, critic: Path | None) -> list[str]:
    """Everything in which the files differ from what the structure needs; empty if they fit."""
    networks = build_pair(stage)
    problems = misfits(networks[0].state_dict(), generator, stage.structure)
    if critic is not None:
        problems += [f"critic: {problem}" for problem in misfits(networks[1].state_dict(), critic, stage.structure)]
    return problems


def adopt(stage: GivenGAN, ctx: Context) -> Metrics:
    """Copy the weights into the store after a strict check; ValueError names every misfit."""
    generator_file = ctx.source(stage.weights)
    critic_file = ctx.source(stage.critic_weights) if stage.critic_weights is not None else None
    if problems := gan_misfits(stage, generator_file, critic_file):
        raise ValueError(f"the weights in {generator_file} do not fit {stage.structure}: " + "; ".join(problems))
    save_file(load_file(generator_file), ctx.out / "generator.safetensors")
    if critic_file is not None:
        save_file(load_file(critic_file), ctx.out / "critic.safetensors")
    generator, _ = build_pair(stage)
    load_weights(generator, ctx.out / "generator.safetensors")
    save_samples(generator.to(ctx.device).eval(), stage, ctx)
    return {"parameters": float(sum(p.numel() for p in generator.parameters()))}


def load(stage: GivenGAN, ctx: Context) -> tuple[LatentGenerator, nn.Module | None]:
    """Generator, and the critic if one was given, in eval mode."""
    artifact = ctx.load(stage)
    generator, critic = build_pair(stage)
    load_weights(generator, artifact.path("generator.safetensors"))
    generator.to(ctx.device).eval()
    if stage.critic_weights is None:
        return generator, None
    load_weights(critic, artifact.path("critic.safetensors"))
    return generator, critic.to(ctx.device).eval()
