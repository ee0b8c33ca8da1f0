"""The fine-tuning loop and the computation of the Fisher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch.nn import functional

from tasks.checkpoint import TrainingState
from tasks.context import Context
from tasks.data.stored_images import Images
from tasks.finetune.ewc import consolidate, ewc_penalty, fisher_diagonal, normalise_fisher, sampled_labels
from tasks.finetune.losses import defense_objective, private_loss, public_loss
from tasks.models.architectures import Network
from tasks.models.augment import augment
from tasks.models.augmented_images import AugmentedImages
from tasks.models.training import predict, save_network
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.finetune.finetune import Finetune
    from tasks.finetune.fisher import Fisher

LOG_EVERY = 5


def compute_fisher(stage: Fisher, ctx: Context) -> Metrics:
    """Write fisher.safetensors: a tensor per parameter, normalised to mean 1 over all of them."""
    network = stage.model.network(ctx)
    stored, labels = stage.data.images(ctx)
    images: Images = stored
    if stage.augmented:
        images = AugmentedImages(stored, stage.augmented, ctx.generator("augment"), originals=False)
        labels = labels.repeat(stage.augmented)
    if stage.labels == "sampled":
        labels = sampled_labels(predict(network, images), ctx.generator("labels")).to(ctx.device)
    raw = fisher_diagonal(network, images, labels, stage.chunk)
    mean = sum(float(t.sum()) for t in raw.values()) / sum(t.numel() for t in raw.values())
    normalised = normalise_fisher(raw)
    save_file({name: t.cpu().contiguous() for name, t in normalised.items()}, ctx.out / "fisher.safetensors")
    return {"mean_before_normalisation": mean, "samples": float(len(images))}


def finetune(stage: Finetune, ctx: Context) -> Metrics:
    """Minimise eq. 10; write model.safetensors and the loss terms as curves.

    SGD on the fakes' terms, then the proximal step of L_CL (`ewc.consolidate`): one proximal gradient step.
    """
    network = stage.victim.network(ctx)  # eval mode throughout: BatchNorm statistics and dropout stay off
    network.requires_grad_(True)
    parameters = dict(network.named_parameters())
    anchors = {name: p.detach().clone() for name, p in parameters.items()}
    fisher = stage.fisher.diagonal(ctx) if stage.consolidates and stage.fisher is not None else None
    optimizer = torch.optim.SGD(network.parameters(), lr=stage.lr, momentum=stage.momentum)
    draws = ctx.generator("finetune")
    batches = _Batches(stage, ctx, draws)
    state = TrainingState(network, optimizer, draws=draws)
    first = state.resume(ctx)

    for step in range(first, stage.steps):
        l_pri, l_pub, l_replay, terms = _fake_terms(stage, network, batches)
        optimizer.zero_grad(set_to_none=True)
        _objective(stage, l_pri, l_pub, None, l_replay).backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), stage.clip_norm)
        if logged := step == 0 or (step + 1) % LOG_EVERY == 0 or step + 1 == stage.steps:
            l_cl = ewc_penalty(parameters, anchors, fisher, stage.lambda3).detach() if fisher is not None else None
            terms["loss"] = _objective(stage, l_pri, l_pub, l_cl, l_replay).item()
            terms |= {"gradient_norm": norm.item()} | ({"l_cl": l_cl.item()} if l_cl is not None else {})
        rate = stage.lr * (1 - step / stage.steps)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        if fisher is not None:
            consolidate(parameters, anchors, fisher, rate * stage.omega * stage.lambda3)
        if logged:
            ctx.log(step + 1, **terms)
        ctx.checkpoint(step + 1, state.snapshot)
    save_network(network, ctx.out)
    moved = sum(float((p.detach() - anchors[name]).square().sum()) for name, p in parameters.items())
    last = {name: value for name, value in ctx.curves[-1].items() if name != "step"}
    return {**last, "moved": moved**0.5}


def _objective(
    stage: Finetune,
    l_pri: torch.Tensor | None,
    l_pub: torch.Tensor | None,
    l_cl: torch.Tensor | None,
    l_replay: torch.Tensor | None,
) -> torch.Tensor:
    """Eq. 10, plus the replay extension."""
    replayed = [] if l_replay is None else [stage.replay * l_replay]
    if l_pri is None and l_pub is None and l_cl is None:
        return replayed[0]
    objective = defense_objective(l_pri, l_pub, l_cl, alpha=stage.alpha, beta=stage.beta, omega=stage.omega)
    return torch.stack([objective, *replayed]).sum()


def _fake_terms(
    stage: Finetune, network: Network, batches: _Batches
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None, dict[str, float]]:
    """L_pri, L_pub and the replay loss from one forward pass; None where the weight is 0."""
    images, sizes = batches.next()
    parts = list(network(images).split(sizes))
    terms: dict[str, float] = {}
    sums: dict[str, list[torch.Tensor]] = {"pri": [], "pub": []}
    for pair in stage.pairs:
        if stage.alpha > 0:
            logits = parts.pop(0)
            sums["pri"].append(private_loss(logits, pair.label, stage.gamma, stage.lpri))
            terms["p_pri"] = terms.get("p_pri", 0.0) + _confidence(logits, pair.label) / len(stage.pairs)
        if stage.beta > 0:
            logits = parts.pop(0)
            sums["pub"].append(public_loss(logits, pair.label, stage.gamma))
            terms["p_pub"] = terms.get("p_pub", 0.0) + _confidence(logits, pair.label) / len(stage.pairs)
    l_pri = torch.stack(sums["pri"]).mean() if sums["pri"] else None
    l_pub = torch.stack(sums["pub"]).mean() if sums["pub"] else None
    l_replay = functional.cross_entropy(parts.pop(0), batches.labels) if stage.replay > 0 else None
    for name, value in (("l_pri", l_pri), ("l_pub", l_pub), ("l_replay", l_replay)):
        if value is not None:
            terms[name] = value.item()
    return l_pri, l_pub, l_replay, terms


def _confidence(logits: torch.Tensor, label: int) -> float:
    return logits.detach().softmax(dim=1)[:, label].mean().item()


class _Batches:
    """Draws, each step: `batch` private fakes and public fakes per pair, then private images for replay."""

    labels: torch.Tensor  # of the last replay batch

    def __init__(self, stage: Finetune, ctx: Context, draws: torch.Generator) -> None:
        self._stage, self._draws, self._device = stage, draws, ctx.device
        self._pools: list[torch.Tensor] = []
        for pair in stage.pairs:
            if stage.alpha > 0 and pair.private is not None:
                self._pools.append(pair.private.images(ctx))
            if stage.beta > 0 and pair.public is not None:
                self._pools.append(pair.public.images(ctx))
        self._train = stage.train.images(ctx) if stage.replay > 0 and stage.train is not None else None

    def next(self) -> tuple[torch.Tensor, list[int]]:
        """All images of one step (n, c, s, s) and how many belong to each part."""
        parts = [pool[self._rows(len(pool), self._stage.batch)].to(self._device) for pool in self._pools]
        if self._train is not None:
            rows = self._rows(len(self._train[0]), self._stage.replay_batch)
            parts.append(self._train[0][rows])
            self.labels = self._train[1][rows]
        images = torch.cat(parts)
        images = augment(images, self._draws) if self._stage.augment else images
        return images.contiguous(memory_format=torch.channels_last), [len(part) for part in parts]

    def _rows(self, available: int, wanted: int) -> torch.Tensor:
        return torch.randint(available, (wanted,), generator=self._draws)
