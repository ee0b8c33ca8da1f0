"""What every registered defense must keep to, as functions over (lab, defense). No defense is named here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from pydantic import BaseModel

from grid.spec_parser import load_spec
from grid.spec_source import read_budget
from tasks.attacks.attack import Attack
from tasks.defenses.defense import Defender, Defense, Protected
from tasks.gan import GANS
from tasks.gan.gan import GAN, GANChoice, TargetGAN
from tasks.metrics.evaluate import Accuracy
from tasks.models.classifier import Classifier
from tasks.models.training import predict
from tasks.stage import ComputeStage, Stage
from tests.grid.specs import write
from tests.lab import CLASSES, Lab, folder_digests

SEED = 3  # of the defense; the lab's victim and public classifier have another
SEES = {("train", "private"), ("val", "private")} | {
    (part, audience) for part in ("train", "val", "all") for audience in ("defender", "classifier")
}
ROLES = {"victim", "public_classifier", "defender"}
STRUCTURES = (None, GANChoice(name="dcgan"), GANChoice(name="stylegan"), GANChoice(name="inversion"))
Check = Callable[[Lab, Defense], None]


def defenses(lab: Lab, name: str) -> list[Defense]:
    """The rows that a plain name stands for in a spec of the budget `smoke`."""
    return [choice.defense for choice in load_spec(write(lab.root, defenses=[name])).defenses]


def defender(lab: Lab, attackers_gan: GANChoice | None = None, seed: int = SEED) -> Defender:
    """A defender of the lab's victim, whose GANs may have any structure; two labels may share a decoy."""
    common = {"seed": seed, "numerics": "cpu_fp32", "threads": 1}

    def make_gan(choice: GANChoice) -> GAN:
        against = {"target": lab.victim} if issubclass(GANS[choice.name], TargetGAN) else {}
        fields = {**read_budget("smoke")["gans"][choice.name], **choice.settings, **against, **common}
        return GANS[choice.name](data=lab.split("all", "defender"), role="defender", **fields)

    return Defender(
        victim=lab.victim,
        victim_settings={"arch": "vgg16_bn", "width": 0.0625, "batch": 10},
        train=lab.split("train"),
        val=lab.split("val"),
        public=lab.split("train", "classifier"),
        public_images=lab.split("all", "defender"),
        public_classifier=lab.public_classifier,
        make_gan=make_gan,
        decoy=lambda label: label % 2,
        common=common,
        attackers_gan=attackers_gan,
    )


def own_stages(lab: Lab, found: Protected) -> list[Stage]:
    """All that the defense composed: neither the victim, nor F_C, nor what those need."""
    given = {**lab.victim.closure(), **lab.public_classifier.closure()}
    stages = {**found.target.closure(), **found.attacked.closure()}
    return [stage for key, stage in stages.items() if key not in given]


def seen_by(*values: object) -> Iterator[object]:
    """Each stage and setting that values lead to, themselves included; written apart from `Stage.closure`."""
    waiting, seen = list(values), set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, BaseModel):
            waiting += [getattr(value, name) for name in type(value).model_fields]
        elif isinstance(value, list | tuple | dict):
            waiting += value.values() if isinstance(value, dict) else value


def protects_one_label_or_many(lab: Lab, defense: Defense) -> None:
    """Where it protects labels, then those that were asked for; where it does not, all of them alike."""
    who = defender(lab)
    one, other, many = (defense.protect(who, labels) for labels in ((2,), (4,), (0, 2, 5)))
    if one.pairs:
        assert [[pair.label for pair in found.pairs] for found in (one, other, many)] == [[2], [4], [0, 2, 5]]
        assert all(pair.decoy == who.decoy(pair.label) for pair in many.pairs)
        assert len({one.target.key, other.target.key, many.target.key}) == 3
    else:
        assert one.target.key == other.target.key == many.target.key
        assert other.pairs == many.pairs == ()


def has_one_key(lab: Lab, defense: Defense) -> None:
    """The same again from equal settings; and another seed is another target."""
    targets = [defense.protect(defender(lab), (2,)), defense.model_copy().protect(defender(lab), (2,))]
    assert targets[0].target.key == targets[1].target.key
    assert targets[0].attacked.key == targets[1].attacked.key
    if targets[0].target.key != lab.victim.key:
        assert defense.protect(defender(lab, seed=SEED + 1), (2,)).target.key != targets[0].target.key
    for stage in own_stages(lab, targets[0]):
        if isinstance(stage, ComputeStage):
            assert (stage.seed, stage.numerics, stage.threads) == (SEED, "cpu_fp32", 1), stage.key


