"""Weights from an explicit generator, so that no global random state decides what a network starts as."""

from __future__ import annotations

import torch
from torch import nn

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator, *, std: float | None = None) -> None:
    """Kaiming-normal weights (fan out, He et al. 2015), zero biases, unit norms, PReLU slopes of 0.25.

    With `std`, weights are N(0, std^2) instead: 0.02 for GANs (Radford et al. 2016, DCGAN).
    Every parameter must belong to a layer known here, and be on the generator's device: the CPU, so that a GPU
    starts from the same weights. ValueError otherwise.
    """
    if elsewhere := {str(p.device) for p in network.parameters()} - {str(generator.device)}:
        raise ValueError(
            f"initialise a network before it moves to {', '.join(elsewhere)}; weights are drawn on the CPU"
        )
    for name, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own:
            continue
        if std is not None and isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.PReLU):
            nn.init.constant_(module.weight, 0.25)
        elif isinstance(module, _NORMS):
            nn.init.ones_(module.weight)
        else:
            raise ValueError(f"no initialisation is known for {name}: {type(module).__name__}")
        if isinstance(bias := own.get("bias"), torch.Tensor):
            nn.init.zeros_(bias)
