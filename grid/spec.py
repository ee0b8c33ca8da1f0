"""A spec: what a person wants compared. Parsing finds all problems at once; nothing here touches torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from grid.attack_choices import AttackChoice, is_untrained, untrained
from grid.data_checks import data_problems
from grid.entries import Entry, check_settings, given, merged, parse_entry, settings_model
from grid.problems import Problem, SpecError, choices, join_place
from grid.spec_source import Source, read_budget, read_source
from tasks.attacks import ATTACKS
from tasks.attacks.attack import GeneratorAttack
from tasks.data import DATASETS
from tasks.data.dataset import Dataset
from tasks.defenses import DEFENSES
from tasks.defenses.defense import Defense
from tasks.gan import GANS
from tasks.gan.gan import GANChoice
from tasks.models.classifier import Classifier
from tasks.stage import GROUPS, Config, Group

MOST = 2**31 - 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class ResourceRequest(Config):
    """What a stage of a group asks of the cluster; `gpu` counts only where the cluster has GPUs."""

    gpu: float = Field(1.0, ge=0, le=8, description="GPUs, a fraction shares one")
    cpu: float | None = Field(None, gt=0, le=256, description="CPUs; default: the stage's threads")

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, gpu: float) -> float:
        if gpu > 1 and gpu != int(gpu):
            raise ValueError("more than one GPU must be a whole number of them")
        return gpu


class DatasetChoice(NamedTuple):
    shown: str
    dataset: Dataset
    place: str


class VictimChoice(NamedTuple):
    shown: str
    settings: Mapping[str, Any]
    weights: str | None
    place: str


class DefenseChoice(NamedTuple):
    shown: str
    defense: Defense
    place: str


class Spec(NamedTuple):
    """A checked spec: every name is known and every number in range; the data have not been looked at."""

    name: str
    source: Source
    datasets: tuple[DatasetChoice, ...]
    victims: tuple[VictimChoice, ...]
    evaluator: Mapping[str, Any]
    second_evaluator: Mapping[str, Any]
    public_classifier: Mapping[str, Any]
    labels: tuple[int, ...] | None  # None: all
    decoys: Mapping[int, int]
    protect: str
    seeds: tuple[int, ...]
    attacks: tuple[AttackChoice, ...]
    defenses: tuple[DefenseChoice, ...]
    budget: str
    numerics: str
    threads: int
    resources: Mapping[Group, ResourceRequest]
    inception_weights: str | None

    @property
    def folder(self) -> Path:
        """Where relative paths of a spec start if they are not found from the current folder."""
        return self.source.path.parent


KEYS: dict[str, Any] = {
    "name": None,
    "dataset": "orl",
    "victim": {"arch": "vgg16_bn", "width": 0.25},
    "evaluator": {"arch": "ir_small"},
    "second_evaluator": {"arch": "densenet_small"},
    "public_classifier": {"arch": "vgg16_bn", "width": 0.25},
    "labels": "all",
    "decoys": {},
    "protect": "single",
    "seeds": [0],
    "attacks": None,
    "control": "none",
    "defenses": None,
    "budget": "quick",
    "numerics": "auto",
    "threads": 1,
    "resources": {},
    "inception_weights": None,
}


def load_spec(path: str, overrides: Sequence[str] = (), *, look: bool = True) -> Spec:
    """Read and check a spec file (or a shipped spec's name). SpecError lists every problem with its place.

    Without `look` the data that it names are not looked at (a report from committed records needs none).
    """
    source = read_source(path, overrides)
    parser = _Parser(source)
    spec = parser.parse()
    problems = [*parser.problems, *_same_network(spec), *(data_problems(spec) if look else ())]
    if problems:
        raise SpecError([Problem(source.place(p.place), p.message) for p in problems])
    return spec


def _same_network(spec: Spec) -> list[Problem]:
    """Judges that share an architecture with the victim, or with each other, share its blind spots."""
    evaluator, second = (settings.get("arch") for settings in (spec.evaluator, spec.second_evaluator))
    problems = []
    for key, arch in (("evaluator", evaluator), ("second_evaluator", second)):
        if arch is not None and arch in {victim.settings.get("arch") for victim in spec.victims}:
            text = f"has the victim's architecture {arch!r}; an evaluator must have another"
            problems.append(Problem(join_place(key, "arch"), text))
    if evaluator is not None and evaluator == second:
        text = f"is {second!r} like the evaluator; the second evaluator must have another architecture"
        problems.append(Problem("second_evaluator.arch", text))
    return problems


class _Parser:
    """One pass over a spec's content; problems pile up in `problems` with paths such as `attacks[1].steps`."""

    def __init__(self, source: Source) -> None:
        self.source, self.problems = source, list[Problem]()
        self.content: dict[str, Any] = {**KEYS, **source.content}
        self.budget: dict[str, Any] = {}

    def parse(self) -> Spec:
        for key in self.source.content:
            if key not in KEYS:
                self._problem(str(key), choices(key, KEYS, what="key"))
        try:
            self.budget = read_budget(self.content["budget"])
        except SpecError as error:
            self.problems.extend(error.problems)
        return Spec(
            name=self._name(),
            source=self.source,
            datasets=self._datasets(),
            victims=self._victims(),
            evaluator=self._classifier("evaluator"),
            second_evaluator=self._classifier("second_evaluator"),
            public_classifier=self._classifier("public_classifier"),
            labels=self._labels(),
            decoys=self._decoys(),
            protect=self._one_of("protect", ("single", "joint")),
            seeds=self._numbers("seeds"),
            attacks=self._attacks(),
            defenses=self._defenses(),
            budget=str(self.content["budget"]),
            numerics=self._one_of("numerics", ("auto", "cpu_fp32", "cuda_fp32", "cuda_amp")),
            threads=self._threads(),
            resources=self._resources(),
            inception_weights=self._text("inception_weights", self.content["inception_weights"]),
        )

    def _problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def _name(self) -> str:
        name = self.content["name"] if self.content["name"] is not None else self.source.path.stem
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self._problem("name", f"must be letters, digits, `_`, `.`, `+` or `-`, but got {name!r}")
        return str(name)

    def _text(self, place: str, value: object) -> str | None:
        """A text that may be left out."""
        if value is not None and not isinstance(value, str):
            self._problem(place, f"must be a text, got {value!r}")
        return value if isinstance(value, str) else None

    def _one_of(self, key: str, valid: tuple[str, ...]) -> str:
        value = self.content[key]
        if value not in valid:
            self._problem(key, f"must be one of: {', '.join(valid)}; got {value!r}")
        return str(value)

    def _threads(self) -> int:
        value = self.content["threads"]
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 256:
            self._problem("threads", f"must be a whole number from 1 to 256, got {value!r}")
            return 1
        return value

    def _items(self, key: str) -> list[tuple[str, Any]]:
        """(place, value) of each item; a single item need not be a list."""
        value = self.content[key]
        if value is None or value == []:
            self._problem(key, "is missing; give at least one")
            return []
        if isinstance(value, list):
            return [(join_place(key, i), item) for i, item in enumerate(value)]
        return [(key, value)]

    def _numbers(self, key: str) -> tuple[int, ...]:
        value = self.content[key]
        values = value if isinstance(value, list) else [value]
        good = [v for v in values if isinstance(v, int) and not isinstance(v, bool) and v >= 0]
        if len(good) != len(values) or not good:
            self._problem(key, f"must be whole numbers from 0, at least one, but got {value!r}")
        if len(set(good)) != len(good):
            self._problem(key, f"names one twice: {value!r}")
        if good and max(good) > MOST:
            self._problem(key, f"{max(good)} is too large; the largest is {MOST}")
        return tuple(good)

    def _labels(self) -> tuple[int, ...] | None:
        return None if self.content["labels"] == "all" else tuple(sorted(self._numbers("labels")))

    def _decoys(self) -> dict[int, int]:
        value = self.content["decoys"]
        if not isinstance(value, dict) or not all(isinstance(n, int) for pair in value.items() for n in pair):
            self._problem("decoys", f"maps a protected label to a label of the public classifier, got {value!r}")
            return {}
        return value

    def _datasets(self) -> tuple[DatasetChoice, ...]:
        found = []
        for place, value in self._items("dataset"):
            entry = parse_entry(value, place, DATASETS, "dataset", self.problems)
            if entry and (dataset := check_settings(DATASETS[entry.name], entry.settings, place, self.problems)):
                if not isinstance(dataset, Dataset):
                    raise TypeError(f"{entry.name} is registered as a dataset but is {type(dataset).__name__}")
                if dataset.size % 32:
                    self._problem(join_place(place, "size"), f"must be a multiple of 32, got {dataset.size}")
                found.append(DatasetChoice(entry.shown or entry.name, dataset, place))
        self._unique("dataset", [choice.shown for choice in found])
        return tuple(found)

    def _victims(self) -> tuple[VictimChoice, ...]:
        found = []
        for place, value in self._items("victim"):
            settings = {"arch": value} if isinstance(value, str) else value
            if not isinstance(settings, dict):
                self._problem(place, f"expected a network's name or a mapping with `arch:`, got {value!r}")
                continue
            weights = self._text(join_place(place, "weights"), settings.get("weights"))
            shown = self._text(join_place(place, "as"), settings.get("as"))
            settings = {key: item for key, item in settings.items() if key not in ("weights", "as")}
            if weights is not None:
                for key in settings.keys() - {"arch", "width"}:
                    self._problem(join_place(place, str(key)), "has no use beside `weights:`, which are not trained")
            checked = self._checked(Classifier, self._network("victim", settings), place)
            if checked is not None:
                arch = checked.get("arch", "vgg16_bn")
                found.append(VictimChoice(str(shown or arch), checked, weights, place))
        self._unique("victim", [choice.shown for choice in found])
        return tuple(found)

    def _classifier(self, key: str) -> dict[str, Any]:
        value = self.content[key]
        settings = {"arch": value} if isinstance(value, str) else value
        if not isinstance(settings, dict):
            self._problem(key, f"expected a network's name or a mapping with `arch:`, got {value!r}")
            return {}
        return self._checked(Classifier, self._network(key, settings), key) or {}

    def _network(self, key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings on top of the budget's; a network that is not named is the default one, width included."""
        base = merged(self.budget.get(key, {}), {} if "arch" in settings else KEYS[key])
        return merged(base, settings)

    def _checked(self, stage: Any, settings: Mapping[str, Any], place: str) -> dict[str, Any] | None:
        config = check_settings(settings_model(stage), settings, place, self.problems)
        return None if config is None else given(config)

    def _gan(self, value: object, place: str) -> GANChoice:
        entry = parse_entry(value, place, GANS, "GAN", self.problems)
        if entry is None:
            return GANChoice()
        settings = merged(self.budget.get("gans", {}).get(entry.name, {}), entry.settings)
        return GANChoice(name=entry.name, settings=self._checked(GANS[entry.name], settings, place) or {})

    def _attacks(self) -> tuple[AttackChoice, ...]:
        found: list[AttackChoice] = []
        beside = self._one_of("control", ("none", "untrained")) == "untrained"
        for place, value in self._items("attacks"):
            entry = parse_entry(value, place, ATTACKS, "attack", self.problems)
            if entry is None:
                continue
            choice = self._attack(entry)
            if choice is not None:
                found.append(choice)
        for choice in list(found) if beside else ():
            control = untrained(choice)
            if control is not None and not choice.control and control.shown not in {c.shown for c in found}:
                found.insert(found.index(choice) + 1, control)
        self._unique("attacks", [choice.shown for choice in found])
        return tuple(found)

    def _attack(self, entry: Entry) -> AttackChoice | None:
        attack, place = ATTACKS[entry.name], entry.place
        base = self.budget.get("attacks", {}).get(entry.name, {})
        settings = {name: value for name, value in entry.settings.items() if name not in ("control", "gan")}
        parts: dict[str, Any] = {}
        if issubclass(attack, GeneratorAttack):
            parts["gan"] = self._gan(entry.settings.get("gan", attack.default_gan), join_place(place, "gan"))
        elif "gan" in entry.settings:
            self._problem(join_place(place, "gan"), f"{entry.name} uses no generator")
        for name, stage in attack.parts.items():
            own = settings.pop(name, {})
            if not isinstance(own, dict):
                self._problem(join_place(place, name), f"expected a mapping of settings, got {own!r}")
                own = {}
            parts[name] = self._checked(stage, merged(base.get(name, {}), own), join_place(place, name)) or {}
        base = {name: value for name, value in base.items() if name not in attack.parts}
        checked = self._checked(attack, merged(base, settings), place)
        if checked is None:
            return None
        choice = AttackChoice(entry.shown or entry.name, attack, checked, parts, place, control=is_untrained(parts))
        if "control" not in entry.settings:
            return choice
        control = untrained(choice._replace(shown=entry.name))
        if entry.settings["control"] != "untrained":
            self._problem(join_place(place, "control"), f"must be: untrained; got {entry.settings['control']!r}")
        elif control is None:
            self._problem(join_place(place, "control"), f"{entry.name} has no generator that could be left untrained")
        return control if control is None or entry.shown is None else control._replace(shown=entry.shown)

    def _defenses(self) -> tuple[DefenseChoice, ...]:
        found = []
        for place, value in self._items("defenses"):
            entry = parse_entry(value, place, DEFENSES, "defense", self.problems)
            if entry and (defense := self._defense(entry)):
                shown = self._shown(entry, defense)
                found += [DefenseChoice(shown + suffix, variant, place) for suffix, variant in defense.variants]
        self._unique("defenses", [choice.shown for choice in found])
        return tuple(found)

    def _defense(self, entry: Entry) -> Defense | None:
        kind = DEFENSES[entry.name]
        settings = merged(self.budget.get("defenses", {}).get(entry.name, {}), entry.settings)
        for name, field in kind.model_fields.items():
            if field.annotation is GANChoice:
                settings[name] = self._gan(settings.get(name, "wgan"), join_place(entry.place, name))
        checked = check_settings(kind, settings, entry.place, self.problems)
        return checked if isinstance(checked, Defense) else None

    def _shown(self, entry: Entry, defense: Defense) -> str:
        """The row's name; a row with an extension may not carry the paper's bare name."""
        honest = "+".join((entry.name, *defense.extensions))
        if entry.shown == entry.name and defense.extensions:
            text = f"{entry.name!r} means the paper's eq. 10; with {', '.join(defense.extensions)} name it {honest!r}"
            self._problem(join_place(entry.place, "as"), text)
        elif entry.shown in DEFENSES and entry.shown != entry.name:
            self._problem(join_place(entry.place, "as"), f"{entry.shown!r} is another defense; choose another name")
        return entry.shown or honest

    def _unique(self, key: str, names: list[str]) -> None:
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._problem(key, f"two entries are called {name!r}; tell them apart with `as:`")

    def _resources(self) -> dict[Group, ResourceRequest]:
        value = self.content["resources"]
        if not isinstance(value, dict):
            self._problem("resources", f"maps a group of stages to {{gpu: ...}}, got {value!r}")
            return {}
        found: dict[Group, ResourceRequest] = {}
        for group, request in value.items():
            if group not in GROUPS:
                self._problem(join_place("resources", str(group)), choices(group, GROUPS, what="group"))
            elif not isinstance(request, dict):
                self._problem(join_place("resources", group), f"expected {{gpu: ..., cpu: ...}}, got {request!r}")
            else:
                checked = check_settings(ResourceRequest, request, join_place("resources", group), self.problems)
                if isinstance(checked, ResourceRequest):
                    found[group] = checked
        return found
