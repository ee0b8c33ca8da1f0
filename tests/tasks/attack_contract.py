"""What every registered attack must keep to, as functions over (lab, attack class). No attack is named here."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.data.pixels import to_float
from tests.lab import CLASSES, Lab

SMALL = {"images": 4, "steps": 40, "chunk": 4}  # of these, an attack takes what it has fields for
Check = Callable[[Lab, type[Attack]], None]


def build(lab: Lab, attack: type[Attack], label: int, **settings: Any) -> Attack:
    """Any attack of the registry on the lab's victim, small; a generator attack gets the attacker's GAN."""
    fields = {name: value for name, value in {**SMALL, **settings}.items() if name in attack.model_fields}
    if issubclass(attack, GeneratorAttack):
        fields.setdefault("gan", lab.attacker_gan)
    return attack(target=lab.victim, label=label, **fields)


def product(lab: Lab, stage: Attack) -> tuple[dict[str, float], bytes, list[dict[str, Any]]]:
    """Run afresh: metrics, the bytes of the images, and the rows of samples.parquet."""
    import pyarrow.parquet as pq

    ctx = lab.context(stage)
    metrics = stage.run(ctx)
    rows = pq.read_table(ctx.out / "samples.parquet").to_pylist()
    return metrics, (ctx.out / "images.safetensors").read_bytes(), rows


def raises_the_target_above_chance(lab: Lab, attack: type[Attack]) -> None:
    """Over all labels, the victim gives the attacked label far more than the 1/6 of a guess."""
    confidence = []
    for label in range(CLASSES):
        table = lab.run(build(lab, attack, label)).table("samples.parquet")
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
    found = stage.invert(ctx, lab.victim.network(ctx))
    assert tuple(found.images.shape) == (stage.images, 1, 32, 32)
    assert found.images.dtype == torch.float32
    assert found.images.min() >= -1
    assert found.images.max() <= 1
    assert tuple(found.losses.shape) == (stage.images,)
    assert bool(found.losses.isfinite().all())
    assert found.passes + found.queries > 0
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
    stage.invert(ctx, target)
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
