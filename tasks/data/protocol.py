"""Who of an archive is private and who public: the paper's protocol, and the one most public code uses.

`paper` (Gong et al. 2023, sec. VI-A): 1000 labels, 2 random test pictures of each, the rest for training. Which
1000 it does not say; here they are drawn by the split's seed among people with enough pictures, and so are as many
public people, disjoint from them.

`field` (the split of KED-MI, Chen et al. 2021, that later code took over): the 1000 people with the most pictures,
a tenth of each for test, and 30,000 pictures of other people as the public set. Theirs is a list of files; this is
its rule, with the same counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from tasks.data.archive import ArchiveDataset
from tasks.data.archive_files import ArchiveFiles, Sifted, Used, sift
from tasks.data.dataset import DataProblemsError, Problem
from tasks.data.findings import Findings
from tasks.data.inspection import Inspector

_AT_A_TIME = 128  # people whose pictures are looked at together
_TWO_LABELS = "pictures left out: the same picture under two labels"


class Chosen(NamedTuple):
    """Private and public people in name order, the pictures of both, and what of them stands under two labels."""

    private: tuple[str, ...]
    public: tuple[str, ...]
    pictures: Mapping[str, Sequence[Used]]
    left_out: Mapping[str, tuple[str, ...]]


def choose(dataset: ArchiveDataset, files: ArchiveFiles, inspector: Inspector, findings: Findings) -> Chosen:
    """Choose by the dataset's protocol, or as its private_people and public_people say.

    DataProblemsError if there are too few people with enough pictures.
    """
    look = _Look(dataset, files, inspector, findings)
    if dataset.private_people is not None or dataset.public_people is not None:
        return _named(dataset, look)
    excluded: set[str] = set()
    while True:  # a person whose pictures stand under other labels, too, may have too few left: then once more
        private, public = _drawn(dataset, look, excluded)
        pictures, left_out = look.without_doubles((*private, *public))
        short = {person for person in private if len(pictures[person]) < look.needed(len(pictures[person]))}
        short |= {person for person in public if len(pictures[person]) <= dataset.val_per_label}
        if not short:
            break
        findings.add("people passed over: too few pictures that stand under no other label", short)
        excluded |= short
    return Chosen(tuple(sorted(private)), tuple(sorted(public)), pictures, left_out)


def _named(dataset: ArchiveDataset, look: _Look) -> Chosen:
    """The people whom the spec names; one with too few pictures is the user's to replace."""
    private, public = dataset.choose_people(look.files.people())
    if dataset.public_people is None:  # everybody else, as far as there are pictures
        enough = set(look.able(public))
        public = tuple(person for person in public if person in enough)
    look.pictures((*private, *public))
    for person in (*private, *public):
        look.tell(person)
    pictures, left_out = look.without_doubles((*private, *public))
    problems = []
    for field, people in (("private_people", private), ("public_people", public)):
        for person in people:
            count = len(pictures[person])
            needed = look.needed(count) if field == "private_people" else dataset.val_per_label + 1
            if count < needed:
                text = f"{person!r} has {count} usable picture(s); {needed} are needed for its parts"
                problems.append(Problem(field, text))
    if problems:
        raise DataProblemsError(problems)
    return Chosen(private, public, pictures, left_out)


def _drawn(dataset: ArchiveDataset, look: _Look, excluded: set[str]) -> tuple[list[str], list[str]]:
    """(private, public) by the protocol, in the order in which they were drawn."""
    everybody = [person for person in look.files.people() if person not in excluded]
    drawn = sorted(everybody, key=lambda person: _draw(dataset.split_seed, person))
    if dataset.protocol == "paper":
        able = look.able(drawn)
        private = list(islice(able, dataset.labels))
        public = list(islice(able, dataset.public))
        wanted, what = dataset.labels + dataset.public, f"{dataset.labels} private and {dataset.public} public"
        if len(private) + len(public) < wanted:
            raise _too_few(dataset, len(private) + len(public), what, "labels, public or min_pictures")
        return private, public
    most = sorted(everybody, key=lambda person: (-look.count(person), person))
    private = list(islice(look.able(most), dataset.labels))
    if len(private) < dataset.labels:
        raise _too_few(dataset, len(private), f"{dataset.labels} private", "labels or min_pictures")
    taken = set(private)
    return private, look.up_to((person for person in drawn if person not in taken), dataset.public_images)


