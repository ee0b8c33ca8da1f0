"""DeepInversion (Yin et al., CVPR 2020): images whose statistics match those that BatchNorm remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, get_args

from pydantic import Field

from tasks.attacks.attack import Inverted, WhiteBoxAttack
from tasks.context import Context
from tasks.lazy import lazy
from tasks.models.classifier import Arch, Model

if TYPE_CHECKING:
    from tasks.attacks import batchnorm_matching
    from tasks.models.architectures import Network
else:
    batchnorm_matching = lazy("tasks.attacks.batchnorm_matching")

WITHOUT_BATCHNORM: frozenset[str] = frozenset({"vgg16", "vgg16_gn"})


class DeepInversion(WhiteBoxAttack):
    """x* = argmin CE(F(x), l_t) + R_feature(x) + R_prior(x) over pixels; no generator, no public data.

    R_feature sums, over the BatchNorm layers, ||mu(x) - running mean||_2 + ||var(x) - running variance||_2,
    where mu and var are those of the layer's input over the WHOLE batch; R_prior is total variation and an l2
    norm (Yin et al. and their code). So all `images` are one batch, each feels the others, and
    `images` is a setting of the algorithm, not only a count. Here all of a batch are of one label where theirs
    mixes a thousand, while the remembered statistics are of all people: a reason for a small `bn_weight`.

    Every step rolls the batch by up to `jitter` of its side and may flip it. Both are small by default: faces
    are aligned, and a target that was not trained on moved ones does not know a face that is rolled by 13%, as
    theirs, trained on random crops, does. The rate rises over the first 5% of the steps and falls by a cosine.
    The last images are kept: with random moves the least loss is luck. (The authors' code means to keep the
    best but never lowers `best_cost`, so it keeps the last as well.) BatchNorm1d layers count too, where their
    code takes BatchNorm2d alone; with one image their batch variance is 0.
    """

    kind: ClassVar = "deepinversion"
    version: ClassVar = 1

    steps: int = Field(200, ge=1, description="Adam steps of the batch of images")
    lr: float = Field(0.1, gt=0, description="Adam's highest rate, in units of the pixel range [-1, 1]")
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    beta2: float = Field(0.9, ge=0, lt=1, description="of Adam")
    noise: float = Field(0.5, ge=0, le=1, description="standard deviation of the starts around grey")
    bn_weight: float = Field(
        0.01, ge=0, description="weight of R_feature; the authors' README: 0.01, their default 0.05"
    )
    first_bn: float = Field(10.0, ge=0, description="factor on the first BatchNorm layer's term")
    tv: float = Field(1e-4, ge=0, description="weight of total variation")
    l2: float = Field(1e-5, ge=0, description="weight of the mean l2 norm of the images")
    flip: bool = Field(False, description="mirror the batch with probability 1/2 at each step; the code: an option")
    jitter: float = Field(0.04, ge=0, lt=0.5, description="largest roll, as a share of the side; the code: 30/224")

    @classmethod
    def refusal(cls, target: Model) -> str | None:
        arch = target.network_of().arch
        if arch not in WITHOUT_BATCHNORM:
            return None
        able = ", ".join(name for name in get_args(Arch) if name not in WITHOUT_BATCHNORM)
        return f"deepinversion matches BatchNorm statistics and {arch} has none; architectures that have: {able}"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return batchnorm_matching.match_statistics(self, ctx, target)
