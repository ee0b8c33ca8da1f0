"""The plan: all stages of a grid, each once, and which of them make up each cell and row of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import Any

from grid.problems import Problem
from tasks.attacks.attack import GeneratorAttack
from tasks.data.shard import Shard
from tasks.data.split import Split
from tasks.gan.gan import GAN
from tasks.metrics.evaluate import Accuracy, Distance, Evaluate
from tasks.metrics.gan_quality import GANQuality
from tasks.models.classifier import Classifier
from tasks.stage import Stage, closure_of

EVALUATORS = ("evaluator", "second_evaluator")


@dataclass(frozen=True)
class Cell:
    """One attack on one label of one target: (dataset, victim, defense, attack, label, seed) and its stages."""

    label: int
    person: str
    seed: int
    evaluate: Evaluate
    accuracy: Accuracy
    checks: tuple[Accuracy, ...]  # test accuracy of F_E and the second evaluator: AA stands on them
    decoy: int | None = None
    decoy_person: str | None = None
    fakes_private: Stage | None = None
    fakes_public: Stage | None = None
    public: Split | None = None  # labelled public split that the decoy belongs to


@dataclass(frozen=True)
class Row:
    """Cells pooled over labels and seeds: one line of a table."""

    dataset: str
    victim: str
    defense: str
    defense_kind: str  # its name in the registry
    attack: str
    undefended: bool
    control: bool  # the attack's generator is untrained
    access: str  # white_box or black_box
    output: str  # how the attack meets an output wrapper: through it or stripped of it; empty: there is none
    selection: str  # how the attack chooses among what it found; by the target alone
    settings: Mapping[str, Any]
    attack_settings: Mapping[str, Any]
    fakes_gan: str  # structure of the GAN that the defense made fakes with; empty: it made none
    cells: tuple[Cell, ...]
    distance: Distance


@dataclass(frozen=True)
class GANEntry:
    """A GAN of the grid and the stage that measures it."""

    dataset: str
    structure: str
    settings: Mapping[str, Any]
    quality: GANQuality


@dataclass(frozen=True)
class Plan:
    """What has to exist for a spec to be answered. Pure: making one runs nothing."""

    name: str
    budget: str
    numerics: str
    rows: tuple[Row, ...]
    sources: Mapping[str, Path] = field(default_factory=dict)  # content digest -> where it lies here
    names: Mapping[str, str] = field(default_factory=dict)  # key -> short display name
    spec: Mapping[str, Any] = field(default_factory=dict)
    gans: tuple[GANEntry, ...] = ()
    findings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # per dataset, in its files

    def stages(self) -> dict[str, Stage]:
        """Every stage once, upstream first, by key."""
        return dict(self._stages)

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        return closure_of(self.roots())

    def roots(self) -> list[Stage]:
        """The stages that nothing in the plan depends on."""
        cells = [stage for row in self.rows for c in row.cells for stage in (c.evaluate, c.accuracy, *c.checks)]
        return [*cells, *(row.distance for row in self.rows), *(entry.quality for entry in self.gans)]

    def without_sharing(self) -> int:
        """How many stages a script would run that makes all that a cell needs anew for each cell."""
        return self.asked_for().total()

    def asked_for(self) -> Counter[str]:
        """The same by kind of stage."""
        needs: dict[str, int] = {}  # by key: what a stage needs, a bit a stage
        of_kind: dict[str, int] = {}
        for place, (key, stage) in enumerate(self.stages().items()):
            needs[key] = reduce(or_, (needs[parent.key] for parent in stage.upstream), 1 << place)
            of_kind[stage.kind] = of_kind.get(stage.kind, 0) | 1 << place
        cells = [needs[c.evaluate.key] | needs[c.accuracy.key] for row in self.rows for c in row.cells]
        return Counter({kind: sum((cell & own).bit_count() for cell in cells) for kind, own in of_kind.items()})

    def document(self) -> dict[str, Any]:
        """The plan's rows and cells as plain JSON, by key: what tables, pictures and MLflow are made from."""
        return {
            "name": self.name,
            "budget": self.budget,
            "numerics": self.numerics,
            "spec": dict(self.spec),
            "rows": [_row_document(row) for row in self.rows],
            "gans": [_gan_document(entry, self.names) for entry in self.gans],
            "stages": {
                key: {
                    "kind": stage.kind,
                    "group": stage.group,
                    "name": self.names[key],
                    "trains": stage.trains,
                }
                for key, stage in self.stages().items()
            },
        }


def _row_document(row: Row) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "victim": row.victim,
        "defense": row.defense,
        "defense_kind": row.defense_kind,
        "attack": row.attack,
        "attack_kind": row.cells[0].evaluate.attack.kind,
        "control": row.control,
        "access": row.access,
        "output": row.output,
        "selection": row.selection,
        "undefended": row.undefended,
        "settings": dict(row.settings),
        "attack_settings": dict(row.attack_settings),
        "fakes_gan": row.fakes_gan,
        "distance": row.distance.key,
        "cells": [_cell_document(cell) for cell in row.cells],
    }


