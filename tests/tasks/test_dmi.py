"""DMI: a Gaussian for each search, its own noise, images dealt in turn, the last parameters kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tasks.artifact import Artifact
from tasks.attacks.attack import Inverted
from tasks.attacks.distribution import reparameterise
from tasks.attacks.dmi import DMI
from tasks.inversion.latent import latent_objective, paint
from tasks.inversion.sample_noise import SampleNoise
from tasks.inversion.search import Search, Where
from tasks.inversion.settings import SearchSettings
from tasks.models.training import predict
from tasks.stage import Stage
from tests.lab import KilledError, Lab, MemoryCheckpoints
from tests.tasks import attack_contract as contract

LATENT = 16  # of the lab's GANs


class Tuned(DMI):
    """DMI over the lab's plain GAN, with settings that suit few steps; dmi's own GAN has tests of its own."""

    kind = "tuned_dmi"
    default_gan = "wgan"
    lr: float = 0.2
    log_var: float = -3.0
    distributions: int = 2


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(lab: Lab, check: contract.Check) -> None:
    check(lab, Tuned)


def dmi(lab: Lab, **settings: Any) -> DMI:
    base: dict[str, Any] = {"images": 3, "distributions": 3, "steps": 6, "lr": 0.05, "chunk": 3}
    return DMI(target=lab.victim, gan=lab.attacker_gan, label=2, **{**base, **settings})


def invert(lab: Lab, stage: DMI, load: Callable[[Stage], Artifact] | None = None) -> Inverted:
    ctx = lab.context(stage, load=load)
    return stage.invert(ctx, lab.victim.network(ctx))


def parameters(found: Inverted) -> torch.Tensor:
    assert found.points is not None
    return found.points


def test_it_starts_at_mean_zero_with_the_log_variance_that_is_set(lab: Lab) -> None:
    """With one step, the point that is kept is the start; the search moves only after it."""
    for log_var in (1.0, -2.0):
        found = invert(lab, dmi(lab, steps=1, log_var=log_var))
        mu, spread = parameters(found).chunk(2, dim=1)
        assert torch.equal(mu, torch.zeros(3, LATENT))
        assert torch.equal(spread, torch.full((3, LATENT), log_var))


def test_the_last_parameters_are_kept_with_the_loss_that_they_had(lab: Lab) -> None:
    """The loss is recomputed from the points with the noise of each distribution's last evaluation."""
    stage = dmi(lab, steps=9, draws=2, lr=0.3)
    ctx, found = lab.context(stage), invert(lab, stage)
    objective = latent_objective(
        lab.victim.network(ctx), stage.gan, label=stage.label, settings=stage, ctx=lab.context(stage)
    )
    noise = SampleNoise(ctx.seed("latents"))

    def losses(age: int) -> torch.Tensor:
        where = Where(torch.arange(3), torch.full((3,), age))
        drawn = [
            objective(reparameterise(parameters(found), noise.normal(where, LATENT, stream=i))).detach() for i in (0, 1)
        ]
        return torch.stack(drawn).mean(dim=0)

    assert torch.allclose(found.losses, losses(8), rtol=1e-3)
    assert not torch.allclose(found.losses, losses(7), rtol=1e-2)


def test_keeping_the_last_is_not_keeping_the_least(lab: Lab) -> None:
    """A loss that falls in x and rises with age: its least is the first, its last is after S - 1 moves."""
    s = SearchSettings(steps=5, lr=0.1, optimizer="sgd", momentum=0.0, chunk=2)
    start = torch.tensor([[1.0], [2.0], [3.0]])

    def loss(x: torch.Tensor, where: Where) -> torch.Tensor:
        return x[:, 0] + 100.0 * where.ages

    ctx = lab.context(lab.split("train"))
    least = Search(start, loss, s).run(ctx)
    assert torch.equal(least.points, start)
    last = Search(start, loss, s, keep="last").run(lab.context(lab.split("train")))
    assert torch.allclose(last.points, start - 0.1 * 4)
    assert torch.allclose(last.losses, start[:, 0] - 0.1 * 4 + 400)
    assert last.passes.tolist() == [5, 5, 5]


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_a_distribution_is_what_it_would_be_alone(lab: Lab, chunk: int) -> None:
    """Neither how many are searched nor who shares the batch changes one: noise and loss are its own."""
    three = invert(lab, dmi(lab, chunk=chunk, draws=2))
    one = invert(lab, dmi(lab, chunk=chunk, draws=2, images=1, distributions=1))
    assert torch.allclose(parameters(three)[:1], parameters(one), atol=1e-4)
    assert torch.allclose(three.losses[:1], one.losses, rtol=1e-3)
    assert len({tuple(row) for row in parameters(three).tolist()}) == 3, "each has noise of its own"


def test_draws_are_averaged_and_each_is_a_pass(lab: Lab) -> None:
    for draws, count in ((1, 3), (4, 3), (2, 1)):
        found = invert(lab, dmi(lab, draws=draws, distributions=count, steps=5))
        assert found.passes == draws * count * 5
        assert found.queries == 0


def test_more_draws_make_a_calmer_loss(lab: Lab) -> None:
    """At the common start, the spread of a mean of 16 is about a quarter of that of one draw."""

    def spread(draws: int) -> float:
        found = invert(lab, dmi(lab, images=12, distributions=12, steps=1, draws=draws, chunk=12))
        return found.losses.std().item()

    assert spread(16) < 0.6 * spread(1)


