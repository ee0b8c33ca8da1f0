"""The search engine: fast and batched, it must give each sample what a search of that sample alone gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.inversion.search import Found, Search
from tasks.inversion.settings import SearchSettings
from tests.lab import KilledError, Lab, MemoryCheckpoints
from tests.oracles.search_formulas import search_one

quick = settings(max_examples=30, deadline=None, derandomize=True)
SCALE = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    """Rounding must not decide when a sample has converged, so that both sides stop at the same step."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def bumpy(x: torch.Tensor) -> torch.Tensor:
    """(n, 3) -> (n,): a bowl with dents, so that the last point is often not the best."""
    return (SCALE * x.square() + (5 * x).sin()).sum(dim=1)


def starts(n: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def searched(
    lab: Lab, start: torch.Tensor, s: SearchSettings, clip: float | None = None, kill_at: int | None = None
) -> Found:
    """Run a search; with `kill_at`, kill it at that checkpoint and run it again from there."""
    storage = MemoryCheckpoints(kill_at)
    project = None if clip is None else lambda x, _: x.clamp(-clip, clip)

    def once() -> Found:
        return Search(start, lambda x, _: bumpy(x), s, project).run(
            lab.context(lab.split("train"), checkpoints=storage)
        )

    if kill_at is not None:
        with pytest.raises(KilledError):
            once()
        storage.kill_at = None
    return once()


@quick
@given(
    n=st.integers(1, 9),
    chunk=st.integers(1, 12),
    steps=st.integers(1, 25),
    patience=st.integers(1, 8),
    tolerance=st.sampled_from([0.0, 0.001, 0.1]),
    optimizer=st.sampled_from(["adam", "sgd"]),
    lr=st.sampled_from([0.01, 0.1]),
    clip=st.sampled_from([None, 1.0]),
    seed=st.integers(0, 999),
)
def test_every_sample_gets_what_it_would_get_alone(
    lab: Lab,
    n: int,
    chunk: int,
    steps: int,
    patience: int,
    tolerance: float,
    optimizer: str,
    lr: float,
    clip: float | None,
    seed: int,
) -> None:
    fields = {"chunk": chunk, "steps": steps, "patience": patience, "tolerance": tolerance, "lr": lr}
    s = SearchSettings(optimizer=optimizer, **fields)
    start = starts(n, seed)
    found = searched(lab, start, s, clip)
    for i in range(n):
        alone = search_one(bumpy, start[i].tolist(), s, clip)
        assert found.passes[i] == alone.passes
        assert torch.allclose(found.losses[i], torch.tensor(alone.loss), rtol=1e-9, atol=1e-9)
        assert torch.allclose(found.points[i], torch.tensor(alone.point), rtol=1e-7, atol=1e-7)


def test_converged_samples_make_room_and_cost_less(lab: Lab) -> None:
    s = SearchSettings(steps=200, patience=5, chunk=3, lr=0.1)
    found = searched(lab, starts(10), s)
    assert bool((found.passes < 200).all())
    assert len(set(found.passes.tolist())) > 1, "all stopped at once, so nothing was replaced midway"


def test_the_point_of_least_loss_is_kept_not_the_last(lab: Lab) -> None:
    start = starts(4)
    s = SearchSettings(steps=30, lr=0.8, chunk=4, optimizer="sgd", momentum=0.0)  # overshoots
    found = searched(lab, start, s)
    assert torch.equal(bumpy(found.points), found.losses)
    assert bool((found.losses <= bumpy(start)).all())
    shorter = searched(lab, start, s.model_copy(update={"steps": 5}))
    assert bool((found.losses <= shorter.losses).all())


def test_nothing_is_shared_between_samples(lab: Lab) -> None:
    """A sample whose loss explodes, or is not a number, leaves the others exactly as they were."""
    start = starts(6)
    s = SearchSettings(steps=20, chunk=3, lr=0.1)
    clean = searched(lab, start, s)
    broken = start.clone()
    broken[1] = torch.nan
    found = searched(lab, broken, s)
    others = [0, 2, 3, 4, 5]
    assert torch.equal(found.points[others], clean.points[others])
    assert torch.equal(found.losses[others], clean.losses[others])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("kill_at", [1, 7, 16])
def test_a_killed_search_resumes_to_the_same_bits(lab: Lab, optimizer: str, kill_at: int) -> None:
    s = SearchSettings(steps=9, patience=4, chunk=2, lr=0.1, optimizer=optimizer)
    start = starts(5)
    undisturbed, resumed = searched(lab, start, s), searched(lab, start, s, kill_at=kill_at)
    assert torch.equal(resumed.points, undisturbed.points)
    assert torch.equal(resumed.losses, undisturbed.losses)
    assert torch.equal(resumed.passes, undisturbed.passes)


def test_the_start_is_left_alone(lab: Lab) -> None:
    start = starts(5)
    before = start.clone()
    searched(lab, start, SearchSettings(steps=5, chunk=2))
    assert torch.equal(start, before)
