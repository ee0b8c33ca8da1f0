"""Earlier searches in the store whose trials tell an optimiser something: measured alike, in the same store.

Grids never seed a search. Their values come from F_E and the test split, by which nothing may be selected; what
they trained is found by its key all the same, and is not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grid.search_record import all_searches
from grid.store import Store


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
