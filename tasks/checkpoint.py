"""Nested training state <-> safetensors bytes. No pickle: structure is JSON, tensors are tensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save

if TYPE_CHECKING:
    from tasks.context import Context

State = dict[str, Any]


class TrainingState:
    """What a step of a training changes, saved and restored together: a killed run resumes to the same weights."""

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
        **generators: torch.Generator,
    ) -> None:
        self._network, self._optimizer, self._schedule, self._generators = network, optimizer, schedule, generators

    def resume(self, ctx: Context) -> int:
        """Take up the last checkpoint of a killed run. Returns the steps that were done, 0 without one."""
        restored = ctx.restore()
        if restored is None:
            return 0
        done, state = restored
        self._network.load_state_dict(state["network"])
        restore_optimizer(self._optimizer, state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        for name, generator in self._generators.items():
            generator.set_state(state[name])
        return done

    def snapshot(self) -> State:
        """For `ctx.checkpoint`."""
        state: State = {"network": self._network.state_dict(), "optimizer": self._optimizer.state_dict()}
        if self._schedule is not None:  # a schedule's function is code, not state
            state["schedule"] = {k: v for k, v in self._schedule.state_dict().items() if k != "anneal_func"}
        return {**state, **{name: generator.get_state() for name, generator in self._generators.items()}}


def pack(state: State) -> bytes:
    """Serialise nested dicts, lists and tuples of tensors and JSON scalars."""
    tensors: dict[str, torch.Tensor] = {}
    structure = _encode(state, tensors)
    header = torch.frombuffer(bytearray(json.dumps(structure, allow_nan=True).encode()), dtype=torch.uint8)
    return save({**tensors, "structure": header})


def unpack(data: bytes) -> State:
    """Inverse of `pack`; tensors come back on the CPU, each in memory of its own."""
    tensors = load(data)
    structure = json.loads(bytes(tensors.pop("structure").tolist()))
    state = _decode(structure, tensors)
    if not isinstance(state, dict):
        raise ValueError("a checkpoint holds a dict")
    return state


def restore_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Load optimizer state in each parameter's memory layout, so that a resumed step rounds the same."""
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for name, value in optimizer.state[parameter].items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    optimizer.state[parameter][name] = torch.empty_like(parameter).copy_(value)


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"t": name}
    if isinstance(value, dict):
        return {"d": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"l" if isinstance(value, list) else "u": [_encode(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"v": value}
    raise TypeError(f"a checkpoint holds tensors and plain data, but got {type(value).__name__}")


def _decode(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    ((tag, value),) = node.items()
    if tag == "t":
        return tensors[value].clone()
    if tag == "d":
        return {key: _decode(item, tensors) for key, item in value}
    if tag in "lu":
        items = [_decode(item, tensors) for item in value]
        return items if tag == "l" else tuple(items)
    return value
