"""What the cells of one dataset and victim share: splits, classifiers, the victim, GANs, and the stages' names."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from grid.data_checks import find_file
from grid.plan import GANEntry
from grid.problems import SpecError, from_validation, join_place
from grid.shown_settings import gan_settings, plain_fields
from grid.spec import DatasetChoice, Spec, VictimChoice
from tasks.data.dataset import Catalogue
from tasks.data.manifest import file_digest
from tasks.data.shard import Shard
from tasks.data.split import Audience, Part, Split
from tasks.defenses.defense import Defender
from tasks.gan import GANS
from tasks.gan.gan import GAN, GANChoice, TargetGAN, TrainedGAN
from tasks.metrics.evaluate import Accuracy
from tasks.metrics.gan_quality import GANQuality
from tasks.models.classifier import Classifier, GivenClassifier, Model
from tasks.stage import Role, Stage

S = TypeVar("S", bound=Stage)

ATTACKERS: tuple[Role, ...] = ("attacker", "confirm")  # whose GANs are trained on the attacker's half


@dataclass
class World:
    """One dataset and victim: the models, splits and GANs that its cells share, for every seed."""

    spec: Spec
    numerics: str
    choice: DatasetChoice
    catalogue: Catalogue
    victim: VictimChoice
    inception: str | None
    sources: dict[str, Path]

    def __post_init__(self) -> None:
        if self.victim.weights is None:
            self.victim = self.victim._replace(settings={**self.victim.settings, **self.choice.victim})
        self.names: dict[str, str] = {}
        self._called: Counter[str] = Counter()
        self.gans: dict[str, tuple[str, GAN]] = {}
        self._splits: dict[tuple[Part, Audience], Split] = {}
        self._classifiers: dict[tuple[Role, int], Classifier] = {}
        self._joint_decoys: dict[int, dict[int, int]] = {}  # by seed
        self._accuracies: dict[tuple[str, str, int], Accuracy] = {}
        self._made_gans: dict[tuple[str, Role, int, str], GAN] = {}

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The protected labels."""
        return self.spec.labels if self.spec.labels is not None else tuple(range(len(self.catalogue.private)))

    @cached_property
    def given_weights(self) -> str | None:
        """Digest of the victim's weights file, if the user brings one."""
        return digest_of(self.spec, self.victim.weights, self.sources)

    def split(self, part: Part, audience: Audience) -> Split:
        """A split of the private people, or of the defender's or attacker's half of the public ones."""
        if (part, audience) in self._splits:  # thousands of cells ask for the same few
            return self._splits[part, audience]
        halves = {"defender": self.catalogue.public[::2], "attacker": self.catalogue.public[1::2]}
        halves["classifier"] = halves["defender"]
        halves["judge"] = self.catalogue.public
        people = self.catalogue.private if audience == "private" else halves[audience]
        made = self.choice.dataset.split(self.catalogue, people, part, audience)
        for shard in made.upstream:
            if isinstance(shard, Shard):
                self.named(f"pictures of {shard.people[0]} to {shard.people[-1]}", shard)
        self._splits[part, audience] = self.named(f"{audience} {part} images", made)
        return made

    def val(self, audience: Audience) -> Split | None:
        """Pictures that are only measured on, if the dataset holds any out."""
        return self.split("val", audience) if self.choice.dataset.val_per_label else None

    def common(self, seed: int) -> dict[str, Any]:
        """Fields of every computing stage."""
        return {"seed": seed, "numerics": self.numerics, "threads": self.spec.threads}

    def classifier(self, role: Role, settings: Mapping[str, Any], seed: int) -> Classifier:
        """A classifier trained on the private people, or F_C on the defender's public ones."""
        if (role, seed) in self._classifiers:
            return self._classifiers[role, seed]
        audience: Audience = "private"
        if role in ("public_classifier", "judge"):
            audience = "classifier" if role == "public_classifier" else "judge"
        val = self.val(audience)
        stage = Classifier(train=self.split("train", audience), val=val, role=role, **settings, **self.common(seed))
        self._classifiers[role, seed] = self.named(f"{role.replace('_', ' ')} {stage.arch}{of_seed(seed)}", stage)
        return stage

    def victim_model(self, seed: int) -> Model:
        """The victim: trained here, or the user's."""
        if self.victim.weights is None:
            return self.classifier("victim", self.victim.settings, seed)
        train = self.split("train", "private")
        fields = {name: self.victim.settings[name] for name in ("arch", "width") if name in self.victim.settings}
        stage = GivenClassifier(
            weights=self.given_weights or "",
            people=train.people,
            channels=train.channels,
            size=train.size,
            **fields,
            **self.common(seed),
        )
        return self.named(f"given victim {stage.arch}", stage)

    def gan(self, choice: GANChoice, role: Role, seed: int, target: Model, place: str) -> GAN:
        """A GAN on the public images of its role; `target` is what a GAN that needs one is trained against.

        place: where the spec asks for it.
        """
        asked = (repr(choice), role, seed, target.key)
        if asked not in self._made_gans:  # every label asks anew
            self._made_gans[asked] = self._make_gan(choice, role, seed, target, place)
        return self._made_gans[asked]

    def _make_gan(self, choice: GANChoice, role: Role, seed: int, target: Model, place: str) -> GAN:
        structure = GANS[choice.name]
        data = self.split("all", "attacker" if role in ATTACKERS else "defender")
        fields = {"data": data, "role": role, **choice.settings, **self.common(seed)}
        for name in ("weights", "critic_weights"):
            if fields.get(name) is not None:
                fields[name] = digest_of(self.spec, fields[name], self.sources)
        name = f"{role} {choice.name}{of_seed(seed)}"
        if issubclass(structure, TargetGAN):
            victim = self.victim_model(seed)
            against = "" if target.key == victim.key else f" against {self.names.get(target.key, target.key)}"
            name = f"{role} {choice.name}{against or of_seed(seed)}"
            fields["target"] = target
            if against and fields.get("start") == "undefended":
                fields["init"] = self.gan(choice, role, seed, victim, place)
        stage = built(structure, fields, place)
        if fields.get("steps") == 0:
            name += " untrained"
        self.named(name, stage)
        self.gans.setdefault(stage.key, (choice.name, stage))
        return stage

    def structure_behind(self, target: Model) -> str:
        """The registry's names of the GANs that a target's fakes are from, joined by +; empty if there is none."""
        return "+".join(dict.fromkeys(self.gans[key][0] for key in target.closure() if key in self.gans))

    def defender(self, seed: int, place: str, attackers_gan: GANChoice | None = None) -> Defender:
        """All that the defender of this victim has; `place` is where the spec asks for the defense."""
        victim = self.victim_model(seed)
        return Defender(
            victim=victim,
            victim_settings=self.victim.settings,
            train=self.split("train", "private"),
            val=self.val("private"),
            public=self.split("train", "classifier"),
            public_images=self.split("all", "defender"),
            public_classifier=self.classifier("public_classifier", self.spec.public_classifier, seed),
            make_gan=lambda gan: self.gan(gan, "defender", seed, victim, join_place(place, "gan")),
            decoy=lambda label: self.decoy(label, seed),
            common=self.common(seed),
            attackers_gan=attackers_gan,
        )

    def decoy(self, label: int, seed: int) -> int:
        """l_p: as the spec says, or drawn at random (sec. IV-A.2) from (seed, label).

        Labels that one model protects share a decoy only where there are more of them than people: L_pub would
        want the same fakes to be two labels.
        """
        if (decoy := self.spec.decoys.get(label)) is not None:
            return decoy
        if self.spec.protect == "single":
            return self._drawn_decoy(label, seed)
        if seed not in self._joint_decoys:
            self._joint_decoys[seed] = self._shared_least(seed)
        return self._joint_decoys[seed][label]

    def _drawn_decoy(self, label: int, seed: int) -> int:
        people = self.split("train", "classifier").people
        return random.Random(f"decoy/{seed}/{label}").randrange(len(people))

    def _shared_least(self, seed: int) -> dict[int, int]:
        """A decoy for each label: the drawn one, or the next of those that the fewest others have."""
        people = len(self.split("train", "classifier").people)
        given = {label: decoy for label, decoy in self.spec.decoys.items() if label in self.labels}
        labels_of = Counter(given.values())
        decoys = dict(given)
        for label in self.labels:
            if label not in given:
                drawn = self._drawn_decoy(label, seed)
                decoys[label] = min(range(people), key=lambda d: (labels_of[d], (d - drawn) % people))
                labels_of[decoys[label]] += 1
        return decoys

    def measured_gans(self) -> list[GANEntry]:
        """Every GAN that the rows use, with the stage that measures it. To be asked after `rows`."""
        return [
            GANEntry(
                dataset=self.choice.shown,
                structure=structure,
                settings=gan_settings(GANChoice(name=structure, settings=_shown_settings(gan))),
                quality=self.named(
                    f"quality of {self.names[gan.key]}",
                    GANQuality(
                        gan=gan,
                        judge=self.classifier("judge", self.spec.evaluator, gan.seed),
                        reference=gan.data,
                        **self.common(gan.seed),
                    ),
                ),
            )
            for structure, gan in self.gans.values()
        ]

    def checks(self, seed: int) -> tuple[Accuracy, Accuracy]:
        """Test accuracy of F_E and of the second evaluator: every attack accuracy stands on it."""
        test, at = self.split("test", "private"), of_seed(seed)
        first = self.accuracy(self.evaluator(seed), test, seed, f"evaluator{at}")
        return first, self.accuracy(self.second(seed), test, seed, f"second evaluator{at}")

    def evaluator(self, seed: int) -> Classifier:
        return self.classifier("evaluator", self.spec.evaluator, seed)

    def second(self, seed: int) -> Classifier:
        return self.classifier("second_evaluator", self.spec.second_evaluator, seed)

    def accuracy(self, model: Model, test: Split, seed: int, where: str) -> Accuracy:
        if (found := self._accuracies.get((model.key, test.key, seed))) is None:
            found = self.named(f"accuracy {where}", Accuracy(model=model, test=test, **self.common(seed)))
            self._accuracies[model.key, test.key, seed] = found
        return found

    def named(self, name: str, stage: S) -> S:
        """`stage`, called `name` from now on unless it has a name; a second stage of that name is numbered."""
        if stage.key not in self.names:
            self._called[name] += 1
            self.names[stage.key] = name if self._called[name] == 1 else f"{name} ({self._called[name]})"
        return stage


def _shown_settings(gan: GAN) -> dict[str, Any]:
    """A GAN's settings, with the steps that it takes: fewer where it starts from another."""
    return plain_fields(gan) | ({"steps": gan.rounds} if isinstance(gan, TrainedGAN) else {})


def of_seed(seed: int) -> str:
    return f" seed {seed}" if seed else ""


def built(kind: type[S], fields: Mapping[str, Any], place: str) -> S:
    """A stage; SpecError where its settings do not go together."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise SpecError(from_validation(error, place, kind)) from error


def digest_of(spec: Spec, path: str | None, sources: dict[str, Path]) -> str | None:
    """Digest of a file that the user brings; its path is noted in `sources`, never in a key."""
    if path is None:
        return None
    found = find_file(path, spec.folder).resolve()
    digest = file_digest(found)
    sources[digest] = found
    return digest
