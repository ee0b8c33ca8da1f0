"""A DP-SGD training says what it cost and can be killed; the defense says what goes beyond the paper."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tasks.context import Context
from tasks.data.split import Split
from tasks.defenses import DEFENSES
from tasks.defenses.dp import DP
from tasks.models.architectures import build
from tasks.models.classifier import Classifier, GivenClassifier
from tasks.models.private_classifier import DPClassifier
from tests.lab import KilledError, Lab, MemoryCheckpoints, folder_digests
from tests.resuming import killed_and_resumed
from tests.tasks.dp_lab import C, public, stage, training
from tests.tasks.test_finetune import defender


@pytest.fixture(scope="module")
def private(lab: Lab) -> tuple[DPClassifier, Context, dict[str, float]]:
    made = stage(lab, val=lab.split("val"), dropout=0.2, optimizer="adamw", lr=0.002)
    ctx = lab.context(made)
    return made, ctx, made.run(ctx)


def test_what_is_logged(private: tuple[DPClassifier, Context, dict[str, float]]) -> None:
    _, ctx, metrics = private
    assert metrics["target_epsilon"] == 8.0
    assert 7.9 < metrics["achieved_epsilon"] <= 8.0
    assert metrics["achieved_epsilon"] == metrics["achieved_epsilon_rdp"] > metrics["achieved_epsilon_prv"] > 0
    assert metrics["delta"] == pytest.approx(1 / 30)
    assert metrics["max_grad_norm"] == C
    assert metrics["sample_rate"] == 0.5
    assert metrics["steps"] == 6
    assert {"train_accuracy", "val_accuracy", "noise_multiplier"} <= metrics.keys()
    spent = [point["epsilon"] for point in ctx.curves]
    assert spent == sorted(spent)
    assert spent[-1] == metrics["achieved_epsilon"]
    assert all(point["loss"] > 0 for point in ctx.curves)


def test_the_weights_are_those_of_a_plain_network(
    lab: Lab, private: tuple[DPClassifier, Context, dict[str, float]]
) -> None:
    made, ctx, _ = private
    stored = load_file(ctx.out / "model.safetensors")
    assert not any("_module" in name for name in stored)
    made.blank().load_state_dict(stored, strict=True)
    assert made.network_of() is made
    plain = build("vgg16_gn", channels=1, size=32, classes=6, width=0.0625, dropout=0.2)
    plain.load_state_dict(stored, strict=True)


@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_killed_training_ends_as_an_undisturbed_one(
    lab: Lab, private: tuple[DPClassifier, Context, dict[str, float]], kill_at: int
) -> None:
    """Weights, curves and accounts; AdamW, augmentation, dropout and noise have a state each."""
    made, calm, metrics = private
    storage = MemoryCheckpoints(kill_at)
    with pytest.raises(KilledError):
        made.run(lab.context(made, checkpoints=storage))
    storage.kill_at = None
    torch.manual_seed(kill_at)  # the global generator must not matter
    resumed = lab.context(made, checkpoints=storage)
    assert made.run(resumed) == metrics
    assert resumed.resumed_from == kill_at
    assert folder_digests(resumed.out) == folder_digests(calm.out)
    assert resumed.curves == calm.curves


def test_a_killed_training_by_sgd_too(lab: Lab) -> None:
    made = stage(lab)
    killed_and_resumed(lab, made, 1)


def test_without_epsilon_it_learns_and_claims_nothing(lab: Lab) -> None:
    made = stage(lab, epsilon=None, epochs=10, augment=False, max_grad_norm=1.0)
    ctx = lab.context(made)
    metrics = made.run(ctx)
    assert metrics["noise_multiplier"] == 0
    assert metrics["train_accuracy"] >= 0.5
    assert not any("epsilon" in name for name in (*metrics, *ctx.curves[0]))
    assert "no guarantee" in ctx.notes["achieved_epsilon"]


def test_privacy_has_its_price(lab: Lab) -> None:
    """The same training from the same weights in the same batches, with the noise of epsilon = 2 and without."""
    losses = []
    for epsilon in (None, 2.0):
        made = stage(lab, epsilon=epsilon, lr=0.5)
        ctx = lab.context(made)
        made.run(ctx)
        losses.append(ctx.curves[-1]["loss"])
    assert losses[1] > 1.2 * losses[0]


def test_an_accountant_that_was_not_chosen_cannot_fail_a_training(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> float:
        raise ValueError("floating point errors will dominate")

    monkeypatch.setattr("opacus.accountants.PRVAccountant.get_epsilon", refuse)
    ctx = lab.context(stage(lab))
    metrics = stage(lab).run(ctx)
    assert metrics["achieved_epsilon"] == metrics["achieved_epsilon_rdp"]
    assert "achieved_epsilon_prv" not in metrics
    assert "will dominate" in ctx.notes["achieved_epsilon_prv"]


def test_public_pretraining_gives_all_layers_but_the_last(lab: Lab) -> None:
    init = public(lab)
    given = load_file(lab.run(init).path("model.safetensors"))
    begun = training(lab, init=init)
    own = begun.network.state_dict()
    body = [name for name in own if name.startswith("body.")]
    assert all(torch.equal(own[name], given[name]) for name in body)
    assert own["classifier.weight"].shape == (6, 256)
    assert given["classifier.weight"].shape == (3, 256)


def test_head_only_leaves_the_body_untouched(lab: Lab) -> None:
    init = public(lab)
    given = load_file(lab.run(init).path("model.safetensors"))
    made = stage(lab, init=init, layers="head")
    ctx = lab.context(made)
    made.run(ctx)
    stored = load_file(ctx.out / "model.safetensors")
    assert all(torch.equal(t, given[name]) for name, t in stored.items() if name.startswith("body."))
    begun = training(lab, init=init, layers="head")
    assert not torch.equal(stored["classifier.weight"], begun.network.classifier.weight)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arch": "vgg16_bn"}, "arch='vgg16_bn' cannot be trained by DP-SGD here: BatchNorm .* choose vgg16_gn"),
        ({"arch": "vgg16"}, "arch='vgg16' cannot be trained"),
        ({"max_grad_norm": None}, r"max_grad_norm=None leaves the gradients unbounded.*epsilon=8\.0"),
        ({"layers": "head"}, "features of random weights; give init"),
        ({"epsilon": 0}, "greater than 0"),
        ({"epsilon": float("inf")}, "epsilon"),
        ({"delta": 1.0}, "less than 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(lab: Lab, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(lab, **fields)


def test_an_init_that_does_not_fit_or_knows_the_private_people_is_refused(lab: Lab) -> None:
    with pytest.raises(ValidationError, match="without privacy on 6 of the people"):
        stage(lab, init=public(lab, train=lab.split("train")))
    with pytest.raises(ValidationError, match="without privacy on 6 of the people"):
        stage(lab, init=public(lab, val=lab.split("val")))
    with pytest.raises(ValidationError, match=r"init has width 0\.5, which must be this network's 0\.0625"):
        stage(lab, init=public(lab, width=0.5))
    with pytest.raises(ValidationError, match="init has arch 'vgg16_bn'"):
        stage(lab, init=public(lab, arch="vgg16_bn"))
    with pytest.raises(ValidationError, match=r"init has dropout 0\.3, here it is 0"):
        stage(lab, init=public(lab, dropout=0.3))


def test_one_model_for_all_labels_made_anew_from_the_private_images(lab: Lab) -> None:
    found = [DP().protect(defender(lab), labels) for labels in ((0,), (2,), (0, 2, 5))]
    assert len({one.target.key for one in found}) == 1
    target = found[0].target
    assert isinstance(target, DPClassifier)
    assert (target.arch, target.width, target.classes) == ("vgg16_gn", lab.victim.width, 6)
    assert target.train == lab.split("train")
    assert (target.epsilon, target.init, found[0].pairs) == (8.0, None, ())
    assert lab.victim.key not in target.closure(), "a victim trained without privacy would leak"


def test_public_pretraining_sees_no_private_image(lab: Lab) -> None:
    target = DP(pretraining="public", layers="head").protect(defender(lab), (0,)).target
    assert isinstance(target, DPClassifier)
    assert isinstance(target.init, Classifier)
    assert (target.init.arch, target.init.role, target.init.epochs) == ("vgg16_gn", "public_classifier", 3)
    audiences = {s.audience for s in target.init.closure().values() if isinstance(s, Split)}
    assert audiences == {"classifier"}


def test_the_row_says_what_goes_beyond_the_paper() -> None:
    assert DEFENSES["dp"] is DP
    assert DP().extensions == ()
    assert DP(pretraining="public", layers="head").extensions == ("public_pretraining", "head_only")
    assert DP(epsilon=None, max_grad_norm=None).extensions == ("epsilon_inf", "no_clip")


def test_a_head_alone_needs_public_pretraining(lab: Lab) -> None:
    with pytest.raises(ValidationError, match="pretraining"):
        DP(layers="head")


def test_a_victim_without_a_groupnorm_version_is_refused(lab: Lab) -> None:
    for arch in ("vgg16", "vgg16_bn", "vgg16_gn"):
        assert DP().refusal(lab.victim.model_copy(update={"arch": arch})) is None
    for arch in ("ir50", "ir_small", "densenet_small"):
        reason = DP().refusal(lab.victim.model_copy(update={"arch": arch}))
        assert reason is not None
        assert arch in reason
        assert "vgg16, vgg16_bn, vgg16_gn" in reason


def test_a_given_victim_is_trained_anew(lab: Lab) -> None:
    given = GivenClassifier(
        weights="0" * 64, people=lab.split("train").people, arch="vgg16", width=0.0625, channels=1, size=32
    )
    assert DP().refusal(given) is None
    target = DP().protect(defender(lab)._replace(victim=given), (0,)).target
    assert isinstance(target, DPClassifier)
    assert (target.width, target.val) == (0.0625, lab.split("val"))
    assert given.key not in target.closure()
