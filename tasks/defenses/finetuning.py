"""What the defenses that fine-tune the victim by eq. 10 share; a subclass says where the samples come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.defenses.defense import Defender, Defense, Protected
from tasks.finetune.finetune import Finetune, Pair
from tasks.finetune.fisher import Fisher
from tasks.finetune.settings import FinetuneSettings
from tasks.gan.gan import GANChoice
from tasks.inversion.fakes import Fakes, MixedFakes, Samples
from tasks.inversion.settings import FakesSettings
from tasks.inversion.synthetic_person import SyntheticPerson
from tasks.models.classifier import Model


class FinetuneDefense(FinetuneSettings, Defense):
    """Eq. 10 on samples of l_t and l_p, under the Fisher of the victim on its training images."""

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
            "ce": self.gamma == 0 and self.lpri != "unlikelihood",  # the other forms of L_pri are then the same
            "lpri_ce": self.gamma > 0 and self.lpri == "ce",  # L_pub stays focal
            "literal": self.gamma > 0 and self.lpri == "literal",
            "unlikelihood": self.lpri == "unlikelihood",
            "no_l_pri": self.alpha == 0,
            "no_l_pub": self.beta == 0,
            "no_l_cl": not self.consolidates,
            "fisher_sampled": self.consolidates and self.fisher == "sampled",
            "fisher_augmented": self.consolidates and self.fisher_augmented > 0,
        }
        return tuple(name for name, there in named.items() if there)

    def private_samples(self, defender: Defender, model: Model, label: int) -> Samples:
        """What L_pri (eq. 7) is taken on, as `model` sees l_t."""
        raise NotImplementedError

    def public_samples(self, defender: Defender, label: int, decoy: int | None) -> Samples:
        """What L_pub (eq. 8) is taken on."""
        raise NotImplementedError

    def decoy_of(self, defender: Defender, label: int) -> int | None:
        """l_p, a label of F_C; None for a decoy who is none of the public people."""
        return defender.decoy(label)

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        pairs = self.pairs(defender, defender.victim, labels)
        return Protected(self.finetuned(defender, defender.victim, pairs), pairs)

    def pairs(self, defender: Defender, model: Model, labels: tuple[int, ...]) -> tuple[Pair, ...]:
        """l_t, l_p and the samples that have weight, for each label."""
        found = []
        for label in labels:
            decoy = self.decoy_of(defender, label)
            private = self.private_samples(defender, model, label) if self.alpha > 0 else None
            public = self.public_samples(defender, label, decoy) if self.beta > 0 else None
            found.append(Pair(label=label, decoy=decoy, private=private, public=public))
        return tuple(found)

    def finetuned(self, defender: Defender, start: Model, pairs: tuple[Pair, ...]) -> Finetune:
        """`start` fine-tuned; the Fisher is always that of the victim, which knows the private images best."""
        fisher = None
        if self.consolidates:
            fisher = Fisher(
                model=defender.victim,
                data=defender.train,
                labels=self.fisher,
                augmented=self.fisher_augmented,
                **defender.common,
            )
        return Finetune(
            victim=start,
            pairs=pairs,
            fisher=fisher,
            train=defender.train if self.replay > 0 else None,
            role="defender",
            **self.fields_of(FinetuneSettings),
            **defender.common,
        )


class GANDefense(FinetuneDefense):
    """Samples are inversed with a GAN (eq. 5-6); a subclass says with which."""

    fakes: FakesSettings = Field(default_factory=FakesSettings, description="how the fakes are made (eq. 5-6)")
    more_gans: tuple[GANChoice, ...] = Field(
        (), description="extension: each of these GANs makes as many fakes again, and all are taken together"
    )
    decoys: Literal["people", "synthetic"] = Field(
        "people", description="l_p: a public person (the paper), or somebody whom the GAN made up, one for each label"
    )
    spread: float = Field(0.5, ge=0, lt=1, description="of a synthetic decoy's images: 0 = all the same")
    rounds: int = Field(
        1, ge=1, le=10, description="extension: times that the model so far is inverted and fine-tuned again"
    )

    def structure(self, defender: Defender) -> GANChoice:
        """The defender's GAN."""
        raise NotImplementedError

    @property
    def extensions(self) -> tuple[str, ...]:
        rounds = [f"rounds{self.rounds}"] if self.rounds > 1 else []
        decoys = ["synthetic_decoys"] if self.decoys == "synthetic" and self.beta > 0 else []
        return (*super().extensions, *decoys, *(f"{gan.name}_fakes" for gan in self.more_gans), *rounds)

    def private_samples(self, defender: Defender, model: Model, label: int) -> Samples:
        return self._fakes(defender, model, label)

    def public_samples(self, defender: Defender, label: int, decoy: int | None) -> Samples:
        if decoy is not None:
            return self._fakes(defender, defender.public_classifier, decoy)
        gan = defender.make_gan(self.structure(defender))
        return SyntheticPerson(
            gan=gan, label=label, count=self.fakes.count, spread=self.spread, clip=self.fakes.clip, **defender.common
        )

    def decoy_of(self, defender: Defender, label: int) -> int | None:
        return super().decoy_of(defender, label) if self.decoys == "people" else None

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        """Round 1 is the paper's. A further round inverts the model of the one before, from the same latents.

        L_CL then holds the model near that one's weights. What is shown are the last round's fakes.
        """
        found = super().protect(defender, labels)
        for _ in range(1, self.rounds):
            pairs = self.pairs(defender, found.target, labels)
            found = Protected(self.finetuned(defender, found.target, pairs), pairs)
        return found

    def _fakes(self, defender: Defender, model: Model, label: int) -> Samples:
        gans = {gan.key: gan for gan in map(defender.make_gan, (self.structure(defender), *self.more_gans))}
        settings = {**self.fakes.fields_of(FakesSettings), **defender.common}
        parts = tuple(Fakes(model=model, label=label, gan=gan, **settings) for gan in gans.values())
        return parts[0] if len(parts) == 1 else MixedFakes(parts=parts, **defender.common)
