"""The choices in a spec: datasets, victims, networks, GANs, attacks and defenses, each checked in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grid.attack_choices import AttackChoice, is_untrained, known_structure, structure_of, untrained
from grid.defense_choices import DefenseChoice, name_clashes, without_repeated
from grid.defense_names import name_problem, row_names
from grid.entries import Entry, check_settings, given, merged, parse_entry, settings_model, shown_name, truth_values
from grid.problems import Problem, join_place
from grid.spec import KEYS, DatasetChoice, VictimChoice
from grid.spec_source import Source
from tasks.attacks import ATTACKS
from tasks.attacks.attack import GeneratorAttack
from tasks.data import DATASETS
from tasks.data.dataset import Dataset
from tasks.defenses import DEFENSES
from tasks.defenses.defense import Defense
from tasks.gan import GANS
from tasks.gan.gan import GANChoice
from tasks.models.classifier import Classifier


class ChoiceParser:
    """Problems pile up in `problems` with paths such as `attacks[1].steps`."""

    def __init__(self, source: Source) -> None:
        self.source, self.problems = source, list[Problem]()
        self.content: dict[str, Any] = {**KEYS, **source.content}
        self.budget: dict[str, Any] = {}

    def _problem(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

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

    def _items(self, key: str) -> list[tuple[str, Any]]:
        """(place, value) of each item; a single item need not be a list."""
        value = self.content[key]
        if value is None or value == []:
            self._problem(key, "is missing; give at least one")
            return []
        if isinstance(value, list):
            return [(join_place(key, i), item) for i, item in enumerate(value)]
        return [(key, value)]

    def _unique(self, key: str, names: list[str]) -> None:
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._problem(key, f"two entries are called {name!r}; tell them apart with `as:`")

    def _datasets(self) -> tuple[DatasetChoice, ...]:
        found = []
        for place, value in self._items("dataset"):
            entry = parse_entry(value, place, DATASETS, "dataset", self.problems)
            own = self._own_training(entry.settings.pop("victim", {}), join_place(place, "victim")) if entry else {}
            if entry and (dataset := check_settings(DATASETS[entry.name], entry.settings, place, self.problems)):
                if not isinstance(dataset, Dataset):
                    raise TypeError(f"{entry.name} is registered as a dataset but is {type(dataset).__name__}")
                if dataset.size % 32 and dataset.size != 112:
                    self._problem(join_place(place, "size"), f"must be a multiple of 32, or 112; got {dataset.size}")
                found.append(DatasetChoice(entry.shown or entry.name, dataset, place, own))
        self._unique("dataset", [choice.shown for choice in found])
        return tuple(found)

    def _own_training(self, value: object, place: str) -> dict[str, Any]:
        """How the victim is trained on one dataset: `victim: {batch: 16}` in its entry."""
        if not isinstance(value, dict):
            self._problem(place, f"expected a mapping of settings of the victim's training, got {value!r}")
            return {}
        for key in sorted({"arch", "width", "weights", "as"} & value.keys()):
            self._problem(join_place(place, key), "is the same for all datasets; set it under the spec's own `victim`")
        rest = {key: item for key, item in value.items() if key not in ("arch", "width", "weights", "as")}
        return self._checked(Classifier, rest, place) or {}

    def _victims(self) -> tuple[VictimChoice, ...]:
        found = []
        for place, value in self._items("victim"):
            settings = {"arch": value} if isinstance(value, str) else value
            if not isinstance(settings, dict):
                self._problem(place, f"expected a network's name or a mapping with `arch:`, got {value!r}")
                continue
            weights = self._text(join_place(place, "weights"), settings.get("weights"))
            shown = shown_name(settings.get("as"), join_place(place, "as"), self.problems)
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
        gan = GANChoice(name=entry.name, settings=self._checked(GANS[entry.name], settings, place) or {})
        if (stands_for := structure_of(gan)) != gan.name and stands_for in GANS:
            own = gan.settings.get("settings", {})
            self.problems += truth_values(GANS[stands_for], own, join_place(place, "settings"))
        return gan

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
        known = known_structure(parts.get("gan"), self.budget.get("gans", {}))
        shown = entry.shown or entry.name
        choice = AttackChoice(shown, attack, checked, parts, place, known, control=is_untrained(parts))
        if "control" not in entry.settings:
            return choice
        control = untrained(choice._replace(shown=entry.name))
        if entry.settings["control"] != "untrained":
            self._problem(join_place(place, "control"), f"must be: untrained; got {entry.settings['control']!r}")
        elif control is None:
            self._problem(join_place(place, "control"), f"{entry.name} has no generator that could be left untrained")
        return control if control is None or entry.shown is None else control._replace(shown=entry.shown)

    def _defenses(self) -> tuple[DefenseChoice, ...]:
        found: list[DefenseChoice] = []
        for place, value in self._items("defenses"):
            entry = parse_entry(value, place, DEFENSES, "defense", self.problems)
            if entry is None or (defense := self._defense(entry)) is None:
                continue
            if entry.shown is not None and (reason := name_problem(entry.name, defense, entry.shown)):
                self._problem(join_place(place, "as"), reason)
            names = row_names(entry.name, defense, entry.shown)
            rows = [DefenseChoice(*row, place) for row in zip(names, (v for _, v in defense.variants), strict=True)]
            found += without_repeated(rows, found)
        for text in name_clashes(found):
            self._problem("defenses", text)
        return tuple(found)

    def _defense(self, entry: Entry) -> Defense | None:
        kind = DEFENSES[entry.name]
        settings = merged(self.budget.get("defenses", {}).get(entry.name, {}), entry.settings)
        for name, field in kind.model_fields.items():
            own = join_place(entry.place, name)
            if field.annotation is GANChoice:
                settings[name] = self._gan(settings.get(name, "wgan"), own)
            elif field.annotation == tuple[GANChoice, ...]:
                given_gans = settings.get(name, [])
                several = given_gans if isinstance(given_gans, list) else [given_gans]
                settings[name] = tuple(self._gan(gan, join_place(own, i)) for i, gan in enumerate(several))
        checked = check_settings(kind, settings, entry.place, self.problems)
        return checked if isinstance(checked, Defense) else None
