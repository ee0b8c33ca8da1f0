"""Figures as files whose bytes depend on nothing but what is drawn: no date, no random ids, one font."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(*, width: float, height: float, constrained: bool = True) -> Figure:
    """A figure of so many inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def as_png_and_svg(figure: Figure, salt: str, *, dpi: int = 100) -> tuple[bytes, bytes]:
    """The figure twice. salt: names the ids inside the SVG, so that equal figures have equal bytes."""
    import matplotlib

    png, svg = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "image.composite_image": False}):
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def file_stem(*parts: str) -> str:
    """Names joined for a file: faces, a b, c -> faces-a_b-c."""
    return "-".join(re.sub(r"[^\w.+]+", "_", part) for part in parts)
