"""What a defense is: settings, and how they turn a victim into the target that attackers meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from tasks.data.split import Split
from tasks.finetune.finetune import Pair
from tasks.gan.gan import GAN, GANChoice
from tasks.models.classifier import Classifier, Model
from tasks.stage import Config


class Defender(NamedTuple):
    """All that a defender has: the victim, its training data, public data, and no knowledge of the attack."""

    victim: Model
    train: Split
    public_classifier: Classifier
    make_gan: Callable[[GANChoice], GAN]  # trained on the defender's public images (and against the victim)
    decoy: Callable[[int], int]  # l_t -> l_p
    common: Mapping[str, Any]  # seed, numerics and threads of every stage


class Protected(NamedTuple):
    """A target, and which labels it protects with which fakes (none for a model that nobody fine-tuned)."""

    target: Model
    pairs: tuple[Pair, ...] = ()


class Defense(Config):
    """One row of the comparison. Fields are its settings; a default is the paper's value where it has one."""

    name: ClassVar[str]

    @property
    def extensions(self) -> tuple[str, ...]:
        """What this defense adds to the paper's, or leaves out; the row's name must say it."""
        return ()

    @property
    def generators(self) -> tuple[GANChoice, ...]:
        """The GAN structures it trains."""
        return ()

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        """Compose the stages that make the target protecting `labels` (sorted)."""
        raise NotImplementedError
