"""Attacks that a target cannot be met with, and generators or judges that are where they may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grid.plan import Plan, leaks
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.attacks.gmi import GMI
from tasks.attacks.privacy import Privacy
from tasks.attacks.rerun import Rerun
from tasks.data.lfw import LfwShard
from tasks.data.sharded_split import ShardedSplit
from tasks.data.split import Audience, Split
from tasks.gan.gan import GAN, TargetGAN, TrainedGAN
from tasks.metrics.gan_quality import GANQuality
from tasks.models.classifier import Classifier, Model
from tasks.stage import Stage
from tests.grid.specs import planned, problems
from tests.grid.test_expand import doctored, of_kind, with_gan, with_target

REASON = "the target has no BatchNorm; choose a victim that has, e.g. vgg16_bn"


def refuse(monkeypatch: pytest.MonkeyPatch, attack: type[Attack]) -> None:
    """Make an attack impossible on plain VGG-16."""

    def reason(cls: type[Attack], target: Model) -> str | None:
        return REASON if target.network_of().arch == "vgg16" else None

    monkeypatch.setattr(attack, "refusal", classmethod(reason))


PLAIN = {"arch": "vgg16", "width": 0.0625, "epochs": 2}


def test_an_attack_that_the_victim_cannot_be_met_with_is_one_problem_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, Privacy)
    (problem,) = problems(tmp_path, attacks=["gmi", "privacy"], victim=PLAIN)
    assert problem.place.endswith("attacks[1]"), "where it is written"
    assert problem.message == REASON
    assert problems(tmp_path, attacks=["gmi", "privacy"]) == ()
    assert problems(tmp_path, attacks=["gmi"], victim=PLAIN) == ()


def test_all_refusals_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for attack in (Privacy, GMI):
        refuse(monkeypatch, attack)
    found = problems(tmp_path, attacks=["gmi", {"name": "privacy", "as": "pixels"}], victim=PLAIN)
    assert [problem.message for problem in found] == [REASON, REASON]


def test_a_stage_refuses_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However it comes to be made: of a spec, by hand, or as a copy with another target."""
    plan = planned(tmp_path, attacks=["privacy"], defenses=["none"])
    refuse(monkeypatch, Privacy)
    (attack, *_) = of_kind(plan, Privacy)
    plain = attack.target.model_copy(update={"arch": "vgg16"})
    with pytest.raises(ValueError, match="has no BatchNorm"):
        attack.model_copy(update={"target": plain})


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("honest"))


def messages(plan: Plan) -> str:
    return " / ".join(problem.message for problem in leaks(plan))


def test_every_gan_is_measured_by_one_judge_that_does_nothing_else(plan: Plan) -> None:
    """Not F_E, so that tuning a GAN tunes nothing on the evaluator; not F_C, which helps to make fakes."""
    measured = of_kind(plan, GANQuality)
    assert {quality.gan.key for quality in measured} == {gan.key for gan in of_kind(plan, GAN)}
    assert all(quality.reference == quality.gan.data for quality in measured), "against what it was trained on"
    (judge,) = {quality.judge for quality in measured}
    assert (judge.role, judge.train.audience) == ("judge", "judge")
    takers = [stage for stage in plan.stages().values() if judge.key in {p.key for p in stage.upstream}]
    assert all(isinstance(stage, GANQuality) for stage in takers)
    private = next(s for s in of_kind(plan, Split) if s.audience == "private")
    assert not set(judge.people) & set(private.people)


def test_a_judge_that_takes_part_is_a_leak(plan: Plan) -> None:
    judge = next(s for s in of_kind(plan, Classifier) if s.role == "judge")
    doctored_plan = doctored(plan, "none", lambda e: e.model_copy(update={"attack": with_model(e.attack, judge)}))
    assert f"takes the judge {judge.key}, which measures GANs and nothing else" in messages(doctored_plan)


def with_model(attack: Any, target: Stage) -> Any:
    return attack.model_copy(update={"target": target, "label": 0})


def test_an_evaluation_or_a_quality_selects_nothing(plan: Plan) -> None:
    """A stage that takes a measurement would tune on it."""
    quality = of_kind(plan, GANQuality)[0]

    class Chooser(Attack):
        kind = "chooser"
        seen: GANQuality

    def choose(evaluate: Any) -> Any:
        attack = evaluate.attack
        return evaluate.model_copy(update={"attack": Chooser(target=attack.target, label=0, seen=quality)})

    assert f"takes the evaluation {quality.key}: evaluators select nothing" in messages(doctored(plan, "none", choose))


class Started(TargetGAN):
    """Stands for a GAN that is trained against the target and starts from another."""

    kind = "started"


