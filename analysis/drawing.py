"""Figures as files whose bytes depend on what is drawn alone: no date, no random ids, no matplotlibrc, one font."""

from __future__ import annotations

import io
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWING = RLock()  # matplotlib's settings are the process's, not a thread's


@contextmanager
def default_style() -> Iterator[None]:
    """Matplotlib's own defaults, whatever the reader's matplotlibrc says; also a decorator of what draws.

    Most settings are read while a figure is built, the others while it is saved: both belong inside. The settings
    from before come back, but for the backend, which is never touched. One thread at a time: a second one waits,
    since it would take the first one's settings for those to come back to.
    """
    import matplotlib

    ours = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with _DRAWING, matplotlib.rc_context(ours):
        yield


@default_style()
def new_figure(*, width: float, height: float, constrained: bool = True) -> Figure:
    """A figure of so many inches that belongs to no window. What is drawn into it needs `default_style` too."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


@default_style()
def as_png(figure: Figure, *, dpi: int = 100) -> bytes:
    """The figure's pixels."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
    return png.getvalue()


@default_style()
def as_png_and_svg(figure: Figure, salt: str, *, dpi: int = 100) -> tuple[bytes, bytes]:
    """The figure twice. salt: names the ids inside the SVG, so that equal figures have equal bytes."""
    import matplotlib

    png, svg = as_png(figure, dpi=dpi), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "image.composite_image": False}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png, svg.getvalue()


def file_stem(*parts: str, taken: Container[str] = ()) -> str:
    """Names joined for a file: faces, a b, c -> faces-a_b-c.

    taken: the files (.png) there are; two names that differ only in characters that no file name has get two files.
    """
    stem = "-".join(re.sub(r"[^\w.+]+", "_", part) for part in parts)
    while f"{stem}.png" in taken:
        stem += "_"
    return stem
