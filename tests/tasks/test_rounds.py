"""Rounds (an extension): the model so far is inverted and fine-tuned again, under the victim's Fisher."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tasks.defenses.defense import Protected
from tasks.defenses.finetuning import GANDefense
from tasks.defenses.gan_d import GAND
from tasks.defenses.gan_id import GANID
from tasks.finetune.finetune import Finetune, Pair
from tasks.finetune.fisher import Fisher
from tasks.gan.gan import GANChoice
from tasks.inversion.fakes import Fakes
from tasks.inversion.settings import FakesSettings
from tasks.stage import Stage
from tests.lab import Lab
from tests.tasks.test_finetune import defender

FEW = FakesSettings(count=4, steps=4, chunk=4)
GAN = GANChoice(settings={"steps": 10})
TINY: dict[str, Any] = {"fakes": FEW, "steps": 4, "batch": 4, "lr": 0.01, "augment": False}


def protected(lab: Lab, rounds: int, labels: tuple[int, ...] = (2,), **settings: Any) -> Protected:
    return GANID(gan=GAN, rounds=rounds, **{**TINY, **settings}).protect(defender(lab), labels)


def chain(target: Stage) -> list[Finetune]:
    """The fine-tunes from the last to the first."""
    found = []
    while isinstance(target, Finetune):
        found.append(target)
        target = target.victim
    return found


def private(stage: Finetune) -> list[Fakes]:
    found = [pair.private for pair in stage.pairs]
    assert all(isinstance(fakes, Fakes) for fakes in found)
    return found  # type: ignore[return-value]


def test_one_round_is_the_papers_composition(lab: Lab) -> None:
    """Written out by hand: eq. 5-6 on the victim and on F_C, eq. 10 from the victim."""
    who = defender(lab)
    gan = lab.gan("defender", steps=10)
    settings = {"gan": gan, "count": 4, "steps": 4, "chunk": 4, **who.common}
    pair = Pair(
        label=2,
        decoy=0,
        private=Fakes(model=lab.victim, label=2, **settings),
        public=Fakes(model=lab.public_classifier, label=0, **settings),
    )
    fisher = Fisher(model=lab.victim, data=lab.split("train"), **who.common)
    own = {name: value for name, value in TINY.items() if name != "fakes"}
    by_hand = Finetune(victim=lab.victim, pairs=(pair,), fisher=fisher, **own, **who.common)
    assert protected(lab, 1).target.key == by_hand.key
    assert GANID(gan=GAN, **TINY).protect(who, (2,)).target.key == by_hand.key, "which is the default"
    assert protected(lab, 1).pairs == (pair,)


def test_a_further_round_inverts_and_tunes_the_model_of_the_one_before(lab: Lab) -> None:
    found = protected(lab, 3, (0, 2))
    stages = chain(found.target)
    assert [stage.key for stage in stages[1:]] == [protected(lab, n, (0, 2)).target.key for n in (2, 1)]
    assert [stage.victim.key for stage in stages] == [*(s.key for s in stages[1:]), lab.victim.key]
    for stage in stages:
        assert {fakes.model.key for fakes in private(stage)} == {stage.victim.key}
        assert [fakes.label for fakes in private(stage)] == [0, 2]
    assert found.pairs == stages[0].pairs, "what is shown are the last round's"


def test_public_fakes_fisher_and_gan_are_the_same_in_every_round(lab: Lab) -> None:
    stages = chain(protected(lab, 3).target)
    assert len({pair.public.key for stage in stages for pair in stage.pairs if pair.public is not None}) == 1
    assert {stage.fisher.model.key for stage in stages if stage.fisher is not None} == {lab.victim.key}
    assert len({stage.fisher.key for stage in stages if stage.fisher is not None}) == 1
    assert len({fakes.gan.key for stage in stages for fakes in private(stage)}) == 1
    assert len({fakes.key for stage in stages for fakes in private(stage)}) == 3
    latents = {lab.context(fakes).seed("latents") for stage in stages for fakes in private(stage)}
    assert len(latents) == 1, "from the same latents"


def weights(lab: Lab, stage: Stage) -> torch.Tensor:
    return torch.cat([t.flatten().float() for t in load_file(lab.run(stage).path("model.safetensors")).values()])


def test_round_2_starts_where_round_1_ended(lab: Lab) -> None:
    """With a rate of next to nothing it stays there; and L_CL is counted from there."""
    second, first = chain(protected(lab, 2).target)
    still = second.model_copy(update={"lr": 1e-12, "momentum": 0.0})
    moved = [(weights(lab, still) - weights(lab, other)).abs().max().item() for other in (first, lab.victim)]
    assert moved[0] < 1e-6 < 1e-4 < moved[1]
    ctx = lab.context(second)
    second.run(ctx)
    assert ctx.curves[0]["l_cl"] == 0
    assert ctx.curves[-1]["l_cl"] > 0


def test_round_2_sees_what_the_model_of_round_1_remembers(lab: Lab) -> None:
    """Its private fakes convince that model more than round 1's do, which it was tuned to forget."""
    second, first = chain(protected(lab, 2, lr=0.05, steps=20, lpri="ce", omega=0).target)
    network = first.network(lab.context(second, load=lab.run))
    lab.run(second)

    def confidence(fakes: Fakes) -> float:
        with torch.no_grad():
            logits = network(fakes.images(lab.context(fakes)))
        return logits.log_softmax(dim=1)[:, 2].mean().item()

    assert confidence(private(second)[0]) > confidence(private(first)[0])


@pytest.mark.parametrize("defense", [GAND, GANID])
def test_the_rows_name_says_how_many(defense: type[GANDefense]) -> None:
    assert defense().extensions == ()
    assert defense(rounds=1).extensions == ()
    assert defense(rounds=3, replay=1).extensions == ("replay", "rounds3")
    for wrong in (0, 11):
        with pytest.raises(ValidationError, match="rounds"):
            defense(rounds=wrong)


def test_gan_d_keeps_its_gan_over_the_rounds(lab: Lab) -> None:
    known = GANChoice(settings={"steps": 7})
    target = GAND(rounds=2, **TINY).protect(defender(lab)._replace(attackers_gan=known), (2,)).target
    gans = {fakes.gan.key for stage in chain(target) for fakes in private(stage)}
    assert gans == {lab.gan("defender", steps=7).key}
