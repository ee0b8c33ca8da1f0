"""Defenses as rows of a plan: which target meets which attack, what rows are called, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from grid.plan import Plan, Row, leaks
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.attacks.gmi import GMI
from tasks.attacks.privacy import Privacy
from tasks.defenses.defense import Defender, Defense, Protected
from tasks.defenses.gan_id import GANID
from tasks.finetune.finetune import Finetune
from tasks.gan.gan import GAN
from tasks.gan.inversion_gan import InversionGAN
from tasks.gan.stylegan import StyleGAN
from tasks.gan.wgan import WGAN
from tasks.models.classifier import Classifier, Model
from tests.grid.specs import planned, problems

ATTACKS = ["gmi", "dmi", "mirror", "privacy"]
VGG: dict[str, Any] = {"arch": "vgg16_bn", "width": 0.0625, "epochs": 2}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("defenses")
    return planned(folder, attacks=ATTACKS, defenses=["none", "gan_d", "gan_id"], control="untrained")


def row(plan: Plan, defense: str, attack: str) -> Row:
    return next(row for row in plan.rows if (row.defense, row.attack) == (defense, attack))


def targets(plan: Plan, defense: str, attack: str) -> dict[int, str]:
    """What is attacked, by label."""
    return {cell.label: cell.evaluate.attack.target.key for cell in row(plan, defense, attack).cells}


def gan_of_defense(plan: Plan, attack: str, defense: str = "gan_d") -> GAN:
    """The one GAN that the targets of a row rest on."""
    found = {
        key: stage
        for cell in row(plan, defense, attack).cells
        for key, stage in cell.evaluate.attack.target.closure().items()
        if isinstance(stage, GAN)
    }
    (gan,) = found.values()
    return gan


def gans_of_attack(plan: Plan, attack: str, defense: str) -> list[GAN]:
    """The attacker's GAN of each cell, and the one that it started from."""
    attacks = [cell.evaluate.attack for cell in row(plan, defense, attack).cells]
    gans = [each.gan for each in attacks if isinstance(each, GeneratorAttack)]
    assert len(gans) == len(attacks)
    return gans + [gan.init for gan in gans if isinstance(gan, InversionGAN) and gan.init is not None]


def victim(plan: Plan) -> Classifier:
    (found,) = [s for s in plan.stages().values() if isinstance(s, Classifier) and s.role == "victim"]
    return found


@pytest.mark.parametrize(
    ("attack", "structure"), [("gmi", WGAN), ("dmi", InversionGAN), ("mirror", StyleGAN), ("privacy", WGAN)]
)
def test_gan_d_trains_a_gan_of_the_attackers_structure(plan: Plan, attack: str, structure: type[GAN]) -> None:
    """Structure and settings are the attacker's; images, role and weights are its own."""
    own = gan_of_defense(plan, attack)
    assert type(own) is structure
    assert (own.role, own.data.audience) == ("defender", "defender")
    if attack == "privacy":
        return
    theirs = gans_of_attack(plan, attack, "none")[0]
    settings = {name: value for name, value in own.config.items() if name not in ("role", "data", "target", "init")}
    assert settings == {name: theirs.config[name] for name in settings}
    assert not set(own.data.people) & set(theirs.data.people)


def test_gan_ds_inversion_specific_gan_is_of_the_victim_and_dmis_of_the_target(plan: Plan) -> None:
    own = gan_of_defense(plan, "dmi")
    assert isinstance(own, InversionGAN)
    assert own.target.key == victim(plan).key
    assert own.init is None
    for cell in row(plan, "gan_d", "dmi").cells:
        attack = cell.evaluate.attack
        assert isinstance(attack, GeneratorAttack)
        assert isinstance(attack.gan, InversionGAN)
        assert attack.gan.target.key == attack.target.key != victim(plan).key
        assert attack.gan.init is None or own.key not in attack.gan.init.closure()


def test_gan_d_has_one_target_a_structure_and_label_and_gan_id_one_a_label(plan: Plan) -> None:
    d = {attack: targets(plan, "gan_d", attack) for attack in ATTACKS}
    assert d["privacy"] == d["gmi"], "without a GAN it meets `otherwise`, a WGAN here as there"
    assert len({key for found in d.values() for key in found.values()}) == 3 * 2
    assert {tuple(targets(plan, "gan_id", attack).values()) for attack in ATTACKS} == {tuple(d["gmi"].values())}
    assert row(plan, "gan_d", "gmi").settings != row(plan, "gan_id", "gmi").settings, "rows of their own"


def test_a_control_meets_the_target_of_its_attack(plan: Plan) -> None:
    for defense in ("none", "gan_d", "gan_id"):
        for attack in ("gmi", "dmi", "mirror"):
            assert row(plan, defense, f"{attack} untrained").control
            assert targets(plan, defense, f"{attack} untrained") == targets(plan, defense, attack)
            assert {gan.config["steps"] for gan in gans_of_attack(plan, f"{attack} untrained", defense)} == {0}
    assert gan_of_defense(plan, "mirror untrained").config["steps"] > 0, "the defender's is trained"


