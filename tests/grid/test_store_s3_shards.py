"""Pictures are prepared into shards on an S3 store, and a classifier learns from them there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from grid.runner import run_stage
from grid.store import Store
from tasks.models.classifier import Classifier
from tests import archives
from tests.grid.s3_server import ENVIRONMENT, make_bucket, s3_server, uri
from tests.tasks.data.test_archives import parts, small

pytest.importorskip("moto", reason="moto, an S3 server for tests, is not installed: pip install 'moto[s3]'")


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store on s3://."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with s3_server() as port:
        make_bucket(port, "shards")
        yield uri(port, "shards")


def test_a_classifier_learns_from_shards_on_s3_as_from_a_folder(
    tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage with a cache of its own, empty at first, as though on another machine."""
    archives.celeba(tmp_path / "data")
    dataset = small("celeba", root=str(tmp_path / "data"))
    catalogue = dataset.catalogue(tmp_path)
    train = parts(dataset, catalogue, "train")
    model = Classifier(train=train, arch="vgg16_bn", width=0.0625, epochs=1, batch=4)
    records = {}
    for place in (remote, str(tmp_path / "store")):
        for key, stage in model.closure().items():
            monkeypatch.setenv("DECOYGRID_CACHE", str(tmp_path / "caches" / key))
            outcome = run_stage(stage, place, catalogue.sources)
            assert outcome.error is None, outcome.error
        store = Store(place)
        records[place] = [store.done(key) for key in model.closure()]
    far, near = ([(r["files"], r["metrics"]) for r in found if r is not None] for found in records.values())
    assert len(far) == len(model.closure())
    assert far == near
    images = [r["files"]["images.npy"]["size"] for r in records[remote] if r and "images.npy" in r["files"]]
    assert len(images) == len(train.upstream)
