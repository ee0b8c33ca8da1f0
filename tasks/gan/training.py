"""The WGAN-GP training loop, with EMA, augmentation and resumption."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tasks.checkpoint import State, restore_optimizer
from tasks.context import Context
from tasks.data.pixels import to_uint8
from tasks.gan.losses import gradient_penalty, wasserstein_critic, wasserstein_generator
from tasks.gan.networks import Critic, Generator
from tasks.models.augment import differentiable
from tasks.models.initialise import initialise
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.gan.wgan import GAN, WGAN

LOG_EVERY = 25
INIT_STD = 0.02  # DCGAN
SAMPLES = 36
NORM_BATCHES, NORM_BATCH = 8, 64


def build_pair(stage: WGAN) -> tuple[Generator, Critic]:
    """Generator and critic for the stage's image shape, channels_last."""
    channels, size = stage.data.channels, stage.data.size
    with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
        generator = Generator(stage.latent_dim, channels, size, stage.width)
        critic = Critic(channels, size, stage.width)
    return (
        generator.to(memory_format=torch.channels_last),
        critic.to(memory_format=torch.channels_last),
    )


def train_wgan(stage: WGAN, ctx: Context) -> Metrics:
    """Train, write generator.safetensors (EMA), critic.safetensors and samples.safetensors."""
    images, _ = stage.data.tensors(ctx)
    images = images.to(ctx.device)
    generator, critic = (net.to(ctx.device) for net in build_pair(stage))
    initialise(generator, ctx.generator("init-generator"), std=INIT_STD)
    initialise(critic, ctx.generator("init-critic"), std=INIT_STD)
    average = copy.deepcopy(generator)
    betas = (stage.beta1, stage.beta2)
    opt_g = torch.optim.Adam(generator.parameters(), lr=stage.lr, betas=betas)
    opt_c = torch.optim.Adam(critic.parameters(), lr=stage.critic_lr, betas=betas)
    draws = ctx.generator("training")
    first = 0
    if restored := ctx.restore():
        first, state = restored
        for net, name in ((generator, "generator"), (critic, "critic"), (average, "average")):
            net.load_state_dict(state[name])
        restore_optimizer(opt_g, state["opt_g"])
        restore_optimizer(opt_c, state["opt_c"])
        draws.set_state(state["draws"])

    def snapshot() -> State:
        return {
            "generator": generator.state_dict(),
            "critic": critic.state_dict(),
            "average": average.state_dict(),
            "opt_g": opt_g.state_dict(),
            "opt_c": opt_c.state_dict(),
            "draws": draws.get_state(),
        }

    def latents() -> torch.Tensor:
        return torch.randn(stage.batch, stage.latent_dim, generator=draws).to(ctx.device)

    for step in range(first, stage.steps):
        for _ in range(stage.n_critic):
            real = _real_batch(images, stage, draws)
            with torch.no_grad():
                fake = generator(latents())
                fake = differentiable(fake, draws) if stage.augment else fake
            real_score, fake_score = critic(real), critic(fake)
            wasserstein = wasserstein_critic(real_score, fake_score)
            mix = torch.rand(len(real), 1, 1, 1, generator=draws).to(ctx.device)
            penalty = gradient_penalty(critic, real, fake, mix)
            opt_c.zero_grad(set_to_none=True)
            (wasserstein + stage.gp_weight * penalty).backward()
            opt_c.step()
        critic.requires_grad_(False)
        fake = generator(latents())
        loss = wasserstein_generator(critic(differentiable(fake, draws) if stage.augment else fake))
        opt_g.zero_grad(set_to_none=True)
        loss.backward()
        opt_g.step()
        critic.requires_grad_(True)
        _move_average(average, generator, min(stage.ema, (step + 1) / (step + 10)))
        if (step + 1) % LOG_EVERY == 0 or step + 1 == stage.steps:
            ctx.log(step + 1, wasserstein=-wasserstein.item(), penalty=penalty.item(), generator=loss.item())
        ctx.checkpoint(step + 1, snapshot)
    _settle_norms(average, ctx.generator("norms"), ctx.device)
    save_file(_weights(average), ctx.out / "generator.safetensors")
    save_file(_weights(critic), ctx.out / "critic.safetensors")
    z = torch.randn(SAMPLES, stage.latent_dim, generator=ctx.generator("samples")).to(ctx.device)
    with torch.no_grad():
        save_file({"images": to_uint8(average(z)).cpu().contiguous()}, ctx.out / "samples.safetensors")
    return {name: ctx.curves[-1][name] for name in ("wasserstein", "penalty")} if stage.steps else {}


def _real_batch(images: torch.Tensor, stage: WGAN, draws: torch.Generator) -> torch.Tensor:
    real = images[torch.randint(len(images), (stage.batch,), generator=draws).to(images.device)]
    if stage.augment:
        flip = torch.rand(stage.batch, generator=draws) < 0.5
        real = torch.where(flip.to(real.device)[:, None, None, None], real.flip(3), real)
        real = differentiable(real, draws)
    return real.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


@torch.no_grad()
def _settle_norms(network: nn.Module, draws: torch.Generator, device: torch.device) -> None:
    """Set BatchNorm statistics to those of the averaged weights, over fixed batches; leave eval mode on."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    latent_dim: int = network.latent_dim  # type: ignore[assignment]
    for _ in range(NORM_BATCHES):
        network(torch.randn(NORM_BATCH, latent_dim, generator=draws).to(device))
    network.eval()


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}


def load_pair(stage: GAN, ctx: Context) -> tuple[nn.Module, nn.Module]:
    """Generator and critic in eval mode with the stored weights, strictly."""
    artifact = ctx.load(stage)
    generator, critic = stage.networks()
    for network, name in ((generator, "generator.safetensors"), (critic, "critic.safetensors")):
        network.load_state_dict({k: t.clone() for k, t in load_file(artifact.path(name)).items()}, strict=True)
        network.to(ctx.device).eval()
    return generator, critic
