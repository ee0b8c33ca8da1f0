"""Ad-mi (Wen, Yiu, Hui, CSR 2021): answers with noise that misleads whoever inverts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from tasks.attacks.decoder import Decoder, DecoderSettings
from tasks.context import Context
from tasks.data.split import Split
from tasks.defenses.defense import Defender
from tasks.defenses.wrapper_defense import WrapperDefense
from tasks.lazy import lazy
from tasks.models.wrapped import Wrapped
from tasks.stage import Config, Metrics

if TYPE_CHECKING:
    import torch

    from tasks.attacks import decoder_training
    from tasks.data.stored_images import StoredImages
    from tasks.defenses import ad_mi_noise
    from tasks.models import inference
else:
    decoder_training = lazy("tasks.attacks.decoder_training")
    ad_mi_noise = lazy("tasks.defenses.ad_mi_noise")
    inference = lazy("tasks.models.inference")


class NoiseSettings(Config):
    """How the noise on one answer is found."""

    steps: int = Field(10, ge=0, le=1000, description="of gradient ascent on each answer (the paper: 10 epochs)")
    budget: float = Field(
        0.5, gt=0, le=2, description="largest l1 norm of the noise, 2 being all there is; no value in the papers"
    )
    rate: float = Field(0.25, gt=0, le=1, description="length (l2) of a step as a share of the budget; no value")


class Noised(NoiseSettings, Wrapped):
    """Answer each query x with the confidences near F(x) from which the defender's decoder paints x worst.

    Wen et al.: the defender trains an inversion model as an attacker would, takes its gradient to raise its
    reconstruction error at every answer, and modifies the result so that the label stays. Their abstract and the
    account of Gong et al. (10 epochs a vector; each p below 1, their sum 1) are all that we have: step, norm and
    budget are ours, and so is the label modifier, which shrinks the noise. On the synthetic faces of the tests a
    plain normalised gradient raised the error more than its sign or an exponentiated gradient did, at equal l1 norm.

    `decoder_mse_clean` and `decoder_mse` are the decoder's mean squared errors on the images it was trained on,
    before and after.
    """

    kind: ClassVar = "ad_mi"
    version: ClassVar = 1

    decoder: Decoder

    @model_validator(mode="after")
    def _of_the_defender(self) -> Self:
        if self.decoder.role != "defender":
            raise ValueError(f"{self.decoder.role=}: the decoder is the defender's own")
        if self.decoder.target.key != self.model.key:
            raise ValueError(f"the decoder is of {self.decoder.target.key}, not of the wrapped {self.model.key}")
        return self

    @property
    def measured_on(self) -> Split:
        return self.decoder.data

    def wrap(self, ctx: Context) -> ad_mi_noise.AdMINetwork:
        decoder = inference.inference_copy(self.decoder.trained(ctx))
        settings = self.fields_of(NoiseSettings)
        return ad_mi_noise.AdMINetwork(self.model.network(ctx), decoder, self.gradient, **settings)

    def own_metrics(self, ctx: Context, images: StoredImages, clean: torch.Tensor, answers: torch.Tensor) -> Metrics:
        decoder = self.decoder.trained(ctx)
        before, after = (decoder_training.reconstruction_error(decoder, p, images) for p in (clean, answers))
        return {"decoder_mse_clean": before, "decoder_mse": after}


class AdMI(NoiseSettings, WrapperDefense):
    """The victim, whose confidences get noise that misleads an inversion model; their largest stays the label's.

    How the noise is found is in `Noised`; what the papers leave open is in docs/PROTOCOL.md.
    """

    name: ClassVar = "ad_mi"

    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="the defender's inversion model")

    def wrapped(self, defender: Defender) -> Noised:
        decoder = Decoder(
            target=defender.victim,
            data=defender.public_images,
            role="defender",
            **self.decoder.model_dump(),
            **defender.common,
        )
        settings = self.fields_of(NoiseSettings)
        return Noised(model=defender.victim, decoder=decoder, gradient=self.gradient, **settings, **defender.common)
