"""What every registered attack must keep to, as functions over (lab, attack class). No attack is named here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from grid.spec_source import read_budget
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.attacks.oracle import Oracle, oracle
from tasks.context import Context
from tasks.data.pixels import to_float
from tasks.gan.gan import GANChoice
from tasks.models.architectures import Network
from tasks.models.classifier import Model
from tests.lab import CLASSES, Lab

SMALL = {"images": 4, "steps": 8, "chunk": 4, "pool": 64, "population": 16}  # for all but what is to be found
Check = Callable[[Lab, type[Attack]], None]


def build(lab: Lab, attack: type[Attack], label: int, target: Model | None = None, **settings: Any) -> Attack:
    """Any attack of the registry on the lab's victim, at the budget `quick` with its counts cut down to SMALL."""
    against = target or lab.victim
    budget = dict(read_budget("quick").get("attacks", {}).get(attack.kind, {}))
    given = {name: budget.pop(name, {}) for name in attack.parts}
    parts: dict[str, Any] = {name: {**own, "steps": min(own.get("steps", 60), 60)} for name, own in given.items()}
    if issubclass(attack, GeneratorAttack):
        parts["gan"] = GANChoice(name=attack.default_gan)
    small = {name: min(value, budget.get(name, value)) for name, value in SMALL.items()}
    fields = {name: value for name, value in {**budget, **small, **settings}.items() if name in attack.model_fields}
    own = {name: settings[name] for name in ("gan",) if name in settings}
    own = own or attack.equip(lab.attacker, against, fields, parts)
    return attack(target=against, label=label, **{**fields, **own})


@contextmanager
def access(stage: Attack, ctx: Context, network: Network | None = None) -> Iterator[Network | Oracle]:
    """What the attack's type lets it have of the target."""
    if stage.access == "white_box":
        yield network if network is not None else stage.target.network(ctx)
    else:
        with oracle(stage.target, ctx) as api:
            yield api


def product(lab: Lab, stage: Attack) -> tuple[dict[str, float], bytes, list[dict[str, Any]]]:
    """Run afresh: metrics, the bytes of the images, and the rows of samples.parquet."""
    import pyarrow.parquet as pq

    ctx = lab.context(stage)
    metrics = stage.run(ctx)
    rows = pq.read_table(ctx.out / "samples.parquet").to_pylist()
    return metrics, (ctx.out / "images.safetensors").read_bytes(), rows


def raises_the_target_above_chance(lab: Lab, attack: type[Attack]) -> None:
    """Over all labels, the victim gives the attacked label far more than the 1/6 of a guess.

    An attack that does not search (a decoder of confidence vectors) need not convince the victim; what it is
    good for is tested where it is.
    """
    if build(lab, attack, 0).intensified(2) is None:
        pytest.skip("does not search")
    confidence = []
    for label in range(CLASSES):
        table = lab.run(build(lab, attack, label, steps=120)).table("samples.parquet")
        confidence += table.column("target_p").to_pylist()
    assert np.mean(confidence) > 2.5 / CLASSES


def is_deterministic_and_alone(lab: Lab, attack: type[Attack]) -> None:
    """The same bytes twice, whatever ran before and whatever state the global generators are in."""
    alone = product(lab, build(lab, attack, 2))
    torch.manual_seed(7)
    product(lab, build(lab, attack, 0))
    assert product(lab, build(lab, attack, 2)) == alone


def labels_and_seeds_differ(lab: Lab, attack: type[Attack]) -> None:
    images = {product(lab, build(lab, attack, *case))[1] for case in ((0,), (5,))}
    images.add(product(lab, build(lab, attack, 0, seed=1))[1])
    assert len(images) == 3


def handles_any_number_of_images(lab: Lab, attack: type[Attack]) -> None:
    for count in (1, 3):
        stage = build(lab, attack, 1, images=count)
        _, _, rows = product(lab, stage)
        assert [row["image"] for row in rows] == list(range(count))
        assert all(0 <= row["target_p"] <= 1 for row in rows)


def refuses_an_unknown_label(lab: Lab, attack: type[Attack]) -> None:
    with pytest.raises(ValidationError, match=f"labels 0..{CLASSES - 1}"):
        build(lab, attack, CLASSES)
    with pytest.raises(ValidationError, match="label"):
        build(lab, attack, -1)


def returns_images_in_range_and_its_cost(lab: Lab, attack: type[Attack]) -> None:
    stage = build(lab, attack, 3)
    ctx = lab.context(stage)
    with access(stage, ctx) as target:
        found = stage.invert(ctx, target)
    assert tuple(found.images.shape) == (stage.images, 1, 32, 32)
    assert found.images.dtype == torch.float32
    assert found.images.min() >= -1
    assert found.images.max() <= 1
    assert tuple(found.losses.shape) == (stage.images,)
    assert bool(found.losses.isfinite().all())
    assert found.passes + found.queries > 0
    assert found.points is not None or stage.intensified(2) is None, "a search says where it ended"
    metrics = lab.run(stage).metrics
    assert metrics["passes"] == found.passes
    assert metrics["queries"] == found.queries
    stored = to_float(lab.run(stage).tensors("images.safetensors")["images"])
    assert torch.allclose(stored, found.images.cpu(), atol=1.01 / 255)


def leaves_global_randomness_alone(lab: Lab, attack: type[Attack]) -> None:
    stage = build(lab, attack, 4)
    lab.run(stage)
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    product(lab, stage)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True))
    assert random.getstate() == python_state


def leaves_the_target_alone(lab: Lab, attack: type[Attack]) -> None:
    stage = build(lab, attack, 5)
    ctx = lab.context(stage)
    target = lab.victim.network(ctx)
    weights = {name: t.clone() for name, t in target.state_dict().items()}
    wanted = {name: p.requires_grad for name, p in target.named_parameters()}
    with access(stage, ctx, target) as met:
        stage.invert(ctx, met)
    assert all(torch.equal(t, weights[name]) for name, t in target.state_dict().items())
    assert {name: p.requires_grad for name, p in target.named_parameters()} == wanted
    assert all(p.grad is None for p in target.parameters())
    assert not any(module.training for module in target.modules())


CHECKS: tuple[Check, ...] = (
    raises_the_target_above_chance,
    is_deterministic_and_alone,
    labels_and_seeds_differ,
    handles_any_number_of_images,
    refuses_an_unknown_label,
    returns_images_in_range_and_its_cost,
    leaves_global_randomness_alone,
    leaves_the_target_alone,
)
