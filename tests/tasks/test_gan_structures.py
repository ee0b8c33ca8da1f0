"""Every GAN structure learns its images, resumes, scores images alone; conditions, codes and targets do their part."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from tasks.data.pixels import to_float
from tasks.gan import GANS, training
from tasks.gan.cgan import CGAN
from tasks.gan.conditional_networks import ProjectionCritic
from tasks.gan.dcgan import DCGAN, LogisticGAN
from tasks.gan.gan import TargetGAN, TrainedGAN
from tasks.gan.infogan import InfoGAN, category_loss, continuous_loss
from tasks.gan.inversion_gan import InversionGAN
from tasks.gan.inversion_networks import InversionCritic
from tasks.gan.latents import blocks, draw, project
from tasks.gan.play import Play
from tasks.models.architectures import Network
from tasks.models.classifier import Classifier
from tasks.models.inference import inference_copy
from tests.lab import Lab
from tests.resuming import killed_and_resumed

STRUCTURES: dict[str, type[TrainedGAN]] = {name: kind for name, kind in GANS.items() if issubclass(kind, TrainedGAN)}
SMALL: dict[str, Any] = {  # of these, a structure takes what it has fields for
    "latent_dim": 16,
    "width": 8,
    "steps": 80,
    "n_critic": 1,
    "batch": 8,
    "lr": 2e-3,
    "critic_lr": 2e-3,
    "beta1": 0.0,
    "beta2": 0.99,
    "ema": 0.9,
    "r1_weight": 1.0,
    "r1_every": 4,
    "categories": 3,
    "continuous": 1,
    "similarities": 6,
    "similarity_dims": 4,
}
every_structure = pytest.mark.parametrize("name", STRUCTURES)


def build(lab: Lab, structure: type[TrainedGAN], **settings: Any) -> Any:
    """A small GAN of any structure on the defender's images; one that needs a target gets the victim."""
    fields = {name: value for name, value in {**SMALL, **settings}.items() if name in structure.model_fields}
    if issubclass(structure, TargetGAN):
        fields.setdefault("target", lab.victim)
    fields.setdefault("data", lab.split("all", "defender"))
    return structure(**fields)


def play(lab: Lab, stage: TrainedGAN) -> Play:
    """One step's world, with networks as they are initialised."""
    ctx = lab.context(stage)
    target = getattr(stage, "target", None)
    pair = training._start(stage, ctx)
    draws = ctx.generator("training")
    return Play(stage, *pair, stage.data.tensors(ctx), target.network(ctx) if target else None, draws)


