"""GAN-ID (Gong et al., sec. IV): the defender does not know the attacker's GAN and substitutes one."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tasks.defenses.defense import Defender, Defense, Protected
from tasks.finetune.finetune import Finetune, Pair
from tasks.finetune.fisher import Fisher
from tasks.finetune.settings import FinetuneSettings
from tasks.gan.gan import GAN, GANChoice
from tasks.inversion.fakes import Fakes
from tasks.inversion.settings import FakesSettings


class GANID(FinetuneSettings, Defense):
    """Fine-tune by eq. 10 on fakes from a substitute GAN; one defended model meets every attack."""

    name: ClassVar = "gan_id"

    gan: GANChoice = Field(default_factory=GANChoice, description="substitute GAN; the paper: wgan")
    fakes: FakesSettings = Field(default_factory=FakesSettings, description="how the fakes are made (eq. 5-6)")
    fisher: Literal["empirical", "sampled"] = Field("empirical", description="labels of the Fisher (eq. 1: empirical)")
    fisher_augmented: int = Field(
        0,
        ge=0,
        le=100,
        description="augmented copies per image for the Fisher; 0 = the images themselves (eq. 1)",
    )

    @property
    def extensions(self) -> tuple[str, ...]:
        named = {
            "replay": self.replay > 0,
            self.lpri: self.lpri != "detached",
            "no_l_pri": self.alpha == 0,
            "no_l_pub": self.beta == 0,
            "no_l_cl": not self.consolidates,
        }
        return tuple(name for name, there in named.items() if there)

    @property
    def generators(self) -> tuple[GANChoice, ...]:
        return (self.gan,)

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        gan = defender.make_gan(self.gan)
        pairs = tuple(self._pair(defender, gan, label) for label in labels)
        fisher = None
        if self.consolidates:
            fisher = Fisher(
                model=defender.victim,
                data=defender.train,
                labels=self.fisher,
                augmented=self.fisher_augmented,
                **defender.common,
            )
        coefficients = {name: getattr(self, name) for name in FinetuneSettings.model_fields}
        target = Finetune(
            victim=defender.victim,
            pairs=pairs,
            fisher=fisher,
            train=defender.train if self.replay > 0 else None,
            role="defender",
            **coefficients,
            **defender.common,
        )
        return Protected(target, pairs)

    def _pair(self, defender: Defender, gan: GAN, label: int) -> Pair:
        """l_t, l_p and the fakes that have weight."""
        decoy = defender.decoy(label)
        settings = {name: getattr(self.fakes, name) for name in FakesSettings.model_fields}
        common = {"gan": gan, **settings, **defender.common}
        private = Fakes(model=defender.victim, label=label, **common) if self.alpha > 0 else None
        public = Fakes(model=defender.public_classifier, label=decoy, **common) if self.beta > 0 else None
        return Pair(label=label, decoy=decoy, private=private, public=public)