def _draw(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}/people/{person}".encode()).hexdigest()


def _too_few(dataset: ArchiveDataset, found: int, wanted: str, lower: str) -> DataProblemsError:
    text = f"{found} people have {dataset.min_pictures} usable pictures or more, but {wanted} are wanted; lower {lower}"
    return DataProblemsError([Problem("labels", text)])


class _Look:
    """What is known of people's pictures, each person looked at once."""

    def __init__(self, dataset: ArchiveDataset, files: ArchiveFiles, inspector: Inspector, findings: Findings) -> None:
        self.dataset, self.files, self.findings = dataset, files, findings
        self._inspector = inspector
        self._sifted: dict[str, Sifted] = {}

    def count(self, person: str) -> int:
        """How many picture files of a person are there."""
        return len(self.files.entries(person))

    def needed(self, count: int) -> int:
        """Pictures that a private person with `count` of them needs for test, val and one to train on."""
        data = self.dataset
        test = data.test_per_label if data.protocol == "paper" else max(1, round(data.test_share * count))
        return test + data.val_per_label + 1

    def able(self, people: Iterable[str]) -> Iterator[str]:
        """Those of `people` that have enough usable pictures; the others are findings."""
        waiting = iter(people)
        while batch := list(islice(waiting, _AT_A_TIME)):
            least = max(self.dataset.min_pictures, self.needed(self.dataset.min_pictures))
            listed = [person for person in batch if self.count(person) >= least]
            pictures = self.pictures(listed)
            for person in batch:
                self.tell(person)
                if person in pictures and len(pictures[person]) >= least:
                    yield person
                else:
                    self._pass_over(person, least)

    def _pass_over(self, person: str, least: int) -> None:
        count = self.count(person)
        if count < 2:
            text = f"people passed over: {count or 'no'} picture"
        elif count < least:
            text = f"people passed over: fewer than {least} pictures"
        else:
            text = f"people passed over: fewer than {least} usable pictures"
        self.findings.add(text, [person])

    def up_to(self, people: Iterable[str], images: int) -> list[str]:
        """The first of `people`, each with a picture to train on, that have so many pictures together."""
        found: list[str] = []
        waiting, total = iter(people), 0
        while total < images and (batch := list(islice(waiting, _AT_A_TIME))):
            pictures = self.pictures(batch)
            for person in batch:
                if total >= images:
                    break
                self.tell(person)
                if len(pictures[person]) <= self.dataset.val_per_label:
                    self._pass_over(person, self.dataset.val_per_label + 1)
                    continue
                found.append(person)
                total += len(pictures[person])
        if total < images:
            self.findings.add(f"public pictures, where {images:,} were asked for", [f"{total:,} in all"])
        return found

    def pictures(self, people: Sequence[str]) -> dict[str, list[Used]]:
        """The usable pictures of people."""
        if fresh := [person for person in people if person not in self._sifted]:
            self._sifted.update(sift(self.files, self._inspector, fresh))
        return {person: self._sifted[person].used for person in people}

    def tell(self, person: str) -> None:
        """Put what was found while looking at a person's pictures into the findings."""
        for finding, name in self._sifted[person].found if person in self._sifted else ():
            self.findings.add(finding, [name])

    def without_doubles(self, people: Sequence[str]) -> tuple[dict[str, list[Used]], dict[str, tuple[str, ...]]]:
        """The pictures of people but for those that stand under two of them, and the names of these, by person."""
        found = self.pictures(people)
        owners = Counter(picture.digest for used in found.values() for picture in used)  # each once a person
        if len(owners) == owners.total():
            return found, {}
        doubles = {person: tuple(p.name for p in used if owners[p.digest] > 1) for person, used in found.items()}
        left_out = {person: names for person, names in doubles.items() if names}
        for names in left_out.values():
            self.findings.add(_TWO_LABELS, names)
        kept = {person: [p for p in used if owners[p.digest] == 1] for person, used in found.items()}
        return kept, left_out
