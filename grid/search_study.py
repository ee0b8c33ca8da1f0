"""What the trials of a search share: the world of its spec, the defense that it fills, and how it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from grid.defense_choices import DefenseChoice
from grid.entries import check_settings, settings_model
from grid.numerics import resolve_numerics
from grid.problems import Problem, SpecError, from_validation
from grid.search_space import Space, Value, filled
from grid.spec import Spec
from grid.spec_source import read_budget
from grid.world import World, digest_of
from tasks.attacks.gmi import GMI
from tasks.finetune.finetune import Finetune
from tasks.gan.gan import GAN, GANChoice
from tasks.models.classifier import Classifier, Model
from tasks.stage import Stage

SEARCH_SEED = 1000  # on top of the spec's: the search's own attacker shares no draw with any other
RUNGS = (0.25, 0.5, 1.0)  # shares of the steps after which a trial is measured, and may be stopped
FEWEST = 5  # images of l_t from which MC(l_t) is measured on the validation split alone
ON_VALIDATION = "validation split"
ON_BOTH = "validation split and training images (too few of l_t are held out)"


class Aim(NamedTuple):
    """What a trial is measured at: a protected label of the victim that a seed made."""

    seed: int
    label: int


@dataclass
class Study:
    """One dataset, one victim a seed, and the defense whose settings are searched.

    Every trial is measured at each label of each seed: coefficients that suit one victim need not suit the next.
    """

    world: World
    space: Space
    choice: DefenseChoice
    seeds: tuple[int, ...]
    gan_choice: GANChoice
    attack_settings: Mapping[str, Any]
    rungs: tuple[float, ...] = RUNGS

    @property
    def labels(self) -> tuple[int, ...]:
        """The protected labels."""
        return self.world.labels

    @property
    def aims(self) -> list[Aim]:
        """Every label of every seed, in order."""
        return [Aim(seed, label) for seed in self.seeds for label in self.labels]

    def victim(self, seed: int) -> Model:
        return self.world.victim_model(seed)

    def second(self, seed: int) -> Classifier:
        """The second evaluator: the only judge that a search may ask."""
        return self.world.second(seed)

    def gan(self, seed: int) -> GAN:
        """Of the search's attacker: another seed, on the defender's half, since the attacker's stays unseen."""
        return self.world.gan(self.gan_choice, "search", seed + SEARCH_SEED, self.victim(seed), "budget.search")

    @property
    def target_images(self) -> str:
        """What MC(l_t) is measured on."""
        return ON_VALIDATION if self.world.choice.dataset.val_per_label >= FEWEST else ON_BOTH

    def measured_by(self) -> dict[str, Any]:
        """What the numbers of a trial depend on beside its coefficients: with the same, trials compare."""
        return {
            "victims": [self.victim(seed).key for seed in self.seeds],
            "second_evaluators": [self.second(seed).key for seed in self.seeds],
            "gans": [self.gan(seed).key for seed in self.seeds],
            "attack": dict(self.attack_settings),
            "labels": list(self.labels),
            "protect": self.world.spec.protect,
            "seeds": list(self.seeds),
            "defense": self.choice.defense.model_dump(mode="json"),
        }

    def targets(self, coefficients: Mapping[str, Value]) -> dict[Aim, Finetune]:
        """The defended model of each label and seed (the same for all labels where the spec protects jointly).

        The stages are those of a grid with these settings, to the key. SpecError where they do not go together.
        """
        groups = [self.labels] if self.world.spec.protect == "joint" else [(label,) for label in self.labels]
        models: dict[tuple[Aim, ...], Model] = {}
        try:
            defense = filled(self.choice.defense, coefficients)
            for seed in self.seeds:
                defender = self.world.defender(seed, self.choice.place, self.gan_choice)
                for group in groups:
                    aims = tuple(Aim(seed, label) for label in group)
                    models[aims] = defense.protect(defender, group).target
        except ValidationError as error:
            raise SpecError(from_validation(error, self.choice.place, type(self.choice.defense))) from error
        found: dict[Aim, Finetune] = {}
        for aims, model in models.items():
            if not isinstance(model, Finetune):
                text = f"{self.space.defense} trains no fine-tune whose settings could be searched"
                raise SpecError([Problem(self.choice.place, text)])
            for pair in model.pairs:
                victim = f" seed {aims[0].seed}" if len(self.seeds) > 1 else ""
                for whose, fakes in (
                    (f"private fakes label {pair.label}", pair.private),
                    (f"public fakes {pair.led_to}", pair.public),
                ):
                    if fakes is not None:
                        self.world.named(f"{whose}{victim}", fakes)
            found |= dict.fromkeys(aims, model)
        return dict(sorted(found.items()))

    def attack(self, target: Model, aim: Aim) -> GMI:
        """The small attack by which trials are compared."""
        common, gan = self.world.common(aim.seed + SEARCH_SEED), self.gan(aim.seed)
        return GMI(target=target, label=aim.label, gan=gan, role="search", **self.attack_settings, **common)

    def name_of(self, aim: Aim) -> str:
        """How a record names it: the label; with several seeds `label:seed`."""
        return str(aim.label) if len(self.seeds) == 1 else f"{aim.label}:{aim.seed}"

    def shared(self) -> dict[str, Stage]:
        """What every trial needs whatever its coefficients, upstream first, by key: built before the first one."""
        ends = [self._example(place) for place in (0, -1)]
        closures = [{k: s for stage in found.values() for k, s in stage.closure().items()} for found in ends]
        trained = {stage.key for found in ends for stage in found.values()}
        kept = {k: s for k, s in closures[0].items() if k in closures[1] and k not in trained}
        splits = [self.world.split("train", "private")]
        splits += [self.world.split("val", "private")] if self.world.choice.dataset.val_per_label else []
        own = [make(seed) for seed in self.seeds for make in (self.victim, self.second, self.gan)]
        for stage in (*own, *splits):
            kept |= {k: s for k, s in stage.closure().items() if k not in kept}
        return kept

    def _example(self, place: int) -> dict[Aim, Finetune]:
        """The targets at one end of every range."""
        return self.targets(self.space.complete({k: self.space.domains[k].ends()[place] for k in self.space.searched}))


