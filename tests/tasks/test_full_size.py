"""IR-50 at 112 pixels and VGG-16 at 224, whole: a step of training and a step of an attack, on two images."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from grid.runner import run_stage
from grid.store import Store
from tasks.attacks.privacy import Privacy
from tasks.data.synthetic import Synthetic
from tasks.models.classifier import Classifier

NETWORKS = {"ir50": 112, "vgg16_bn": 224}
PARAMETERS = {"ir50": 30e6, "vgg16_bn": 100e6}  # of the whole networks, at least
GIB = 2**30
MOST_BYTES = {"train": 5 * GIB, "attack": 4 * GIB}  # of the process, torch and all that it holds included


@pytest.mark.parametrize("arch", NETWORKS)
def test_a_step_of_training_and_one_of_an_attack(
    tmp_path: Path, arch: str, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the runner, so that the peak memory is the one that records have; it is printed, and bounded.

    A process a stage: what earlier tests left in this one would count as the stage's.
    """
    data = Synthetic(size=NETWORKS[arch], people=5, per_person=2, test_per_label=1, val_per_label=0)
    catalogue = data.catalogue(tmp_path)
    train = data.split(catalogue, catalogue.private, "train", "private")
    victim = Classifier(train=train, arch=arch, width=1.0, epochs=1, batch=2, augment=False, lr=0.01, optimizer="sgd")
    attack = Privacy(target=victim, label=0, images=2, steps=1)
    store = Store(str(tmp_path / "store"))
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, max_tasks_per_child=1) as processes:
        for stage in attack.closure().values():
            outcome = processes.submit(run_stage, stage, store.location, {}).result()
            assert outcome.error is None, outcome.error
    for name, stage in (("train", victim), ("attack", attack)):
        record = store.done(stage.key)
        assert record is not None
        peak, seconds = record["peak_memory_bytes"], record["seconds"]
        record_property(f"{arch}_{name}_peak_memory_bytes", peak)
        with capsys.disabled():
            print(f"\n{arch} at {NETWORKS[arch]} px, {name}: peak memory {peak / GIB:.2f} GiB, {seconds:.1f} s")
        assert peak < MOST_BYTES[name]
    weights = store.load(victim.key).tensors("model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) > PARAMETERS[arch]
