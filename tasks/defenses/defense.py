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
    """All that a defender has: the victim, its training data, public data, and at most the attacker's structure."""

    victim: Model
    victim_settings: Mapping[str, Any]  # how the victim is trained, for a defense that trains one itself
    train: Split
    val: Split | None  # private images that are only measured on
    public: Split  # the defender's public images, labelled: what F_C is trained on
    public_images: Split  # all of the defender's public images
    public_classifier: Classifier
    make_gan: Callable[[GANChoice], GAN]  # trained on the defender's public images (and against the victim)
    decoy: Callable[[int], int]  # l_t -> l_p
    common: Mapping[str, Any]  # seed, numerics and threads of every stage
    attackers_gan: GANChoice | None = None  # for a defense that `knows_the_attack`; None: the attack has no GAN


class Protected(NamedTuple):
    """A target, and which labels it protects with which fakes (none for a model that nobody fine-tuned)."""

    target: Model  # what is shipped, or answers behind the API: test accuracy is measured on it
    pairs: tuple[Pair, ...] = ()
    met: Model | None = None  # what attackers meet, where that is not the target: stripped of its wrapper
    output: str = ""  # how attackers meet a wrapper, in words: the row says it; empty for a bare model

    @property
    def attacked(self) -> Model:
        """What attackers meet."""
        return self.target if self.met is None else self.met


class Defense(Config):
    """One row of the comparison. Fields are its settings; a default is the paper's value where it has one."""

    name: ClassVar[str]
    knows_the_attack: ClassVar[bool] = False  # the target depends on which attack it is to meet

    @property
    def extensions(self) -> tuple[str, ...]:
        """What this defense adds to the paper's, or leaves out; the row's name must say it."""
        return ()

    @property
    def variants(self) -> tuple[tuple[str, Defense], ...]:
        """The rows that an entry of a spec stands for, each (suffix of its name, defense).

        One, or several that must be read side by side, such as an output wrapper met and stripped.
        """
        return (("", self),)

    @property
    def generators(self) -> tuple[GANChoice, ...]:
        """The GAN structures it trains."""
        return ()

    def refusal(self, victim: Model) -> str | None:
        """Why such a victim cannot be defended this way, and what to do; None if it can."""
        return None

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        """Compose the stages that make the target protecting `labels` (sorted)."""
        raise NotImplementedError
