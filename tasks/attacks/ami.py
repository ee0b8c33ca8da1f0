"""AMI, adversarial model inversion (Yang et al., CCS 2019), the paper's black-box attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tasks.attacks.attack import Attacker, BlackBoxAttack, Inverted
from tasks.attacks.decoder import Decoder, ObservedPredictions
from tasks.context import Context
from tasks.lazy import lazy
from tasks.models.classifier import Model
from tasks.stage import Stage

if TYPE_CHECKING:
    import torch

    from tasks.attacks import decoder_training, vectors
    from tasks.attacks.oracle import Oracle
else:
    torch = lazy("torch")
    decoder_training = lazy("tasks.attacks.decoder_training")
    vectors = lazy("tasks.attacks.vectors")


class AMI(BlackBoxAttack):
    """Paint what a decoder, trained on public images, sees in confidence vectors for l_t.

    Yang et al. invert the prediction of a given image; inverting a label needs a vector to start from, and
    Gong et al. do not say which. One vector gives one image, so each mode is a distribution of vectors:

    - `one_hot`: image 0 from the one-hot vector of l_t, the others from (1 - e) one-hot + e m with e ~ U(0,
      `spread`) and m uniform on the simplex of the other labels;
    - `aux_mean`: image 0 from the mean prediction of the public images that the target takes for l_t, the others
      from means over bootstrap resamples of them. If there are none, the `nearest` public images with the
      highest p(l_t) stand in. The predictions are the decoder's own, so nothing is asked twice;
    - `private`: from the predictions of the private training images of l_t, an API's log that has leaked. More
      images than there are predictions come from means over bootstrap resamples of these.

    Nothing is searched: no gradient, no restart, no steps to multiply. An image's loss is -log p(l_t) by the API,
    one query each.
    """

    kind: ClassVar = "ami"
    version: ClassVar = 1
    parts: ClassVar[Mapping[str, type[Stage]]] = {"decoder": Decoder}

    decoder: Decoder
    observed: ObservedPredictions | None = Field(None, description="the leaked predictions of vector `private`")
    vector: Literal["one_hot", "aux_mean", "private"] = Field(
        "one_hot", description="what is decoded: no value in the paper; private needs a leak"
    )
    spread: float = Field(0.5, gt=0, lt=1, description="most that other labels get in a vector of one_hot")
    nearest: int = Field(8, ge=1, description="public images of aux_mean where the target takes none for l_t")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.vector == "private") != (self.observed is not None):
            raise ValueError(f"{self.vector=} and `observed`: leaked predictions are for `private`, which needs them")
        if self.decoder.role != self.role:
            raise ValueError(f"{self.decoder.role=}: an attack uses a decoder of its own, role {self.role!r}")
        for own in (self.decoder, self.observed):
            if own is not None and own.target.key != self.target.key:
                raise ValueError(f"{own.key} is of another target, {own.target.key}, not {self.target.key}")
        if self.warm is not None:
            raise ValueError("ami does not search, so there is nowhere to start from; leave `warm` out")
        return self

    @classmethod
    def equip(
        cls, attacker: Attacker, target: Model, settings: Mapping[str, Any], parts: Mapping[str, Any]
    ) -> dict[str, Stage | None]:
        decoder = Decoder(target=target, data=attacker.images, **parts.get("decoder", {}), **attacker.common)
        if settings.get("vector") != "private":
            return {"decoder": decoder, "observed": None}
        return {
            "decoder": decoder,
            "observed": ObservedPredictions(target=target, data=attacker.private, **attacker.common),
        }

    def invert(self, ctx: Context, target: Oracle) -> Inverted:
        network = self.decoder.trained(ctx)
        images = decoder_training.paint(network, self._vectors(ctx))
        confidence = target.query(images)[:, self.label]
        losses = -confidence.clamp_min(torch.finfo(confidence.dtype).tiny).log()
        return Inverted(images, losses, passes=0, queries=self.images)

    def _vectors(self, ctx: Context) -> torch.Tensor:
        """Confidences (images, classes) to decode."""
        draws = ctx.generator("latents")
        if self.vector == "one_hot":
            return vectors.mixed_one_hot(self.images, self.target.classes, self.label, self.spread, draws)
        if self.observed is not None:
            return vectors.observed_or_mixed(self.observed.of(self.label, ctx), self.images, draws)
        public = self.decoder.predictions(ctx)
        rows, taken = vectors.taken_for(public, self.label, self.nearest)
        how = "are taken for the label" if taken else "are nearest to the label, none is taken for it"
        ctx.note("vectors", f"{len(rows)} of {len(public)} public images {how}")
        return vectors.resampled_means(public[rows], self.images, draws)
