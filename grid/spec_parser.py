"""Reading a spec: all problems at once, each with its place. Nothing here touches torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grid.choice_parser import ChoiceParser
from grid.data_checks import data_problems
from grid.entries import check_settings
from grid.problems import Problem, SpecError, choices, join_place
from grid.spec import KEYS, ResourceRequest, Spec
from grid.spec_source import Source, read_budget, read_source
from tasks.attacks import ATTACKS
from tasks.gan import GANS
from tasks.stage import GROUPS, Group, Role, Stage

MOST = 2**31 - 1
LONGEST = 30 * 24 * 3600  # seconds that a stage may be given
PAPER = ("table1", "table2", "table3", "table4", "table5", "table6", "figure2")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def load_spec(path: str, overrides: Sequence[str] = (), *, look: bool = True) -> Spec:
    """Read and check a spec file (or a shipped spec's name). SpecError lists every problem with its place.

    Without `look` the data that it names are not looked at (a report from committed records needs none).
    """
    return parse_source(read_source(path, overrides), look=look)


def parse_source(source: Source, *, look: bool = True) -> Spec:
    """Check a spec's content. SpecError lists every problem with its place."""
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


class _Parser(ChoiceParser):
    """One pass over a spec's content."""

    def parse(self) -> Spec:
        for key in self.source.content:
            if key not in KEYS:
                self._problem(str(key), choices(key, KEYS, what="key"))
        try:
            self.budget = read_budget(self.content["budget"])
        except SpecError as error:
            self.problems.extend(error.problems)
        self._paper()
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
            attacker_role=self._attacker_role(),
            timeouts=self._timeouts(),
            looked={},
        )

    def _name(self) -> str:
        name = self.content["name"] if self.content["name"] is not None else self.source.path.stem
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self._problem("name", f"must be letters, digits, `_`, `.`, `+` or `-`, but got {name!r}")
        return str(name)

    def _attacker_role(self) -> Role:
        """`confirm` draws the attackers' GANs anew, for a grid that confirms what a search chose."""
        return "confirm" if self._one_of("attacker_role", ("attacker", "confirm")) == "confirm" else "attacker"

    def _paper(self) -> None:
        """Which of the paper's tables and figures the grid is for, one or several; only the report looks at it."""
        value = self.content["paper"]
        several = isinstance(value, list)
        for i, item in enumerate(value if several else [] if value is None else [value]):
            where = join_place("paper", i) if several else "paper"
            if isinstance(item, dict | list):
                self._problem(where, f"names one of {', '.join(PAPER)}, or is a list of them, but got {item!r}")
            elif item not in PAPER:
                self._problem(where, choices(item, PAPER, what="table or figure of the paper"))
        if several and len({repr(item) for item in value}) < len(value):
            self._problem("paper", f"names one twice: {value!r}")

    def _threads(self) -> int:
        value = self.content["threads"]
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 256:
            self._problem("threads", f"must be a whole number from 1 to 256, got {value!r}")
            return 1
        return value

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
        if not isinstance(value, dict) or not all(type(n) is int for pair in value.items() for n in pair):
            self._problem("decoys", f"maps a protected label to a label of the public classifier, got {value!r}")
            return {}
        return value

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

    def _timeouts(self) -> dict[str, float]:
        """Seconds by kind or group of stage; what is not named is derived from recorded durations."""
        value = self.content["timeouts"]
        if not isinstance(value, dict):
            self._problem("timeouts", f"maps a kind or a group of stages to seconds, got {value!r}")
            return {}
        found: dict[str, float] = {}
        for name, seconds in value.items():
            where = join_place("timeouts", str(name))
            if name not in (valid := _kinds_and_groups()):
                self._problem(where, choices(name, valid, what="kind or group of stages"))
            elif not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST:
                self._problem(where, f"must be seconds from 1 to {LONGEST}, got {seconds!r}")
            else:
                found[name] = float(seconds)
        return found


def _kinds_and_groups() -> set[str]:
    """What a stage's timeout can be named by: its group, or its kind."""
    found, classes = {*GROUPS, *ATTACKS, *GANS}, [Stage]
    while classes:
        one = classes.pop()
        classes += one.__subclasses__()
        found |= {one.kind} if isinstance(getattr(one, "kind", None), str) else set()
    return found
