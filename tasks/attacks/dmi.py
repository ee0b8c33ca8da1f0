"""DMI, distributional model inversion (Chen et al., ICCV 2021, "KED-MI"): a distribution of faces, not one face."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.attacks.attack import NO_SELECTION, GeneratorAttack, Inverted, WhiteBoxAttack
from tasks.context import Context
from tasks.inversion.settings import LatentSettings
from tasks.lazy import lazy

if TYPE_CHECKING:
    from tasks.attacks import distribution
    from tasks.models.architectures import Network
else:
    distribution = lazy("tasks.attacks.distribution")


class DMI(LatentSettings, GeneratorAttack, WhiteBoxAttack):
    """(mu, sigma)* = argmin E[L_prior + lambda CE(F(G(z)), l_t)], z = mu + sigma eps; images are draws from it.

    The generator is the inversion-specific GAN (`gan: inversion`), trained against this very target. The
    reference code searches one distribution a label with one eps a step for 2,400 steps and draws 5 images,
    none of them chosen. Here each of `distributions` has a loss of its own (no batch of labels), eps belongs to
    the distribution and the step, and the last parameters are kept: the least loss of random ones is luck.
    """

    kind: ClassVar = "dmi"
    version: ClassVar = 1
    default_gan: ClassVar = "inversion"

    lr: float = Field(0.02, gt=0, description="step size")
    distributions: int = Field(1, ge=1, description="independent searches, to which the images are dealt in turn")
    draws: int = Field(1, ge=1, description="z a step, whose losses are averaged; each is a pass")
    log_var: float = Field(1.0, description="where log sigma^2 starts (the reference: 1, so sigma = 1.65); mu at 0")
    restarts: int = Field(1, ge=1, description="final draws per image; the target chooses among them")

    @property
    def selection(self) -> str:
        return NO_SELECTION if self.restarts == 1 else f"best of {self.restarts} draws by the target's p(l_t)"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return distribution.recover(self, ctx, target)
