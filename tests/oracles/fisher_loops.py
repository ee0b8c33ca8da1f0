"""Eq. 1's diagonal by one-sample loops: one backward pass a sample, in float64."""

from __future__ import annotations

import copy

import torch
from torch import nn


def fisher(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean over samples of (d log p(y|x) / d theta)^2 on a copy of `network` in eval mode."""
    twin = copy.deepcopy(network).double().eval()
    parameters = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for image, label in zip(images.double(), labels.tolist(), strict=True):
        log_p = torch.log(torch.softmax(twin(image[None]), dim=1))[0, label]
        gradients = torch.autograd.grad(log_p, list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            total[name] += gradient**2 / len(images)
    return total


def squared_mean_gradient(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The well-known bug: (mean over samples of the gradient)^2. Not the Fisher."""
    twin = copy.deepcopy(network).double().eval()
    parameters = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    log_p = torch.log_softmax(twin(images.double()), dim=1)[torch.arange(len(images)), labels].mean()
    gradients = torch.autograd.grad(log_p, list(parameters.values()))
    return {name: gradient**2 for name, gradient in zip(parameters, gradients, strict=True)}
