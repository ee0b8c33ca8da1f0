"""The loop of DP-SGD: Poisson batches, gradients per image by Opacus, clipping and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch.nn import functional

from tasks.checkpoint import State, restore_optimizer
from tasks.context import Context
from tasks.data.stored_images import StoredImages
from tasks.models.architectures import Network
from tasks.models.augment import augment
from tasks.models.initialise import initialise
from tasks.models.privacy_accounting import ACCOUNTANTS, noise_multiplier, spent, without_warnings
from tasks.models.training import accuracy, decaying_optimizer, save_network, val_accuracy
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.models.private_classifier import DPClassifier

HOOKS_WITHOUT_INPUT_GRADIENT = "Full backward hook is firing when gradients are computed"  # the images need none
UNCLIPPED = 1e30  # a norm that no gradient has; infinity times no noise would be NaN


def starting_network(stage: DPClassifier, ctx: Context) -> Network:
    """New weights, or those of `init` in all layers but the last; frozen where they are not trained."""
    network: Network = stage.blank()
    initialise(network, ctx.generator("init"))
    if stage.init is not None:
        network.body.load_state_dict(stage.init.network(ctx).body.state_dict(), strict=True)
    network.body.requires_grad_(stage.layers == "all")
    return network.to(ctx.device).to(memory_format=torch.contiguous_format)  # Opacus returns gradients in this layout


class PrivateTraining:
    """A DP-SGD training: its network, optimizer and accounts, all that a step changes, and the step.

    All of it is in float32, with `numerics: cuda_amp` too: in bfloat16 clipped gradients would not have the norm
    that the noise is measured by.
    """

    def __init__(self, stage: DPClassifier, ctx: Context, images: StoredImages, labels: torch.Tensor) -> None:
        """`images` (n, c, s, s) and `labels` (n,) on the stage's device."""
        self.stage, self.ctx, self.images, self.labels = stage, ctx, images, labels
        n, batch = len(images), min(stage.batch, len(images))
        self.sample_rate = batch / n
        self.per_epoch = max(1, round(n / batch))
        self.steps = stage.epochs * self.per_epoch
        self.delta = 1 / n if stage.delta is None else stage.delta
        self.noise_multiplier = noise_multiplier(
            stage.epsilon, self.delta, self.sample_rate, self.steps, stage.accountant
        )
        self.network = starting_network(stage, ctx)
        self.model = GradSampleModule(self.network, loss_reduction="sum")
        self.draws, self.changes = ctx.generator("order"), ctx.generator("augment")
        self.noise = torch.Generator(ctx.device).manual_seed(ctx.seed("noise"))
        self.plain = decaying_optimizer(stage, self.network)
        self.optimizer = DPOptimizer(
            self.plain,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=UNCLIPPED if stage.max_grad_norm is None else stage.max_grad_norm,
            expected_batch_size=batch,
            generator=self.noise,
        )
        self.accountant = ACCOUNTANTS[stage.accountant]()
        self.optimizer.attach_step_hook(self.accountant.get_optimizer_hook_fn(self.sample_rate))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.plain, max_lr=stage.lr, total_steps=max(2, self.steps), cycle_momentum=False
        )  # of one step alone it would make the last, which is near 0

    def sample(self) -> torch.Tensor:
        """Rows of a Poisson batch, (k,): each image with probability `sample_rate`, so k varies and may be 0."""
        chances = torch.rand(len(self.images), generator=self.draws, dtype=torch.float64)
        return (chances < self.sample_rate).nonzero().flatten()

    def step(self, rows: torch.Tensor, images: torch.Tensor, number: int) -> float:
        """One step of DP-SGD on these rows (k,) and their images (k, c, s, s); the sum of their losses.

        An empty batch is a step of noise alone.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        if len(rows):
            x = augment(images, self.changes) if self.stage.augment else images
            with self.ctx.seeded("dropout", number), without_warnings(HOOKS_WITHOUT_INPUT_GRADIENT):
                total = self._accumulate(x, self.labels[rows])
        else:
            for parameter in self.optimizer.params:
                parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
            self.optimizer.step()
        self.schedule.step()
        return total

    def _accumulate(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Clip and sum gradients chunk by chunk; noise comes with the last one."""
        total = 0.0
        ends = range(self.stage.chunk, len(x) + self.stage.chunk, self.stage.chunk)
        for end, images, labels in zip(ends, x.split(self.stage.chunk), y.split(self.stage.chunk), strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.model(images)
            loss = functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=self.stage.label_smoothing)
            loss.backward()
            self.optimizer.signal_skip_step(do_skip=end < len(x))
            self.optimizer.step()
            total += loss.item()
        return total

    def epoch(self, number: int) -> None:
        """All steps of an epoch, logged: mean loss of the images drawn, and epsilon so far by the accountant."""
        self.network.train()
        total, drawn = 0.0, 0
        chosen = [self.sample() for _ in range(self.per_epoch)]
        steps = zip(chosen, self.images.batches(chosen), strict=True)
        for step, (rows, images) in enumerate(steps, start=number * self.per_epoch):
            total, drawn = total + self.step(rows, images, step), drawn + len(rows)
        values = {"lr": float(self.schedule.get_last_lr()[0]), "images": drawn}
        if drawn:
            values["loss"] = total / drawn
        if self.stage.epsilon is not None:
            values["epsilon"] = spent(self.accountant, self.delta)
        self.ctx.log(number + 1, **values)

    def snapshot(self) -> State:
        """All that a step changes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.plain.state_dict(),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "anneal_func"},
            "accountant": dict(self.accountant.state_dict()),
            **{name: generator.get_state() for name, generator in self._generators().items()},
        }

    def restore(self, state: State) -> None:
        """Go on from a snapshot."""
        self.network.load_state_dict(state["network"])
        restore_optimizer(self.plain, state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.accountant.load_state_dict(state["accountant"])
        for name, generator in self._generators().items():
            generator.set_state(state[name])

    def _generators(self) -> dict[str, torch.Generator]:
        return {"order": self.draws, "augment": self.changes, "noise": self.noise}

    def price(self) -> Metrics:
        """What the training cost in privacy; the epsilons are absent where there is no noise."""
        found = {
            "noise_multiplier": self.noise_multiplier,
            "steps": float(sum(steps for _, _, steps in self.accountant.history)),
            "sample_rate": self.sample_rate,
        }
        if self.stage.max_grad_norm is not None:
            found["max_grad_norm"] = self.stage.max_grad_norm
        if self.stage.epsilon is None:
            self.ctx.note("achieved_epsilon", "no noise was added (epsilon: null), so there is no guarantee")
            return found
        found |= {"target_epsilon": self.stage.epsilon, "delta": self.delta}
        for name in ACCOUNTANTS:
            try:
                found[f"achieved_epsilon_{name}"] = spent(self.accountant, self.delta, name)
            except ValueError as error:
                if name == self.stage.accountant:
                    raise
                self.ctx.note(f"achieved_epsilon_{name}", f"this accountant cannot say: {error}")
        return {**found, "achieved_epsilon": found[f"achieved_epsilon_{self.stage.accountant}"]}


def train_privately(stage: DPClassifier, ctx: Context) -> Metrics:
    """Train by DP-SGD and write model.safetensors; accuracies are fractions in [0, 1]."""
    images, labels = stage.train.images(ctx)
    with torch.autocast(ctx.device.type, enabled=False):
        training = PrivateTraining(stage, ctx, images, labels)
        first = 0
        if restored := ctx.restore():
            first, state = restored
            training.restore(state)
        for epoch in range(first, stage.epochs):
            training.epoch(epoch)
            ctx.checkpoint(epoch + 1, training.snapshot)
    training.model.cleanup()
    network = training.network.to(memory_format=torch.channels_last)
    save_network(network, ctx.out)
    measured = {"train_accuracy": accuracy(network, images, labels), **val_accuracy(stage, ctx, network)}
    return {**training.price(), **measured}