def test_a_generator_that_grew_out_of_the_defenders_is_a_leak(plan: Plan) -> None:
    """However long the chain of `init`: what the defender's GAN learned is in it."""
    gans = {gan.role: gan for gan in of_kind(plan, TrainedGAN)}

    def grown(evaluate: Any, root: GAN, length: int) -> Any:
        gan: GAN = root
        for seed in range(length):
            fields = {"data": gans["attacker"].data, "role": "attacker", "seed": seed}
            gan = Started(target=evaluate.attack.target, init=gan, **fields)
        return with_gan(evaluate, gan)  # type: ignore[arg-type]

    for length in (1, 2, 3):
        found = doctored(plan, "gan_id", lambda e, n=length: grown(e, gans["defender"], n))
        assert f"attacks with {gans['defender'].key}, which the target's own defense used" in messages(found)
        assert leaks(doctored(plan, "gan_id", lambda e, n=length: grown(e, gans["attacker"], n))) == []


def test_the_undefended_model_may_be_attacked_with_any_attackers_gan(plan: Plan) -> None:
    """Nothing of the defense is in it; but a GAN of the role `defender` is never the attacker's."""
    gans = {gan.role: gan for gan in of_kind(plan, TrainedGAN)}
    found = messages(doctored(plan, "none", lambda e: with_gan(e, gans["defender"])))
    assert f"attacks with a GAN of the defender, {gans['defender'].key}" in found


def test_the_test_split_is_a_leak_wherever_it_is_trained_on(plan: Plan) -> None:
    """`all` images of the private people contain the test images."""
    train = next(s for s in of_kind(plan, Split) if s.part == "train" and s.audience == "private")
    whole = train.model_copy(update={"part": "all"})
    assert "takes the test split" in messages(doctored(plan, "none", lambda e: with_target(e, train=whole)))


def test_all_that_cannot_be_composed_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    attacks = [
        {"name": "gmi", "as": "x", "gan": {"name": "infogan", "categories": 1}},
        "gmi",
        {"name": "mirror", "pool": 3},
    ]
    defenses = ["none", {"name": "gan_id", "gan": {"name": "infogan", "categories": 1}}]
    found = problems(tmp_path, attacks=attacks, defenses=defenses)
    assert [place.split()[-1] for place, _ in found] == ["attacks[0].gan", "attacks[2]", "defenses[1].gan"]


@pytest.mark.parametrize("decoder", [5, [1], "x"])
def test_settings_of_a_part_must_be_a_mapping(tmp_path: Path, decoder: object) -> None:
    ((place, message),) = problems(tmp_path, attacks=[{"name": "ami", "decoder": decoder}])
    assert place.endswith("attacks[0].decoder")
    assert "expected a mapping of settings" in message


def test_a_rerun_of_dmi_searches_the_latents_that_it_starts_from(tmp_path: Path) -> None:
    """Against a defended target DMI's generator is another one; points lie in the undefended one's latents."""
    plan = planned(tmp_path, attacks=["dmi"], defenses=["none", "gan_id"])
    reruns = [stage for stage in plan.stages().values() if isinstance(stage, Rerun)]
    assert len(reruns) == 2
    for rerun in reruns:
        again, first, undefended = rerun.again(), rerun.first, rerun.undefended
        assert isinstance(again, GeneratorAttack)
        assert isinstance(first, GeneratorAttack)
        assert isinstance(undefended, GeneratorAttack)
        assert again.gan.key == undefended.gan.key != first.gan.key
        assert again.target.key == first.target.key != undefended.target.key


def test_a_shard_is_read_by_splits_of_one_side_alone(plan: Plan) -> None:
    """It holds its people's test pictures, too; and an attacker must not find private people beside public ones."""
    shard = LfwShard(people=("Ada",), manifest="0" * 64, prints=("0" * 16,))

    class Chooser(Attack):
        kind = "chooser"
        seen: tuple[Stage, ...]

    def seeing(*stages: Stage) -> Any:
        return lambda evaluate: evaluate.model_copy(
            update={"attack": Chooser(target=evaluate.attack.target, label=0, seen=stages)}
        )

    def split(audience: Audience) -> Split:
        return ShardedSplit(people=shard.people, part="train", audience=audience, channels=3, shards=(shard,))

    assert f"takes the shard {shard.key}, which only splits may" in messages(doctored(plan, "none", seeing(shard)))
    both = messages(doctored(plan, "none", seeing(split("private"), split("attacker"))))
    assert f"takes the shard {shard.key}, which splits of attacker and private share" in both
    assert messages(doctored(plan, "none", seeing(split("defender"), split("classifier"), split("judge")))) == ""