def test_gan_d_knows_the_settings_of_the_attackers_gan(tmp_path: Path) -> None:
    wide = {"name": "gmi", "as": "wide", "gan": {"name": "wgan", "width": 16}}
    plan = planned(tmp_path, attacks=["gmi", wide], defenses=["gan_d", "gan_id"])
    assert gan_of_defense(plan, "wide") == gan_of_defense(plan, "gmi").model_copy(update={"width": 16})
    assert targets(plan, "gan_d", "wide") != targets(plan, "gan_d", "gmi")
    assert targets(plan, "gan_id", "wide") == targets(plan, "gan_id", "gmi")


def test_what_gan_d_takes_otherwise_is_a_setting(tmp_path: Path) -> None:
    other = {"name": "gan_d", "otherwise": {"name": "dcgan", "width": 8}}
    plan = planned(tmp_path, attacks=["gmi", "privacy"], defenses=["gan_d", {**other, "as": "with dcgan"}])
    assert targets(plan, "gan_d", "gmi") == targets(plan, "with dcgan", "gmi")
    assert gan_of_defense(plan, "privacy", "with dcgan").kind == "dcgan"
    ((place, _),) = problems(tmp_path, defenses=[{**other, "otherwise": "dcgann"}])
    assert place.endswith("defenses[0].otherwise.name")


def test_only_the_victim_itself_is_undefended(plan: Plan) -> None:
    assert {row.defense for row in plan.rows if row.undefended} == {"none"}
    for each in plan.rows:
        met = {cell.evaluate.attack.target.key for cell in each.cells}
        assert (met == {victim(plan).key}) == each.undefended
        assert {cell.accuracy.model.key for cell in each.cells} == met


def test_a_shipped_plan_of_all_three_is_clean_and_a_shared_gan_is_not(plan: Plan) -> None:
    assert leaks(plan) == []
    old = row(plan, "gan_d", "mirror")
    attack = old.cells[0].evaluate.attack.model_copy(update={"gan": gan_of_defense(plan, "mirror")})
    evaluate = old.cells[0].evaluate.model_copy(update={"attack": attack, "rerun": None})
    cells = (dataclasses.replace(old.cells[0], evaluate=evaluate), *old.cells[1:])
    spoiled = tuple(dataclasses.replace(old, cells=cells) if each is old else each for each in plan.rows)
    messages = " ".join(problem.message for problem in leaks(dataclasses.replace(plan, rows=spoiled)))
    assert "which the target's own defense used" in messages


@pytest.mark.parametrize("name", ["gan_d", "gan_id", "random_fakes"])
@pytest.mark.parametrize(
    ("settings", "suffix"),
    [
        ({}, ""),
        ({"gamma": 0}, "+ce"),
        ({"gamma": 0, "lpri": "literal"}, "+ce"),
        ({"gamma": 0, "lpri": "unlikelihood"}, "+unlikelihood"),
        ({"lpri": "ce"}, "+lpri_ce"),
        ({"gamma": 0, "lpri": "ce"}, "+ce"),
        ({"lpri": "literal"}, "+literal"),
        ({"beta": 0, "omega": 0}, "+no_l_pub+no_l_cl"),
        ({"lambda3": 0}, "+no_l_cl"),
        ({"replay": 1}, "+replay"),
    ],
)
def test_what_is_not_eq_10_is_in_the_rows_name(
    tmp_path: Path, name: str, settings: dict[str, Any], suffix: str
) -> None:
    plan = planned(tmp_path, defenses=[{"name": name, **settings}])
    assert [row.defense for row in plan.rows] == [name + suffix]
    assert [row.defense_kind for row in plan.rows] == [name]
    bare = problems(tmp_path, defenses=[{"name": name, "as": name, **settings}])
    assert [place.split(".")[-1] for place, _ in bare] == (["as"] if suffix else [])
    assert all(name + suffix in message for _, message in bare)


def test_rounds_are_rows_beside_the_papers(tmp_path: Path) -> None:
    plan = planned(tmp_path, defenses=["gan_id", {"name": "gan_id", "rounds": 2}])
    assert [row.defense for row in plan.rows] == ["gan_id", "gan_id+rounds2"]
    first, second = ({c.label: c.evaluate.attack.target for c in each.cells} for each in plan.rows)
    for label, target in second.items():
        assert isinstance(target, Finetune)
        assert target.victim.key == first[label].key
    assert {target.key for target in first.values()} <= set(plan.stages())