def test_no_more_distributions_than_images(lab: Lab) -> None:
    found = invert(lab, dmi(lab, images=2, distributions=5, steps=2))
    assert len(parameters(found)) == len(found.losses) == 2


class Fabricated:
    """Stands for where an attack on another target ended: any points, for `load`."""

    def __init__(self, lab: Lab, folder: Path, stage: Stage, points: torch.Tensor) -> None:
        self.lab, self.folder, self.key = lab, folder, stage.key
        save_file({"points": points}, folder / "points.safetensors")

    def __call__(self, stage: Stage) -> Artifact:
        if stage.key == self.key:
            return Artifact(stage.key, {}, lambda name: self.folder / name)
        return self.lab.run(stage)


def test_images_are_dealt_to_the_distributions_in_turn(lab: Lab, tmp_path: Path) -> None:
    """From distributions without a spread, which do not move: every image is that of its own mean."""
    means = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(4))
    warm = dmi(lab, images=7)
    given = Fabricated(lab, tmp_path, warm, torch.cat([means, torch.full_like(means, -60.0)], dim=1))
    still = dmi(lab, images=7, warm=warm, lr=1e-12, steps=2)
    found = invert(lab, still, given)
    generator, _ = lab.attacker_gan.trained(lab.context(still))
    expected = paint(generator, means, 3)
    for image in range(7):
        assert torch.allclose(found.images[image], expected[image % 3], atol=1e-4)
        assert found.losses[image] == found.losses[image % 3]


def test_images_of_one_distribution_differ_as_its_variance_says(lab: Lab) -> None:
    wide, narrow = (invert(lab, dmi(lab, images=4, distributions=1, steps=1, log_var=v)) for v in (1.0, -8.0))
    assert wide.images.std(dim=0).mean() > 5 * narrow.images.std(dim=0).mean()
    assert narrow.images.std(dim=0).mean() > 0


def test_the_target_chooses_among_restarts_of_each_image(lab: Lab) -> None:
    """Twelve draws of one distribution, and the same twelve as three times four."""
    label = 2
    every = invert(lab, dmi(lab, images=12, distributions=1))
    best = invert(lab, dmi(lab, images=3, distributions=1, restarts=4))
    assert best.queries == 12
    network = lab.victim.network(lab.context(lab.victim))
    p = predict(network, every.images).softmax(dim=1)[:, label].view(3, 4)
    chosen = predict(network, best.images).softmax(dim=1)[:, label]
    assert torch.allclose(chosen, p.amax(dim=1), atol=1e-3)
    assert dmi(lab).selection == "none"
    assert dmi(lab, restarts=4).selection == "best of 4 draws by the target's p(l_t)"


def test_more_steps_lower_the_loss(lab: Lab) -> None:
    """Mean over distributions and draws, so that it is no luck."""

    def loss(steps: int) -> float:
        stage = dmi(lab, images=6, distributions=6, chunk=6, draws=4, lr=0.1, steps=steps)
        return invert(lab, stage).losses.mean().item()

    first, early, late = loss(1), loss(8), loss(60)
    assert late < early < first
    assert late < 0.5 * first


def test_the_search_narrows_its_distributions(lab: Lab) -> None:
    """Where the target is sure, noise only costs: the mean log variance falls below its start, and mu moves."""
    found = invert(lab, dmi(lab, images=6, distributions=6, chunk=6, draws=4, lr=0.1, steps=60))
    mu, log_var = parameters(found).chunk(2, dim=1)
    assert log_var.mean().item() < 0.5
    assert mu.abs().mean().item() > 0.3


def test_clipped_latents_are_what_the_objective_and_the_painter_see(lab: Lab) -> None:
    """KED-MI clamps a copy that only its log uses; here `clip` holds for the search and for the images."""
    ctx = lab.context(dmi(lab))
    generator, _ = lab.attacker_gan.trained(ctx)
    stage = dmi(lab, images=6, distributions=1, steps=1, log_var=8.0, clip=0.5)
    corners = paint(generator, invert_corners(lab, stage), 3)
    assert torch.allclose(invert(lab, stage).images, corners, atol=1e-4)


def invert_corners(lab: Lab, stage: DMI) -> torch.Tensor:
    """z of a distribution so wide that nearly all of it is clamped, from the stage's own draw."""
    eps = torch.randn(stage.images, LATENT, generator=lab.context(stage).generator("draws"))
    z = torch.exp(torch.tensor(4.0)) * eps
    assert (z.abs() > 0.5).double().mean() > 0.9
    return z.clamp(-0.5, 0.5)


@pytest.mark.parametrize("kill_at", [1, 4, 11])
def test_a_killed_search_of_random_losses_resumes_to_the_same_bits(lab: Lab, kill_at: int) -> None:
    stage = dmi(lab, chunk=2, draws=2)
    undisturbed, storage = invert(lab, stage), MemoryCheckpoints(kill_at)
    ctx = lab.context(stage, checkpoints=storage)
    with pytest.raises(KilledError):
        stage.invert(ctx, lab.victim.network(ctx))
    storage.kill_at = None
    again = lab.context(stage, checkpoints=storage)
    resumed = stage.invert(again, lab.victim.network(again))
    assert again.resumed_from is not None
    assert torch.equal(parameters(resumed), parameters(undisturbed))
    assert torch.equal(resumed.images, undisturbed.images)
    assert resumed.passes == undisturbed.passes
