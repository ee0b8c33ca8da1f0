"""A killed run has to end as an undisturbed one: one check for every stage that checkpoints."""

from __future__ import annotations

import pytest
import torch

from tasks.context import Context
from tasks.stage import Stage
from tests.lab import KilledError, Lab, MemoryCheckpoints, folder_digests


def killed_and_resumed(lab: Lab, stage: Stage, kill_at: int) -> Context:
    """Kill a run of `stage` as it writes its checkpoint number `kill_at`, and go on from there.

    The resumed run has the metrics, curves and bytes of one that nothing disturbed, whatever state torch's global
    generator is in, and leaves that alone. Returns its context.
    """
    calm = lab.undisturbed(stage)
    storage = MemoryCheckpoints(kill_at)
    with pytest.raises(KilledError):
        stage.run(lab.context(stage, checkpoints=storage))
    assert storage.writes == kill_at
    storage.kill_at = None
    torch.manual_seed(kill_at)
    before = torch.get_rng_state()
    resumed = lab.context(stage, checkpoints=storage)
    assert stage.run(resumed) == calm.metrics
    assert resumed.resumed_from is not None
    assert folder_digests(resumed.out) == calm.digests
    assert resumed.curves == calm.curves
    assert torch.equal(torch.get_rng_state(), before)
    return resumed
