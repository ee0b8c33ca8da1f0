"""A generator that the user brings: it paints what it painted, every misfit is named, a critic may be missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from grid.plan import Plan, leaks
from tasks.artifact import Artifact
from tasks.attacks.gmi import GMI
from tasks.data.manifest import file_digest
from tasks.data.split import Audience
from tasks.gan.adopting import adopt, gan_misfits
from tasks.gan.given import GivenGAN
from tasks.inversion.fakes import Fakes
from tasks.inversion.latent import latent_objective
from tasks.inversion.losses import identification_loss
from tasks.inversion.settings import LatentSettings
from tasks.stage import Role, Stage
from tests.lab import Lab

State = dict[str, torch.Tensor]
Change = Callable[[State], State]


def same(state: State) -> State:
    return state


def weights(lab: Lab, folder: Path, part: str = "generator", change: Change = same) -> Path:
    """A file of the lab's trained GAN, changed."""
    state = load_file(lab.run(lab.attacker_gan).path(f"{part}.safetensors"))
    path = folder / f"{part}.safetensors"
    save_file({name: t.contiguous() for name, t in change(dict(state)).items()}, path)
    return path


def given(lab: Lab, generator: Path, critic: Path | None = None, **fields: Any) -> GivenGAN:
    own: dict[str, Any] = {"latent_dim": 16, "settings": {"width": 8}, "role": "attacker"}
    own["data"] = lab.split("all", "attacker")
    digests = {"weights": file_digest(generator), "critic_weights": file_digest(critic) if critic else None}
    return GivenGAN(**{**own, **digests, **fields})


class World:
    """Contexts in which the given files are known and the given GAN has been taken over."""

    def __init__(self, lab: Lab, stage: GivenGAN, *files: Path) -> None:
        self.lab, self.stage = lab, stage
        ctx = lab.context(stage, sources={file_digest(file): file for file in files})
        self.metrics, self.folder, self.ctx = stage.run(ctx), ctx.out, ctx

    def load(self, stage: Stage) -> Artifact:
        if stage.key == self.stage.key:
            return Artifact(stage.key, self.metrics, lambda name: self.folder / name)
        return self.lab.run(stage)


def test_a_generator_comes_back_as_it_was(lab: Lab, tmp_path: Path) -> None:
    """The same weights, and the same samples as where it was trained (equal role and seed, equal latents)."""
    files = weights(lab, tmp_path), weights(lab, tmp_path, "critic")
    stage = given(lab, *files)
    world = World(lab, stage, *files)
    for file in files:
        ours, theirs = load_file(world.folder / file.name), load_file(file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(t, theirs[name]) for name, t in ours.items())
    samples, trained = load_file(world.folder / "samples.safetensors"), lab.run(lab.attacker_gan)
    assert torch.equal(samples["images"], trained.tensors("samples.safetensors")["images"])
    assert torch.equal(samples["over_time"], samples["images"][None])
    ctx = lab.context(stage, load=world.load)
    generator, critic = stage.trained(ctx)
    theirs_too = lab.attacker_gan.trained(lab.context(lab.attacker_gan, load=lab.run))
    z = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(generator(z), theirs_too[0](z))
        assert critic is not None
        assert theirs_too[1] is not None
        assert torch.equal(critic(generator(z)), theirs_too[1](generator(z)))
    assert not any(module.training for network in (generator, critic) for module in network.modules())


def test_it_is_what_its_structure_is(lab: Lab, tmp_path: Path) -> None:
    stage = given(lab, weights(lab, tmp_path))
    assert stage.latent_space == lab.attacker_gan.latent_space
    assert stage.score == lab.attacker_gan.score
    assert not stage.trains, "no curves, no run of its own"


