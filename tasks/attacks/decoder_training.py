"""Query the target for the public images, train the decoder on the answers, and load it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import mse_loss

from tasks.attacks.decoder_networks import DecoderNetwork
from tasks.attacks.oracle import Oracle, oracle
from tasks.checkpoint import TrainingState
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.models.augment import augment
from tasks.models.chunks import in_chunks
from tasks.models.initialise import initialise
from tasks.models.training import predict
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.attacks.decoder import Decoder, ObservedPredictions

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


def pairs(stage: Decoder, ctx: Context) -> tuple[torch.Tensor, torch.Tensor, int]:
    """What the decoder learns from: images uint8 (m, c, s, s), the target's answers (m, classes), queries.

    The public images come first, in their order, then `copies` augmented versions of all of them. What is sent
    are 8-bit pictures. Of the target, nothing but the answers is used.
    """
    public, _ = stage.data.tensors(ctx)
    changes = ctx.generator("augment")
    images = torch.cat([to_uint8(public), *(to_uint8(augment(public, changes)) for _ in range(stage.copies))])
    with oracle(stage.target, ctx) as api:
        answers = _ask(api, images)
    return images, answers, api.queries


def _ask(api: Oracle, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([api.query(to_float(chunk)) for chunk in images.split(CHUNK)])


def train_decoder(stage: Decoder, ctx: Context) -> Metrics:
    """Minimise the mean squared error of pixels; write decoder.safetensors and predictions.safetensors.

    `reconstruction_mse` is that of the public images from their own confidences (eval mode), `mean_image_mse`
    that of their mean image: a decoder above it has learned nothing from the vectors.
    """
    images, answers, queries = pairs(stage, ctx)
    n = len(images) // (1 + stage.copies)
    network = blank(stage)
    initialise(network, ctx.generator("init"), std=INIT_STD)
    network.to(ctx.device)
    network.fit(answers.to(ctx.device))
    _train(stage, ctx, network, images.to(ctx.device), answers.to(ctx.device))
    save_file({name: t.cpu().contiguous() for name, t in network.state_dict().items()}, ctx.out / "decoder.safetensors")
    save_file({"predictions": answers[:n].contiguous()}, ctx.out / "predictions.safetensors")
    public = to_float(images[:n])
    return {
        "target_queries": float(queries),
        "reconstruction_mse": mse_loss(paint(network, answers[:n]), public).item(),
        "mean_image_mse": public.var(dim=0, unbiased=False).mean().item(),
    }


def _train(stage: Decoder, ctx: Context, network: DecoderNetwork, images: torch.Tensor, answers: torch.Tensor) -> None:
    """`stage.steps` steps on random pairs; a killed run resumes to the same weights."""
    optimizer = torch.optim.Adam(
        network.parameters(), lr=stage.lr, betas=(stage.beta1, stage.beta2), amsgrad=stage.amsgrad
    )
    draws = ctx.generator("training")
    state = TrainingState(network, optimizer, draws=draws)
    first = state.resume(ctx)

    network.train()
    for step in range(first, stage.steps):
        rows = torch.randint(len(images), (stage.batch,), generator=draws).to(images.device)
        loss = mse_loss(network(answers[rows]), to_float(images[rows]))
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