def sees_only_what_a_defender_has(lab: Lab, defense: Defense) -> None:
    """Never a test split, an evaluator, the judge, or anything of the attacker's."""
    attackers = set(lab.split("all", "attacker").people)
    for structure in STRUCTURES:
        found = defense.protect(defender(lab, structure), (0, 2))
        for thing in seen_by(found.target, found.attacked):
            if hasattr(thing, "audience"):
                assert (thing.part, thing.audience) in SEES, thing  # type: ignore[attr-defined]
                assert not attackers & set(thing.people), thing  # type: ignore[attr-defined]
            assert getattr(thing, "role", "defender") in ROLES, thing
            assert getattr(thing, "group", "") != "metrics", thing
            assert not isinstance(thing, Attack), thing


def only_measures_on_validation_images(lab: Lab, defense: Defense) -> None:
    """A model comes out the same without them."""
    for stage in own_stages(lab, defense.protect(defender(lab), (2,))):
        for name in type(stage).model_fields:
            if name != "val":
                assert getattr(getattr(stage, name), "part", "") != "val", f"{stage.kind}.{name}"
        if getattr(stage, "val", None) is not None:
            without = lab.context(stage.model_copy(update={"val": None}))
            without.stage.run(without)
            product = lab.run(stage)
            for name, digest in folder_digests(without.out).items():
                assert folder_digests(product.path(name).parent)[name] == digest, name


def has_the_victims_classes_and_shape(lab: Lab, defense: Defense) -> None:
    found = defense.protect(defender(lab), (2,))
    images, _ = lab.split("val").tensors(lab.context(lab.split("val")))
    for model in (found.target, found.attacked):
        assert model.classes == lab.victim.classes
        assert model.network_of().people == lab.victim.people
        assert model.network_of().shape == lab.victim.shape
        lab.run(model)
        logits = predict(model.network(lab.context(model)), images)
        assert logits.shape == (len(images), CLASSES)
        assert bool(logits.isfinite().all())


def says_how_attackers_meet_a_wrapper(lab: Lab, defense: Defense) -> None:
    """A row whose attackers meet something else than what is shipped has to say so."""
    found = defense.protect(defender(lab), (2,))
    assert found.output or found.attacked.key == found.target.key
    if found.attacked.key == lab.victim.key != found.target.key:
        assert lab.victim.key in found.target.closure(), "the victim, within a wrapper"


def accuracy_can_be_measured(lab: Lab, defense: Defense) -> None:
    test = lab.split("test")
    product = lab.run(Accuracy(model=defense.protect(defender(lab), (2,)).target, test=test))
    labels = product.table("predictions.parquet").column("label").to_pylist()
    assert sorted(labels) == sorted(list(range(CLASSES)) * test.test_per_label), "mc_target has rows to pick"
    assert 0 <= product.metrics["mc_all"] <= 1


def is_deterministic(lab: Lab, defense: Defense) -> None:
    """The same bytes twice, whatever state the global generators are in; and it leaves them so."""
    target = defense.protect(defender(lab), (2,)).target
    if target.key == lab.victim.key:
        return
    lab.run(target)
    products = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        ctx = lab.context(target)
        products.append((target.run(ctx), folder_digests(ctx.out)))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[1], strict=True))
        assert random.getstate() == before[2]
    assert products[0] == products[1]


def knows_the_attack_only_if_it_says_so(lab: Lab, defense: Defense) -> None:
    """Told of another GAN structure, it trains that one; and otherwise it is not told."""
    found = [defense.protect(defender(lab, structure), (2,)) for structure in STRUCTURES]
    keys = {each.target.key for each in found}
    assert len(keys) == (len(STRUCTURES) if defense.knows_the_attack else 1)
    for structure, each in zip(STRUCTURES, found, strict=True):
        known = [structure] if structure is not None and defense.knows_the_attack else defense.generators
        trained = {type(stage) for stage in own_stages(lab, each) if isinstance(stage, GAN)}
        assert trained == {GANS[choice.name] for choice in known}


def its_plain_name_means_no_extension(lab: Lab, defense: Defense) -> None:
    assert type(defense)().extensions == ()
    assert defense.extensions == (), "nor do a budget's settings add one"


def refuses_in_words(lab: Lab, defense: Defense) -> None:
    assert defense.refusal(lab.victim) is None
    for arch in ("vgg16", "ir_small"):
        victim = Classifier(train=lab.split("train"), arch=arch)
        if reason := defense.refusal(victim):
            assert arch in reason
        else:
            settings = {**defender(lab).victim_settings, "arch": arch}
            defense.protect(defender(lab)._replace(victim=victim, victim_settings=settings), (0,))


CHECKS: tuple[Check, ...] = (
    protects_one_label_or_many,
    has_one_key,
    sees_only_what_a_defender_has,
    only_measures_on_validation_images,
    has_the_victims_classes_and_shape,
    says_how_attackers_meet_a_wrapper,
    accuracy_can_be_measured,
    is_deterministic,
    knows_the_attack_only_if_it_says_so,
    its_plain_name_means_no_extension,
    refuses_in_words,
)
