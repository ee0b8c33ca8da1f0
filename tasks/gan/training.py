"""The one training loop of all GAN structures, with EMA, augmentation, sample grids over time and resumption."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tasks.checkpoint import State, restore_optimizer
from tasks.context import Context
from tasks.data.pixels import to_uint8
from tasks.data.stored_images import Foreseen
from tasks.gan.latents import draw
from tasks.gan.networks import LatentGenerator
from tasks.gan.play import Play
from tasks.models.initialise import initialise
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.gan.gan import GAN, LatentSpace, TrainedGAN

LOG_EVERY = 25
INIT_STD = 0.02  # DCGAN
SAMPLES = 36
GRIDS = 8  # sample grids while it trains
NORM_BATCHES, NORM_BATCH = 8, 64


def build_pair(stage: GAN) -> tuple[LatentGenerator, nn.Module]:
    """The structure's generator and critic, channels_last."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
        generator, critic = stage.networks()
    return generator.to(memory_format=torch.channels_last), critic.to(memory_format=torch.channels_last)


def train(stage: TrainedGAN, ctx: Context) -> Metrics:
    """Train, write generator.safetensors (EMA), critic.safetensors and samples.safetensors.

    samples.safetensors: `images` (36, c, s, s) uint8 of the result; `over_time` (grids, 36, c, s, s), the same
    latents as the moving average learns, and `steps` (grids,).
    """
    images, labels = stage.data.images(ctx)
    with Foreseen(images) as ahead:
        return _train(stage, ctx, ahead, labels)


def _train(stage: TrainedGAN, ctx: Context, ahead: Foreseen, labels: torch.Tensor) -> Metrics:
    """`train` on the images that `ahead` reads."""
    images = ahead.images
    generator, critic = _start(stage, ctx)
    average = copy.deepcopy(generator)
    betas = (stage.beta1, stage.beta2)
    opt_g = torch.optim.Adam(generator.parameters(), lr=stage.lr, betas=betas)
    opt_c = torch.optim.Adam(critic.parameters(), lr=stage.critic_lr, betas=betas)
    draws = ctx.generator("training")
    target = getattr(stage, "target", None)
    play = Play(stage, generator, critic, (images, labels), target.network(ctx) if target else None, draws, ahead)
    grids = _Grids(stage, ctx)
    first = 0
    if restored := ctx.restore():
        first, state = restored
        for net, name in ((generator, "generator"), (critic, "critic"), (average, "average")):
            net.load_state_dict(state[name])
        restore_optimizer(opt_g, state["opt_g"])
        restore_optimizer(opt_c, state["opt_c"])
        draws.set_state(state["draws"])
        grids.restore(state["grids"])

    def snapshot() -> State:
        return {
            "generator": generator.state_dict(),
            "critic": critic.state_dict(),
            "average": average.state_dict(),
            "opt_g": opt_g.state_dict(),
            "opt_c": opt_c.state_dict(),
            "draws": draws.get_state(),
            "grids": grids.state(),
        }

    for step in range(first, stage.rounds):
        play.step = step
        with ctx.seeded("layers", step):
            for left in reversed(range(stage.n_critic)):
                terms = dict(stage.critic_terms(play))
                if left:
                    play.foresee()
                _descend(terms, opt_c)
            critic.requires_grad_(False)
            made = dict(stage.generator_terms(play))
            if step + 1 < stage.rounds:
                play.foresee()
            _descend(made, opt_g)
            critic.requires_grad_(True)
        _move_average(average, generator, min(stage.ema, (step + 1) / (step + 10)))
        if (step + 1) % LOG_EVERY == 0 or step + 1 == stage.rounds:
            ctx.log(step + 1, **{name: term.item() for name, term in {**terms, **made}.items()})
        if grids.due(step + 1):
            grids.take(step + 1, average)
        ctx.checkpoint(step + 1, snapshot)
    settle_norms(average, stage.latent_space, ctx.generator("norms"), ctx.device)
    settle = getattr(critic, "settle", None)
    if settle is not None:
        settle(images, ctx.generator("settle"))
    for network, name in ((average, "generator"), (critic, "critic")):
        save_file(_weights(network), ctx.out / f"{name}.safetensors")
    grids.save(average)
    return {**{k: v for k, v in ctx.curves[-1].items() if k != "step"}} if stage.rounds else {}


