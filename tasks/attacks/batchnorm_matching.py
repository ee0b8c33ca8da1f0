"""Gradient descent on a batch of images until its BatchNorm statistics are those of the training images."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tasks.attacks.attack import Inverted
from tasks.checkpoint import State, restore_optimizer
from tasks.context import Context
from tasks.inversion.losses import identification_loss
from tasks.models.training import predict
from tasks.models.wrapped_network import unwrapped

if TYPE_CHECKING:
    from tasks.attacks.deepinversion import DeepInversion
    from tasks.models.architectures import Network

Terms = Callable[[torch.Tensor], dict[str, torch.Tensor]]  # images -> weighted terms by name

LOG_EVERY = 25
WARM_UP = 0.05  # share of the steps; 100 of 2,000 in the authors' code


def statistics_distance(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor) -> torch.Tensor:
    """||mu(x) - mean||_2 + ||var(x) - var||_2 of features (n, c) or (n, c, h, w), a scalar; mean and var (c,).

    Statistics are over everything but channels, the variance biased (R_feature of Yin et al. 2020 and their code).
    """
    features = x.transpose(0, 1).flatten(1)
    own_var, own_mean = torch.var_mean(features, dim=1, correction=0)
    apart: torch.Tensor = (own_mean - mean).norm() + (own_var - var).norm()
    return apart


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Sum over right, lower and the two diagonal neighbours of the l2 norm of all differences; a scalar."""
    right = images[..., :, 1:] - images[..., :, :-1]
    below = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    total: torch.Tensor = right.norm() + below.norm() + falling.norm() + rising.norm()
    return total


def rate(step: int, steps: int) -> float:
    """Factor on the rate at step 0, 1, ... of `steps`: linear up over WARM_UP of them, then a cosine towards 0."""
    rise = int(WARM_UP * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (steps - rise))


@contextmanager
def watched(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """After each forward pass the list holds `statistics_distance` of every BatchNorm's input, in module order."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    distances = [torch.zeros(()) for _ in norms]

    def watch(place: int, norm: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def measure(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            distances[place] = statistics_distance(inputs[0], norm.running_mean, norm.running_var)  # type: ignore[arg-type]

        return norm.register_forward_pre_hook(measure)

    handles = [watch(place, norm) for place, norm in enumerate(norms)]
    try:
        yield distances
    finally:
        for handle in handles:
            handle.remove()


def moved(images: torch.Tensor, flip: bool, jitter: float, generator: torch.Generator) -> torch.Tensor:
    """The batch mirrored or not, and rolled by up to `jitter` of its side each way; one draw for all images."""
    most = int(jitter * images.shape[-1])
    down, across = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    mirrored = bool(torch.rand(1, generator=generator) < 0.5)
    rolled = images.roll((down, across), dims=(2, 3))
    return rolled.flip(3) if flip and mirrored else rolled


def match_statistics(stage: DeepInversion, ctx: Context, target: Network) -> Inverted:
    """Minimise the stage's objective over images clamped to [-1, 1]; an image's loss is -log p(l_t) at the end."""
    frozen = copy.deepcopy(target).eval().requires_grad_(False)  # not the inference copy, which folds BatchNorm away
    channels, size = stage.target.network_of().shape

    def noise() -> torch.Tensor:
        start = torch.randn(stage.images, channels, size, size, generator=ctx.generator("latents")) * stage.noise
        return start.clamp(-1, 1)

    x = stage.starts(ctx, noise).clone().to(ctx.device, memory_format=torch.channels_last).requires_grad_(True)
    labels = torch.full((stage.images,), stage.label, device=x.device)
    with watched(unwrapped(frozen)) as distances:  # a wrapper's own networks have no training images to remember

        def terms(images: torch.Tensor) -> dict[str, torch.Tensor]:
            cost = cross_entropy(frozen(images), labels)
            rescaled = [stage.first_bn * distances[0], *distances[1:]]
            return {
                "cross_entropy": cost,
                "feature": stage.bn_weight * torch.stack(rescaled).sum(),
                "variation": stage.tv * total_variation(images),
                "norm": stage.l2 * images.flatten(1).norm(dim=1).mean(),
            }

        _descend(stage, ctx, x, terms)
    images = x.detach().cpu().contiguous()
    losses = identification_loss(predict(frozen, images), labels.cpu())
    return Inverted(images, losses, passes=stage.images * stage.steps, queries=stage.images, points=images)


def _descend(stage: DeepInversion, ctx: Context, x: torch.Tensor, terms: Terms) -> None:
    """Adam on `x` in place, all images in one batch; a killed run resumes to the same images."""
    optimizer = torch.optim.Adam([x], lr=stage.lr, betas=(stage.beta1, stage.beta2))
    draws = ctx.generator("moves")
    first = 0
    if restored := ctx.restore():
        first, state = restored
        x.data.copy_(state["x"])
        restore_optimizer(optimizer, state["optimizer"])
        draws.set_state(state["draws"])

    def snapshot() -> State:
        return {"x": x, "optimizer": optimizer.state_dict(), "draws": draws.get_state()}

    for step in range(first, stage.steps):
        optimizer.param_groups[0]["lr"] = stage.lr * rate(step, stage.steps)
        found = terms(moved(x, stage.flip, stage.jitter, draws))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
        x.data.clamp_(-1, 1)
        if (step + 1) % LOG_EVERY == 0 or step + 1 == stage.steps:
            ctx.log(step + 1, **{name: term.item() for name, term in found.items()})
        ctx.checkpoint(step + 1, snapshot)
