"""Networks over many rows: every call has one shape, since rounding depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from tasks.data.stored_images import Images


@torch.no_grad()
def in_chunks(
    function: Callable[[torch.Tensor], torch.Tensor],
    rows: Images,
    chunk: int,
    device: torch.device,
) -> torch.Tensor:
    """`function` of rows (n, ...) in batches of `chunk`, on `device`; (n, ...) on the CPU.

    The last batch is padded with its last row, so that a row's result depends neither on how many there are nor,
    as far as `function` treats rows one by one, on the others.
    """
    parts = []
    for part in rows.split(chunk):
        padded = torch.cat([part, part[-1:].expand(chunk - len(part), *part.shape[1:])]).to(device)
        parts.append(function(padded)[: len(part)].cpu())
    return torch.cat(parts)
