"""What an object leads to: a walk over references, to show that no network is within reach."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType, TracebackType
from typing import Any

import torch
from torch import nn

OFF_LIMITS = (type, ModuleType, BuiltinFunctionType, CodeType)  # of the program, not of this object
HERE = Path(__file__).parent
MOST = 200_000  # objects of a walk; one that is longer has wandered into the interpreter


def within(start: object) -> Iterator[object]:
    """All that references lead to, function closures included, but for what is the program's own."""
    seen, waiting = {id(start): start}, [start]  # kept alive, so that no id is given twice
    while waiting:
        found = waiting.pop()
        yield found
        assert len(seen) < MOST
        for item in _next(found):
            if not isinstance(item, OFF_LIMITS) and id(item) not in seen:
                seen[id(item)] = item
                waiting.append(item)


def _next(found: object) -> list[Any]:
    if isinstance(found, FunctionType):
        return [found.__closure__, found.__defaults__, found.__kwdefaults__, found.__dict__]
    if isinstance(found, BaseException) and found.__traceback__ is not None:
        frames = []
        trace: TracebackType | None = found.__traceback__
        while trace is not None:
            if Path(trace.tb_frame.f_code.co_filename).parent != HERE:  # frames of tests hold what they like
                frames.append(dict(trace.tb_frame.f_locals))
            trace = trace.tb_next
        return [*frames, found.args, found.__cause__, found.__context__]
    return gc.get_referents(found)


def secrets(start: object) -> list[object]:
    """Networks, and tensors that have or want gradients, within reach."""
    return [
        found
        for found in within(start)
        if isinstance(found, nn.Module)
        or (isinstance(found, torch.Tensor) and (found.requires_grad or found.grad_fn is not None))
    ]