def test_the_key_is_the_content_of_the_files(lab: Lab, tmp_path: Path) -> None:
    file = weights(lab, tmp_path)
    one = given(lab, file)
    (tmp_path / "moved").mkdir()
    assert given(lab, file.rename(tmp_path / "moved" / "x.safetensors")).key == one.key
    other = weights(lab, tmp_path, change=lambda state: {name: t + 1 for name, t in state.items()})
    assert given(lab, other).key != one.key
    assert given(lab, other, weights(lab, tmp_path, "critic")).key != given(lab, other).key


def without_the_last_layer(state: State) -> State:
    return dict(list(state.items())[:-1])


def with_prefix(state: State) -> State:
    """What a DataParallel wrapper leaves behind."""
    return {f"module.{name}": t for name, t in state.items()}


def with_an_extra(state: State) -> State:
    return {**state, "step": torch.zeros(1)}


def of_another_shape(state: State) -> State:
    return {**state, _first(state): torch.zeros(3, 5)}


def not_a_number(state: State) -> State:
    return {**state, _first(state): torch.full_like(state[_first(state)], torch.nan)}


def infinite(state: State) -> State:
    return {**state, _first(state): state[_first(state)].clone().index_fill_(0, torch.tensor([0]), torch.inf)}


def _first(state: State) -> str:
    return next(name for name, t in state.items() if t.is_floating_point() and t.ndim > 1)


MISFITS: list[tuple[Change, str]] = [
    (without_the_last_layer, "is missing"),
    (with_prefix, "is not in wgan"),
    (with_an_extra, "step is not in wgan"),
    (of_another_shape, "has shape (3, 5) where wgan needs"),
    (not_a_number, "holds NaN or infinity"),
    (infinite, "holds NaN or infinity"),
]


@pytest.mark.parametrize(("change", "message"), MISFITS, ids=lambda item: getattr(item, "__name__", ""))
@pytest.mark.parametrize("part", ["generator", "critic"])
def test_every_misfit_is_named(lab: Lab, tmp_path: Path, part: str, change: Change, message: str) -> None:
    files = [weights(lab, tmp_path, name, change if name == part else same) for name in ("generator", "critic")]
    stage = given(lab, *files)
    problems = gan_misfits(stage, *files)
    assert any(message in problem for problem in problems)
    assert all(problem.startswith("critic: ") == (part == "critic") for problem in problems)
    ctx = lab.context(stage, sources={file_digest(file): file for file in files})
    with pytest.raises(ValueError, match="do not fit wgan") as caught:
        adopt(stage, ctx)
    assert all(problem in str(caught.value) for problem in problems)
    assert list(ctx.out.iterdir()) == [], "nothing of it is stored"


def test_all_misfits_at_once(lab: Lab, tmp_path: Path) -> None:
    """Weights of a wider network: each tensor that has another shape is in the list."""
    file = weights(lab, tmp_path)
    stage = given(lab, file, settings={"width": 16})
    shapes = {name: t.shape for name, t in stage.networks()[0].state_dict().items()}
    differing = {name for name, t in load_file(file).items() if t.shape != shapes[name]}
    assert len(differing) > 5
    assert {problem.split(" ")[0] for problem in gan_misfits(stage, file, None)} == differing


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"structure": "wgna"}, r"structure='wgna' has no weights to be given; choose one of .*wgan"),
    ({"structure": "given"}, "has no weights to be given"),
    ({"settings": {"widht": 8}}, "settings of wgan: widht: "),
    ({"settings": {"width": 1}}, "settings of wgan: width: .*greater than or equal to 4"),
    ({"settings": {"latent_dim": 8}}, "latent_dim"),
    ({"settings": {"data": 3}}, "data"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=str)
