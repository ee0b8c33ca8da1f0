"""MID: what passes the bottleneck, what noise does in training and at test time, and the model as a target."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tasks.attacks import ATTACKS
from tasks.data.pixels import to_float
from tasks.defenses.mid import MID
from tasks.models.architectures import build
from tasks.models.bottleneck_classifier import BottleneckClassifier
from tasks.models.bottleneck_loss import gaussian_kl
from tasks.models.bottleneck_network import BottleneckNetwork
from tasks.models.classifier import GivenClassifier
from tasks.models.inference import inference_copy
from tasks.models.training import accuracy, features, predict, train_classifier
from tests.lab import CLASSES, Lab, folder_digests
from tests.resuming import killed_and_resumed
from tests.tasks import attack_contract
from tests.tasks.test_finetune import defender

SMALL: dict[str, Any] = {"arch": "vgg16_bn", "width": 0.0625, "epochs": 40, "batch": 10, "augment": False}
FEATURES = 256  # of that network


def model(lab: Lab, **settings: Any) -> BottleneckClassifier:
    fields = {**SMALL, "beta": 0.003, **settings}
    return BottleneckClassifier(train=lab.split("train"), val=lab.split("val"), **fields)


def network(lab: Lab, stage: BottleneckClassifier) -> BottleneckNetwork:
    found = stage.network(lab.context(stage))
    assert isinstance(found, BottleneckNetwork)
    return found


def images(lab: Lab, part: Any = "val") -> torch.Tensor:
    return to_float(lab.run(lab.split(part)).tensors("images.safetensors")["images"])


def both(lab: Lab) -> list[BottleneckNetwork]:
    """The trained model as it is shipped, without noise and with it."""
    return [network(lab, model(lab, at_test=at_test)) for at_test in ("mean", "sampled")]


def test_half_as_many_codes_as_features_unless_said_otherwise(lab: Lab) -> None:
    for settings, size in (({}, FEATURES // 2), ({"code_size": 5}, 5)):
        net = model(lab, **settings).blank()
        assert isinstance(net, BottleneckNetwork)
        mean, std = net.eval().posterior(images(lab))
        assert mean.shape == std.shape == (CLASSES, size)
        assert net.features(images(lab)).shape == (CLASSES, size)
        assert net(images(lab)).shape == (CLASSES, CLASSES)
        assert bool((std > 0).all())


def test_mu_and_std_are_what_the_formulas_say() -> None:
    net = BottleneckNetwork(build("vgg16", channels=1, size=32, classes=3, width=0.0625), 4).double().eval()
    x = torch.randn(5, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    raw = net.body(x) @ net.statistics.weight.T + net.statistics.bias
    mean, std = net.posterior(x)
    assert torch.allclose(mean, raw[:, :4])
    assert torch.allclose(std, (1 + (raw[:, 4:] - 5).exp()).log())
    assert torch.allclose(net(x), mean @ net.classifier.weight.T + net.classifier.bias)


def test_a_std_that_underflows_leaves_a_finite_kl(lab: Lab) -> None:
    network = BottleneckNetwork(build("vgg16_bn", channels=1, size=32, classes=3, width=0.0625)).eval()
    torch.nn.init.constant_(network.statistics.weight, 0.0)
    torch.nn.init.constant_(network.statistics.bias, -110.0)
    mean, std = network.posterior(torch.zeros(2, 1, 32, 32))
    kl = gaussian_kl(mean, std).sum()
    kl.backward()
    gradient = network.statistics.bias.grad
    assert gradient is not None
    assert bool(kl.isfinite())
    assert bool(gradient.isfinite().all())


def test_in_training_z_is_drawn_around_mu_with_std(lab: Lab) -> None:
    net = network(lab, model(lab)).train()
    x = images(lab)[:2]
    mean, std = (t.detach() for t in net.eval().posterior(x))
    net.train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        scores = torch.cat([(net.code(x, mean, std) - mean) / std for _ in range(200)])
    assert abs(scores.mean().item()) < 0.02
    assert scores.std().item() == pytest.approx(1, abs=0.02)


def test_noise_reaches_the_gradient_of_std(lab: Lab) -> None:
    """Reparametrised: cross-entropy alone (beta 0) makes std smaller, so it has to feel it."""
    net = network(lab, model(lab)).train()
    mean, std = (t.detach().requires_grad_() for t in net.posterior(images(lab)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net.classifier(net.code(images(lab), mean, std)).logsumexp(dim=1).sum().backward()
    assert std.grad is not None
    assert std.grad.abs().max() > 0


def test_beta_0_is_plain_cross_entropy_with_noise(lab: Lab) -> None:
    """The ordinary loop on the network in training mode: the same steps to the last digit."""
    stage = model(lab, beta=0, epochs=3, label_smoothing=0.1)
    one, other = lab.context(stage), lab.context(stage)
    stage.run(one)
    train_classifier(stage, other)
    assert folder_digests(one.out) == folder_digests(other.out)
    assert [point["loss"] for point in one.curves] == [point["loss"] for point in other.curves]
    assert all(point["loss"] == point["ce"] and point["kl"] > 0 for point in one.curves)


def test_more_beta_less_information(lab: Lab) -> None:
    metrics = [lab.run(model(lab, beta=beta)).metrics for beta in (0, 0.003, 0.03)]
    kl = [found["kl"] for found in metrics]
    assert kl[0] > 3 * kl[1] > 9 * kl[2] > 0
    assert min(found["train_accuracy"] for found in metrics) > 0.9, "and it still learns"


def test_metrics_are_measured_on_what_is_shipped(lab: Lab) -> None:
    for stage in (model(lab), model(lab, at_test="sampled")):
        found = lab.run(stage).metrics
        assert set(found) == {"train_accuracy", "train_loss", "val_accuracy", "ce", "kl"}
        labels = torch.arange(CLASSES)
        assert found["val_accuracy"] == accuracy(network(lab, stage), images(lab), labels)
        assert found["train_loss"] == pytest.approx(found["ce"] + stage.beta * found["kl"], rel=1e-5)


def test_at_test_changes_the_answers_and_not_the_training(lab: Lab) -> None:
    quiet, noisy = (model(lab, at_test=at_test) for at_test in ("mean", "sampled"))
    assert quiet.key != noisy.key
    weights = [load_file(lab.run(stage).path("model.safetensors")) for stage in (quiet, noisy)]
    assert all(torch.equal(t, weights[1][name]) for name, t in weights[0].items())
    mean, std = both(lab)[0].posterior(images(lab))
    z = [features(net, images(lab)) for net in both(lab)]
    assert torch.allclose(z[0], mean, atol=1e-5)
    scores = (z[1] - z[0]) / std
    assert scores.std().item() == pytest.approx(1, abs=0.1)
    other = network(lab, noisy)
    other.noise_seed = 1
    assert not torch.equal(features(other, images(lab)), z[1])


def test_answers_belong_to_an_image_whatever_the_batch(lab: Lab) -> None:
    """Twice the same, alone as among others, in any order, and after other draws from torch's generator."""
    x = images(lab, "train")
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    for net in both(lab):
        answers = predict(net, x)
        assert torch.equal(predict(net, x), answers)
        assert torch.equal(predict(net, x[shuffled]), answers[shuffled])
        assert torch.equal(torch.cat([predict(net, row[None]) for row in x[:5]]), answers[:5])
        with torch.random.fork_rng():
            torch.manual_seed(5)
            assert torch.equal(predict(net, x), answers)