def generator_weights(lab: Lab, stage: TrainedGAN) -> dict[str, torch.Tensor]:
    """The trained parameters (BatchNorm statistics are settled apart)."""
    weights = load_file(lab.run(stage).path("generator.safetensors"))
    return {name: t for name, t in weights.items() if "running" not in name and "num_batches" not in name}


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Root mean square of the difference of all weights."""
    gaps = torch.cat([(t - b[name]).flatten() for name, t in a.items()])
    return gaps.square().mean().sqrt().item()


def misfit(lab: Lab, stage: TrainedGAN) -> float:
    """How far mean and spread of each pixel over samples are from those over the real images."""
    fake = to_float(lab.run(stage).tensors("samples.safetensors")["images"])
    real, _ = stage.data.tensors(lab.context(stage))
    mean = (fake.mean(dim=0) - real.mean(dim=0)).abs().mean()
    spread = (fake.std(dim=0) - real.std(dim=0)).abs().mean()
    return (mean + spread).item()


@every_structure
def test_it_learns_its_images_and_steps_0_is_the_control(lab: Lab, name: str) -> None:
    stage = build(lab, STRUCTURES[name])
    untrained = stage.model_copy(update={"steps": 0})
    metrics = lab.run(stage).metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert misfit(lab, stage) < 0.7 * misfit(lab, untrained)
    ctx = lab.context(untrained)
    assert set(untrained.run(ctx)) <= {"target_queries"}
    fresh, _ = training._start(untrained, ctx)
    assert distance(generator_weights(lab, untrained), fresh.state_dict()) == 0


@every_structure
@pytest.mark.parametrize("kill_at", [2, 4])
def test_a_killed_training_ends_as_an_undisturbed_one(lab: Lab, name: str, kill_at: int) -> None:
    """`kill_at` 4 is after the last step: what is left is only to write the product."""
    stage = build(lab, STRUCTURES[name], steps=4)
    killed_and_resumed(lab, stage, kill_at)


@every_structure
def test_after_training_every_image_is_painted_and_judged_alone(lab: Lab, name: str) -> None:
    stage = build(lab, STRUCTURES[name])
    ctx = lab.context(stage)
    lab.run(stage)
    generator, critic = stage.trained(ctx)
    assert not generator.training
    assert not critic.training
    z = draw(stage.latent_space, 5, ctx.generator("try"))
    with torch.no_grad():
        images = generator(z)
        for i in range(5):
            assert torch.allclose(generator(z[i : i + 1]), images[i : i + 1], atol=1e-5)
        for judge in (critic, inference_copy(critic)):
            scores = judge(images)
            assert scores.shape == (5,)
            for i in range(5):
                assert torch.allclose(judge(images[i : i + 1]), scores[i : i + 1], atol=1e-4)
        assert scores.std() > 0


@every_structure
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (64, 1), (112, 3), (128, 3), (224, 1), (256, 1)])
def test_every_size_and_colour(lab: Lab, name: str, size: int, channels: Any) -> None:
    changes = {"size": size, "channels": channels}
    target = Classifier(train=lab.split("train").model_copy(update=changes), arch="ir_small")
    data = lab.split("all", "defender").model_copy(update=changes)
    stage = build(lab, STRUCTURES[name], data=data, target=target, width=4)
    assert size in stage.sizes
    generator, critic = training.build_pair(stage)
    with torch.no_grad():
        images = generator(draw(stage.latent_space, 3, torch.Generator().manual_seed(0)))
        assert images.shape == (3, channels, size, size)
        assert critic(images).shape == (3,)


@every_structure
def test_a_search_keeps_to_the_latents_that_the_generator_takes(lab: Lab, name: str) -> None:
    """From a one-hot condition a step leads to a valid mixture, not off the simplex."""
    stage = build(lab, STRUCTURES[name])
    ctx = lab.context(stage)
    lab.run(stage)
    space = stage.latent_space
    z = draw(space, 6, ctx.generator("try"))
    assert torch.allclose(project(space, z), z, atol=1e-6)
    moved = project(space, z + torch.randn(z.shape, generator=ctx.generator("step")))
    _, hot, codes = blocks(space, moved)
    for block in hot:
        assert bool((block >= 0).all())
        assert torch.allclose(block.sum(dim=1), torch.ones(6), atol=1e-5)
    assert codes.numel() == 0 or codes.abs().max() <= 1
    generator, _ = stage.trained(ctx)
    with torch.no_grad():
        images = generator(moved)
    assert bool(images.isfinite().all())
    assert images.abs().max() <= 1


@pytest.mark.parametrize("structure", [CGAN, InfoGAN])
def test_the_condition_changes_the_image(lab: Lab, structure: type[TrainedGAN]) -> None:
    """The same z with every other value of the categorical block, and with other codes."""
    stage = build(lab, structure)
    lab.run(stage)
    generator, _ = stage.trained(lab.context(stage))
    space = stage.latent_space
    z = draw(space, 1, torch.Generator().manual_seed(0)).repeat(3, 1)
    z[:, space.normal : space.normal + 3] = torch.eye(3)
    images = generator(z).detach().flatten(1)
    assert torch.pdist(images).min() / math.sqrt(images.shape[1]) > 0.02
    if space.uniform:
        z = z[:1].repeat(2, 1)
        z[:, -1] = torch.tensor([-1.0, 1.0])
        assert torch.pdist(generator(z).detach().flatten(1)).item() > 0.1


def test_a_generator_is_linear_in_its_condition_where_it_enters(lab: Lab) -> None:
    """Half of each of two people enters as the mean of both: a point inside the simplex means something."""
    generator, _ = training.build_pair(build(lab, CGAN))
    z = draw(build(lab, CGAN).latent_space, 1, torch.Generator().manual_seed(0)).repeat(3, 1)
    z[:, 16:] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.5, 0]])
    first: Any = generator
    entered = first.project[0](z)
    assert torch.allclose(entered[2], entered[:2].mean(dim=0), atol=1e-6)


def test_without_a_label_a_projection_critic_says_the_mean_over_people() -> None:
    critic = randomised(ProjectionCritic(1, 32, 4, people=5))
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    of_each = torch.stack([critic.judge(images, torch.full((3,), person)) for person in range(5)])
    assert of_each.std(dim=0).min() > 1e-3
    assert torch.allclose(of_each.mean(dim=0), critic(images))
    critic.people.weight.data += torch.randn(1, critic.trunk.features, dtype=torch.float64)
    shifted = torch.stack([critic.judge(images, torch.full((3,), person)) for person in range(5)])
    assert torch.allclose(shifted, of_each)


def randomised(critic: Any) -> Any:
    """In float64, with weights large enough to matter."""
    draws = torch.Generator().manual_seed(0)
    for parameter in critic.double().parameters():
        nn.init.normal_(parameter, 0, 0.1, generator=draws)
    return critic.requires_grad_(False)


def test_the_fakes_that_a_cgans_critic_sees_are_of_the_people_of_the_real_batch(lab: Lab) -> None:
    stage = build(lab, CGAN)
    world = play(lab, stage)
    z, labels = world.latents(), torch.tensor([2, 0, 0, 0, 0, 0, 1, 0])
    of_people = stage.of_people(z, labels)
    assert torch.equal(of_people[:, :16], z[:, :16])
    assert torch.equal(of_people[:, 16:].argmax(dim=1), labels)
    assert torch.equal(of_people[:, 16:].sum(dim=1), torch.ones(8))


def test_infogan_learns_to_read_its_codes_and_both_players_gain(lab: Lab) -> None:
    stage = build(lab, InfoGAN)
    lab.run(stage)
    generator, critic = stage.trained(lab.context(stage))
    reader: Any = critic
    z = draw(stage.latent_space, 200, torch.Generator().manual_seed(0))
    _, (hot,), codes = blocks(stage.latent_space, z)
    with torch.no_grad():
        _, logits, means = reader.read(generator(z))
    assert (logits.argmax(dim=1) == hot.argmax(dim=1)).double().mean() > 0.8  # chance: 1/3
    assert torch.corrcoef(torch.cat([means, codes], dim=1).T)[0, 1] > 0.3
    world = play(lab, stage)
    for terms, network in ((stage.critic_terms, world.critic), (stage.generator_terms, world.generator)):
        told = {name: term for name, term in terms(world).items() if "info" in name}
        assert len(told) == 2
        for term in told.values():
            gradients = torch.autograd.grad(term, list(network.parameters()), allow_unused=True, retain_graph=True)
            assert any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


def test_information_terms_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert category_loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item() == pytest.approx(expected)
    means, codes = torch.tensor([[0.0, 1.0], [0.5, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, -1.0]])
    assert continuous_loss(means, codes).item() == pytest.approx((1 + 1 + 0 + 1) / 2 / 2)


@pytest.mark.parametrize("settings", [{"categories": 0, "continuous": 0}, {"categories": 1}])
def test_an_infogan_without_a_code_is_refused(lab: Lab, settings: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="2 categories or 1 code"):
        build(lab, InfoGAN, **settings)


@pytest.mark.parametrize("settings", [{"categories": 0}, {"continuous": 0}, {"info_weight": 0.0}])
def test_an_infogan_with_one_kind_of_code_trains(lab: Lab, settings: dict[str, Any]) -> None:
    metrics = lab.run(build(lab, InfoGAN, steps=2, **settings)).metrics
    informed = {name.removeprefix("generator_") for name in metrics if "info" in name}
    kinds = {"info_continuous"} if "categories" in settings else {"info_category"}
    assert informed == (set() if "info_weight" in settings else kinds)


def test_the_generators_term_is_eq_3s_or_the_non_saturating_one(lab: Lab) -> None:
    scores = torch.tensor([-2.0, 0.5])
    p = [1 / (1 + math.exp(-s)) for s in scores.tolist()]
    plain, to_the_letter = build(lab, DCGAN), build(lab, DCGAN, saturating=True)
    assert plain.fooled(scores).item() == pytest.approx(-(math.log(p[0]) + math.log(p[1])) / 2)
    assert to_the_letter.fooled(scores).item() == pytest.approx((math.log(1 - p[0]) + math.log(1 - p[1])) / 2)


@pytest.mark.parametrize("structure", [DCGAN, CGAN, InfoGAN])
def test_r1_comes_in_every_so_many_steps_as_many_times_as_strong(lab: Lab, structure: type[LogisticGAN]) -> None:
    def penalty(step: int, **settings: Any) -> float | None:
        stage = build(lab, structure, **settings)
        world = play(lab, stage)
        world.step = step
        term = stage.critic_terms(world).get("r1")
        return None if term is None else term.item()

    once = penalty(4, r1_weight=0.5, r1_every=1)
    assert once is not None
    assert penalty(4, r1_weight=0.5, r1_every=4) == pytest.approx(4 * once, rel=1e-4)
    assert penalty(4, r1_weight=1.0, r1_every=1) == pytest.approx(2 * once, rel=1e-4)
    assert penalty(5, r1_every=4) is None
    assert penalty(4, r1_weight=0.0) is None


class Asked(NamedTuple):
    """One call of a watched network."""

    images: int
    training: bool
    graph: bool


def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Network], list[Asked]]:
    """Every network that a classifier hands out from now on, and every call of it."""
    handed: list[Network] = []
    asked: list[Asked] = []
    original = Classifier.network

    def network(self: Classifier, ctx: Any) -> Network:
        made = original(self, ctx)
        made.register_forward_pre_hook(
            lambda module, inputs: asked.append(Asked(len(inputs[0]), module.training, torch.is_grad_enabled()))
        )
        handed.append(made)
        return made

    monkeypatch.setattr(Classifier, "network", network)
    return handed, asked


def test_the_target_is_asked_in_eval_mode_left_alone_and_counted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference code leaves it in train mode: labels by batch statistics, and statistics that drift."""
    stage = build(lab, InversionGAN, steps=3, n_critic=2)
    before = {name: t.clone() for name, t in lab.victim.network(lab.context(lab.victim)).state_dict().items()}
    handed, asked = watch(monkeypatch)
    metrics = stage.run(lab.context(stage))
    (target,) = handed
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(t, before[name]) for name, t in target.state_dict().items())
    assert not any(module.training for module in target.modules())
    assert all(p.grad is None for p in target.parameters())
    assert {(call.training, call.graph) for call in asked} == {(False, False)}
    assert metrics["target_queries"] == sum(call.images for call in asked) == 3 * 2 * 8


