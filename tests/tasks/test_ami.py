"""AMI: what its decoder learns and from what, what each mode decodes, and what all of it costs."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tasks.artifact import Artifact
from tasks.attacks import decoder_training, vectors
from tasks.attacks.ami import AMI
from tasks.attacks.attack import Attacker, Inverted
from tasks.attacks.decoder import Decoder, ObservedPredictions, grid_of
from tasks.attacks.decoder_networks import DecoderNetwork, encode
from tasks.attacks.oracle import oracle
from tasks.data.pixels import to_uint8
from tasks.data.split import Split
from tasks.data.synthetic import SyntheticSplit
from tasks.models.training import predict
from tests.lab import CLASSES, Lab
from tests.resuming import killed_and_resumed

SMALL: dict[str, Any] = {"width": 8, "batch": 16, "lr": 2e-3, "steps": 300}


def crowd(people: int = 300) -> Split:
    """Public images of many people, none of whom is in the lab: a decoder needs more than the lab has."""
    fields: dict[str, Any] = {"size": 32, "per_person": 2, "test_per_label": 0, "val_per_label": 0}
    names = tuple(f"q{i:03d}" for i in range(people))
    return SyntheticSplit(people=names, part="all", audience="attacker", **fields)


def decoder(lab: Lab, **fields: Any) -> Decoder:
    return Decoder(**{"target": lab.victim, "data": crowd(), **SMALL, **fields})


def tiny(lab: Lab, **fields: Any) -> Decoder:
    """A decoder of the lab's own 24 public images, hardly trained."""
    return decoder(lab, **{"data": lab.split("all", "attacker"), "steps": 4, "width": 4, **fields})


def ami(lab: Lab, label: int = 1, **fields: Any) -> AMI:
    if fields.get("vector") == "private":
        fields.setdefault("observed", ObservedPredictions(target=lab.victim, data=lab.split("train")))
    return AMI(**{"target": lab.victim, "label": label, "decoder": decoder(lab), "images": 5, **fields})


def invert(lab: Lab, stage: AMI) -> Inverted:
    ctx = lab.context(stage)
    with oracle(stage.target, ctx) as api:
        return stage.invert(ctx, api)


@cache
def people(lab: Lab) -> torch.Tensor:
    """The mean image (6, d) of each private person, less the mean of all."""
    images, labels = lab.split("train").tensors(lab.context(lab.victim))
    means = torch.stack([images[labels == label].mean(dim=0) for label in range(CLASSES)]).flatten(1)
    return means


def likeness(lab: Lab, **fields: Any) -> torch.Tensor:
    """(6, 6): correlation of the images inverted for a label with the mean image of each private person."""
    centre = people(lab).mean(dim=0)
    faces = people(lab) - centre
    rows = []
    for label in range(CLASSES):
        images = invert(lab, ami(lab, label, **fields)).images.flatten(1) - centre
        rows.append((images @ faces.T / (images.norm(dim=1, keepdim=True) * faces.norm(dim=1))).mean(dim=0))
    return torch.stack(rows)


def own_above_others(found: torch.Tensor) -> float:
    own = found.diag().mean()
    return (own - (found.sum() - found.diag().sum()) / (found.numel() - len(found))).item()


def test_the_decoder_paints_public_images_better_than_their_mean_does(lab: Lab) -> None:
    stage = decoder(lab)
    metrics = lab.run(stage).metrics
    ctx = lab.context(ami(lab))
    images, _ = crowd().tensors(ctx)
    painted = decoder_training.paint(stage.trained(ctx), stage.predictions(ctx))
    error = (painted - images).square().mean().item()
    assert error < 0.7 * (images - images.mean(dim=0)).square().mean().item()
    assert metrics["reconstruction_mse"] == pytest.approx(error)
    shuffled = decoder_training.paint(stage.trained(ctx), stage.predictions(ctx).roll(2, dims=0))
    assert (shuffled - images).square().mean() > 1.5 * error, "it has to be the image's own vector"


