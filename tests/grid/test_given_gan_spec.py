"""A user's own generator in a spec: every mistake has its place, the file is in the key, and one side has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from grid.plan import Plan
from tasks.attacks.attack import GeneratorAttack
from tasks.data.manifest import file_digest
from tasks.gan import GANS
from tasks.gan.gan import GAN
from tasks.gan.given import GivenGAN
from tasks.gan.networks import Critic, Generator
from tests.grid.specs import complaint, decoygrid, only, planned, problems, write

WIDTH, LATENT = 4, 8


def brought(folder: Path, name: str = "g.safetensors", *, value: float = 0.5, size: int = 32) -> Path:
    """Weights of a generator that fits the small spec."""
    with torch.random.fork_rng(devices=[]):
        network = Generator(LATENT, 1, size, WIDTH)
    state = {key: torch.full_like(t, value) if t.is_floating_point() else t for key, t in network.state_dict().items()}
    save_file(state, folder / name)
    return folder / name


def critic(folder: Path, name: str = "d.safetensors") -> Path:
    with torch.random.fork_rng(devices=[]):
        state = Critic(1, 32, WIDTH).state_dict()
    save_file({key: torch.zeros_like(t) for key, t in state.items()}, folder / name)
    return folder / name


def gan(**fields: Any) -> dict[str, Any]:
    base = {"name": "given", "weights": "g.safetensors", "latent_dim": LATENT, "settings": {"width": WIDTH}}
    return {key: value for key, value in {**base, **fields}.items() if value is not ...}


def attack(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "gmi", "gan": gan(**fields)}]


def given_of(plan: Plan) -> list[GivenGAN]:
    return [stage for stage in plan.stages().values() if isinstance(stage, GivenGAN)]


def test_weights_that_fit_are_planned_by_their_content(tmp_path: Path) -> None:
    """Relative paths start at the spec, and no path is in a key."""
    files = brought(tmp_path), critic(tmp_path)
    plan = planned(tmp_path, attacks=attack(critic_weights=str(files[1])))
    (stage,) = given_of(plan)
    assert (stage.weights, stage.critic_weights) == tuple(file_digest(file) for file in files)
    assert {plan.sources[digest] for digest in (stage.weights, stage.critic_weights or "")} == set(files)
    assert (stage.role, stage.data.audience) == ("attacker", "attacker")
    attacks = [s for s in plan.stages().values() if isinstance(s, GeneratorAttack)]
    assert {a.gan.key for a in attacks} == {stage.key}
    (tmp_path / "elsewhere").mkdir()
    moved = [str(file.rename(tmp_path / "elsewhere" / file.name)) for file in files]
    again = planned(tmp_path, attacks=attack(weights=moved[0], critic_weights=moved[1]))
    assert again.stages().keys() == plan.stages().keys()


def test_it_is_measured_and_shown_like_the_others(tmp_path: Path) -> None:
    brought(tmp_path)
    plan = planned(tmp_path, attacks=["gmi", {**attack()[0], "as": "gmi with ours"}])
    assert sorted(entry.structure for entry in plan.gans) == ["given", "wgan", "wgan"]
    document = plan.document()
    (entry,) = [entry for entry in document["gans"] if entry["structure"] == "given"]
    assert entry["settings"]["gan_structure"] == "wgan"
    assert document["stages"][entry["gan"]]["trains"] is False


FILES: list[tuple[str, str]] = [
    ("weights", "No such file"),
    ("critic_weights", "No such file"),
]


@pytest.mark.parametrize(("field", "message"), FILES)
def test_a_file_that_is_not_there(tmp_path: Path, field: str, message: str) -> None:
    brought(tmp_path)
    place, text = only(tmp_path, attacks=attack(**{field: "nowhere.safetensors"}))
    assert place == f"attacks[0].gan.{field}"
    assert "nowhere.safetensors' cannot be read" in text
    assert message in text


def test_two_files_that_are_not_there_are_two_problems(tmp_path: Path) -> None:
    found = problems(tmp_path, attacks=attack(weights="a", critic_weights="b"))
    places = [problem.place.split(" ")[-1] for problem in found]
    assert places == ["attacks[0].gan.weights", "attacks[0].gan.critic_weights"]


def test_a_folder_or_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    for path in (str(tmp_path), "a\0b"):
        place, text = only(tmp_path, attacks=attack(weights=path))
        assert place == "attacks[0].gan.weights"
        assert "cannot be read" in text


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "g.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    place, text = only(tmp_path, attacks=attack())
    assert place == "attacks[0].gan.weights"
    assert "is not a safetensors file" in text


def test_a_critic_that_is_no_safetensors_file_is_the_one_that_is_named(tmp_path: Path) -> None:
    brought(tmp_path)
    (tmp_path / "d.safetensors").write_bytes(b"")
    place, text = only(tmp_path, attacks=attack(critic_weights="d.safetensors"))
    assert place == "attacks[0].gan.critic_weights"
    assert f"{tmp_path / 'd.safetensors'} is not a safetensors file" in text


def test_weights_of_another_network_are_one_problem_that_says_all(tmp_path: Path) -> None:
    brought(tmp_path)
    place, text = only(tmp_path, attacks=attack(settings={"width": 2 * WIDTH}))
    assert place == "attacks[0].gan.weights"
    assert "do not fit wgan (1x32x32): " in text
    assert text.count(" has shape ") > 5
    assert "where wgan needs" in text


def test_weights_for_another_image_size(tmp_path: Path) -> None:
    brought(tmp_path, size=64)
    place, text = only(tmp_path, attacks=attack())
    assert place == "attacks[0].gan.weights"
    assert "is not in wgan" in text or "has shape" in text


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    brought(tmp_path, value=float("nan"))
    place, text = only(tmp_path, attacks=attack())
    assert place == "attacks[0].gan.weights"
    assert "holds NaN or infinity" in text


def test_a_critic_that_does_not_fit(tmp_path: Path) -> None:
    """A second copy of the generator in its place, say."""
    brought(tmp_path)
    place, text = only(tmp_path, attacks=attack(critic_weights="g.safetensors"))
    assert place in ("attacks[0].gan.weights", "attacks[0].gan.critic_weights")
    assert "critic: " in text


SETTINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"weights": ...}, "attacks[0].gan.weights", "required"),
    ({"weights": 3}, "attacks[0].gan.weights", "string"),
    ({"wieghts": "g"}, "attacks[0].gan.wieghts", "did you mean 'weights'?"),
    ({"steps": 5}, "attacks[0].gan.steps", "unknown key 'steps'"),
    ({"latent_dim": 1}, "attacks[0].gan.latent_dim", "greater than or equal to 2"),
    ({"settings": 3}, "attacks[0].gan.settings", "valid dictionary"),
    (
        {"settings": {"width": WIDTH, "n_critic": True}},
        "attacks[0].gan.settings.n_critic",
        "must be a number, got True",
    ),
    ({"settings": {1: 2}}, "attacks[0].gan.settings", "string"),
    ({"settings": {"widht": 4}}, "attacks[0].gan", "settings of wgan: widht: "),
    ({"settings": {"width": "wide"}}, "attacks[0].gan", "settings of wgan: width: "),
    ({"settings": {"latent_dim": 8}}, "attacks[0].gan", "settings of wgan: latent_dim"),
    ({"settings": {"role": "defender"}}, "attacks[0].gan", "settings of wgan: role"),
    ({"structure": "wgna"}, "attacks[0].gan", "choose one of"),
    ({"structure": "given"}, "attacks[0].gan", "choose one of"),
]


@pytest.mark.parametrize(("fields", "place", "message"), SETTINGS, ids=lambda item: str(item)[:40])
def test_settings_that_do_not_exist(tmp_path: Path, fields: dict[str, Any], place: str, message: str) -> None:
    brought(tmp_path)
    where, text = only(tmp_path, attacks=attack(**fields))
    assert where.startswith(place)
    assert message in text


def defense(**fields: Any) -> list[Any]:
    return ["none", {"name": "gan_id", "gan": gan(**fields)}]


def test_a_defenders_generator_is_checked_in_its_own_place(tmp_path: Path) -> None:
    place, text = only(tmp_path, defenses=defense())
    assert place == "defenses[1].gan.weights"
    assert "cannot be read" in text


def test_both_sides_with_files_of_their_own(tmp_path: Path) -> None:
    brought(tmp_path)
    brought(tmp_path, "other.safetensors", value=0.25)
    plan = planned(tmp_path, attacks=attack(), defenses=defense(weights="other.safetensors"))
    assert sorted(stage.role for stage in given_of(plan)) == ["attacker", "defender"]
    assert {stage.data.audience for stage in given_of(plan)} == {"attacker", "defender"}


@pytest.mark.parametrize("name", ["g.safetensors", "copy.safetensors"])
def test_both_sides_with_the_same_weights_are_refused(tmp_path: Path, name: str) -> None:
    """By content: a copy under another name is the same generator."""
    (tmp_path / name).write_bytes(brought(tmp_path).read_bytes())
    found = problems(tmp_path, attacks=attack(), defenses=defense(weights=name))
    assert found
    assert all("which the target's own defense used; train the attacker's apart" in p.message for p in found)


def test_what_is_checked_is_what_will_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CGAN's input is as wide as its side has people, and each side has half of the public ones."""
    monkeypatch.setitem(GANS._places, "cgan", "tasks.gan.cgan:CGAN")
    brought(tmp_path)
    built: dict[str, GAN] = {gan.role: gan for gan in given_of(planned(tmp_path, attacks=attack()))}
    people = {"attacker": len(built["attacker"].data.people)}
    base = planned(tmp_path)
    people |= {entry.quality.gan.role: len(entry.quality.gan.data.people) for entry in base.gans}
    assert people["attacker"] != people["defender"]
    for role, count in people.items():
        with torch.random.fork_rng(devices=[]):
            state = Generator(LATENT + count, 1, 32, WIDTH).state_dict()
        save_file({k: torch.ones_like(t) for k, t in state.items()}, tmp_path / f"{role}.safetensors")
    attackers = attack(structure="cgan", weights="attacker.safetensors")
    defenders = defense(structure="cgan", weights="defender.safetensors")
    assert problems(tmp_path, attacks=attackers, defenses=defenders) == ()
    swapped = attack(structure="cgan", weights="defender.safetensors")
    assert "do not fit cgan" in only(tmp_path, attacks=swapped)[1]


def test_a_size_that_the_given_structure_cannot_paint(tmp_path: Path) -> None:
    """`given` itself has no sizes; the structure has."""
    brought(tmp_path)
    found = problems(
        tmp_path, dataset={"name": "synthetic", "size": 96}, attacks=attack(), defenses=["none"], labels=[0]
    )
    assert any(problem.place.endswith("dataset.size") for problem in found)


def test_the_command_says_it_once_and_exits_with_2(tmp_path: Path) -> None:
    brought(tmp_path)
    spec = write(tmp_path, attacks=attack(latent_dim=LATENT + 1))
    text = complaint(decoygrid("run", spec, "--in-process", "--store", "s", "--tracking", "none", cwd=tmp_path))
    assert "attacks[0].gan.weights: the weights in " in text
    assert "do not fit wgan (1x32x32): " in text
    assert text.count("g.safetensors") == 1
    assert not (tmp_path / "s").exists()
