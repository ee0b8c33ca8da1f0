"""Nested training state <-> safetensors bytes. No pickle: structure is JSON, tensors are tensors."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load, save

State = dict[str, Any]


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
