"""The coefficients and steps of the fine-tune (eq. 10), as fields shared by the stage and the defenses."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.stage import Config


class FinetuneSettings(Config):
    """Eq. 10 and how it is minimised. The paper gives no value but gamma = 2; see docs/PROTOCOL.md."""

    alpha: float = Field(1.0, ge=0, le=1e3, description="alpha of eq. 10: weight of L_pri; 0 = not computed")
    beta: float = Field(1.0, ge=0, le=1e3, description="beta of eq. 10: weight of L_pub; 0 = not computed")
    omega: float = Field(1.0, ge=0, le=1e3, description="omega of eq. 10: weight of L_CL; 0 = not computed")
    gamma: float = Field(2.0, ge=0, le=10, description="gamma of eq. 7-8: focal exponent; 0 = cross-entropy")
    lambda3: float = Field(10.0, ge=0, le=1e6, description="lambda_3 of eq. 9; only omega * lambda3 counts")
    lpri: Literal["detached", "literal", "ce", "unlikelihood"] = Field(
        "detached", description="form of L_pri (eq. 7); `literal` has its maximum at p = e^(-1/gamma)"
    )
    replay: float = Field(
        0.0, ge=0, le=1e3, description="extension: weight of the cross-entropy on private training images"
    )
    steps: int = Field(80, ge=1, description="fine-tuning steps")
    batch: int = Field(16, ge=1, description="fakes of each kind per pair and step")
    replay_batch: int = Field(32, ge=1, description="private training images a step, if replay > 0")
    lr: float = Field(1e-3, gt=0, description="first rate of SGD; it falls to 0 in a straight line")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    augment: bool = Field(True, description="flips, small affine maps, brightness, as the victim was trained with")
    clip_norm: float = Field(1.0, gt=0, description="the gradient of all terms but L_CL is scaled down to this norm")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.alpha == self.beta == self.replay == 0:
            raise ValueError("alpha, beta and replay are all 0: nothing would change the victim")
        return self

    @property
    def consolidates(self) -> bool:
        """Whether L_CL has any weight, so that a Fisher is needed."""
        return self.omega * self.lambda3 > 0