@pytest.mark.parametrize(("vector", "margin"), [("one_hot", 0.1), ("aux_mean", 0.1), ("private", 0.3)])
def test_what_is_painted_for_a_label_looks_like_its_person(lab: Lab, vector: str, margin: float) -> None:
    """People whom the decoder has never seen. Leaked predictions say the most of them."""
    assert own_above_others(likeness(lab, vector=vector)) > margin


def test_an_untrained_decoder_paints_nobody(lab: Lab) -> None:
    control = decoder(lab, steps=0)
    assert abs(own_above_others(likeness(lab, decoder=control, vector="private"))) < 0.02
    metrics = lab.run(control).metrics
    assert metrics["reconstruction_mse"] > metrics["mean_image_mse"]


def test_every_image_that_is_sent_is_counted_once(lab: Lab) -> None:
    for copies in (0, 2):
        stage = tiny(lab, copies=copies)
        assert lab.run(stage).metrics["target_queries"] == 24 * (1 + copies)
    for vector in ("one_hot", "aux_mean", "private"):
        metrics = lab.run(ami(lab, decoder=tiny(lab), vector=vector)).metrics
        assert (metrics["passes"], metrics["queries"], metrics["setup_queries"]) == (0, 5, 24)


def test_a_copy_is_paired_with_its_own_answer(lab: Lab) -> None:
    """What the decoder paints from a vector is the 8-bit picture that was sent for it, augmented or not."""
    stage = tiny(lab, copies=1)
    ctx = lab.context(stage)
    public, _ = stage.data.images(ctx)
    images, answers, _ = decoder_training.pairs(stage, ctx, public)
    assert torch.equal(images[:24], public[:])
    assert not torch.equal(images[24:], images[:24])
    expected = predict(lab.victim.network(ctx), to_uint8(images[:]) / 127.5 - 1).softmax(dim=1)
    assert torch.allclose(answers, expected, atol=1e-5)


class AnyOracle:
    """An API with nothing behind it."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(images))
        return torch.full((len(images), CLASSES), 1 / CLASSES)


@pytest.mark.parametrize("vector", ["one_hot", "aux_mean", "private"])
def test_the_attack_needs_the_api_alone(lab: Lab, vector: str) -> None:
    """Neither the target nor a private image can be loaded meanwhile, and an image's loss is what the API says."""
    stage = ami(lab, vector=vector, decoder=tiny(lab))
    lab.run(stage)
    ctx, api = lab.context(stage), AnyOracle()
    with ctx.closed_to(lab.victim.closure()):
        found = stage.invert(ctx, api)  # type: ignore[arg-type]
        with pytest.raises(PermissionError):
            lab.split("train").tensors(ctx)
    assert api.asked == [5]
    assert found.losses.tolist() == pytest.approx([math.log(CLASSES)] * 5)


def test_nothing_is_learned_from_images_that_the_attacker_does_not_have(lab: Lab) -> None:
    """The authors' code keeps the weights that best paint the private training images."""
    for split in (lab.split("train"), lab.split("test"), lab.split("all", "defender")):
        with pytest.raises(ValidationError, match="trained on its public images"):
            decoder(lab, data=split)
    stage = decoder(lab)
    own = [s.key for s in stage.closure().values() if s.key not in lab.victim.closure()]
    assert own == [stage.data.key, stage.key]
    assert decoder(lab, data=lab.split("all", "defender"), role="defender").role == "defender"


def test_the_log_holds_vectors_and_no_images(lab: Lab) -> None:
    stage = ObservedPredictions(target=lab.victim, data=lab.split("train"))
    product = lab.run(stage)
    stored = product.tensors("predictions.safetensors")
    images, labels = stage.data.tensors(lab.context(stage))
    assert {name: tuple(t.shape) for name, t in stored.items()} == {
        "predictions": (len(images), 6),
        "labels": (len(images),),
    }
    expected = predict(lab.victim.network(lab.context(stage)), images).softmax(dim=1)
    for label in range(CLASSES):
        assert torch.equal(stage.of(label, lab.context(ami(lab, vector="private"))), expected[labels == label])
    with pytest.raises(ValidationError, match="private train images"):
        ObservedPredictions(target=lab.victim, data=lab.split("test"))
    others = lab.split("train").model_copy(update={"people": tuple(reversed(lab.split("train").people))})
    with pytest.raises(ValidationError, match="other people, or in another order"):
        ObservedPredictions(target=lab.victim, data=others)