def test_variants_of_a_defense_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(self: GANID) -> tuple[tuple[str, Defense], ...]:
        return (" once", self), (" twice", self.model_copy(update={"steps": 2 * self.steps}))

    monkeypatch.setattr(GANID, "variants", property(both))
    plan = planned(tmp_path, defenses=["none", "gan_id", {"name": "gan_id", "as": "mine", "lr": 0.5}])
    assert [row.defense for row in plan.rows] == ["none", "gan_id once", "gan_id twice", "mine once", "mine twice"]
    assert [row.settings["steps"] for row in plan.rows[1:]] == [5, 10, 5, 10]
    message = problems(tmp_path, defenses=["gan_id", {"name": "gan_id", "lr": 0.5}])[0].message
    assert "'gan_id once'" in message


def test_a_wrapper_that_attackers_take_off_is_still_a_defense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy is that of what is shipped; attackers meet what `met` says; the row is not `undefended`."""
    real = GANID.protect

    def stripped(self: GANID, defender: Defender, labels: tuple[int, ...]) -> Protected:
        return real(self, defender, labels)._replace(met=defender.victim, output="stripped")

    monkeypatch.setattr(GANID, "protect", stripped)
    plan = planned(tmp_path, defenses=["none", "gan_id"])
    none, defended = plan.rows
    assert (none.undefended, defended.undefended) == (True, False)
    assert (none.output, defended.output) == ("", "stripped")
    assert targets(plan, "gan_id", "gmi") == targets(plan, "none", "gmi")
    for cell in defended.cells:
        assert isinstance(cell.accuracy.model, Finetune)
        assert cell.evaluate.rerun is None, "on the victim itself there is nothing to run again from"


def test_a_second_try_starts_from_the_victim_only_where_the_target_was_made_from_it(tmp_path: Path) -> None:
    """A model trained anew (DP-SGD, MID) keeps its undefended sister to itself."""
    plan = planned(tmp_path, victim=VGG, attacks=["gmi", "dmi"], defenses=["none", "gan_id", "ad_mi", "dp", "mid"])
    anew = {"dp": True, "mid": True, "gan_id": False, "ad_mi through": False}
    for defense in ("gan_id", "ad_mi through", "dp", "mid"):
        for attack in ("gmi", "dmi"):
            for cell in row(plan, defense, attack).cells:
                rerun = cell.evaluate.rerun
                assert rerun is not None
                assert (rerun.undefended is None) == anew[defense], (defense, attack)
                victim = row(plan, "none", attack).cells[0].evaluate.attack.target
                assert (victim.key in rerun.closure()) != anew[defense], (defense, attack)


def refusing(monkeypatch: pytest.MonkeyPatch, attack: type[Attack], reason: str) -> None:
    """Make an attack impossible on fine-tuned models."""

    def refusal(cls: type[Attack], target: Model) -> str | None:
        return reason if isinstance(target, Finetune) else None

    monkeypatch.setattr(attack, "refusal", classmethod(refusal))


def test_pairs_that_do_not_go_together_are_told_at_once_with_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, Privacy, "cannot be differentiated")
    refusing(monkeypatch, GMI, "has no logits")
    found = problems(tmp_path, attacks=["gmi", "privacy"], defenses=["none", "gan_id", "random_fakes"])
    told = [(place.split()[-1], message) for place, message in found]
    assert told == [
        ("attacks[0]", "against gan_id: has no logits"),
        ("attacks[1]", "against gan_id: cannot be differentiated"),
        ("attacks[0]", "against random_fakes: has no logits"),
        ("attacks[1]", "against random_fakes: cannot be differentiated"),
    ]
    assert problems(tmp_path, attacks=["gmi", "privacy"], defenses=["none"]) == ()


def test_a_defense_that_a_victim_cannot_have_is_one_problem_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GANID, "refusal", lambda self, victim: f"not on {victim.network_of().arch}")
    ((place, message),) = problems(tmp_path, attacks=["gmi", "privacy"], defenses=["none", "gan_id"])
    assert (place.split()[-1], message) == ("defenses[1]", "not on vgg16_bn")


def test_a_control_that_is_written_as_a_number_meets_the_same_targets(tmp_path: Path) -> None:
    by_hand = {"name": "mirror", "as": "noise", "gan": {"name": "stylegan", "steps": 0}}
    plan = planned(tmp_path, attacks=["mirror", by_hand], defenses=["gan_d"])
    assert targets(plan, "gan_d", "noise") == targets(plan, "gan_d", "mirror")


def test_a_gan_that_starts_from_another_shows_the_steps_that_it_takes(tmp_path: Path) -> None:
    gan = {"name": "inversion", "start": "undefended", "steps": 5, "init_steps": 2}
    plan = planned(tmp_path, attacks=[{"name": "dmi", "gan": gan}], defenses=["none", "gan_id"])
    shown = {
        bool(getattr(e.quality.gan, "init", None)): e.settings["gan_steps"]
        for e in plan.gans
        if e.structure == "inversion"
    }
    assert shown == {False: 5, True: 2}
