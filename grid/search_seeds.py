"""What a store knows before a search begins: trials of earlier searches, and models that grids have fine-tuned.

A search's values seed another search if they were measured alike. A grid's never do, since they come from F_E and
the test split, by which nothing may be selected; but what it trained need not be trained again. Its coefficients are
tried first and measured as all others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grid.problems import SpecError
from grid.search_proposals import within
from grid.search_record import all_searches
from grid.search_space import Value
from grid.search_study import Study
from grid.store import Store
from tasks.finetune.finetune import Finetune
from tasks.finetune.fisher import Fisher
from tasks.inversion.fakes import Fakes
from tasks.inversion.synthetic_person import SyntheticPerson

SHARE = 4  # of the trials at most one in so many is taken from grids
Record = Mapping[str, Any]


def earlier_trials(store: Store, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Finished and failed trials of other searches with the same victim, labels, judges, attack and fixed settings.

    Trials that were stopped stay out: where they were stopped depends on whom they met there.
    """
    found = []
    for other in all_searches(store):
        if other["name"] == document["name"]:
            continue
        if other.get("measured_by") == document["measured_by"] and other.get("objectives") == document["objectives"]:
            found += [trial for trial in other["trials"] if trial["state"] in ("finished", "failed")]
    return found


def trained_by_grids(store: Store, study: Study, trials: int) -> list[dict[str, Value]]:
    """Coefficients in the space whose fine-tunes a grid has left in the store, for every label; without the constants.

    At most a quarter of `trials`, in the order of their keys, which is no order of merit. A set of coefficients counts
    only if it makes the very keys that are stored.
    """
    found: list[dict[str, Value]] = []
    for key, record, records in _finetunes(store):
        labels = {pair["label"] for pair in record["config"]["pairs"]}
        if record["config"]["seed"] not in study.seeds or not labels <= set(study.labels):
            continue
        chosen = study.space.complete({name: _setting(name, record, records, study) for name in study.space.domains})
        own = {name: chosen[name] for name in study.space.searched}
        if own not in found and key in _stored(store, study, chosen):
            found.append(own)
        if len(found) >= trials // SHARE:
            break
    return found[: trials // SHARE]


def _stored(store: Store, study: Study, chosen: Mapping[str, Value]) -> set[str]:
    """Keys of the fine-tunes that coefficients of the space make, if all of them are in the store; else none."""
    if not within(study.space, {"coefficients": chosen}):
        return set()
    try:
        keys = {stage.key for stage in study.targets(chosen).values()}
    except SpecError:
        return set()
    return keys if all(store.done(key) is not None for key in keys) else set()


def _finetunes(store: Store) -> Iterator[tuple[str, Record, Mapping[str, Record]]]:
    """(key, record, the records around it) of each fine-tune that a grid of the store names, by key."""
    kinds = (Finetune.kind, Fakes.kind, SyntheticPerson.kind, Fisher.kind)
    documents = [store.read_document(name) or {} for name in store.documents("grids")]
    stages = [(key, about) for document in documents for key, about in document.get("stages", {}).items()]
    records = store.records({key for key, about in stages if about["kind"] in kinds})
    for key in sorted(records):
        if records[key]["kind"] == Finetune.kind:
            yield key, records[key], records


def _setting(name: str, record: Record, records: Mapping[str, Record], study: Study) -> Value:
    """A setting of the defense as it shows in the fine-tune's record; the spec's where it shows nowhere."""
    config, (outer, dot, inner) = record["config"], name.partition(".")
    if name == "rounds":
        return _rounds(record, records)
    people = [found for pair in config["pairs"] if pair["public"] and (found := records.get(pair["public"]["stage"]))]
    made_up = next((person["config"] for person in people if person["kind"] == SyntheticPerson.kind), None)
    if name == "decoys" and people:
        return "people" if made_up is None else "synthetic"
    if name == "spread" and made_up is not None:
        return made_up["spread"]  # type: ignore[no-any-return]
    if dot:
        samples = [pair[which] for pair in config["pairs"] for which in ("private", "public") if pair[which]]
        of = records.get(samples[0]["stage"], {}).get("config", {}) if samples else {}
        return of.get(inner, getattr(getattr(study.choice.defense, outer), inner))  # type: ignore[no-any-return]
    fisher = records.get((config["fisher"] or {}).get("stage", ""), {}).get("config", {})
    of = {**config, "fisher": fisher.get("labels"), "fisher_augmented": fisher.get("augmented")}
    value = of.get(name)
    return getattr(study.choice.defense, name) if value is None else value  # type: ignore[no-any-return]


def _rounds(record: Record, records: Mapping[str, Record]) -> int:
    """Fine-tunes from the victim to this one, itself included."""
    before = records.get(record["config"]["victim"]["stage"])
    return 1 + (_rounds(before, records) if before is not None and before["kind"] == Finetune.kind else 0)
