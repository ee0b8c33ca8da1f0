"""GAN structures by name."""

from tasks.gan.wgan import GAN, WGAN

GANS: dict[str, type[GAN]] = {
    "wgan": WGAN,
}
