"""What every attack shares: access, checks, scoring by the target, and what is stored. A subclass writes `invert`.

Access is in the type: a `WhiteBoxAttack` gets the target's network, a `BlackBoxAttack` an `Oracle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, final

from pydantic import Field, model_validator

from tasks.context import Context
from tasks.data.split import Split
from tasks.gan.gan import GAN, GANChoice
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import ComputeStage, Metrics, Role, Stage

if TYPE_CHECKING:
    import torch

    from tasks.attacks import scoring
    from tasks.attacks.oracle import Oracle
    from tasks.models.architectures import Network
else:
    scoring = lazy("tasks.attacks.scoring")

NO_SELECTION = "none"


class Inverted(NamedTuple):
    """What an attack returns: images (n, c, s, s) in [-1, 1], its own loss (n,), and what it cost.

    points (n, ...): where the search of each image ended (latents, pixels, a distribution's parameters), from
    which the same attack on another target may start; None for an attack that has no such thing.
    """

    images: torch.Tensor
    losses: torch.Tensor
    passes: int  # forward and backward passes of one sample through the target
    queries: int  # forward passes alone
    points: torch.Tensor | None = None


class Attacker(NamedTuple):
    """All that an attacker has beside access to the target, for an attack to compose its stages from."""

    images: Split  # public images of the attacker's own
    private: Split  # whose predictions leak in the modes that say so; never the images
    make_gan: Callable[[GANChoice, Model], GAN]  # (structure, target) -> trained on `images`, role `attacker`
    common: Mapping[str, Any]  # seed, numerics and threads of every stage


class Attack(ComputeStage):
    """A model inversion attack on one label of a target: `images.safetensors` and `samples.parquet`.

    An attack never sees an evaluator or a private image; where it selects, it selects by the target alone.
    """

    group: ClassVar = "attack"
    access: ClassVar[Literal["white_box", "black_box"]]
    # Stages, beside a GAN, that the attack trains for itself; their settings stand under this name in a spec.
    parts: ClassVar[Mapping[str, type[Stage]]] = {}

    target: Model
    label: int = Field(ge=0, description="the label l_t to invert")
    images: int = Field(24, ge=1, description="inverted images, each from an independent start")
    role: Role = "attacker"
    warm: Attack | None = Field(None, description="start where this attack on another target ended")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.label >= self.target.classes:
            raise ValueError(f"{self.label=} but the target has labels 0..{self.target.classes - 1}")
        if reason := self.refusal(self.target):
            raise ValueError(reason)
        return self

    @classmethod
    def refusal(cls, target: Model) -> str | None:
        """Why this attack cannot be made on such a target, and what to do; None if it can."""
        return None

    @classmethod
    def equip(
        cls, attacker: Attacker, target: Model, settings: Mapping[str, Any], parts: Mapping[str, Any]
    ) -> dict[str, Stage | None]:
        """The stages in this attack's own fields: what an attacker trains or collects for this target.

        settings: the attack's own, as the spec gives them; parts: a GANChoice under `gan`, settings of `parts`.
        """
        return {}

    @property
    def selection(self) -> str:
        """How the attack chooses among what it found, in words; always by the target alone."""
        return NO_SELECTION

    def intensified(self, factor: int) -> Self | None:
        """The same attack with `factor` times the steps; None if it does not search."""
        steps = getattr(self, "steps", None)
        return None if steps is None else self.model_copy(update={"steps": steps * factor})

    def starts(self, ctx: Context, fresh: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Where the search starts: `fresh()` (n * restarts, ...), or where `warm` ended.

        With restarts only the first of each image starts there. ValueError if `warm` has no such points.
        """
        return fresh() if self.warm is None else scoring.warm_starts(self, ctx, fresh())

    def invert(self, ctx: Context, target: Any) -> Inverted:
        """The attack itself: `self.images` images of `self.label`. See the two kinds of access below."""
        raise NotImplementedError

    @final
    def run(self, ctx: Context) -> Metrics:
        return scoring.attack_and_score(self, ctx)


class WhiteBoxAttack(Attack):
    """An attack that has the model: architecture, weights, gradients."""

    access: ClassVar = "white_box"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        """`target` (n, c, s, s) -> logits (n, classes), in eval mode; to be left as it is."""
        raise NotImplementedError


class BlackBoxAttack(Attack):
    """An attack that has an API: it sends images and gets confidences. Weights and gradients are out of reach."""

    access: ClassVar = "black_box"

    def invert(self, ctx: Context, target: Oracle) -> Inverted:
        """`target.query(images)` -> confidences (n, classes); it counts. `ctx` loads nothing of the target."""
        raise NotImplementedError


class GeneratorAttack(Attack):
    """An attack that searches the latents of a GAN trained on the attacker's public images."""

    default_gan: ClassVar[str] = "wgan"

    gan: GAN

    @classmethod
    def equip(
        cls, attacker: Attacker, target: Model, settings: Mapping[str, Any], parts: Mapping[str, Any]
    ) -> dict[str, Stage | None]:
        return {"gan": attacker.make_gan(parts["gan"], target)}