def _start(stage: TrainedGAN, ctx: Context) -> tuple[LatentGenerator, nn.Module]:
    """Networks as initialised, or as the GAN that the stage starts from left them."""
    init = getattr(stage, "init", None)
    if init is not None:
        generator, critic = init.trained(ctx)
        return generator.train(), critic.train()
    generator, critic = build_pair(stage)
    for net, name in ((generator, "init-generator"), (critic, "init-critic")):
        own = getattr(net, "initialise", None)  # on the CPU, where their generators are
        if own is not None:
            own(ctx.generator(name))
        else:
            initialise(net, ctx.generator(name), std=INIT_STD)
        net.to(ctx.device)
    return generator, critic


def _descend(terms: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.stack([term.reshape(()) for term in terms.values()]).sum().backward()
    optimizer.step()


@torch.no_grad()
def _move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


@torch.no_grad()
def settle_norms(network: nn.Module, space: LatentSpace, draws: torch.Generator, device: torch.device) -> None:
    """Set BatchNorm statistics to those of the averaged weights, over fixed batches; leave eval mode on."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    if norms:
        network.train()
        for _ in range(NORM_BATCHES):
            network(draw(space, NORM_BATCH, draws).to(device))
    network.eval()


class _Grids:
    """Samples from the same latents while the moving average learns."""

    def __init__(self, stage: TrainedGAN, ctx: Context) -> None:
        self._stage, self._ctx = stage, ctx
        self._due = {round(stage.rounds * (i + 1) / GRIDS) for i in range(GRIDS)} - {0}
        self._steps: list[int] = []
        self._images: list[torch.Tensor] = []

    def due(self, step: int) -> bool:
        return step in self._due

    def take(self, step: int, average: LatentGenerator) -> None:
        """Paint with a copy whose norms are settled, so that the training goes on untouched."""
        shown = copy.deepcopy(average)
        settle_norms(shown, self._stage.latent_space, self._ctx.generator("norms"), self._ctx.device)
        self._steps.append(step)
        self._images.append(sample(shown, self._stage.latent_space, self._ctx))

    def save(self, network: LatentGenerator) -> None:
        save_samples(network, self._stage, self._ctx, over_time=self._images, steps=self._steps)

    def state(self) -> State:
        return {"steps": self._steps, "images": self._images}

    def restore(self, state: State) -> None:
        self._steps, self._images = list(state["steps"]), list(state["images"])


@torch.no_grad()
def sample(network: LatentGenerator, space: LatentSpace, ctx: Context) -> torch.Tensor:
    """The stage's 36 samples (36, c, s, s) uint8, always from the same latents."""
    z = draw(space, SAMPLES, ctx.generator("samples"))
    return to_uint8(network(z.to(ctx.device))).cpu().contiguous()


def save_samples(
    network: LatentGenerator,
    stage: GAN,
    ctx: Context,
    over_time: Sequence[torch.Tensor] = (),
    steps: Sequence[int] = (),
) -> None:
    """Write samples.safetensors; see `train`."""
    images = sample(network, stage.latent_space, ctx)
    grids = torch.stack(list(over_time)) if over_time else images[None].clone()
    product = {"images": images, "over_time": grids, "steps": torch.tensor(list(steps) or [0])}
    save_file(product, ctx.out / "samples.safetensors")


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file strictly, in place."""
    network.load_state_dict({k: t.clone() for k, t in load_file(path).items()}, strict=True)


def load_pair(stage: GAN, ctx: Context) -> tuple[LatentGenerator, nn.Module]:
    """Generator and critic in eval mode with the stored weights, strictly."""
    artifact = ctx.load(stage)
    generator, critic = build_pair(stage)
    for network, name in ((generator, "generator.safetensors"), (critic, "critic.safetensors")):
        load_weights(network, artifact.path(name))
        network.to(ctx.device).eval()
    return generator, critic
