"""Write grid/durations.json, the shipped durations, from a store or exported records.

    python -m benchmarks.durations docs/results/records

Median seconds of stages with the same settings, on the machine that the records come from (2 CPU cores, one
thread a stage, two stages at a time). `decoygrid plan` and the ETA use them until this machine has its own.
"""

import json
import statistics
import sys
from collections import defaultdict

from grid.costs import DURATIONS, likeness
from grid.store import Store


def main(uri: str) -> None:
    seconds = defaultdict(list)
    for record in Store(uri).records().values():
        if record.get("resumed_from_step") is None:
            seconds[likeness(record["kind"], record["config"])].append(record["seconds"])
    medians = {name: round(statistics.median(values), 2) for name, values in sorted(seconds.items())}
    DURATIONS.write_text(json.dumps(medians, indent=1, sort_keys=True) + "\n")
    print(f"{len(medians)} durations: {DURATIONS}")


main(sys.argv[1])