def test_the_inference_copy_is_equal(lab: Lab) -> None:
    for net in both(lab):
        exact, x = net.double(), torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(3))
        copy = inference_copy(exact)
        assert torch.allclose(copy(x.double()), exact(x.double()), rtol=1e-9, atol=1e-9)
        gradients = []
        for each in (exact, copy):
            inputs = x.double().requires_grad_()
            (gradient,) = torch.autograd.grad(each(inputs).log_softmax(1)[:, 2].sum(), inputs)
            gradients.append(gradient)
        assert torch.allclose(*gradients, rtol=1e-7, atol=1e-9)
        assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_killed_training_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    stage = model(lab, epochs=3, dropout=0.3, augment=True)
    killed_and_resumed(lab, stage, kill_at)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_runs_on_it(lab: Lab, name: str) -> None:
    attack = attack_contract.build(lab, ATTACKS[name], 1, target=model(lab, at_test="sampled"), images=2, steps=3)
    assert 0 <= lab.run(attack).metrics["target_confidence"] <= 1


@pytest.mark.parametrize("at_test", ["mean", "sampled"])
def test_a_gradient_attack_finds_what_it_looks_for(lab: Lab, at_test: str) -> None:
    """Also through the noise: the draw changes at each step, the gradient of mu does not."""
    target = model(lab, at_test=at_test)
    privacy = ATTACKS["privacy"]
    found = [lab.run(attack_contract.build(lab, privacy, label, target=target, steps=40)) for label in (0, 4)]
    confidence = [p for product in found for p in product.table("samples.parquet").column("target_p").to_pylist()]
    assert sum(confidence) / len(confidence) > 2.5 / CLASSES


def test_the_defense_is_the_victims_training_behind_a_bottleneck(lab: Lab) -> None:
    who = defender(lab)._replace(victim_settings={"arch": "ir_small", "width": 0.5, "epochs": 7, "lr": 0.004})
    target = MID().protect(who, (2,)).target
    assert isinstance(target, BottleneckClassifier)
    assert (target.arch, target.width, target.epochs, target.lr) == ("ir_small", 0.5, 7, 0.004)
    assert (target.train, target.val, target.role) == (lab.split("train"), lab.split("val"), "victim")
    assert MID().protect(who, (0, 2)).target.key == target.key, "one model for all labels"
    own = MID(beta=0.5, code_size=9, at_test="sampled", epochs=2, optimizer="sgd", lr=0.1).protect(who, (2,)).target
    assert isinstance(own, BottleneckClassifier)
    assert (own.beta, own.code_size, own.at_test, own.width) == (0.5, 9, "sampled", 0.5)
    assert (own.epochs, own.optimizer, own.lr) == (2, "sgd", 0.1)


def test_a_given_victims_architecture_is_trained_anew(lab: Lab) -> None:
    given = GivenClassifier(weights="x", people=lab.split("train").people, arch="ir_small", channels=1, size=32)
    target = MID().protect(defender(lab)._replace(victim=given, victim_settings={"arch": "ir_small"}), (0,)).target
    assert isinstance(target, BottleneckClassifier)
    assert (target.arch, target.val) == ("ir_small", lab.split("val"))
    assert given.key not in target.closure()


def test_what_differs_is_in_the_rows_name() -> None:
    assert MID().extensions == ()
    assert MID(at_test="sampled").extensions == ("sampled",)
    assert MID(beta=0).extensions == ("no_kl",)


@pytest.mark.parametrize("fields", [{"beta": -1}, {"code_size": 0}, {"at_test": "random"}, {"epochs": 0}, {"lr": 0}])
def test_impossible_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        MID(**fields)
