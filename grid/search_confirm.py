"""Confirming a pick: an ordinary grid of the spec's attacks on the picked coefficients, with all of it drawn anew.

Other seeds (so other victims, GANs and evaluators), attackers of the role `confirm`, F_E and the test split:
nothing that the search selected by. Its values stand beside the search's, so that the winner's curse shows.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from grid.places import document_name
from grid.problems import Problem, SpecError
from grid.search_record import held_by_search
from grid.search_space import Value, filled
from grid.search_study import Study
from grid.spec import Spec
from grid.spec_parser import parse_source
from grid.spec_source import Source
from grid.store import Store

SHOWN = ("mc_all", "mc_target", "aa_top1", "aa_top5", "target_confidence")
FRESH_SEEDS = 2  # where the spec gives no seeds beside the search's
ROLE = "confirm"  # of the attackers, in every grid that confirms


def confirming_spec(spec: Spec, study: Study, name: str, rule: str, coefficients: Mapping[str, Value]) -> Spec:
    """The spec of the grid that confirms `coefficients`: rows `none` and the pick, under the spec's attacks."""
    content = copy.deepcopy(spec.source.content)
    content.pop("paper", None)
    content |= {
        "name": grid_name(name, rule),
        "seeds": confirming_seeds(spec.seeds, len(study.seeds)),
        "attacker_role": ROLE,
        "defenses": ["none", _entry(spec, study, rule, coefficients)],
    }
    return parse_source(Source(spec.source.path, content, {}))


def grid_name(search: str, rule: str) -> str:
    """Of the grid that confirms a search's pick."""
    return f"{search}.{slug(rule)}"


def check_grids(search: str, rules: Sequence[str], store: Store) -> None:
    """SpecError if a confirming grid would overwrite the document of a grid that confirms nothing.

    One that confirms is of this search, since a store has no other of its name; a search that goes on may pick
    another trial by the same rule, and the newer confirmation takes the older one's place.
    """
    problems = []
    for name in (grid_name(search, rule) for rule in rules):
        held = store.read_document(document_name(name))
        if held is None or held.get("spec", {}).get("attacker_role") == ROLE:
            continue
        other = held_by_search(store, document_name(name))
        holds = "another grid of that name" if other is None else f"the record of the search {other!r} in its place"
        text = f"a pick would be confirmed by the grid {name!r}, but the store holds {holds}"
        problems.append(Problem("--name", f"{text}; give this search another --name"))
    if problems:
        raise SpecError(problems)


def confirming_seeds(seeds: Sequence[int], searched: int = 1) -> list[int]:
    """The spec's seeds but the first `searched`, which the search used.

    New ones are added if none are left, or if a search on several seeds leaves fewer than two.
    """
    left = list(seeds[searched:])
    wanted = 0 if searched == 1 and left else FRESH_SEEDS
    return left + [max(seeds) + 1 + i for i in range(wanted - len(left))]


def write_spec(spec: Spec, path: Path) -> None:
    """The spec as a file, for `run` and `report`."""
    note = f"# Confirms a search's pick: see {spec.name.rpartition('.')[0]}.\n"
    path.write_text(note + yaml.safe_dump(spec.source.content, sort_keys=False), encoding="utf-8")


def confirmed_values(
    rows: Sequence[Mapping[str, Any]], defense: str | None, labels: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any] | None:
    """What the grid says of one defense (None: the undefended victim), or None where a value is missing.

    The values are those of the attack that gets most out of it (AA top-1, then top-5), each rate with the table's
    95% interval as `<rate>_low` and `<rate>_high`; `by_attack` has all. `basis` says what they rest on.
    """
    shown = defense if defense is not None else "none"
    mine = [row for row in rows if row["defense"] == shown and not row["control"]]
    if not mine or any(row[name] is None for row in mine for name in SHOWN):
        return None
    worst = max(mine, key=lambda row: (row["aa_top1"], row["aa_top5"]))
    by_attack = {str(row["attack"]): _rates(row) for row in mine}
    basis = {"judge": "F_E", "split": "test split", "labels": list(labels), "seeds": list(seeds)}
    return {
        **by_attack[str(worst["attack"])],
        "attack": str(worst["attack"]),
        "basis": {**basis, "images": int(worst["images"])},
        "by_attack": by_attack,
    }


def _rates(row: Mapping[str, Any]) -> dict[str, float]:
    """The rates of a table's row, each beside the ends of its interval where it has one."""
    names = [name + end for name in SHOWN for end in ("", "_low", "_high")]
    return {name: float(row[name]) for name in names if row.get(name) is not None}


def row_name(study: Study, rule: str, coefficients: Mapping[str, Value]) -> str:
    """The pick's row: the defense, its extensions, and the rule that chose it."""
    defense = filled(study.choice.defense, coefficients)
    return f"{'+'.join((defense.name, *defense.extensions))} {slug(rule)}"


def slug(rule: str) -> str:
    """A rule as part of a name."""
    return rule.replace("=", "-")


def _entry(spec: Spec, study: Study, rule: str, coefficients: Mapping[str, Value]) -> dict[str, Any]:
    """The spec's own entry of the defense, with the picked coefficients."""
    entry = copy.deepcopy(_at(spec.source.content, study.choice.place))
    entry = {"name": entry} if isinstance(entry, str) else dict(entry)
    for key, value in coefficients.items():
        outer, dot, inner = key.partition(".")
        if dot:
            entry[outer] = {**entry.get(outer, {}), inner: value}
        else:
            entry[outer] = value
    return {**entry, "as": row_name(study, rule, coefficients)}


def _at(content: Mapping[str, Any], place: str) -> Any:
    """The value at a place such as `defenses[1]`."""
    found: Any = content
    for part in re.findall(r"[^.\[\]]+", place):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError) as error:
            raise SpecError([Problem(place, "is not in the spec")]) from error
    return found
