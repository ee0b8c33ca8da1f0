"""Elastic weight consolidation (Kirkpatrick et al. 2017; Gong et al. 2023, eq. 1, 2 and 9).

Eq. 1 has no expectation and is a full outer product; eq. 2 and 9 use its diagonal, averaged over samples:
F_i = mean_n (d log p(y_n | x_n) / d theta_i)^2. Eq. 2 is eq. 9 with lambda3 = 2 lambda. Of omega (eq. 10),
lambda3 and the scale of F only the product counts; `normalise_fisher` fixes the last one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from tasks.data.stored_images import Images


def fisher_diagonal(
    network: nn.Module, images: Images, labels: torch.Tensor, chunk: int = 16
) -> dict[str, torch.Tensor]:
    """Diagonal Fisher of the parameters that require a gradient, by name: mean over samples of the SQUARED
    per-sample gradient of log p(y | x), not the square of the mean gradient.

    images (n, c, h, w) in [-1, 1]; labels (n,) int64: the given ones (empirical Fisher, as eq. 1) or
    `sampled_labels` (true Fisher). The network runs in eval mode and is left as it was, BatchNorm statistics
    included. Memory: `chunk` times the parameters. Raises ValueError if there is no sample or no parameter,
    or if images and labels differ in number.
    """
    if len(images) != len(labels) or len(images) == 0:
        raise ValueError(f"one label an image is needed, but got {len(images)=}, {len(labels)=}")
    # contiguous: some channels_last operations have no batching rule
    weights = {name: p.detach().contiguous() for name, p in network.named_parameters() if p.requires_grad}
    if not weights:
        raise ValueError("no parameter of the network requires a gradient, so there is no Fisher to estimate")
    frozen = {name: p.detach() for name, p in network.named_parameters() if not p.requires_grad}
    frozen |= dict(network.named_buffers())

    def log_likelihood(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = functional_call(network, (weights, frozen), (x[None],))
        return logits.log_softmax(dim=1)[0].gather(0, y[None])[0]

    per_sample = vmap(grad(log_likelihood), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in weights.items()}
    with _eval_mode(network), warnings.catch_warnings():
        # vmap runs an operation without a batching rule sample by sample: the same numbers, so no news
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        for start in range(0, len(images), chunk):
            part = slice(start, start + chunk)
            for name, gradient in per_sample(weights, images[part], labels[part]).items():
                sums[name] += gradient.double().square().sum(dim=0)
    return {name: (total / len(images)).to(weights[name].dtype) for name, total in sums.items()}


def sampled_labels(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Labels y ~ p(y | x) for the true Fisher, (n, classes) -> (n,) int64 on the device of `logits`.

    An overfit victim has p(true label) near 1 on its training images, where the empirical Fisher is nearly 0;
    sampling makes F an unbiased estimate whatever the fit. Drawn on the generator's device.
    """
    p = logits.detach().softmax(dim=1).to(generator.device)
    return torch.multinomial(p, 1, generator=generator)[:, 0].to(logits.device)


def normalise_fisher(fisher: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`fisher` scaled to an overall mean of 1 over all parameters, so that lambda3 means the same everywhere.

    Ours, not the paper's, which gives neither lambda3 nor a scale. Raises ValueError if a value is not finite
    or all are 0: the penalty would then be no penalty.
    """
    count = sum(f.numel() for f in fisher.values())
    mean = sum(float(f.double().sum()) for f in fisher.values()) / max(count, 1)
    if not all(bool(f.isfinite().all()) for f in fisher.values()):
        raise ValueError(f"the Fisher has values that are not finite ({mean=}): did the classifier diverge?")
    if mean <= 0:
        raise ValueError(
            f"the Fisher is zero everywhere ({count=} parameters): the classifier fits these samples "
            "perfectly; use sampled labels or held-out images"
        )
    return {name: (f.double() / mean).to(f.dtype) for name, f in fisher.items()}


def ewc_penalty(
    parameters: Mapping[str, torch.Tensor],
    anchors: Mapping[str, torch.Tensor],
    fisher: Mapping[str, torch.Tensor],
    lambda3: float,
) -> torch.Tensor:
    """L_CL of eq. 9: sum_i lambda3/2 F_i (theta_i - theta_i*)^2, -> ().

    parameters theta, anchors theta* (the victim's weights, constants) and fisher by parameter name, equal
    shapes. The sum runs over the names of `fisher`. Raises ValueError if one of them, or a parameter that
    requires a gradient, is missing somewhere: it would drift unpenalised. `anchors` may hold more (buffers).
    """
    trained = {name for name, p in parameters.items() if p.requires_grad}
    missing = (trained | set(fisher)) - (set(parameters) & set(anchors) & set(fisher))
    if missing or not fisher:
        raise ValueError(f"parameters, anchors and fisher must hold the same names, but {sorted(missing)=}")
    terms = [(f * (parameters[name] - anchors[name]).square()).sum() for name, f in fisher.items()]
    return lambda3 / 2 * torch.stack(terms).sum()


@torch.no_grad()
def consolidate(
    parameters: Mapping[str, torch.Tensor],
    anchors: Mapping[str, torch.Tensor],
    fisher: Mapping[str, torch.Tensor],
    strength: float,
) -> None:
    """The proximal step of eq. 9, in place: theta <- (theta + c F theta*) / (1 + c F) with c = `strength`.

    With c = rate * omega * lambda3 this minimises omega L_CL + |theta - theta_now|^2 / (2 rate) exactly, so it
    follows the same objective as gradient descent on eq. 9 but is stable for any F: plain SGD diverges where
    rate * omega * lambda3 * F_i > 2, which a Fisher of mean 1 reaches in its largest entries.
    Same names as `ewc_penalty`; fisher entries must be >= 0.
    """
    for name, f in fisher.items():
        weight = strength * f
        parameters[name].add_(weight * anchors[name]).div_(1 + weight)


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
