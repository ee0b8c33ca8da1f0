"""Datasets by name."""

from tasks.data.dataset import Dataset
from tasks.data.folder import Folder
from tasks.data.orl import Orl
from tasks.data.synthetic import Synthetic

DATASETS: dict[str, type[Dataset]] = {
    "orl": Orl,
    "folder": Folder,
    "synthetic": Synthetic,
}
