"""The white-box search of Mirror: start from the pool, descend in W, stay in the box, choose among restarts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from tasks.attacks.attack import Inverted
from tasks.attacks.style_pool import StylePool, best_first
from tasks.attacks.target_dropout import DropoutTarget
from tasks.context import Context
from tasks.inversion.losses import discrimination_loss, identification_loss
from tasks.inversion.sample_noise import SampleNoise
from tasks.inversion.search import Loss, Search, Where
from tasks.models.inference import inference_copy
from tasks.models.training import predict

if TYPE_CHECKING:
    from tasks.attacks.mirror import Mirror
    from tasks.models.architectures import Network

TOP = 5  # labels per image that are compared


def invert(stage: Mirror, ctx: Context, target: Network) -> Inverted:
    """Run the attack; queries are the pool's and those of the choice among restarts."""
    pool = StylePool(stage.gan, ctx, stage)

    def log_p(images: torch.Tensor) -> torch.Tensor:
        return predict(target, images).log_softmax(dim=1)[:, stage.label]

    def favourites() -> torch.Tensor:
        return pool.styles[best_first(pool.scores(pool.styles, log_p), stage.images, stage.restarts)]

    start = stage.starts(ctx, favourites).to(ctx.device)
    loss = objective(stage, ctx, target, pool)
    found = Search(start, loss, stage, lambda styles, _: pool.keep_valid(styles)).run(ctx)
    styles = found.points.cpu()
    images = pool.pictures(styles)
    best = torch.arange(len(images))
    if stage.restarts > 1:
        best = chosen(predict(target, images), stage.label, stage.restarts, stage.selection_rule == "agreement")
    return Inverted(
        images[best],
        found.losses[best],
        passes=int(found.passes.sum()),
        queries=stage.pool + (len(images) if stage.restarts > 1 else 0),
        points=styles[best],
    )


def objective(stage: Mirror, ctx: Context, target: Network, pool: StylePool) -> Loss:
    """lambda CE(T(flip(G(w))), l_t), plus the critic's loss if it has a weight; per sample, (n, d) -> (n,)."""
    classify = _watched(stage, ctx, target)
    flips = SampleNoise(ctx.seed("flips"))
    critic = stage.gan.trained(ctx)[1] if stage.realism else None
    realist = inference_copy(critic) if critic is not None else None

    def loss(styles: torch.Tensor, where: Where) -> torch.Tensor:
        images = pool.paint(styles)
        shown = images
        if stage.flip:
            flipped = (flips.uniform(where, 1) < 0.5).to(images.device)[:, :, None, None]
            shown = torch.where(flipped, images.flip(3), images)
        logits = classify(shown.contiguous(memory_format=torch.channels_last), where)
        labels = torch.full((len(styles),), stage.label, device=styles.device)
        total = stage.lam * identification_loss(logits, labels)
        if realist is not None:
            total = total + stage.realism * discrimination_loss(realist(images), stage.gan.score)
        return total

    return loss


def _watched(stage: Mirror, ctx: Context, target: Network) -> Callable[[torch.Tensor, Where], torch.Tensor]:
    """The target as the search sees it: with dropout, or exactly as it is."""
    if stage.dropout or stage.dropout2d:
        return DropoutTarget(target, stage.dropout, stage.dropout2d, ctx.seed("dropout"))
    frozen = inference_copy(target)

    def plain(images: torch.Tensor, _: Where) -> torch.Tensor:
        logits: torch.Tensor = frozen(images)
        return logits

    return plain


def chosen(logits: torch.Tensor, label: int, restarts: int, agreement: bool) -> torch.Tensor:
    """Rows (images,) of the restart kept for each image; logits (images * restarts, classes) of the target.

    agreement: the highest logit of the label within the largest group that agrees; otherwise the highest p.
    """
    rows = []
    for image, block in enumerate(logits.split(restarts)):
        if agreement:
            group = agreeing(block, label)
            row = group[int(block[group, label].argmax())]
        else:
            row = int(block.log_softmax(dim=1)[:, label].argmax())
        rows.append(image * restarts + row)
    return torch.tensor(rows)


def agreeing(logits: torch.Tensor, label: int) -> list[int]:
    """The largest group of rows (n, classes) with the label on top and 2 other labels of the top 5 in common.

    With 1 in common where no row has 2, and all rows where the label is on top of none (the reference's
    `my_select_ind`). Of groups of one size it takes the first; here the one with the highest logit of the label.
    """
    tops = logits.topk(min(TOP, logits.shape[1]), dim=1).indices.tolist()
    for common in (2, 1):
        groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, (first, *others) in enumerate(tops):
            if first == label:
                for shared in combinations(sorted(others), common):
                    groups[shared].append(row)
        if groups:
            return max(groups.values(), key=lambda group: (len(group), float(logits[group, label].max())))
    return list(range(len(logits)))
