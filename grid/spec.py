"""A spec as it stands after checking: what a person wants compared. Nothing here touches torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from grid.attack_choices import AttackChoice
from grid.defense_choices import DefenseChoice
from grid.spec_source import Source
from tasks.data.dataset import Catalogue, Dataset
from tasks.stage import Config, Group, Role


class ResourceRequest(Config):
    """What a stage of a group asks of the cluster; `gpu` counts only where the cluster has GPUs.

    What is left out is chosen by grid.placement, from the memory that such stages have used before.
    """

    gpu: float | None = Field(None, ge=0, le=8, description="GPUs, a fraction shares one")
    cpu: float | None = Field(None, gt=0, le=256, description="CPUs; default: the stage's threads")
    memory: float | None = Field(None, gt=0, le=16384, description="GiB of host memory")

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, gpu: float | None) -> float | None:
        if gpu is not None and gpu > 1 and gpu != int(gpu):
            raise ValueError("more than one GPU must be a whole number of them")
        return gpu


class DatasetChoice(NamedTuple):
    shown: str
    dataset: Dataset
    place: str
    victim: Mapping[str, Any] = MappingProxyType({})  # settings of the victim's training for this dataset alone


class VictimChoice(NamedTuple):
    shown: str
    settings: Mapping[str, Any]
    weights: str | None
    place: str


class Spec(NamedTuple):
    """A checked spec: every name is known and every number in range; the data have not been looked at."""

    name: str
    source: Source
    datasets: tuple[DatasetChoice, ...]
    victims: tuple[VictimChoice, ...]
    evaluator: Mapping[str, Any]
    second_evaluator: Mapping[str, Any]
    public_classifier: Mapping[str, Any]
    labels: tuple[int, ...] | None  # None: all
    decoys: Mapping[int, int]
    protect: str
    seeds: tuple[int, ...]
    attacks: tuple[AttackChoice, ...]
    defenses: tuple[DefenseChoice, ...]
    budget: str
    numerics: str
    threads: int
    resources: Mapping[Group, ResourceRequest]
    inception_weights: str | None
    attacker_role: Role = "attacker"
    timeouts: Mapping[str, float] = {}  # seconds by kind or group of stage
    looked: dict[str, Catalogue] | None = None  # what was found by looking at the data, by the dataset's place

    def catalogue(self, choice: DatasetChoice) -> Catalogue:
        """What a dataset holds, looked at once for a spec. Raises DataProblemsError."""
        if self.looked is not None and choice.place in self.looked:
            return self.looked[choice.place]
        found = choice.dataset.catalogue(self.folder)
        if self.looked is not None:
            self.looked[choice.place] = found
        return found

    @property
    def folder(self) -> Path:
        """Where relative paths of a spec start if they are not found from the current folder."""
        return self.source.path.parent


KEYS: dict[str, Any] = {
    "name": None,
    "dataset": "orl",
    "victim": {"arch": "vgg16_bn", "width": 0.25},
    "evaluator": {"arch": "ir_small"},
    "second_evaluator": {"arch": "densenet_small"},
    "public_classifier": {"arch": "vgg16_bn", "width": 0.25},
    "labels": "all",
    "decoys": {},
    "protect": "single",
    "attacker_role": "attacker",
    "seeds": [0],
    "attacks": None,
    "control": "none",
    "defenses": None,
    "budget": "quick",
    "numerics": "auto",
    "threads": 1,
    "resources": {},
    "timeouts": {},
    "inception_weights": None,
    "paper": None,
}
