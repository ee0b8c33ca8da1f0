"""A workbench for tests: tiny stages on synthetic people, run in-process into one store and shared."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from grid.runner import run_stage
from grid.spec_source import read_budget
from grid.store import Store
from tasks.artifact import Artifact
from tasks.attacks.attack import Attacker
from tasks.context import CheckpointStorage, Context
from tasks.data.dataset import Catalogue
from tasks.data.split import Audience, Part, Split
from tasks.data.synthetic import Synthetic
from tasks.finetune.fisher import Fisher
from tasks.gan import GANS
from tasks.gan.gan import GAN, GANChoice, TargetGAN
from tasks.gan.wgan import WGAN
from tasks.inversion.fakes import Fakes
from tasks.models.classifier import Classifier, Model
from tasks.stage import Metrics, Role, Stage

CLASSES = 6


class KilledError(Exception):
    """Stands for `kill -9`: raised by a checkpoint storage just after it has written."""


class MemoryCheckpoints:
    """Keeps the last checkpoint; raises KilledError after the write number `kill_at` (counted from 1)."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at, self.writes = kill_at, 0
        self.data: bytes | None = None

    def write(self, step: int, data: bytes) -> None:
        self.data, self.writes = data, self.writes + 1
        if self.writes == self.kill_at:
            raise KilledError(step)

    def read(self) -> bytes | None:
        return self.data


class Undisturbed(NamedTuple):
    """What a run leaves that nothing disturbs: its metrics, its curves and the sha256 of its files."""

    metrics: Metrics
    curves: list[dict[str, float]]
    digests: dict[str, str]


class Lab:
    """Six private people, six public ones (three a side), 32 px; a victim, two GANs and fakes of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, str(root / "store")
        self.store = Store(self.uri)
        self._undisturbed: dict[str, Undisturbed] = {}
        self.dataset = Synthetic(size=32, people=2 * CLASSES, per_person=8)

    def run(self, stage: Stage, sources: Mapping[str, Path] | None = None) -> Artifact:
        """The product of `stage`; what is missing of it and of its upstream is run now. sources: as of a context."""
        for key, needed in stage.closure().items():
            if self.store.done(key) is None:
                outcome = run_stage(needed, self.uri, sources or {})
                assert outcome.error is None, f"{key}: {outcome.error}"
        return self.store.load(stage.key)

    def context(
        self,
        stage: Stage,
        *,
        checkpoints: CheckpointStorage | None = None,
        load: Callable[[Stage], Artifact] | None = None,
        sources: Mapping[str, Path] | None = None,
    ) -> Context:
        """A context for `stage.run` with an empty folder, which checkpoints whenever the stage lets it."""
        out = Path(tempfile.mkdtemp(dir=self.root))
        load = load or partial(self.run, sources=sources)
        return Context(stage, out, load, sources=sources, checkpoints=checkpoints, checkpoint_seconds=0.0)

    def undisturbed(self, stage: Stage) -> Undisturbed:
        """Run apart from the store, without checkpoints, and once for each key."""
        if stage.key not in self._undisturbed:
            ctx = self.context(stage)
            metrics = stage.run(ctx)
            self._undisturbed[stage.key] = Undisturbed(metrics, ctx.curves, folder_digests(ctx.out))
        return self._undisturbed[stage.key]

    @cached_property
    def catalogue(self) -> Catalogue:
        return self.dataset.catalogue(self.root)

    def split(self, part: Part, audience: Audience = "private") -> Split:
        half = {"private": self.catalogue.private, "attacker": self.catalogue.public[1::2]}
        people = half.get(audience, self.catalogue.public[::2])
        return self.dataset.split(self.catalogue, people, part, audience)

    @cached_property
    def victim(self) -> Classifier:
        """A trained victim with BatchNorm."""
        settings = {"width": 0.0625, "epochs": 15, "batch": 10, "augment": False, "label_smoothing": 0.1}
        return Classifier(train=self.split("train"), val=self.split("val"), arch="vgg16_bn", **settings)

    @cached_property
    def sure_victim(self) -> Classifier:
        """The same, trained until it knows its people on any CPU: how much 15 epochs teach depends on rounding."""
        return self.victim.model_copy(update={"epochs": 30})

    @cached_property
    def public_classifier(self) -> Classifier:
        """F_C, hardly trained."""
        train = self.split("train", "classifier")
        settings = {"arch": "ir_small", "width": 0.5, "epochs": 3, "batch": 8}
        return Classifier(train=train, role="public_classifier", **settings)

    def gan(self, role: Role, **settings: Any) -> WGAN:
        """A small GAN on the images of `role`."""
        data = self.split("all", "attacker" if role == "attacker" else "defender")
        base = {"latent_dim": 16, "width": 8, "steps": 100, "n_critic": 1, "batch": 8, "lr": 2e-3}
        base |= {"critic_lr": 2e-3, "beta1": 0.0, "beta2": 0.99}
        return WGAN(data=data, role=role, **{**base, **settings})

    @cached_property
    def attacker(self) -> Attacker:
        """An attacker with small GANs of any structure."""
        return Attacker(self.split("all", "attacker"), self.split("train"), self.make_gan, {})

    def make_gan(self, choice: GANChoice, target: Model) -> GAN:
        """The attacker's GAN of a structure: the shared WGAN, or one of 60 steps."""
        if choice.name == "wgan" and not choice.settings:
            return self.attacker_gan
        base: dict[str, Any] = {**read_budget("quick")["gans"][choice.name], "latent_dim": 16, "width": 8, "steps": 60}
        against = {"target": target} if issubclass(GANS[choice.name], TargetGAN) else {}
        fields = {**base, "batch": 8, "lr": 2e-3, "critic_lr": 2e-3, **choice.settings, **against}
        return GANS[choice.name](data=self.split("all", "attacker"), role="attacker", **fields)

    @cached_property
    def attacker_gan(self) -> WGAN:
        return self.gan("attacker")

    @cached_property
    def defender_gan(self) -> WGAN:
        return self.gan("defender", steps=10)

    def fakes(self, label: int, *, private: bool, count: int = 4) -> Fakes:
        """Fakes of a label of the victim, or of the public classifier."""
        model = self.victim if private else self.public_classifier
        return Fakes(model=model, gan=self.defender_gan, label=label, count=count, steps=4, chunk=4)

    @cached_property
    def fisher(self) -> Fisher:
        return Fisher(model=self.victim, data=self.split("train"))


def folder_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
