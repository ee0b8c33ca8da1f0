"""Ad-mi: its noise misleads decoders, keeps every label and the budget; the published constraints hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import log_softmax

from tasks.attacks import decoder_training
from tasks.attacks.decoder import Decoder
from tasks.data.split import Audience, Part
from tasks.defenses.ad_mi import AdMI, DecoderSettings, Noised
from tasks.defenses.ad_mi_noise import MIXED
from tasks.metrics.evaluate import Accuracy
from tasks.models.training import predict
from tasks.models.wrapped_network import WrappedNetwork
from tests.lab import CLASSES, Lab
from tests.tasks.wrapped_lab import COMMON, decoder, defender, network, noised, pictures, pullback

SPLITS: tuple[tuple[Part, Audience], ...] = (("test", "private"), ("train", "private"), ("all", "attacker"))


def answers(lab: Lab, images: torch.Tensor, **fields: Any) -> tuple[torch.Tensor, torch.Tensor, WrappedNetwork]:
    """Confidences of the victim and of the wrapped victim, (n, classes) each."""
    target = network(lab, noised(lab, **fields))
    return predict(target.inner, images).softmax(dim=1), predict(target, images).softmax(dim=1), target


def decoding_error(lab: Lab, stage: Decoder, confidences: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """(n,): mean squared error of each image that the decoder paints."""
    lab.run(stage)
    painted = decoder_training.paint(stage.trained(lab.context(stage)), confidences)
    return (painted - images).square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize(("part", "audience"), SPLITS)
def test_the_decoder_errs_more_on_every_image(lab: Lab, part: Part, audience: Audience) -> None:
    images, _ = pictures(lab, part, audience)
    clean, found, _ = answers(lab, images)
    before, after = (decoding_error(lab, decoder(lab), p, images) for p in (clean, found))
    assert bool((after >= before - 1e-5).all())
    assert after.mean() > 1.3 * before.mean()


@pytest.mark.parametrize(("part", "audience"), SPLITS)
def test_the_published_constraints(lab: Lab, part: Part, audience: Audience) -> None:
    """Every label is kept, each p is below 1, their sum is 1; and the budget, which is ours."""
    images, _ = pictures(lab, part, audience)
    for budget in (0.1, 0.5, 2.0):
        clean, found, _ = answers(lab, images, budget=budget)
        moved = (found - clean).abs().sum(dim=1)
        assert torch.equal(found.argmax(dim=1), clean.argmax(dim=1))
        assert torch.allclose(found.sum(dim=1), torch.ones(len(found)), atol=1e-5)
        assert bool(((found < 1) & (found > 0)).all())
        assert bool((moved <= budget + 1e-5).all())
        assert moved.mean() > min(budget, 0.3) / 2, "the budget is used"


def test_more_steps_and_more_budget_mislead_more(lab: Lab) -> None:
    images, _ = pictures(lab)
    errors = []
    for fields in ({"budget": 0.1}, {"budget": 0.3}, {"budget": 1.0}, {"budget": 1.0, "steps": 1}):
        _, found, _ = answers(lab, images, **fields)
        errors.append(decoding_error(lab, decoder(lab), found, images).mean().item())
    assert errors[0] < errors[1] < errors[2] > errors[3]


def test_noise_against_this_decoder_misleads_an_attackers(lab: Lab) -> None:
    """Transferability, on which the defense rests: another seed, other images, another width."""
    images, _ = pictures(lab)
    theirs = decoder(lab, data=lab.split("all", "attacker"), role="attacker", seed=5, width=8)
    clean, found, _ = answers(lab, images)
    before, after = (decoding_error(lab, theirs, p, images).mean() for p in (clean, found))
    assert after > 1.1 * before


def test_without_steps_it_is_the_victim(lab: Lab) -> None:
    images, _ = pictures(lab)
    clean, found, target = answers(lab, images, steps=0)
    assert torch.allclose(found, clean, atol=1e-6)
    assert torch.allclose(target(images), log_softmax(target.inner(images), dim=1), atol=1e-4)


def test_accuracy_is_the_victims(lab: Lab) -> None:
    test = lab.split("test")
    victim, wrapped = (lab.run(Accuracy(model=model, test=test)) for model in (lab.victim, noised(lab)))
    assert wrapped.metrics == victim.metrics
    columns = [product.table("predictions.parquet").column("predicted").to_pylist() for product in (victim, wrapped)]
    assert columns[0] == columns[1]


def test_bpda_holds_the_noise_constant(lab: Lab) -> None:
    """log(p(x) + n) with n = what was added at this x, by hand."""
    images = pictures(lab)[0][:4]
    target = network(lab, noised(lab, gradient="bpda"))
    cotangent = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noise = target(images).exp() - target.inner(images).softmax(dim=1)

    def by_hand(x: torch.Tensor) -> torch.Tensor:
        logs: torch.Tensor = (target.inner(x).softmax(dim=1) + noise).log()
        return logs

    found, expected = (pullback(function, images, cotangent) for function in (target, by_hand))
    assert torch.allclose(found, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


def test_a_saturated_victim_gets_finite_answers_and_gradients(lab: Lab) -> None:
    """Confidences of 1 and 0 in float32, of which log and its derivative are infinite."""
    images = pictures(lab)[0][:4]
    for gradient in ("straight_through", "bpda", "stopped"):
        target = network(lab, noised(lab, gradient=gradient))
        target.inner.classifier.weight.data *= 300
        x = images.clone().requires_grad_(True)
        found = target(x)
        assert target.inner(images).softmax(dim=1).max() == 1
        assert bool(found.isfinite().all())
        assert bool((found.exp() <= 1 - MIXED / 2).all())
        (gradient_of_x,) = torch.autograd.grad(found[:, 2].sum(), x)
        assert bool(gradient_of_x.isfinite().all())


def test_the_record_says_how_much_harder_decoding_became(lab: Lab) -> None:
    stage = noised(lab)
    metrics = lab.run(stage).metrics
    assert metrics["label_agreement"] == 1
    assert metrics["distortion"] <= stage.budget + 1e-5
    assert metrics["decoder_mse"] > 1.5 * metrics["decoder_mse_clean"]
    assert metrics["decoder_mse_clean"] == pytest.approx(lab.run(stage.decoder).metrics["reconstruction_mse"], rel=1e-3)


def test_the_defender_trains_a_decoder_of_its_own(lab: Lab) -> None:
    stage = AdMI(attackers="through", decoder=DecoderSettings(steps=7)).protect(defender(lab), (1,)).target
    assert isinstance(stage, Noised)
    expected = Decoder(target=lab.victim, data=lab.split("all", "defender"), role="defender", steps=7, **COMMON)
    assert stage.decoder == expected
    assert stage.steps == 10
    with pytest.raises(ValidationError, match="the decoder is the defender's own"):
        noised(lab, decoder=decoder(lab, data=lab.split("all", "attacker"), role="attacker"))
