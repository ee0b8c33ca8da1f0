"""Datasets by name. A new dataset is its file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry import Registry

if TYPE_CHECKING:
    from tasks.data.dataset import Dataset

DATASETS: Registry[Dataset] = Registry(
    {
        "orl": "tasks.data.orl:Orl",
        "folder": "tasks.data.folder:Folder",
        "celeba": "tasks.data.celeba:Celeba",
        "vggface": "tasks.data.vggface:VggFace",
        "vggface2": "tasks.data.vggface2:VggFace2",
        "lfw": "tasks.data.lfw:Lfw",
        "synthetic": "tasks.data.synthetic:Synthetic",
    }
)
