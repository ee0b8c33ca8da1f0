"""Query the target for the public images, train the decoder on the answers, and load it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import mse_loss

from tasks.attacks.decoder_networks import DecoderNetwork
from tasks.attacks.oracle import oracle
from tasks.checkpoint import TrainingState
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.models.augmented_images import AugmentedImages
from tasks.models.chunks import in_chunks
from tasks.models.initialise import initialise
from tasks.models.training import predict
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.attacks.decoder import Decoder, ObservedPredictions
    from tasks.data.stored_images import StoredImages

LOG_EVERY = 25
INIT_STD = 0.02  # as the GANs here
CHUNK = 64  # images and vectors that pass a network at once


def blank(stage: Decoder) -> DecoderNetwork:
    """The stage's decoder without trained weights, channels_last."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
        network = DecoderNetwork(
            stage.target.classes, stage.data.channels, stage.data.size, stage.width, stage.truncate, stage.log_shift
        )
    return network.to(memory_format=torch.channels_last)


def load_decoder(stage: Decoder, ctx: Context) -> DecoderNetwork:
    """The decoder in eval mode with the stored weights, strictly."""
    weights = load_file(ctx.load(stage).path("decoder.safetensors"))
    network = blank(stage)
    network.load_state_dict({name: t.clone() for name, t in weights.items()}, strict=True)
    return network.to(ctx.device).eval()


@torch.no_grad()
def paint(network: DecoderNetwork, predictions: torch.Tensor) -> torch.Tensor:
    """Images (n, c, s, s) in [-1, 1] of confidences (n, classes), on the CPU; batches have one, padded, shape."""
    return in_chunks(network.eval(), predictions, CHUNK, next(network.parameters()).device)


def reconstruction_error(network: DecoderNetwork, predictions: torch.Tensor, images: StoredImages) -> float:
    """Mean squared difference between images (n, c, s, s) and what is painted from their confidences (n, classes)."""
    total = 0.0
    for rows, block in images.blocks():
        total += len(block) / len(images) * mse_loss(paint(network, predictions[rows]), block.cpu()).item()
    return total


def mean_image_error(images: StoredImages) -> float:
    """The same between images (n, c, s, s) and their mean: the variance of a pixel, averaged over pixels."""
    parts = [(len(x) / len(images), x.mean(dim=0), x.var(dim=0, unbiased=False)) for _, x in images.blocks()]
    mean = torch.stack([share * own for share, own, _ in parts]).sum(dim=0)
    return torch.stack([share * (var + (own - mean).square()) for share, own, var in parts]).sum(dim=0).mean().item()


def pairs(stage: Decoder, ctx: Context, public: StoredImages) -> tuple[AugmentedImages, torch.Tensor, int]:
    """What the decoder learns from: images (m, c, s, s), the target's answers (m, classes), queries.

    The public images come first, in their order, then `copies` augmented versions of all of them. What is sent
    are 8-bit pictures. Of the target, nothing but the answers is used.
    """
    images = AugmentedImages(public, stage.copies, ctx.generator("augment"), originals=True)
    public.open()  # while `ctx` still loads anything
    with oracle(stage.target, ctx) as api:
        answers = torch.cat([api.query(to_float(to_uint8(chunk))) for chunk in images.split(CHUNK)])
    return images, answers, api.queries


def train_decoder(stage: Decoder, ctx: Context) -> Metrics:
    """Minimise the mean squared error of pixels; write decoder.safetensors and predictions.safetensors.

    `reconstruction_mse` is that of the public images from their own confidences (eval mode), `mean_image_mse`
    that of their mean image: a decoder above it has learned nothing from the vectors.
    """
    public, _ = stage.data.images(ctx, device="cpu")  # where copies are augmented
    images, answers, queries = pairs(stage, ctx, public)
    own = answers[: len(public)].contiguous()
    network = blank(stage)
    initialise(network, ctx.generator("init"), std=INIT_STD)
    network.to(ctx.device)
    network.fit(answers.to(ctx.device))
    _train(stage, ctx, network, images, answers.to(ctx.device))
    save_file({name: t.cpu().contiguous() for name, t in network.state_dict().items()}, ctx.out / "decoder.safetensors")
    save_file({"predictions": own}, ctx.out / "predictions.safetensors")
    return {
        "target_queries": float(queries),
        "reconstruction_mse": reconstruction_error(network, own, public),
        "mean_image_mse": mean_image_error(public),
    }


def _train(
    stage: Decoder, ctx: Context, network: DecoderNetwork, images: AugmentedImages, answers: torch.Tensor
) -> None:
    """`stage.steps` steps on random pairs; a killed run resumes to the same weights."""
    optimizer = torch.optim.Adam(
        network.parameters(), lr=stage.lr, betas=(stage.beta1, stage.beta2), amsgrad=stage.amsgrad
    )
    draws = ctx.generator("training")
    state = TrainingState(network, optimizer, draws=draws)
    first = state.resume(ctx)

    network.train()
    ahead = draws.clone_state()
    chosen = (torch.randint(len(images), (stage.batch,), generator=ahead) for _ in range(first, stage.steps))
    for step, wanted in enumerate(images.batches(chosen), start=first):
        rows = torch.randint(len(images), (stage.batch,), generator=draws).to(answers.device)
        loss = mse_loss(network(answers[rows]), to_float(to_uint8(wanted).to(answers.device)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == stage.steps:
            ctx.log(step + 1, reconstruction=loss.item())
        ctx.checkpoint(step + 1, state.snapshot)


def record_predictions(stage: ObservedPredictions, ctx: Context) -> Metrics:
    """Write predictions.safetensors: the target's confidences for the private images, and their labels."""
    images, labels = stage.data.images(ctx)
    predictions = predict(stage.target.network(ctx), images).softmax(dim=1)
    product = {"predictions": predictions.contiguous(), "labels": labels.cpu().contiguous()}
    save_file(product, ctx.out / "predictions.safetensors")
    return {"images": float(len(images))}
