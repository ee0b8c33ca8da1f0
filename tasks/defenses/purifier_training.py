"""The autoencoder of confidence vectors: its network, its loss, its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy, relu

from tasks.checkpoint import TrainingState
from tasks.context import Context
from tasks.models.augmented_images import AugmentedImages
from tasks.models.initialise import initialise
from tasks.models.training import predict
from tasks.models.wrapped_network import WrappedNetwork
from tasks.models.wrapped_record import label_agreement
from tasks.stage import Metrics

if TYPE_CHECKING:
    from tasks.defenses.purifier import Purifier
    from tasks.models.architectures import Network
    from tasks.models.wrapped import Gradient

LOG_EVERY = 50
WEIGHTS = "purifier.safetensors"


class PurifierNetwork(nn.Module):
    """Confidences (n, classes) -> logits (n, classes) of the purified ones; each row by itself."""

    def __init__(self, classes: int, hidden: int, code: int) -> None:
        super().__init__()
        self.encode, self.code = nn.Linear(classes, hidden), nn.Linear(hidden, code)
        self.decode, self.out = nn.Linear(code, hidden), nn.Linear(hidden, classes)

    def forward(self, confidences: torch.Tensor) -> torch.Tensor:
        code = relu(self.code(relu(self.encode(confidences))))
        out: torch.Tensor = self.out(relu(self.decode(code)))
        return out


class PurifiedNetwork(WrappedNetwork):
    """A network that answers with purified confidences. Its approximation is exact: the purifier itself."""

    def __init__(self, inner: Network, purifier: PurifierNetwork, gradient: Gradient) -> None:
        super().__init__(inner, gradient)
        self.purifier = purifier

    def answer(self, images: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.purifier(confidences)
        return logits.log_softmax(dim=1)


def reconstruction_loss(logits: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
    """E ||softmax(logits) - p||_2^2, a scalar; both (n, classes)."""
    return (logits.softmax(dim=1) - confidences).square().sum(dim=1).mean()


def label_loss(logits: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
    """E CE(softmax(logits), argmax p), a scalar; both (n, classes)."""
    return cross_entropy(logits, confidences.argmax(dim=1))


def permute_labels(confidences: torch.Tensor, count: int, draws: torch.Generator) -> torch.Tensor:
    """The vectors (n, classes), the first `count` each with its entries in an order of their own."""
    orders = torch.rand(count, confidences.shape[1], generator=draws).argsort(dim=1).to(confidences.device)
    return torch.cat([confidences[:count].gather(1, orders), confidences[count:]])


def blank(stage: Purifier) -> PurifierNetwork:
    """The stage's purifier without trained weights."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights when made; `initialise` replaces them
        return PurifierNetwork(stage.model.classes, stage.hidden, stage.code)


def load_purifier(stage: Purifier, ctx: Context) -> PurifierNetwork:
    """The purifier in eval mode with the stored weights, strictly."""
    network = blank(stage)
    network.load_state_dict({name: t.clone() for name, t in load_file(ctx.load(stage).path(WEIGHTS)).items()})
    return network.to(ctx.device).eval()


def train_purifier(stage: Purifier, ctx: Context) -> Metrics:
    """Write purifier.safetensors; metrics are of the public images themselves, without copies and permutations.

    `reconstruction` is the mean of ||G(p) - p||_2^2, `label_agreement` the share of images that keep their label.
    """
    public, _ = stage.data.images(ctx, device="cpu")  # where copies are augmented
    images = AugmentedImages(public, stage.copies, ctx.generator("augment"), originals=True)
    vectors = predict(stage.model.network(ctx), images).softmax(dim=1).to(ctx.device)
    network = blank(stage)
    initialise(network, ctx.generator("init"))
    network.to(ctx.device)
    _train(stage, ctx, network, vectors)
    save_file({name: t.cpu().contiguous() for name, t in network.state_dict().items()}, ctx.out / WEIGHTS)
    own = vectors[: len(public)]
    with torch.no_grad():
        logits = network.eval()(own)
        return {
            "reconstruction": reconstruction_loss(logits, own).item(),
            "label_agreement": label_agreement(own, logits),
        }


def _train(stage: Purifier, ctx: Context, network: PurifierNetwork, vectors: torch.Tensor) -> None:
    """`stage.steps` steps of Adam on random vectors; a killed run resumes to the same weights."""
    optimizer = torch.optim.Adam(network.parameters(), lr=stage.lr)
    draws = ctx.generator("training")
    state = TrainingState(network, optimizer, draws=draws)
    first = state.resume(ctx)

    network.train()
    for step in range(first, stage.steps):
        rows = torch.randint(len(vectors), (stage.batch,), generator=draws).to(vectors.device)
        batch = permute_labels(vectors[rows], round(stage.permuted * stage.batch), draws)
        logits = network(batch)
        terms = {"reconstruction": reconstruction_loss(logits, batch)}
        if stage.lam > 0:
            terms["label"] = stage.lam * label_loss(logits, batch)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == stage.steps:
            ctx.log(step + 1, **{name: term.item() for name, term in terms.items()})
        ctx.checkpoint(step + 1, state.snapshot)
