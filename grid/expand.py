"""Spec -> Plan: compose the stages of every cell. Reads the data's catalogue, never torch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from grid.attack_choices import AttackChoice
from grid.data_checks import find_file
from grid.numerics import resolve_numerics
from grid.plan import Cell, GANEntry, Plan, Row, leaks
from grid.problems import Problem, SpecError, from_validation, join_place
from grid.shown_settings import flat, gan_settings, part_settings, plain_fields
from grid.spec import DatasetChoice, DefenseChoice, Spec, VictimChoice
from tasks.attacks.attack import Attack, Attacker
from tasks.attacks.rerun import Rerun
from tasks.data.dataset import Catalogue
from tasks.data.manifest import file_digest
from tasks.data.split import Audience, Part, Split
from tasks.defenses.defense import Defender, Protected
from tasks.gan import GANS
from tasks.gan.gan import GAN, GANChoice, TargetGAN
from tasks.metrics.evaluate import Accuracy, Distance, Evaluate
from tasks.metrics.gan_quality import GANQuality
from tasks.models.classifier import Classifier, GivenClassifier, Model
from tasks.stage import Role, Stage

S = TypeVar("S", bound=Stage)
RERUN_FACTOR = 4  # times the steps, where an attack did not converge on a defended target


def expand(spec: Spec) -> Plan:
    """Compose all stages of a spec, which `load_spec` has checked. SpecError if evaluation would not be honest."""
    numerics = resolve_numerics(spec.numerics)
    rows: list[Row] = []
    gans: list[GANEntry] = []
    sources: dict[str, Path] = {}
    names: dict[str, str] = {}
    inception = _digest_of(spec, spec.inception_weights, sources)
    for choice in spec.datasets:
        catalogue = choice.dataset.catalogue(spec.folder)
        sources.update(catalogue.sources)
        for victim in spec.victims:
            world = _World(spec, numerics, choice, catalogue, victim, inception, sources)
            try:
                rows += world.rows()
            except SpecError as error:
                raise SpecError([Problem(spec.source.place(p.place), p.message) for p in error.problems]) from error
            gans += world.measured_gans()
            names.update(world.names)
    plan = Plan(spec.name, spec.budget, numerics, tuple(rows), sources, spec=_plain_spec(spec), gans=_once(gans))
    plan = replace(plan, names={key: names.get(key, stage.kind) for key, stage in plan.stages().items()})
    if found := leaks(plan):
        raise SpecError(found)
    return plan


@dataclass
class _World:
    """One dataset and victim: the models, splits and GANs that its cells share, for every seed."""

    spec: Spec
    numerics: str
    choice: DatasetChoice
    catalogue: Catalogue
    victim: VictimChoice
    inception: str | None
    sources: dict[str, Path]

    def __post_init__(self) -> None:
        self.names: dict[str, str] = {}
        self.gans: dict[str, tuple[str, GAN]] = {}
        self._splits: dict[tuple[Part, Audience], Split] = {}
        self._classifiers: dict[tuple[Role, int], Classifier] = {}

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The protected labels."""
        return self.spec.labels if self.spec.labels is not None else tuple(range(len(self.catalogue.private)))

    @cached_property
    def given_weights(self) -> str | None:
        """Digest of the victim's weights file, if the user brings one."""
        return _digest_of(self.spec, self.victim.weights, self.sources)

    def split(self, part: Part, audience: Audience) -> Split:
        """A split of the private people, or of the defender's or attacker's half of the public ones."""
        if (part, audience) in self._splits:  # thousands of cells ask for the same few
            return self._splits[part, audience]
        halves = {"defender": self.catalogue.public[::2], "attacker": self.catalogue.public[1::2]}
        halves["classifier"] = halves["defender"]
        halves["judge"] = self.catalogue.public
        people = self.catalogue.private if audience == "private" else halves[audience]
        made = self.choice.dataset.split(self.catalogue, people, part, audience)
        self._splits[part, audience] = self._named(f"{audience} {part} images", made)
        return made

    def common(self, seed: int) -> dict[str, Any]:
        """Fields of every computing stage."""
        return {"seed": seed, "numerics": self.numerics, "threads": self.spec.threads}

    def classifier(self, role: Role, settings: Mapping[str, Any], seed: int) -> Classifier:
        """A classifier trained on the private people, or F_C on the defender's public ones."""
        if (role, seed) in self._classifiers:
            return self._classifiers[role, seed]
        audience: Audience = "private"
        if role in ("public_classifier", "judge"):
            audience = "classifier" if role == "public_classifier" else "judge"
        val = self.split("val", audience) if self.choice.dataset.val_per_label else None
        stage = Classifier(train=self.split("train", audience), val=val, role=role, **settings, **self.common(seed))
        self._classifiers[role, seed] = self._named(f"{role.replace('_', ' ')} {stage.arch}{_seed(seed)}", stage)
        return stage

    def victim_model(self, seed: int) -> Model:
        """The victim: trained here, or the user's."""
        if self.victim.weights is None:
            return self.classifier("victim", self.victim.settings, seed)
        train = self.split("train", "private")
        fields = {name: self.victim.settings[name] for name in ("arch", "width") if name in self.victim.settings}
        stage = GivenClassifier(
            weights=self.given_weights or "",
            people=train.people,
            channels=train.channels,
            size=train.size,
            **fields,
            **self.common(seed),
        )
        return self._named(f"given victim {stage.arch}", stage)

    def gan(self, choice: GANChoice, role: Role, seed: int, target: Model, place: str) -> GAN:
        """A GAN on the public images of its role; `target` is what a GAN that needs one is trained against.

        place: where the spec asks for it.
        """
        structure = GANS[choice.name]
        data = self.split("all", "attacker" if role == "attacker" else "defender")
        fields = {"data": data, "role": role, **choice.settings, **self.common(seed)}
        for name in ("weights", "critic_weights"):
            if fields.get(name) is not None:
                fields[name] = _digest_of(self.spec, fields[name], self.sources)
        name = f"{role} {choice.name}{_seed(seed)}"
        if issubclass(structure, TargetGAN):
            victim = self.victim_model(seed)
            against = "" if target.key == victim.key else f" against {self.names.get(target.key, target.key)}"
            name = f"{role} {choice.name}{against or _seed(seed)}"
            fields["target"] = target
            if against and fields.get("start") == "undefended":
                fields["init"] = self.gan(choice, role, seed, victim, place)
        stage = _built(structure, fields, place)
        if fields.get("steps") == 0:
            name += " untrained"
        alike = {key for key, other in self.names.items() if other.split(" (")[0] == name} - {stage.key}
        self._named(f"{name} ({len(alike) + 1})" if alike else name, stage)
        self.gans.setdefault(stage.key, (choice.name, stage))
        return stage

    def decoy(self, label: int, seed: int) -> int:
        """l_p: as the spec says, or drawn at random (sec. IV-A.2) from (seed, label)."""
        people = self.split("train", "classifier").people
        return self.spec.decoys.get(label, random.Random(f"decoy/{seed}/{label}").randrange(len(people)))

    def measured_gans(self) -> list[GANEntry]:
        """Every GAN that the rows use, with the stage that measures it. To be asked after `rows`."""
        return [
            GANEntry(
                dataset=self.choice.shown,
                structure=structure,
                settings=gan_settings(GANChoice(name=structure, settings=plain_fields(gan))),
                quality=self._named(
                    f"quality of {self.names[gan.key]}",
                    GANQuality(
                        gan=gan,
                        judge=self.classifier("judge", self.spec.evaluator, gan.seed),
                        reference=gan.data,
                        **self.common(gan.seed),
                    ),
                ),
            )
            for structure, gan in self.gans.values()
        ]

    def rows(self) -> list[Row]:
        """Every defense under every attack. SpecError for an attack that such a victim cannot be met with."""
        if problems := self._impossible():
            raise SpecError(problems)
        protected = {
            (defense.shown, seed, label): self._protect(defense, seed, label)
            for defense in self.spec.defenses
            for seed in self.spec.seeds
            for label in self.labels
        }
        return [self._row(defense, attack, protected) for attack in self.spec.attacks for defense in self.spec.defenses]

    def _impossible(self) -> list[Problem]:
        """Attacks and defenses that cannot be composed on this victim: all of them, each with its place."""
        seed, label = self.spec.seeds[0], self.labels[0]
        victim = self.victim_model(seed)
        problems: list[Problem] = []
        for attack in self.spec.attacks:
            if reason := attack.attack.refusal(victim):
                problems.append(Problem(attack.place, reason))
                continue
            try:
                self._attack(attack, victim, seed, label)
            except SpecError as error:
                problems += [found for found in error.problems if found not in problems]
        for defense in self.spec.defenses:
            try:
                self._protect(defense, seed, label)
            except SpecError as error:
                problems += error.problems
        return problems

    def _checks(self, seed: int) -> tuple[Accuracy, Accuracy]:
        """Test accuracy of F_E and of the second evaluator: every attack accuracy stands on it."""
        test, at = self.split("test", "private"), _seed(seed)
        first = self._accuracy(self._evaluator(seed), test, seed, f"evaluator{at}")
        return first, self._accuracy(self._second(seed), test, seed, f"second evaluator{at}")

    def _protect(self, choice: DefenseChoice, seed: int, label: int) -> Protected:
        defender = Defender(
            victim=self.victim_model(seed),
            train=self.split("train", "private"),
            public_classifier=self.classifier("public_classifier", self.spec.public_classifier, seed),
            make_gan=lambda gan: self.gan(
                gan, "defender", seed, self.victim_model(seed), join_place(choice.place, "gan")
            ),
            decoy=lambda label: self.decoy(label, seed),
            common=self.common(seed),
        )
        labels = (label,) if self.spec.protect == "single" else self.labels
        found = choice.defense.protect(defender, labels)
        if found.pairs:
            of = f" label {label}" if self.spec.protect == "single" else ""
            self._named(f"{choice.shown}{of}{_seed(seed)}", found.target)
        for pair in found.pairs:
            if pair.private is not None:
                self._named(f"private fakes label {pair.label}{_seed(seed)}", pair.private)
            if pair.public is not None:
                self._named(f"public fakes decoy {pair.decoy}{_seed(seed)}", pair.public)
        for stage in found.target.closure().values():
            if stage.kind == "fisher":
                self._named(f"fisher{_seed(seed)}", stage)
        return found

    def _row(
        self,
        defense: DefenseChoice,
        attack: AttackChoice,
        protected: Mapping[tuple[str, int, int], Protected],
    ) -> Row:
        cells = tuple(
            self._cell(defense, attack, seed, label, protected[defense.shown, seed, label])
            for seed in self.spec.seeds
            for label in self.labels
        )
        distance = Distance(
            evaluations=tuple(cell.evaluate for cell in cells),
            reference=self.split("train", "private"),
            inception=self.inception,
            **self.common(self.spec.seeds[0]),
        )
        self._named(f"distances {defense.shown} under {attack.shown}", distance)
        sample = cells[0].evaluate.attack
        shown = {name: value for name, value in sample.config.items() if name not in ("label", "seed")}
        shown = {name: value for name, value in shown.items() if not isinstance(value, dict)}
        return Row(
            dataset=self.choice.shown,
            victim=self.victim.shown,
            defense=defense.shown,
            attack=attack.shown,
            undefended=all(protected[defense.shown, cell.seed, cell.label].pairs == () for cell in cells),
            control=attack.control,
            access=sample.access,
            selection=sample.selection,
            settings=flat(defense.defense.model_dump()),
            attack_settings={**shown, **part_settings(sample, attack.parts)},
            cells=cells,
            distance=distance,
        )

    def _cell(self, defense: DefenseChoice, attack: AttackChoice, seed: int, label: int, protected: Protected) -> Cell:
        where = f"{defense.shown} label {label}{_seed(seed)}"
        stage = self._named(f"{attack.shown} on {where}", self._attack(attack, protected.target, seed, label))
        rerun = self._rerun(attack, stage, seed, label)
        if rerun is not None:
            self._named(f"rerun of {attack.shown} on {where}", rerun)
        train, test = self.split("train", "private"), self.split("test", "private")
        evaluate = Evaluate(
            attack=stage,
            rerun=rerun,
            evaluator=self._evaluator(seed),
            second=self._second(seed),
            reference=train,
            **self.common(seed),
        )
        self._named(f"evaluate {attack.shown} on {where}", evaluate)
        pair = next((pair for pair in protected.pairs if pair.label == label), None)
        public = self.split("train", "classifier") if pair is not None else None
        return Cell(
            label=label,
            person=self.catalogue.private[label],
            seed=seed,
            evaluate=evaluate,
            accuracy=self._accuracy(protected.target, test, seed, where),
            checks=self._checks(seed),
            decoy=pair.decoy if pair else None,
            decoy_person=public.people[pair.decoy] if pair and public and pair.decoy is not None else None,
            fakes_private=pair.private if pair else None,
            fakes_public=pair.public if pair else None,
            public=public,
        )

    def _attack(self, choice: AttackChoice, target: Model, seed: int, label: int) -> Attack:
        attacker = Attacker(
            images=self.split("all", "attacker"),
            private=self.split("train", "private"),
            make_gan=lambda gan, against: self.gan(gan, "attacker", seed, against, join_place(choice.place, "gan")),
            common=self.common(seed),
        )
        try:
            own = choice.attack.equip(attacker, target, choice.settings, choice.parts)
        except ValidationError as error:
            raise SpecError(from_validation(error, choice.place, choice.attack)) from error
        for name, stage in own.items():
            if stage is not None and name != "gan":
                self._named(f"{choice.shown} {name} against {self.names.get(target.key, target.key)}", stage)
        fields = {"target": target, "label": label, **choice.settings, **own, **self.common(seed)}
        return _built(choice.attack, fields, choice.place)

    def _rerun(self, choice: AttackChoice, first: Attack, seed: int, label: int) -> Rerun | None:
        """A second try for an attack on a defended target, if the attack searches and so can be intensified."""
        victim = self.victim_model(seed)
        if choice.control or first.target.key == victim.key or first.intensified(RERUN_FACTOR) is None:
            return None
        undefended = self._attack(choice, victim, seed, label)
        self._named(f"{choice.shown} on victim label {label}{_seed(seed)}", undefended)
        return Rerun(first=first, undefended=undefended, factor=RERUN_FACTOR, **self.common(seed))

    def _evaluator(self, seed: int) -> Classifier:
        return self.classifier("evaluator", self.spec.evaluator, seed)

    def _second(self, seed: int) -> Classifier:
        return self.classifier("second_evaluator", self.spec.second_evaluator, seed)

    def _accuracy(self, model: Model, test: Split, seed: int, where: str) -> Accuracy:
        return self._named(f"accuracy {where}", Accuracy(model=model, test=test, **self.common(seed)))

    def _named(self, name: str, stage: S) -> S:
        self.names.setdefault(stage.key, name)
        return stage


def _seed(seed: int) -> str:
    return f" seed {seed}" if seed else ""


def _built(kind: type[S], fields: Mapping[str, Any], place: str) -> S:
    """A stage; SpecError where its settings do not go together."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise SpecError(from_validation(error, place, kind)) from error


def _digest_of(spec: Spec, path: str | None, sources: dict[str, Path]) -> str | None:
    """Digest of a file that the user brings; its path is noted in `sources`, never in a key."""
    if path is None:
        return None
    found = find_file(path, spec.folder).resolve()
    digest = file_digest(found)
    sources[digest] = found
    return digest


def _once(gans: list[GANEntry]) -> tuple[GANEntry, ...]:
    return tuple({entry.quality.key: entry for entry in gans}.values())


def _plain_spec(spec: Spec) -> dict[str, Any]:
    """The spec as the user gave it, with `--set` applied."""
    return {str(key): value for key, value in spec.source.content.items()}