@dataclass(frozen=True)
class SharedWork:
    """The shared stages as a scheduler takes them."""

    shared: Mapping[str, Stage]
    names: Mapping[str, str]
    numerics: str
    sources: Mapping[str, Path]

    def stages(self) -> dict[str, Stage]:
        return dict(self.shared)


def study_of(spec: Spec, space: Space, seeds: int = 1, rungs: tuple[float, ...] = RUNGS) -> tuple[Study, SharedWork]:
    """What a search on the first `seeds` seeds of this spec needs. SpecError with all that stands against it."""
    choice = next((found for found in spec.defenses if found.defense.name == space.defense), None)
    problems = _unfit(spec, space, choice)
    if seeds > len(spec.seeds):
        problems.append(Problem("seeds", f"--seeds {seeds} asks for more than there are: {list(spec.seeds)}"))
    attack, gan = _attack_of(spec, problems)
    if problems or choice is None:
        raise SpecError([Problem(spec.source.place(p.place), p.message) for p in problems])
    sources: dict[str, Path] = {}
    inception = digest_of(spec, spec.inception_weights, sources)
    dataset = spec.datasets[0]
    catalogue = spec.catalogue(dataset)
    sources.update(catalogue.sources)
    world = World(spec, resolve_numerics(spec.numerics), dataset, catalogue, spec.victims[0], inception, sources)
    study = Study(world, space, choice, tuple(spec.seeds[:seeds]), gan, attack, rungs)
    if reason := choice.defense.refusal(study.victim(study.seeds[0])):
        raise SpecError([Problem(spec.source.place(choice.place), reason)])
    shared = study.shared()
    names = {key: world.names.get(key, stage.kind) for key, stage in shared.items()}
    return study, SharedWork(shared, names, world.numerics, sources)


def _unfit(spec: Spec, space: Space, choice: DefenseChoice | None) -> list[Problem]:
    problems = []
    for key, found in (("dataset", spec.datasets), ("victim", spec.victims)):
        if len(found) != 1:
            problems.append(Problem(key, f"a search is about one, but got {len(found)}: {[f.shown for f in found]}"))
    if choice is None:
        named = sorted({found.defense.name for found in spec.defenses})
        problems.append(Problem("defenses", f"has no {space.defense!r}, which the space fills, but {named}; add it"))
    if space.protect is not None and spec.protect != space.protect:
        needed = f"the space {space.name!r} is for {space.protect!r}, got {spec.protect!r}"
        problems.append(Problem("protect", f"{needed}; give --set protect={space.protect}, or another space"))
    if spec.datasets and spec.datasets[0].dataset.val_per_label < 1:
        place = f"{spec.datasets[0].place}.val_per_label"
        problems.append(Problem(place, "a search measures MC(all) on the validation split; give at least 1"))
    return problems


def _attack_of(spec: Spec, problems: list[Problem]) -> tuple[dict[str, Any], GANChoice]:
    """Settings of the small attack and of its GAN, by the spec's budget."""
    budget = read_budget(spec.budget)
    settings = budget.get("search", {}).get("attack", {})
    checked = check_settings(settings_model(GMI), settings, "budget.search.attack", problems)
    fields = {} if checked is None else {name: getattr(checked, name) for name in checked.model_fields_set}
    return fields, GANChoice(name="wgan", settings=budget.get("gans", {}).get("wgan", {}))
