"""Checkpoints: nested state to bytes and back, without pickle and without loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.checkpoint import pack, restore_optimizer, unpack

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | st.text(max_size=8)
)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=4) | st.integers(), nested, max_size=4))
def test_plain_state_comes_back_as_it_was(state: dict[Any, Any]) -> None:
    back = unpack(pack(state))
    assert back == state
    assert repr(back) == repr(state)  # tuples stay tuples, 1 does not become 1.0 or True


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    t = torch.arange(24).reshape(2, 3, 2, 2).to(dtype)
    image = t.contiguous(memory_format=torch.channels_last)
    state = {"a": {3: [t, (t[:, 0], t.sum())]}, "image": image, "empty": t[:0]}
    back = unpack(pack(state))
    assert torch.equal(back["a"][3][0], t)
    assert torch.equal(back["a"][3][1][0], t[:, 0])
    assert back["a"][3][1][1].shape == ()
    assert torch.equal(back["image"], image)
    assert back["empty"].shape == (0, 3, 2, 2)
    assert back["image"].dtype == dtype


def test_a_tensor_in_two_places_and_a_slice_of_another() -> None:
    t = torch.arange(6.0)
    back = unpack(pack({"one": t, "two": t, "part": t[2:4]}))
    assert torch.equal(back["one"], back["two"])
    assert torch.equal(back["part"], t[2:4])
    back["one"].zero_()
    assert torch.equal(back["two"], t)


def test_infinite_and_missing_losses_survive() -> None:
    back = unpack(pack({"best": [math.inf, -math.inf, math.nan]}))
    assert back["best"][:2] == [math.inf, -math.inf]
    assert math.isnan(back["best"][2])


def test_a_generator_goes_on_where_it_was() -> None:
    generator = torch.Generator().manual_seed(5)
    torch.randn(7, generator=generator)
    data = pack({"draws": generator.get_state()})
    wanted = torch.randn(5, generator=generator)
    again = torch.Generator()
    again.set_state(unpack(data)["draws"])
    assert torch.equal(torch.randn(5, generator=again), wanted)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_where_it_was(kind: type[torch.optim.Optimizer]) -> None:
    def start() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        net = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        extra = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return net, kind(net.parameters(), lr=0.1, **extra)  # type: ignore[call-arg]

    def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    net, optimizer = start()
    for seed in range(3):
        step(net, optimizer, seed)
    data = pack({"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    other, optimizer2 = start()
    state = unpack(data)
    other.load_state_dict(state["net"])
    restore_optimizer(optimizer2, state["optimizer"])
    for seed in range(3, 6):
        step(net, optimizer, seed)
        step(other, optimizer2, seed)
    for name, t in net.state_dict().items():
        assert torch.equal(t, other.state_dict()[name])
    for p in other.parameters():
        for value in optimizer2.state[p].values():
            if isinstance(value, torch.Tensor) and value.shape == p.shape:
                assert value.stride() == p.stride()


def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="plain data"):
        pack({"schedule": object()})
