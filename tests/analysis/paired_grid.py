"""Grids of an undefended row and others, by the hits of each label and seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.paired import PairedRow, paired_rows
from analysis.records import read_records
from grid.store import Store
from tests.analysis.conftest import cell, outcomes, put


def paired_grid(
    document: dict[str, Any],
    store: Store,
    scratch: Path,
    hits: Mapping[tuple[str, int, int], list[int]],
    *,
    confidence: Mapping[str, float] | None = None,
    same: Mapping[str, str] | None = None,
) -> list[PairedRow]:
    """Rows with the given top-1 hits by (defense, label, seed); a new name is a row beside the document's.

    confidence: target_confidence of a defense's cells (default 1). same: rows that have another's evaluations.
    """
    rows = {row["defense"]: {**row, "cells": []} for row in document["rows"]}
    for (defense, label, seed), bits in hits.items():
        key = f"evaluate-x{defense}{label}-{seed}"
        metrics = {"target_confidence": (confidence or {}).get(defense, 1.0)}
        put(store, scratch, key, metrics, tables={"outcomes.parquet": outcomes(label, bits, bits, bits, bits)})
        rows.setdefault(defense, {**rows["l_pri"], "defense": defense, "cells": []})
        rows[defense]["cells"].append(cell(label, defense, seed=seed, evaluate=key))
    for defense, other in (same or {}).items():
        cells = [dict(own) for own in rows[other]["cells"]]
        rows[defense] = {**rows["l_pri"], "defense": defense, "cells": cells}
    return paired_rows(read_records({**document, "rows": [row for row in rows.values() if row["cells"]]}, store))