def _gan_document(entry: GANEntry, names: Mapping[str, str]) -> dict[str, Any]:
    gan = entry.quality.gan
    return {
        "dataset": entry.dataset,
        "structure": entry.structure,
        "role": gan.role,
        "seed": gan.seed,
        "name": names[gan.key],
        "settings": dict(entry.settings),
        "gan": gan.key,
        "quality": entry.quality.key,
    }


def _cell_document(cell: Cell) -> dict[str, Any]:
    def key(stage: Stage | None) -> str | None:
        return stage.key if stage is not None else None

    return {
        "label": cell.label,
        "person": cell.person,
        "seed": cell.seed,
        "decoy": cell.decoy,
        "decoy_person": cell.decoy_person,
        "target": cell.evaluate.attack.target.key,
        "attack": cell.evaluate.attack.key,
        "rerun": key(cell.evaluate.rerun),
        "evaluate": cell.evaluate.key,
        "accuracy": cell.accuracy.key,
        "evaluator_accuracy": cell.checks[0].key,
        "second_accuracy": cell.checks[1].key,
        "fakes_private": key(cell.fakes_private),
        "fakes_public": key(cell.fakes_public),
        "train": cell.evaluate.reference.key,
        "public": key(cell.public),
    }


def leaks(plan: Plan) -> list[Problem]:
    """Breaches of honest evaluation in the graph; an empty list is the proof that there are none.

    Only evaluation stages may take the test split or an evaluator, nothing may take an evaluation, and no
    attack may use a generator that the target's defense used.
    """
    problems = []
    measuring = (Evaluate, Accuracy, Distance, GANQuality)
    sides: dict[str, set[str]] = {}
    behind: dict[str, list[Stage]] = {}
    for key, stage in plan.stages().items():
        for parent in stage.upstream:
            if isinstance(parent, Shard):
                problems += _shard_leaks(stage, parent, sides.setdefault(parent.key, set()))
            if isinstance(parent, Classifier) and parent.role == "judge" and not isinstance(stage, GANQuality):
                problems.append(Problem(key, f"takes the judge {parent.key}, which measures GANs and nothing else"))
            if isinstance(stage, measuring):
                continue
            if isinstance(parent, Split) and (
                parent.part == "test" or (parent.part == "all" and parent.audience == "private")
            ):
                problems.append(Problem(key, f"takes the test split {parent.key}, which only evaluation may"))
            if isinstance(parent, Classifier) and parent.role in EVALUATORS:
                problems.append(Problem(key, f"takes the {parent.role} {parent.key}, which only evaluation may"))
            if isinstance(parent, measuring):
                problems.append(Problem(key, f"takes the evaluation {parent.key}: evaluators select nothing"))
        if isinstance(stage, GeneratorAttack) and (shared := _shared_generators(stage, behind)):
            text = f"attacks with {', '.join(shared)}, which the target's own defense used; train the attacker's apart"
            problems.append(Problem(key, text))
        if isinstance(stage, GeneratorAttack) and stage.gan.role == "defender":
            problems.append(Problem(key, f"attacks with a GAN of the defender, {stage.gan.key}"))
        if isinstance(stage, GAN) and stage.role in ("attacker", "confirm") and stage.data.audience != "attacker":
            whose = {"defender": "the defender's public", "classifier": "F_C's public"}.get(
                stage.data.audience, "private"
            )
            text = f"the attacker's GAN is trained on {whose} images, which an attacker does not have"
            problems.append(Problem(key, text))
    return problems


def _shard_leaks(stage: Stage, shard: Shard, sides: set[str]) -> list[Problem]:
    """A shard holds all parts of its people's pictures, so only splits may read it, and those of one side alone.

    sides: of the splits met so far that are made from it; noted there.
    """
    if not isinstance(stage, Split):
        return [Problem(stage.key, f"takes the shard {shard.key}, which only splits may")]
    if stage.audience != "judge":  # measures GANs, on the public people of both sides
        sides.add("defender" if stage.audience == "classifier" else stage.audience)
    if len(sides) < 2:
        return []
    text = f"takes the shard {shard.key}, which splits of {' and '.join(sorted(sides))} share"
    return [Problem(stage.key, text)]


def _shared_generators(attack: GeneratorAttack, behind: dict[str, list[Stage]]) -> list[str]:
    """Generators (by key, or by the weights that a user gave) that the attack has in common with the defense.

    behind: the generators behind each target, by its key; kept there.
    """
    own, gan = [attack.gan], attack.gan
    while (init := getattr(gan, "init", None)) is not None:
        gan = init
        own.append(gan)
    target = attack.target
    if (used := behind.get(target.key)) is None:
        used = behind[target.key] = [stage for stage in target.closure().values() if isinstance(stage, GAN)]
    identities = {stage.key for stage in used} | {getattr(stage, "weights", stage.key) for stage in used}
    return [gan.key for gan in own if identities & {gan.key, getattr(gan, "weights", gan.key)}]