def test_one_hot_vectors_surround_the_label() -> None:
    found = vectors.mixed_one_hot(50, 7, 3, 0.4, torch.Generator().manual_seed(0))
    assert found[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert torch.allclose(found.sum(dim=1), torch.ones(50))
    assert bool((found >= 0).all())
    assert bool((found[1:, 3] > 0.6).all())
    assert found[1:, 3].min() < 0.65
    assert len({tuple(row) for row in found.tolist()}) == 50
    assert torch.equal(vectors.mixed_one_hot(9, 7, 3, 0.4, torch.Generator().manual_seed(0)), found[:9])
    assert vectors.mixed_one_hot(3, 2, 1, 0.4, torch.Generator())[0].tolist() == [0, 1]


def test_means_are_of_the_rows_that_were_drawn() -> None:
    rows = torch.rand(9, 4, generator=torch.Generator().manual_seed(0))
    found = vectors.resampled_means(rows, 6, torch.Generator().manual_seed(1))
    drawn = torch.randint(9, (6, 9), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(found[0], rows.mean(dim=0))
    for mean, own in zip(found[1:], drawn[1:], strict=True):
        assert torch.allclose(mean, torch.stack([rows[i] for i in own.tolist()]).mean(dim=0))
    few = vectors.observed_or_mixed(rows, 3, torch.Generator())
    assert torch.equal(few, rows[:3])
    many = vectors.observed_or_mixed(rows, 12, torch.Generator())
    assert torch.equal(many[:9], rows)
    assert len({tuple(row) for row in many.tolist()}) == 12
    with pytest.raises(ValueError, match="no prediction of this label"):
        vectors.observed_or_mixed(rows[:0], 3, torch.Generator())


def test_public_images_nearest_to_a_label_that_nobody_has(lab: Lab) -> None:
    public = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4], [0.9, 0.05, 0.05]])
    assert vectors.taken_for(public, 0, 2)[0].tolist() == [0, 2, 3]
    rows, taken = vectors.taken_for(public, 2, 2)
    assert (rows.tolist()[0], len(rows), taken) == (2, 2, False)
    stage = ami(lab, vector="aux_mean", decoder=tiny(lab))
    ctx = lab.context(stage)
    stage.run(ctx)
    answers = stage.decoder.predictions(ctx)
    count = int((answers.argmax(dim=1) == stage.label).sum())
    assert ctx.notes["vectors"].startswith(f"{count or stage.nearest} of 24 public images")


def test_truncation_keeps_the_largest_confidences_and_zero_stays_zero() -> None:
    """relu(log p + c) by hand; a zero does not move the other entries, as it does in the authors' code."""
    p = torch.tensor([[0.7, 0.2, 0.1, 0.0]], dtype=torch.float64)
    logs = [math.log(0.7) + 50, math.log(0.2) + 50, math.log(0.1) + 50, 0.0]
    assert encode(p, 0, 50.0)[0].tolist() == pytest.approx(logs)
    assert encode(p, 4, 50.0)[0].tolist() == pytest.approx(logs)
    assert encode(p, 2, 50.0)[0].tolist() == pytest.approx([*logs[:2], 0.0, 0.0])
    assert encode(p, 1, 0.0)[0].tolist() == pytest.approx([0.7, 0, 0, 0])
    clear = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    theirs = (clear.log().clamp_min(-1000) + 50) + (-(clear.log() + 50).min()).relu()
    assert torch.allclose(encode(clear, 0, 50.0), theirs)


def test_a_vector_beyond_the_public_ones_is_taken_to_their_border(lab: Lab) -> None:
    """A one-hot vector has zeros where public images have e^-3 or so; unclamped, it would be far from all of them."""
    ctx = lab.context(ami(lab))
    network = decoder(lab).trained(ctx)
    least, most = (f(decoder(lab).predictions(ctx)).item() for f in (torch.min, torch.max))
    hard = torch.eye(CLASSES)[:1]
    assert torch.allclose(
        decoder_training.paint(network, hard), decoder_training.paint(network, hard.clamp(least, most))
    )


