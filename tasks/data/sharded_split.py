"""A split of people whose pictures lie in shards: which rows are its own, and no copy of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from tasks.context import Context
from tasks.data.dataset import Catalogue
from tasks.data.shard import PRINT, Shard, in_shards, manifest_of
from tasks.data.split import P, Split
from tasks.lazy import lazy
from tasks.stage import Metrics

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa, pq = lazy("pyarrow"), lazy("pyarrow.parquet")


class Row(NamedTuple):
    """A picture of a shard."""

    name: str
    shard: str  # its key
    row: int


class ShardedSplit(Split):
    """A split that is dealt from shards: index.parquet says of each image in which shard and row it lies."""

    kind: ClassVar = "sharded_split"
    version: ClassVar = 1

    shards: tuple[Shard, ...] = Field(min_length=1, description="that hold the pictures of `people`, and maybe others'")
    test_share: float = Field(
        0.0, ge=0, lt=1, description="share of each person's pictures held out for test; 0: test_per_label"
    )

    def run(self, ctx: Context) -> Metrics:
        rows = self._rows(ctx)
        if absent := [person for person in self.people if person not in rows]:
            raise ValueError(f"no shard holds a picture of {', '.join(absent[:5])}: {len(absent)} people without one")
        chosen = [(row, label) for label, person in enumerate(self.people) for row in self.deal(person, rows[person])]
        if not chosen:
            raise ValueError(f"split {self.part} of {len(self.people)} people has no picture at all")
        index = {
            "picture": [row.name for row, _ in chosen],
            "person": [self.people[label] for _, label in chosen],
            "label": [label for _, label in chosen],
            "shard": pa.array([row.shard for row, _ in chosen]).dictionary_encode(),
            "row": [row.row for row, _ in chosen],
        }
        pq.write_table(pa.table(index), ctx.out / "index.parquet")
        return {"images": float(len(chosen)), "labels": float(len(self.people))}

    def _rows(self, ctx: Context) -> dict[str, list[Row]]:
        """Person -> all pictures in the shards."""
        found: dict[str, list[Row]] = {}
        for shard in self.shards:
            index = ctx.load(shard).table("index.parquet").select(["picture", "person"])
            for row, line in enumerate(index.to_pylist()):
                found.setdefault(line["person"], []).append(Row(line["picture"], shard.key, row))
        return found

    def deal(self, person: str, pictures: Sequence[P]) -> list[P]:
        """As every split does, but with a share of the person's pictures for test where one is set."""
        if not self.test_share:
            return super().deal(person, pictures)
        test = max(1, round(self.test_share * len(pictures)))
        return self.model_copy(update={"test_per_label": test, "test_share": 0.0}).deal(person, pictures)


def shard_runs(private: Sequence[str], public: Sequence[str], pictures: Mapping[str, int]) -> list[tuple[str, ...]]:
    """The people of each shard: nobody's pictures lie beside those of somebody whom another side may not see.

    The sides are the private people, the defender's public ones and the attacker's, as a grid deals them. All
    splits of a side, whichever their part, then come from the same shards.
    """
    sides = (private, public[::2], public[1::2])
    return [run for side in sides for run in in_shards(side, pictures)]


def shards_of(kind: type[Shard], catalogue: Catalogue, people: Sequence[str], **fields: object) -> tuple[Shard, ...]:
    """The shards that hold these people's pictures; `fields` are those of `kind` that are the same for all."""
    wanted, found = set(people), []
    for run in shard_runs(catalogue.private, catalogue.public, catalogue.pictures):
        if wanted.isdisjoint(run):
            continue
        left_out = tuple(sorted(name for person in run for name in catalogue.left_out.get(person, ())))
        own = {"left_out": left_out} if left_out else {}
        prints = tuple(catalogue.manifests[person][:PRINT] for person in run)
        manifest = manifest_of(catalogue.manifests, run)
        common = {"people": run, "manifest": manifest, "prints": prints, "channels": catalogue.channels}
        found.append(kind(**{**fields, **common, **own}))
    return tuple(found)
