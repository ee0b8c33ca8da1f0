"""Settings of gradient searches over inputs, as fields that stages share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.stage import Config


class SearchSettings(Config):
    """How a search over inputs moves and when it stops."""

    steps: int = Field(120, ge=1, description="evaluations of each sample, at most")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="sgd: momentum as in GMI's reference code")
    lr: float = Field(0.05, gt=0, description="step size")
    schedule: Literal["constant", "ramp"] = Field(
        "constant", description="of the rate; ramp: up over the first 5% of the steps, a cosine down over the last 25%"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    beta1: float = Field(0.9, ge=0, lt=1, description="of adam")
    beta2: float = Field(0.999, ge=0, lt=1, description="of adam")
    chunk: int = Field(16, ge=1, description="samples in a batch; every call has this shape")
    patience: int = Field(1_000_000, ge=1, description="a sample that has not improved for so long has converged")
    tolerance: float = Field(0.001, ge=0, lt=1, description="relative gain that counts as an improvement")


class LatentSettings(SearchSettings):
    """The search of eq. 5-6: L_discri + lambda L_iden over z."""

    lam: float = Field(100.0, ge=0, description="lambda of eq. 6; no value in the paper, GMI and KED-MI use 100")
    identification: Literal["ce", "mse"] = Field("ce", description="L_iden: eq. 5 (ce) or the text of IV-B (mse)")
    discrimination: Literal["auto", "critic", "log_sigmoid", "none"] = Field(
        "auto",
        description="L_discri: -D for a WGAN critic, eq. 5's -log sigmoid(D) for a discriminator; auto: as the GAN is",
    )
    clip: float | None = Field(None, gt=0, description="z is clamped to [-clip, clip] after each step; None: free")


class FakesSettings(LatentSettings):
    """The search that makes fakes, and how many."""

    count: int = Field(64, ge=1, description="images, each from a latent of its own; no value in the paper")