def test_an_image_does_not_depend_on_what_else_is_painted(lab: Lab) -> None:
    ctx = lab.context(ami(lab))
    network, answers = decoder(lab).trained(ctx), decoder(lab).predictions(ctx)
    together = decoder_training.paint(network, answers[:70])
    assert torch.equal(decoder_training.paint(network, answers[3:4])[0], together[3])


@pytest.mark.parametrize("size", [32, 64, 96, 112, 128, 160, 192, 224, 256])
def test_every_size_is_painted_in_range(size: int) -> None:
    network = DecoderNetwork(classes=5, channels=3, size=size, width=4, truncate=0, log_shift=50.0).eval()
    images = network(torch.rand(2, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=1))
    assert tuple(images.shape) == (2, 3, size, size)
    assert images.abs().max() <= 1
    side, doublings = grid_of(size)
    assert side * 2**doublings == size


def test_the_reference_shape_and_a_size_that_is_no_multiple() -> None:
    layers = DecoderNetwork(classes=530, channels=1, size=64, width=128, truncate=0, log_shift=50.0).layers
    shapes = [tuple(layer.weight.shape[:2]) for layer in layers if isinstance(layer, torch.nn.ConvTranspose2d)]
    assert shapes == [(530, 1024), (1024, 512), (512, 256), (256, 128), (128, 1)]
    assert isinstance(layers[-1], torch.nn.Tanh)
    with pytest.raises(ValueError, match="size=100"):
        grid_of(100)


def test_weights_are_loaded_strictly(lab: Lab) -> None:
    stage = tiny(lab)
    product = lab.run(stage)
    weights = load_file(product.path("decoder.safetensors"))
    weights["layers.0.wrong"] = weights.pop("layers.0.weight")
    damaged = lab.root / "damaged.safetensors"
    save_file(weights, damaged)
    ctx = lab.context(ami(lab, decoder=stage), load=lambda _: Artifact(stage.key, {}, lambda name: damaged))
    with pytest.raises(RuntimeError, match=r"layers\.0\.wrong"):
        stage.trained(ctx)


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_decoder_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    stage = tiny(lab, copies=1)
    killed_and_resumed(lab, stage, kill_at)


def test_what_does_not_fit_is_refused(lab: Lab) -> None:
    other = lab.victim.model_copy(update={"epochs": 1})
    with pytest.raises(ValidationError, match="leaked predictions are for `private`"):
        ami(lab, vector="private", observed=None)
    with pytest.raises(ValidationError, match="leaked predictions are for `private`"):
        ami(lab, observed=ObservedPredictions(target=lab.victim, data=lab.split("train")))
    with pytest.raises(ValidationError, match="of another target"):
        ami(lab, target=other)
    with pytest.raises(ValidationError, match="does not search"):
        ami(lab, warm=ami(lab))
    with pytest.raises(ValidationError, match="a decoder of its own"):
        ami(lab, decoder=decoder(lab, data=lab.split("all", "defender"), role="defender"))
    assert ami(lab).intensified(4) is None


def test_an_attacker_is_equipped_by_the_mode(lab: Lab) -> None:
    def no_gan(*_: Any) -> Any:
        raise AssertionError("AMI uses no GAN")

    attacker = Attacker(lab.split("all", "attacker"), lab.split("train"), no_gan, {"seed": 3})
    plain = AMI.equip(attacker, lab.victim, {}, {"decoder": {"steps": 7}})
    leaky = AMI.equip(attacker, lab.victim, {"vector": "private"}, {"decoder": {"steps": 7}})
    assert plain["decoder"] == leaky["decoder"] == Decoder(target=lab.victim, data=attacker.images, steps=7, seed=3)
    assert plain["observed"] is None
    assert leaky["observed"] == ObservedPredictions(target=lab.victim, data=attacker.private, seed=3)
    stage = AMI(target=lab.victim, label=0, vector="private", **leaky)
    assert stage.parts == {"decoder": Decoder}
