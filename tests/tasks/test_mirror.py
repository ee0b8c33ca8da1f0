"""Mirror in both forms: the contract, the pool, the box, randomness of each sample's own, and resumption."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from tasks.attacks import style_search
from tasks.attacks.attack import Attack
from tasks.attacks.mirror import Mirror
from tasks.attacks.mirror_bb import MirrorBB
from tasks.attacks.style_pool import StylePool
from tasks.attacks.style_settings import StyleSettings
from tasks.attacks.style_space import clip_to_box, to_p
from tasks.gan.wgan import WGAN
from tasks.inversion.search import Search
from tests.lab import CLASSES, KilledError, Lab, MemoryCheckpoints, folder_digests
from tests.tasks import attack_contract as contract
from tests.tasks.mirror_lab import ConditionalGAN, MappedGAN, gan_of, inverted, mirror, mirror_bb, p_of, where


class OnWGAN(Mirror):
    """Mirror where styles are latents, for it takes any GAN."""

    default_gan: ClassVar = "wgan"


class BlackBoxOnWGAN(MirrorBB):
    default_gan: ClassVar = "wgan"


@pytest.mark.parametrize("attack", [OnWGAN, BlackBoxOnWGAN])
def test_it_works_without_a_mapping_network(lab: Lab, attack: type[Attack]) -> None:
    """The whole contract is kept with the default GAN (test_attack_contract.py)."""
    contract.raises_the_target_above_chance(lab, attack)
    contract.is_deterministic_and_alone(lab, attack)


@pytest.mark.parametrize("structure", [MappedGAN, ConditionalGAN])
@pytest.mark.parametrize("attack", [mirror, mirror_bb])
def test_points_are_valid_styles_that_the_images_are_painted_from(lab: Lab, attack: Any, structure: type[WGAN]) -> None:
    """With a mapping network they lie in the P box; one-hot blocks without one stay on the simplex."""
    stage = attack(lab, gan=gan_of(lab, structure), truncation=0.7, steps=3)
    found = inverted(lab, stage)
    pool = StylePool(stage.gan, lab.context(stage), stage)
    assert found.points is not None
    assert torch.allclose(pool.pictures(found.points), found.images, atol=1e-6)
    assert found.images.abs().max() <= 1
    searched = pool.keep_valid(found.points + 1)
    if structure is MappedGAN:
        assert pool.slope == 0.2
        assert torch.equal(clip_to_box(searched, pool.box, 0.2), searched)
        assert bool((to_p(searched, 0.2) <= pool.box.high + 1e-5).all())
    else:
        hot, codes = found.points[:, -7:-2], found.points[:, -2:]
        assert torch.allclose(hot.sum(dim=1), torch.ones(len(hot)), atol=1e-5)
        assert bool((hot >= 0).all())
        assert bool((codes.abs() <= 1).all())
        sure = torch.eye(5)[:1]
        kept = pool.keep_valid(torch.cat([torch.zeros(1, 16), sure, torch.ones(1, 2)], dim=1))
        assert torch.equal(kept[:, 16:21], sure), "the box must not forbid a plain condition"


def test_the_box_is_of_this_generators_styles(lab: Lab) -> None:
    stage = mirror(lab, gan=gan_of(lab, MappedGAN), pool=400)
    pool = StylePool(stage.gan, lab.context(stage), stage)
    p = to_p(pool.styles, 0.2)
    assert torch.allclose(pool.box.mean, p.mean(dim=0))
    assert torch.allclose(pool.box.std, p.std(dim=0, correction=0))
    inside = ((p >= pool.box.low) & (p <= pool.box.high)).double().mean().item()
    assert inside == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.03), "p is normal for a linear map of z"


def test_truncation_pulls_the_painted_style_towards_the_pools_mean(lab: Lab) -> None:
    gan = gan_of(lab, MappedGAN)
    whole, half = (StylePool(gan, lab.context(gan), StyleSettings(pool=50, truncation=psi)) for psi in (1.0, 0.5))
    w = whole.styles[:4]
    assert torch.equal(half.styles, whole.styles), "the box and the search are those of whole styles"
    assert torch.allclose(half.pictures(w), whole.pictures(0.5 * (w + whole.styles.mean(dim=0))), atol=1e-5)
    assert not torch.allclose(half.pictures(w), whole.pictures(w), atol=1e-3)


@pytest.mark.parametrize("attack", [mirror, mirror_bb])
def test_searches_start_from_the_best_of_the_pool(lab: Lab, attack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no search to speak of, image i is the pool's rank i, by the target's p(l_t)."""
    stage = attack(lab, steps=1, flip=False) if attack is mirror else attack(lab, steps=1, stop=1e-30)
    found = inverted(lab, stage)
    pool = StylePool(stage.gan, lab.context(stage), stage)
    p = p_of(lab, stage, pool.pictures(pool.styles))
    ranked = p.argsort(descending=True)[: stage.images]
    assert found.points is not None
    assert torch.equal(found.points, pool.styles[ranked])
    assert torch.allclose(p_of(lab, stage, found.images), p[ranked], rtol=1e-4)


