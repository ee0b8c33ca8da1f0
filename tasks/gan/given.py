"""A generator that the user brings, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tasks.context import Context
from tasks.gan import GANS
from tasks.gan.gan import GAN, LatentSpace, TargetGAN
from tasks.lazy import lazy
from tasks.stage import Metrics

if TYPE_CHECKING:
    from torch import nn

    from tasks.gan import adopting
    from tasks.gan.networks import LatentGenerator
else:
    adopting = lazy("tasks.gan.adopting")


class GivenGAN(GAN):
    """Weights trained elsewhere for one of the structures here: generator and, if there is one, critic.

    Every tensor must fit the structure by name and shape. `data` says only what images it stands for (size,
    channels, whose): what the generator was trained on is for its owner to know. Without a critic a search
    has no L_discri (eq. 5).
    """

    kind: ClassVar = "given_gan"
    version: ClassVar = 1

    weights: str = Field(
        min_length=1, description="safetensors file of the generator; its content is keyed, not its path"
    )
    critic_weights: str | None = Field(None, min_length=1, description="safetensors file of the critic, if any")
    structure: str = Field("wgan", description="the GAN structure that the weights belong to")
    latent_dim: int = Field(100, ge=2, le=1024, description="dimension of z")
    settings: Mapping[str, Any] = Field(default_factory=dict, description="fields of the structure, e.g. {width: 64}")

    @model_validator(mode="after")
    def _known(self) -> Self:
        possible = [name for name, kind in GANS.items() if not issubclass(kind, GivenGAN | TargetGAN)]
        if self.structure not in possible:
            raise ValueError(f"{self.structure=} has no weights to be given; choose one of {', '.join(possible)}")
        if beside := sorted({"data", "role", "latent_dim"} & self.settings.keys()):
            raise ValueError(f"settings of {self.structure}: {', '.join(beside)} stands beside `settings`, not in it")
        try:
            self.stands_for()
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"settings of {self.structure}: {told}") from error
        return self

    def stands_for(self) -> GAN:
        """The structure with these settings: it has the networks and the latents."""
        return GANS[self.structure](data=self.data, role=self.role, latent_dim=self.latent_dim, **self.settings)

    @property
    def score(self) -> Literal["critic", "log_sigmoid"]:  # type: ignore[override]
        """What the critic's output means."""
        return GANS[self.structure].score

    @property
    def latent_space(self) -> LatentSpace:
        return self.stands_for().latent_space

    def networks(self) -> tuple[LatentGenerator, nn.Module]:
        return self.stands_for().networks()

    def trained(self, ctx: Context) -> tuple[LatentGenerator, nn.Module | None]:
        return adopting.load(self, ctx)

    def run(self, ctx: Context) -> Metrics:
        return adopting.adopt(self, ctx)
