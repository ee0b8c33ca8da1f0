"""Spec -> Plan: compose the stages of every cell. Reads the data's catalogue, never torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from grid.attack_choices import AttackChoice
from grid.defense_choices import DefenseChoice
from grid.numerics import resolve_numerics
from grid.plan import Cell, GANEntry, Plan, Row, leaks
from grid.problems import Problem, SpecError, from_validation, join_place
from grid.shown_settings import flat, part_settings
from grid.spec import Spec
from grid.world import World, built, digest_of, of_seed
from tasks.attacks.attack import Attack, Attacker
from tasks.attacks.rerun import Rerun
from tasks.defenses.defense import Protected
from tasks.gan.gan import GANChoice
from tasks.metrics.evaluate import Distance, Evaluate
from tasks.models.classifier import Model
from tasks.stage import Stage

RERUN_FACTOR = 4  # times the steps, where an attack did not converge on a defended target


def expand(spec: Spec) -> Plan:
    """Compose all stages of a spec, which `load_spec` has checked. SpecError if evaluation would not be honest."""
    numerics = resolve_numerics(spec.numerics)
    rows: list[Row] = []
    gans: list[GANEntry] = []
    sources: dict[str, Path] = {}
    names: dict[str, str] = {}
    problems: list[Problem] = []
    findings: dict[str, Mapping[str, tuple[str, ...]]] = {}
    inception = digest_of(spec, spec.inception_weights, sources)
    for choice in spec.datasets:
        catalogue = spec.catalogue(choice)
        sources.update(catalogue.sources)
        findings[choice.shown] = catalogue.findings
        for victim in spec.victims:
            world = World(spec, numerics, choice, catalogue, victim, inception, sources)
            try:
                rows += _Rows(world).all()
            except SpecError as error:
                problems += [Problem(spec.source.place(p.place), p.message) for p in error.problems]
                continue
            gans += world.measured_gans()
            names.update(world.names)
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))  # what is wrong with several victims is said once
    plan = Plan(spec.name, spec.budget, numerics, tuple(rows), sources, spec=_plain_spec(spec), gans=_once(gans))
    shown = {key: names.get(key, stage.kind) for key, stage in plan.stages().items()}
    plan = replace(plan, names=shown, findings=findings)
    if found := leaks(plan):
        raise SpecError(found)
    return plan


class _Rows:
    """Every defense under every attack in one world."""

    def __init__(self, world: World) -> None:
        self.world, self.spec = world, world.spec
        self._protections: dict[tuple[str, str, int, int], Protected] = {}
        self._attacks: dict[tuple[str, str, int, int], Attack] = {}
        self._on_victim: dict[str, bool] = {}  # by target: whether it rests on the undefended model

    def all(self) -> list[Row]:
        """The rows. SpecError names every attack and defense that cannot be composed on such a victim."""
        if problems := self._impossible():
            raise SpecError(problems)
        return [self._row(defense, attack) for attack in self.spec.attacks for defense in self.spec.defenses]

    def _impossible(self) -> list[Problem]:
        """Attacks and defenses that cannot be composed on this victim: all of them, each with its place."""
        seed, label = self.spec.seeds[0], self.world.labels[0]
        victim = self.world.victim_model(seed)
        problems: list[Problem] = []
        possible = []
        for attack in self.spec.attacks:
            if reason := attack.attack.refusal(victim):
                problems.append(Problem(attack.place, reason))
                continue
            try:
                self._attack(attack, victim, seed, label)
                possible.append(attack)
            except SpecError as error:
                problems += [found for found in error.problems if found not in problems]
        for defense in self.spec.defenses:
            if reason := defense.defense.refusal(victim):
                problems.append(Problem(defense.place, reason))
                continue
            try:
                for attack in possible:
                    met = self._protected(defense, attack, seed, label).attacked
                    if reason := attack.attack.refusal(met):
                        problems.append(Problem(attack.place, f"against {defense.shown}: {reason}"))
            except SpecError as error:
                problems += [found for found in error.problems if found not in problems]
        return problems

    def _protected(self, choice: DefenseChoice, attack: AttackChoice, seed: int, label: int) -> Protected:
        """The target of a cell; one for all attacks, unless the defense knows the attack."""
        known = choice.defense.knows_the_attack
        structure = attack.known_gan if known else None
        who = "" if not known else structure.name if structure is not None else "no GAN"
        if (found := self._protections.get((choice.shown, repr(structure), seed, label))) is None:
            found = self._protect(choice, structure, seed, label, f"{choice.shown} {who}".strip())
            self._protections[choice.shown, repr(structure), seed, label] = found
        return found

    def _protect(
        self, choice: DefenseChoice, structure: GANChoice | None, seed: int, label: int, shown: str
    ) -> Protected:
        world = self.world
        defender = world.defender(seed, choice.place, structure)
        labels = (label,) if self.spec.protect == "single" else world.labels
        try:
            found = choice.defense.protect(defender, labels)
        except ValidationError as error:
            raise SpecError(from_validation(error, choice.place, type(choice.defense))) from error
        of = f" label {label}" if found.pairs and self.spec.protect == "single" else ""
        if found.target.key != defender.victim.key:
            world.named(f"{shown}{of}{of_seed(seed)}", found.target)
        for pair in found.pairs:
            if pair.private is not None:
                world.named(f"private {_what(pair.private)} label {pair.label}{of_seed(seed)}", pair.private)
            if pair.public is not None:
                world.named(f"public {_what(pair.public)} {pair.led_to}{of_seed(seed)}", pair.public)
        for stage in (s for s in found.target.closure().values() if s.group != "data" and s.key not in world.names):
            whose = "" if stage.kind == "fisher" else f" of {shown}{of}"
            world.named(f"{stage.kind.replace('_', ' ')}{whose}{of_seed(seed)}", stage)
        return found

    def _row(self, defense: DefenseChoice, attack: AttackChoice) -> Row:
        world = self.world
        where = [(seed, label) for seed in self.spec.seeds for label in world.labels]
        protected = [self._protected(defense, attack, seed, label) for seed, label in where]
        cells = tuple(self._cell(defense, attack, *at, found) for at, found in zip(where, protected, strict=True))
        distance = Distance(
            evaluations=tuple(cell.evaluate for cell in cells),
            reference=world.split("train", "private"),
            inception=world.inception,
            **world.common(self.spec.seeds[0]),
        )
        world.named(f"distances {defense.shown} under {attack.shown}", distance)
        sample, victims = cells[0].evaluate.attack, [world.victim_model(seed).key for seed, _ in where]
        own = sample.config.items()
        shown = {name: value for name, value in own if name not in ("label", "seed") and not isinstance(value, dict)}
        return Row(
            dataset=world.choice.shown,
            victim=world.victim.shown,
            defense=defense.shown,
            defense_kind=defense.defense.name,
            attack=attack.shown,
            undefended=[found.target.key for found in protected] == victims,
            control=attack.control,
            access=sample.access,
            output=protected[0].output,
            selection=sample.selection,
            settings=flat(defense.defense),
            attack_settings={**shown, **part_settings(sample, attack.parts)},
            fakes_gan=world.structure_behind(protected[0].target),
            cells=cells,
            distance=distance,
        )

    def _cell(self, defense: DefenseChoice, attack: AttackChoice, seed: int, label: int, protected: Protected) -> Cell:
        world = self.world
        where = f"{defense.shown} label {label}{of_seed(seed)}"
        stage = world.named(f"{attack.shown} on {where}", self._attack(attack, protected.attacked, seed, label))
        rerun = self._rerun(attack, stage, seed, label)
        if rerun is not None:
            world.named(f"rerun of {attack.shown} on {where}", rerun)
        train, test = world.split("train", "private"), world.split("test", "private")
        evaluate = Evaluate(
            attack=stage,
            rerun=rerun,
            evaluator=world.evaluator(seed),
            second=world.second(seed),
            reference=train,
            **world.common(seed),
        )
        world.named(f"evaluate {attack.shown} on {where}", evaluate)
        pair = next((pair for pair in protected.pairs if pair.label == label), None)
        public = world.split("train", "classifier") if pair is not None else None
        return Cell(
            label=label,
            person=world.catalogue.private[label],
            seed=seed,
            evaluate=evaluate,
            accuracy=world.accuracy(protected.target, test, seed, world.names[protected.target.key]),
            checks=world.checks(seed),
            decoy=pair.decoy if pair else None,
            decoy_person=public.people[pair.decoy] if pair and public and pair.decoy is not None else None,
            fakes_private=pair.private if pair else None,
            fakes_public=pair.public if pair else None,
            public=public,
        )

    def _attack(self, choice: AttackChoice, target: Model, seed: int, label: int) -> Attack:
        """An attack on a target, made once: reruns start from those on the undefended model."""
        asked = (choice.shown, target.key, seed, label)
        if asked not in self._attacks:
            self._attacks[asked] = self._make_attack(choice, target, seed, label)
        return self._attacks[asked]

    def _make_attack(self, choice: AttackChoice, target: Model, seed: int, label: int) -> Attack:
        world, place = self.world, join_place(choice.place, "gan")
        attacker = Attacker(
            images=world.split("all", "attacker"),
            private=world.split("train", "private"),
            make_gan=lambda gan, against: world.gan(gan, self.spec.attacker_role, seed, against, place),
            common=world.common(seed),
        )
        try:
            own = choice.attack.equip(attacker, target, choice.settings, choice.parts)
        except ValidationError as error:
            raise SpecError(from_validation(error, choice.place, choice.attack)) from error
        for name, stage in own.items():
            if stage is not None and name != "gan":
                world.named(f"{choice.shown} {name} against {world.names.get(target.key, target.key)}", stage)
        fields = {"target": target, "label": label, **choice.settings, **own, **world.common(seed)}
        return built(choice.attack, fields, choice.place)

    def _rerun(self, choice: AttackChoice, first: Attack, seed: int, label: int) -> Rerun | None:
        """A second try for an attack on a defended target, if the attack searches and so can be intensified."""
        world = self.world
        victim = world.victim_model(seed)
        if choice.control or first.target.key == victim.key or first.intensified(RERUN_FACTOR) is None:
            return None
        if (target := first.target).key not in self._on_victim:
            self._on_victim[target.key] = victim.key in target.closure()
        if not self._on_victim[target.key]:  # trained anew: nobody outside sees the undefended model
            return Rerun(first=first, factor=RERUN_FACTOR, **world.common(seed))
        undefended = self._attack(choice, victim, seed, label)
        world.named(f"{choice.shown} on victim label {label}{of_seed(seed)}", undefended)
        return Rerun(first=first, undefended=undefended, factor=RERUN_FACTOR, **world.common(seed))


def _what(stage: Stage) -> str:
    return stage.kind.replace("_", " ") if stage.kind in ("photographs", "synthetic_person") else "fakes"


def _once(gans: list[GANEntry]) -> tuple[GANEntry, ...]:
    return tuple({entry.quality.key: entry for entry in gans}.values())


def _plain_spec(spec: Spec) -> dict[str, Any]:
    """The spec as the user gave it, with `--set` applied."""
    return {str(key): value for key, value in spec.source.content.items()}