def test_a_target_in_train_mode_is_refused(lab: Lab) -> None:
    world = play(lab, stage := build(lab, InversionGAN))
    assert world.target is not None
    world.target.train()
    with pytest.raises(ValueError, match="eval mode"):
        stage.critic_terms(world)


def test_a_generators_term_of_weight_0_is_not_computed(lab: Lab) -> None:
    """As it stands DMI's generator has feature matching and entropy; the adversarial term is an extension."""

    def terms(**settings: Any) -> dict[str, float]:
        stage = build(lab, InversionGAN, **settings)
        return {name: term.item() for name, term in stage.generator_terms(play(lab, stage)).items()}

    assert set(terms()) == {"matching", "entropy"}
    assert set(terms(entropy_weight=0.0)) == {"matching"}
    once, twice = terms(adversarial_weight=1.0, entropy_weight=1e-4), terms(adversarial_weight=2.0, entropy_weight=1.0)
    assert twice["generator"] == pytest.approx(2 * once["generator"])
    assert twice["entropy"] == pytest.approx(1e4 * once["entropy"])
    assert once["entropy"] == pytest.approx(1e-4 * SMALL["batch"] * math.log(6), rel=0.1)  # of 8 almost uniform rows


def test_its_discriminator_learns_the_targets_labels(lab: Lab) -> None:
    stage = build(lab, InversionGAN, steps=240, target=lab.sure_victim)
    lab.run(stage)
    ctx = lab.context(stage)
    critic: Any = stage.trained(ctx)[1]
    images, _ = stage.data.tensors(ctx)
    with torch.no_grad():
        wanted = lab.sure_victim.network(ctx)(images).softmax(dim=1)
        told = critic.logits(images).log_softmax(dim=1)
    away = (wanted * (wanted.log() - told)).sum(dim=1).mean()
    of_a_guess = (wanted * (wanted.log() + math.log(wanted.shape[1]))).sum(dim=1).mean()
    assert away < 0.75 * of_a_guess, "divergence from the target's labels"


