"""Settings that the white-box and the black-box form of Mirror share."""

from __future__ import annotations

from pydantic import Field

from tasks.stage import Config


class StyleSettings(Config):
    """Which styles an attack samples, and how far from them it may go."""

    pool: int = Field(
        1000, ge=2, description="sampled latents: they span the box, and the target ranks them for starts"
    )
    box: float = Field(1.0, gt=0, description="a style stays within mean +- box standard deviations, by dimension of P")
    truncation: float = Field(1.0, gt=0, le=1, description="psi: w is painted as mean + psi (w - mean); 1: as it is")
