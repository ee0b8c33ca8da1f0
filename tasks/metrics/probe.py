"""What a search measures of a target: utility on held-out images, and a small attack judged by the second evaluator.

Nothing here sees F_E or the test split, and the attack's GAN is of the role `search`: what a search selects by
must not be what a table reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from tasks.attacks.scoring import CONVERGED
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.inversion.latent import draw_latents, invert, paint
from tasks.metrics.accuracy_terms import topk_hits
from tasks.models.training import predict

if TYPE_CHECKING:
    from tasks.attacks.gmi import GMI
    from tasks.models.architectures import Network
    from tasks.stage import Metrics

TRUSTED = 0.8  # target_confidence from which a low AA is believed
FACTOR = 4  # times the steps of the second try, as in a grid's rerun


class Held(NamedTuple):
    """Images (n, c, s, s) and labels (n,) that no fine-tune has seen, and those on which MC(l_t) is measured."""

    images: torch.Tensor
    labels: torch.Tensor
    own_images: torch.Tensor
    own_labels: torch.Tensor


def start_points(attack: GMI, victim: Network, ctx: Context) -> torch.Tensor:
    """Where the attack ends on the undefended victim, (n, d): the second try on a defended one starts there."""
    return _search(attack, victim, ctx, None)[1]


def measure_target(
    attack: GMI, target: Network, second: Network, held: Held, warm: torch.Tensor, ctx: Context
) -> Metrics:
    """mc_all, mc_target, aa_top1, aa_top5 and target_confidence of a target for `attack.label`; all in [0, 1].

    aa_*: shares of the attack's images, as 8-bit pictures, that the second evaluator gives the label (among its
    first five). Where the target accepts less than 80% of them, the attack starts again from `warm` with 4 times
    the steps, and the outcome that is worse for the defense counts: a target that only hides the way is no
    better for it. ctx: of `attack`. Raises FloatingPointError if a weight of the target is not finite.
    """
    if not all(bool(weight.isfinite().all()) for weight in target.state_dict().values()):
        raise FloatingPointError("the fine-tune has diverged: a weight is not finite")
    found = _judged(attack, target, second, _search(attack, target, ctx, None)[0])
    if found["target_confidence"] < TRUSTED:
        again = _judged(attack, target, second, _search(attack, target, ctx, warm, FACTOR)[0])
        found = max(found, again, key=lambda outcome: (outcome["aa_top1"], outcome["aa_top5"]))
    right = predict(target, held.images).argmax(dim=1) == held.labels
    own = held.own_labels == attack.label
    own_right = predict(target, held.own_images[own]).argmax(dim=1) == attack.label
    return {"mc_all": _share(right), "mc_target": _share(own_right), **found}


def _search(
    attack: GMI, target: Network, ctx: Context, start: torch.Tensor | None, factor: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images (n, c, s, s) in [-1, 1], the latents (n, d) where the search ended)."""
    if start is None:
        start = draw_latents(attack.images, attack.gan.latent_space, ctx.generator("latents"), attack.clip)
    settings = attack if factor == 1 else attack.model_copy(update={"steps": attack.steps * factor})
    found = invert(target, attack.gan, label=attack.label, start=start, settings=settings, ctx=ctx)
    generator, _ = attack.gan.trained(ctx)
    return paint(generator, found.points, attack.chunk), found.points


def _judged(attack: GMI, target: Network, second: Network, images: torch.Tensor) -> Metrics:
    stored = to_float(to_uint8(images.cpu()))
    scores = predict(second, stored)
    p = predict(target, stored).softmax(dim=1)[:, attack.label]
    return {
        "aa_top1": _share(topk_hits(scores, attack.label, 1)),
        "aa_top5": _share(topk_hits(scores, attack.label, 5)),
        "target_confidence": _share(p >= CONVERGED),
    }


def _share(flags: torch.Tensor) -> float:
    return flags.double().mean().item()