def test_another_target_makes_another_gan(lab: Lab) -> None:
    other = lab.victim.model_copy(update={"seed": 1, "epochs": 2})
    here, there = build(lab, InversionGAN, steps=5), build(lab, InversionGAN, steps=5, target=other)
    assert here.key != there.key
    assert distance(generator_weights(lab, here), generator_weights(lab, there)) > 1e-4


def test_it_starts_from_another_gan(lab: Lab) -> None:
    first, other = build(lab, InversionGAN), lab.victim.model_copy(update={"seed": 1, "epochs": 2})
    fields = {"target": other, "start": "undefended", "init_steps": 1, "steps": 3, "lr": 1e-6, "critic_lr": 1e-6}
    from_it = build(lab, InversionGAN, init=first, **fields)
    fresh = build(lab, InversionGAN, **fields)
    assert (from_it.rounds, fresh.rounds) == (1, 3)
    assert build(lab, InversionGAN, init=first, target=other).rounds == SMALL["steps"]
    assert build(lab, InversionGAN, init=first, init_steps=1, steps=0, target=other).rounds == 0
    metrics = lab.run(from_it).metrics
    assert metrics["target_queries"] == SMALL["batch"]
    near = distance(generator_weights(lab, from_it), generator_weights(lab, first))
    away = distance(generator_weights(lab, fresh), generator_weights(lab, first))
    assert 0 < near < 1e-5 < 100 * near < away


