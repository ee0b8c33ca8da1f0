"""What a stage may see: only its upstream, only its own random numbers."""

from __future__ import annotations

import pytest
import torch

from tasks.context import Context
from tasks.stage import ComputeStage
from tests.lab import Lab, MemoryCheckpoints


def test_a_stage_may_read_only_what_is_upstream_of_it(lab: Lab) -> None:
    ctx = lab.context(lab.victim)
    assert ctx.load(lab.split("train")).key == lab.split("train").key
    with pytest.raises(KeyError, match="not upstream"):
        ctx.load(lab.split("test"))


def test_an_unknown_source_is_named(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError, match="no folder is known for content abc"):
        lab.context(lab.victim).source("abc")


def test_draws_depend_on_seed_role_label_and_name_alone(lab: Lab) -> None:
    def seed(stage: ComputeStage, name: str = "init") -> int:
        return lab.context(stage).seed(name)

    victim = lab.victim
    assert seed(victim) == seed(victim.model_copy(update={"epochs": 2, "width": 0.5}))
    others = {seed(victim.model_copy(update=change)) for change in ({"seed": 1}, {"role": "evaluator"})}
    assert len(others | {seed(victim), seed(victim, "order")}) == 4
    assert all(0 <= s < 2**63 for s in others)


def test_attacker_and_defender_never_share_a_draw(lab: Lab) -> None:
    names = ("init-generator", "init-critic", "training", "norms", "samples", "latents")
    draws = {lab.context(gan).seed(name) for gan in (lab.attacker_gan, lab.defender_gan) for name in names}
    assert len(draws) == 2 * len(names)


def test_seeded_leaves_the_global_generator_as_it_was(lab: Lab) -> None:
    ctx = lab.context(lab.victim)
    before = torch.get_rng_state()
    with ctx.seeded("dropout", 3):
        one = torch.rand(4)
    with ctx.seeded("dropout", 3):
        two = torch.rand(4)
    with ctx.seeded("dropout", 4):
        other = torch.rand(4)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_checkpoints_are_written_no_more_often_than_asked(lab: Lab) -> None:
    storage = MemoryCheckpoints()
    stage = lab.victim
    ctx = Context(stage, lab.root, lab.run, checkpoints=storage, checkpoint_seconds=3600)
    ctx.checkpoint(1, lambda: {"a": 1})
    assert storage.writes == 0
    ctx.checkpoint(2, lambda: {"a": 2}, force=True)
    assert storage.writes == 1
    again = Context(stage, lab.root, lab.run, checkpoints=storage)
    assert again.restore() == (2, {"a": 2})
    assert again.resumed_from == 2


def test_curves_survive_a_kill(lab: Lab) -> None:
    storage = MemoryCheckpoints()
    ctx = lab.context(lab.victim, checkpoints=storage)
    ctx.log(1, loss=0.5)
    ctx.checkpoint(1, lambda: {})
    ctx.log(2, loss=0.25)  # after the checkpoint: the resumed run logs it again
    again = lab.context(lab.victim, checkpoints=storage)
    again.restore()
    assert again.curves == [{"step": 1.0, "loss": 0.5}]
