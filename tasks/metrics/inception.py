"""pytorch-fid's Inception-v3, with weights that the user has: nothing is downloaded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from tasks.data.stored_images import Images

WEIGHTS_NAME = "pt_inception-2015-12-05-6726825d.pth"
_BATCH = 32


def load_inception(path: Path) -> nn.Module:
    """pytorch-fid's network in eval mode; `path` is its weights file (see WEIGHTS_NAME), loaded strictly."""
    from pytorch_fid import inception

    def from_file(*_: object, **__: object) -> object:
        return torch.load(path, map_location="cpu", weights_only=True)

    with (
        mock.patch.object(inception, "load_state_dict_from_url", from_file),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        network: nn.Module = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    return network.eval()


@torch.no_grad()
def inception_features(network: nn.Module, images: Images) -> torch.Tensor:
    """Pool3 features (n, 2048) of images (n, 1 or 3, s, s) in [-1, 1]; the network resizes to 299."""
    colour = (part.cpu().expand(-1, 3, -1, -1).add(1).div(2) for part in images.split(_BATCH))
    return torch.cat([network(part)[0].flatten(1) for part in colour])