def test_what_it_starts_from_must_fit(lab: Lab) -> None:
    with pytest.raises(ValidationError, match="same structure"):
        build(lab, InversionGAN, init=lab.defender_gan)
    with pytest.raises(ValidationError, match=r"width: 4 \(here 8\), batch: 4 \(here 8\)"):
        build(lab, InversionGAN, init=build(lab, InversionGAN, width=4, batch=4))
    with pytest.raises(ValidationError, match="the target takes"):
        build(lab, InversionGAN, data=lab.split("all", "defender").model_copy(update={"size": 64}))


def test_its_discriminator_judges_by_the_batch_in_training_and_by_its_reference_after(lab: Lab) -> None:
    critic = InversionCritic(1, 32, 4, classes=3, similarities=4, dims=2, batch=6)
    critic.initialise(torch.Generator().manual_seed(0))
    critic.label.weight.data[:, -4:] = 1.0  # so that the similarities count
    images = torch.randn(9, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    others = torch.cat([images[:1], images[5:]])
    assert not torch.allclose(critic.train()(images[:5])[0], critic(others)[0], atol=1e-3)
    critic.settle(images, torch.Generator().manual_seed(2))
    reference = critic.similar.reference.clone()
    assert torch.allclose(critic.eval()(images[:5])[0], critic(others)[0], atol=1e-5)
    critic.settle(images, torch.Generator().manual_seed(3))
    assert not torch.equal(critic.similar.reference, reference)
    critic.settle(images[:2], torch.Generator().manual_seed(3))
    assert bool((critic.similar.reference.flatten(1).norm(dim=1) > 0).all())


def test_initial_similarities_are_neither_nothing_nor_all(lab: Lab) -> None:
    """The code's N(0, 1) weights put every distance in the hundreds, where exp(-distance) has no gradient."""
    stage = build(lab, InversionGAN, similarities=64, similarity_dims=50)
    world = play(lab, stage)
    critic: Any = world.critic
    features = critic.trunk(world.real()[0])
    near = critic.similar(features)[:, -64:] / (len(features) - 1)
    assert 0.05 < near.mean() < 0.95
    critic.similar.project.weight.data.mul_(1 / critic.similar.scale)
    assert critic.similar(features)[:, -64:].max() < 1e-6