def test_image_i_does_not_depend_on_how_many_there_are(lab: Lab) -> None:
    """With one restart image i starts from rank i; with more, the deal of the pool is another one."""
    gan = gan_of(lab, MappedGAN)
    few = inverted(lab, mirror(lab, gan=gan, images=2, chunk=2, dropout=0.3, dropout2d=0.2))
    many = inverted(lab, mirror(lab, gan=gan, images=5, chunk=5, dropout=0.3, dropout2d=0.2))
    assert torch.allclose(many.losses[:2], few.losses, rtol=1e-3)
    assert few.points is not None
    assert many.points is not None
    assert torch.allclose(many.points[:2], few.points, atol=1e-3)


def test_more_steps_lower_the_loss(lab: Lab) -> None:
    """In a wide box: the starts lie outside a narrow one, and what is left of them inside may be worse."""
    short, long = (inverted(lab, mirror(lab, steps=steps, flip=False, box=3.0, lr=0.1)) for steps in (1, 30))
    assert bool((long.losses <= short.losses).all())
    assert long.losses.mean() < 0.5 * short.losses.mean()


@pytest.mark.parametrize("rule", ["confidence", "agreement"])
def test_restarts_are_chosen_by_the_target_as_it_is(lab: Lab, rule: Any) -> None:
    """Not by the loss, whose luck is in the flips and masks: the images kept are those that the clean net prefers."""
    stage = mirror(lab, restarts=3, selection_rule=rule, dropout=0.3)
    found = inverted(lab, stage)
    assert (found.passes, found.queries) == (9 * 8, 100 + 9)
    ctx = lab.context(stage)
    target, pool = lab.victim.network(ctx), StylePool(stage.gan, ctx, stage)
    p = p_of(lab, stage, pool.pictures(pool.styles))
    start = pool.styles[p.argsort(descending=True)[:9].view(3, 3).t().reshape(-1)]
    loss = style_search.objective(stage, ctx, target, pool)
    ends = Search(start, loss, stage, lambda styles, _: pool.keep_valid(styles)).run(lab.context(stage)).points
    pictures = pool.pictures(ends)
    with torch.no_grad():
        logits = target(pictures)
    for image, block in enumerate(logits.split(3)):
        group = style_search.agreeing(block, 1) if rule == "agreement" else [0, 1, 2]
        value = block[:, 1] if rule == "agreement" else block.log_softmax(dim=1)[:, 1]
        best = max(group, key=value.tolist().__getitem__)
        assert torch.allclose(found.images[image], pictures[3 * image + best], atol=1e-5)


def test_selection_is_named(lab: Lab) -> None:
    assert mirror(lab).selection == "starts: best of a pool of 100 by the target's p(l_t)"
    assert "largest group" in mirror(lab, restarts=2).selection
    assert "best of 2 restarts" in mirror(lab, restarts=2, selection_rule="confidence").selection
    assert "population of 5" in mirror_bb(lab).selection
    assert Mirror.default_gan == MirrorBB.default_gan == "stylegan"


def test_a_small_pool_is_refused(lab: Lab) -> None:
    with pytest.raises(ValidationError, match=r"images \* restarts = 12"):
        mirror(lab, images=4, restarts=3, pool=10)
    with pytest.raises(ValidationError, match=r"images \* population = 20"):
        mirror_bb(lab, images=4, population=5, pool=19)


