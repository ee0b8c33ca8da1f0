"""Public fakes of somebody who does not exist: variations of one random face of the defender's GAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.context import Context
from tasks.gan.gan import GAN
from tasks.inversion.fakes import Samples
from tasks.lazy import lazy
from tasks.stage import Group, Metrics, Role

if TYPE_CHECKING:
    import torch
    from safetensors import torch as safetensors

    from tasks.data import pixels
    from tasks.gan import latents
    from tasks.inversion import latent, making
else:
    torch = lazy("torch")
    safetensors = lazy("safetensors.torch")
    pixels = lazy("tasks.data.pixels")
    latents = lazy("tasks.gan.latents")
    latent = lazy("tasks.inversion.latent")
    making = lazy("tasks.inversion.making")


class SyntheticPerson(Samples):
    """G(z_0), once for every protected label, and its neighbours: z = sqrt(1 - spread^2) z_0 + spread e.

    An extension: the paper's decoys are people (sec. IV-A.2), of whom F_C knows as many as the public data has.
    Labels that are protected in one model and share a decoy contradict each other in L_pub. z and e ~ N(0, I), so
    every image is as likely under the GAN as any other. A condition or code is that of z_0.
    """

    kind: ClassVar = "synthetic_person"
    version: ClassVar = 1
    group: ClassVar[Group] = "inversion"

    gan: GAN
    label: int = Field(ge=0, description="l_t, the label that this person stands for; another label, another person")
    count: int = Field(40, ge=1, description="images")
    spread: float = Field(0.5, ge=0, lt=1, description="share of a neighbour's latent that is its own; 0 = one image")
    clip: float | None = Field(None, gt=0, description="z stays in [-clip, clip]")
    chunk: int = Field(16, ge=1, description="images painted at once")
    role: Role = "defender"

    def run(self, ctx: Context) -> Metrics:
        generator, _ = self.gan.trained(ctx)
        draws = ctx.generator("latents")
        space = self.gan.latent_space
        points = latents.draw(space, 1, draws).repeat(self.count, 1)
        own = torch.randn(self.count, space.normal, generator=draws)
        points[:, : space.normal] *= (1 - self.spread**2) ** 0.5
        points[:, : space.normal] += self.spread * own
        points = latents.project(space, points, self.clip)
        images = pixels.to_uint8(latent.paint(generator, points.to(ctx.device), self.chunk))
        product = {"images": images.contiguous(), "latents": points}
        safetensors.save_file(product, ctx.out / "images.safetensors")
        return {"images": float(self.count)}

    def images(self, ctx: Context) -> torch.Tensor:
        return making.read_images(ctx.load(self))
