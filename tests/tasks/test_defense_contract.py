"""Every defense of the registry keeps the contract; and the contract notices a defense that does not."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tasks.data.split import Split
from tasks.defenses import DEFENSES
from tasks.defenses.defense import Defender, Defense, Protected
from tasks.finetune.finetune import Finetune, Pair
from tasks.gan.gan import GANChoice
from tasks.inversion.fakes import Fakes
from tasks.models.classifier import Classifier
from tests.lab import Lab
from tests.tasks import defense_contract as contract


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", DEFENSES)
def test_contract(lab: Lab, name: str, check: contract.Check) -> None:
    for defense in contract.defenses(lab, name):
        check(lab, defense)


@pytest.mark.parametrize("name", DEFENSES)
def test_name_is_the_registry_name(lab: Lab, name: str) -> None:
    assert DEFENSES[name].name == name
    assert {type(defense) for defense in contract.defenses(lab, name)} == {DEFENSES[name]}


class Toy(Defense):
    """The victim's training with more dropout: a minimal honest defense."""

    name: ClassVar = "toy"

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, defender.train))

    def trained(self, defender: Defender, train: Split, **changes: Any) -> Classifier:
        fields = {**defender.victim_settings, "dropout": 0.5, "epochs": 2, **defender.common, **changes}
        return Classifier(**{"train": train, "role": "defender", **fields})


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_a_new_defense_needs_no_change_here(lab: Lab, check: contract.Check) -> None:
    check(lab, Toy())


def with_part(split: Split, **changes: Any) -> Split:
    return split.model_copy(update=changes)


class OnTest(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, with_part(defender.train, part="test")))


class OnEverything(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, with_part(defender.train, part="all")))


class OnValidation(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, with_part(defender.train, part="val")))


class OnTheAttackers(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, with_part(defender.public_images, audience="attacker")))


class ByTheEvaluator(Toy):
    """Two stages further up: in what the fakes of the fine-tune are made with."""

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        judge = self.trained(defender, defender.train, role="evaluator")
        gan = defender.make_gan(GANChoice())
        fakes = Fakes(model=judge, gan=gan, label=0, count=2, steps=1, chunk=2, **defender.common)
        pair = Pair(label=labels[0], private=fakes)
        target = Finetune(victim=defender.victim, pairs=(pair,), beta=0, omega=0, steps=1, **defender.common)
        return Protected(target)


class ByLabel(Toy):
    """Another model for each label, of which nothing is told."""

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, defender.train, dropout=labels[0] / 10))


class Fixed(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, defender.train, seed=0))


class Telling(Toy):
    """Another model for another attack, without saying that it knows it."""

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        known = defender.attackers_gan is not None
        return Protected(self.trained(defender, defender.train, dropout=0.1 if known else 0.2))


class Silent(Toy):
    """Attackers meet the bare victim, and the row would not say so."""

    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(self.trained(defender, defender.train), met=defender.victim)


class OfOthers(Toy):
    def protect(self, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return Protected(defender.public_classifier)


class Extended(Toy):
    @property
    def extensions(self) -> tuple[str, ...]:
        return ("more",)


@pytest.mark.parametrize(
    ("defense", "check"),
    [
        (OnTest, contract.sees_only_what_a_defender_has),
        (OnEverything, contract.sees_only_what_a_defender_has),
        (OnTheAttackers, contract.sees_only_what_a_defender_has),
        (ByTheEvaluator, contract.sees_only_what_a_defender_has),
        (OnValidation, contract.only_measures_on_validation_images),
        (ByLabel, contract.protects_one_label_or_many),
        (Fixed, contract.has_one_key),
        (Telling, contract.knows_the_attack_only_if_it_says_so),
        (Silent, contract.says_how_attackers_meet_a_wrapper),
        (OfOthers, contract.has_the_victims_classes_and_shape),
        (Extended, contract.its_plain_name_means_no_extension),
    ],
    ids=lambda value: value.__name__,
)
def test_the_contract_notices_a_careless_defense(lab: Lab, defense: type[Toy], check: contract.Check) -> None:
    with pytest.raises(AssertionError):
        check(lab, defense())
