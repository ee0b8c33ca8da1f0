"""What a prediction API gives to whoever calls it: confidences. It counts the calls, and that is all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from tasks.context import Context
from tasks.models.training import predict

if TYPE_CHECKING:
    from tasks.models.architectures import Network
    from tasks.models.classifier import Model


class Oracle:
    """Images in, softmax confidences out; `queries` counts images.

    The network lives in the frame of a thread of its own, as an API's does on its server: nothing that can be
    reached from this object leads to a weight, and no answer has a graph.
    """

    __slots__ = ("_answers", "_asked", "_queries", "classes", "closed")

    def __init__(self, classes: int) -> None:
        self.classes, self._queries, self.closed = classes, 0, False
        self._asked: queue.SimpleQueue[torch.Tensor | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[torch.Tensor | Exception] = queue.SimpleQueue()

    @property
    def queries(self) -> int:
        """Images that were sent."""
        return self._queries

    def resume(self, queries: int) -> None:
        """Count what a killed run had sent before; ValueError if that is less than was sent since."""
        if queries < self._queries:
            raise ValueError(f"{queries=} of the killed run are fewer than the {self._queries} that were sent here")
        self._queries = queries

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Confidences (n, classes) of images (n, c, s, s) in [-1, 1], on the CPU; n queries are counted.

        RuntimeError after the attack's time is over.
        """
        if self.closed:
            raise RuntimeError("the API is closed: an oracle answers inside its `with` block only")
        self._asked.put(images.detach())
        answer = self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        self._queries += len(images)
        return answer


@contextmanager
def oracle(target: Model, ctx: Context) -> Iterator[Oracle]:
    """An oracle of the target; inside, `ctx` refuses to load the target or anything that it is made from."""
    api = Oracle(target.classes)
    ready = threading.Event()
    handed = [target.network(ctx)]
    kind = ctx.device.type
    amp = torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind))
    numerics = (torch.get_num_threads(), amp)
    threading.Thread(target=_serve, args=(handed, numerics, api._asked, api._answers, ready), daemon=True).start()
    ready.wait()
    try:
        with ctx.closed_to(target.closure()):
            yield api
    finally:
        api.closed = True
        api._asked.put(None)


def _serve(
    handed: list[Network],
    numerics: tuple[int, torch.autocast],
    asked: queue.SimpleQueue[torch.Tensor | None],
    answers: queue.SimpleQueue[torch.Tensor | Exception],
    ready: threading.Event,
) -> None:
    network = handed.pop()
    threads, amp = numerics
    torch.set_num_threads(threads)  # all three are a thread's own; the stage's has them too
    torch.set_flush_denormal(True)
    ready.set()
    while (images := asked.get()) is not None:
        try:
            with amp:
                answers.put(predict(network, images).softmax(dim=1))
        except Exception as error:  # noqa: BLE001  is raised where the question was asked
            error.__cause__ = error.__context__ = None
            answers.put(error.with_traceback(None))  # a traceback leads to this frame, and so to the network
