"""The one lazy loader: stage definitions import without torch, their `run` imports it on first use."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    """Stands for a module until an attribute is read; unlike importlib's, it leaves sys.modules alone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy(name: str) -> Any:
    """Return a proxy for module `name`, imported when one of its attributes is first read.

    Used as `if TYPE_CHECKING: from tasks.gan import training` / `else: training = lazy("tasks.gan.training")`,
    so that type checkers see the real module and planning never loads torch.
    """
    return _LazyModule(name)