def test_a_structure_or_setting_that_does_not_exist(
    lab: Lab, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        given(lab, weights(lab, tmp_path), **fields)


def search(lab: Lab, gan: Any, **settings: Any) -> GMI:
    return GMI(target=lab.victim, gan=gan, label=1, images=3, steps=3, chunk=3, **settings)


def test_without_a_critic_a_search_has_no_discrimination_term(lab: Lab, tmp_path: Path) -> None:
    """The objective is lambda L_iden, exactly; with the critic it is more than that."""
    files = weights(lab, tmp_path), weights(lab, tmp_path, "critic")
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    found = {}
    for name, own in (("bare", files[:1]), ("whole", files)):
        stage = given(lab, *own)
        world = World(lab, stage, *own)
        attack = search(lab, stage)
        ctx = lab.context(attack, load=world.load)
        network = lab.victim.network(ctx)
        objective = latent_objective(network, stage, label=1, settings=LatentSettings(lam=7.0), ctx=ctx)
        found[name] = objective(z).detach()
        generator, critic = stage.trained(ctx)
        assert (critic is None) == (name == "bare")
        with torch.no_grad():
            images = generator(z)
            identification = 7.0 * identification_loss(network(images), torch.ones(3, dtype=torch.int64), "ce")
            wanted = identification if critic is None else identification - critic(images)
        assert torch.allclose(found[name], wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found["bare"], found["whole"], atol=1e-2)


@pytest.mark.parametrize("discrimination", ["auto", "critic", "log_sigmoid", "none"])
def test_without_a_critic_attacks_and_fakes_run(lab: Lab, tmp_path: Path, discrimination: str) -> None:
    """Whatever discrimination is asked for: there is none, and all of it comes out the same."""
    file = weights(lab, tmp_path)
    stage = given(lab, file)
    world = World(lab, stage, file)
    losses = []
    for kind in (discrimination, "none"):
        attack = search(lab, stage, discrimination=kind)
        metrics = attack.run(lab.context(attack, load=world.load))
        assert metrics["passes"] == 9
        losses.append(metrics["mean_loss"])
    assert losses[0] == losses[1]
    fakes = Fakes(model=lab.victim, gan=stage, label=1, count=2, steps=2, chunk=2, discrimination=discrimination)
    assert fakes.run(lab.context(fakes, load=world.load))["passes"] == 4


def attacked(lab: Lab, gan: GivenGAN, theirs: GivenGAN) -> Plan:
    """As much of a plan as `leaks` looks at: an attack with `gan` on a model whose defender used `theirs`."""
    from tasks.finetune.finetune import Finetune, Pair

    fakes = Fakes(model=lab.victim, gan=theirs, label=1, count=2, steps=2, chunk=2)
    target = Finetune(victim=lab.victim, pairs=(Pair(label=1, private=fakes),), beta=0.0, omega=0.0)
    attack = search(lab, gan).model_copy(update={"target": target})

    class OneAttack(Plan):
        def stages(self) -> dict[str, Stage]:
            return attack.closure()

    return OneAttack("one", "smoke", "cpu_fp32", ())


def on_side(lab: Lab, file: Path, role: Role, **fields: Any) -> GivenGAN:
    side: Audience = "attacker" if role == "attacker" else "defender"
    return given(lab, file, **{"role": role, "data": lab.split("all", side), **fields})


def test_the_same_weights_on_both_sides_are_a_leak(lab: Lab, tmp_path: Path) -> None:
    """The stages have different keys (role, images), but the file is one."""
    file = weights(lab, tmp_path)
    ours, theirs = on_side(lab, file, "attacker"), on_side(lab, file, "defender")
    assert ours.key != theirs.key
    (problem,) = leaks(attacked(lab, ours, theirs))
    assert f"attacks with {ours.key}, which the target's own defense used" in problem.message
    with_critic = on_side(lab, file, "attacker", critic_weights="c" * 64, seed=3)
    assert len(leaks(attacked(lab, with_critic, theirs))) == 1


def test_other_weights_are_no_leak(lab: Lab, tmp_path: Path) -> None:
    ours = on_side(lab, weights(lab, tmp_path), "attacker")
    other = weights(lab, tmp_path, change=lambda state: {name: t + 1 for name, t in state.items()})
    assert leaks(attacked(lab, ours, on_side(lab, other, "defender"))) == []