def loss_of(lab: Lab, **settings: Any) -> tuple[Any, torch.Tensor]:
    stage = mirror(lab, **settings)
    ctx = lab.context(stage)
    pool = StylePool(stage.gan, ctx, stage)
    return style_search.objective(stage, ctx, lab.victim.network(ctx), pool), pool.styles


def test_flips_and_masks_belong_to_the_sample_and_its_step(lab: Lab) -> None:
    loss, styles = loss_of(lab, dropout=0.5, dropout2d=0.2)
    with torch.no_grad():
        together = loss(styles[:4], where([0, 1, 2, 3]))
        shuffled = loss(styles[[2, 0]], where([2, 0]))
        later = loss(styles[:4], where([0, 1, 2, 3], age=1))
        other = loss(styles[:4], where([4, 5, 6, 7]))
    assert torch.allclose(shuffled, together[[2, 0]], rtol=1e-4)
    assert bool((later != together).all())
    assert bool((other != together).all())


def test_flipping_is_by_sample_and_can_be_off(lab: Lab) -> None:
    """The reference flips the whole batch or none of it."""
    loss, styles = loss_of(lab)
    still, _ = loss_of(lab, flip=False)
    one = styles[:1].expand(40, -1)
    with torch.no_grad():
        values = loss(one, where(list(range(40)))).round(decimals=3).unique(return_counts=True)
        assert len(still(one, where(list(range(40)))).round(decimals=3).unique()) == 1
    assert len(values[0]) == 2
    assert 10 <= int(values[1][0]) <= 30


def test_realism_asks_the_critic(lab: Lab) -> None:
    plain, styles = loss_of(lab, flip=False)
    real, _ = loss_of(lab, flip=False, realism=2.0)
    stage = mirror(lab)
    ctx = lab.context(stage)
    pool = StylePool(stage.gan, ctx, stage)
    _, critic = lab.attacker_gan.trained(ctx)
    assert critic is not None
    with torch.no_grad():
        added = real(styles[:3], where([0, 1, 2])) - plain(styles[:3], where([0, 1, 2]))
        assert torch.allclose(added, -2 * critic(pool.paint(styles[:3])), rtol=1e-3, atol=1e-3)


def test_a_killed_attack_resumes_to_the_same_bytes(lab: Lab) -> None:
    white = mirror(lab, gan=gan_of(lab, MappedGAN), restarts=2, dropout=0.3, dropout2d=0.1)
    black = mirror_bb(lab, gan=gan_of(lab, MappedGAN), stop=1.0)
    for stage in (white, black):
        calm = lab.context(stage)
        metrics = stage.run(calm)
        storage = MemoryCheckpoints()
        for kill_at in (1, 4):
            storage.kill_at, storage.writes = kill_at, 0
            with pytest.raises(KilledError):
                stage.run(lab.context(stage, checkpoints=storage))
        storage.kill_at = None
        resumed = lab.context(stage, checkpoints=storage)
        assert stage.run(resumed) == metrics, "queries that the killed run made are counted too"
        assert resumed.resumed_from is not None
        assert folder_digests(resumed.out) == folder_digests(calm.out)


def test_white_box_starts_where_the_same_attack_on_another_target_ended(lab: Lab) -> None:
    settings: dict[str, Any] = {"flip": False, "box": 3.0, "lr": 0.1}
    first = mirror(lab, steps=20, **settings)
    cold, warm = mirror(lab, steps=1, **settings), mirror(lab, steps=1, warm=first, **settings)
    ended = lab.run(first).tensors("points.safetensors")["points"]
    assert tuple(ended.shape) == (3, 16)
    known = inverted(lab, first).losses
    assert torch.allclose(inverted(lab, warm).losses, known, rtol=1e-3, atol=1e-4)
    assert inverted(lab, cold).losses.mean() > 2 * known.mean()


@pytest.mark.parametrize("attack", [mirror, mirror_bb])
def test_numbers_of_a_run_add_up(lab: Lab, attack: Any) -> None:
    stage = attack(lab)
    found, metrics = inverted(lab, stage), lab.run(stage).metrics
    assert metrics["queries"] == found.queries
    assert metrics["passes"] == found.passes
    assert stage.label < CLASSES
    assert bool(found.losses.isfinite().all())
    assert found.images.dtype == torch.float32
    assert stage.intensified(4).steps == 4 * stage.steps
