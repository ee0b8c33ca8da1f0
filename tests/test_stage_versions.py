"""No stage's code changes unnoticed; and the lock's own rules."""

from __future__ import annotations

import ast
import copy
from typing import Any

import pytest

from tests import stage_versions
from tests.source_tree import closure
from tests.stage_versions import Lock, changes, digest, updated


@pytest.fixture(scope="module")
def now() -> Lock:
    return stage_versions.current()


def test_no_stage_changed_without_saying_so(now: Lock) -> None:
    found = changes(stage_versions.saved(), now)
    assert not found, "\n" + "\n".join(change.text for change in found)


def test_every_stage_is_locked(now: Lock) -> None:
    known = {"classifier", "given_classifier", "wgan", "fakes", "fisher", "finetune", "gmi", "privacy"}
    assert known | {"evaluate", "accuracy", "distance", "orl_split", "folder_shard"} <= set(now["stages"])


def test_the_closure_follows_lazy_and_type_checking_imports() -> None:
    wgan = closure("tasks.gan.wgan", "tasks")
    assert {"tasks.gan.training", "tasks.gan.losses", "tasks.models.augment", "tasks.data.images"} <= set(wgan)
    assert "tasks.attacks.gmi" not in wgan
    assert not any(module.startswith("grid") for module in closure("tasks.metrics.evaluate", "tasks"))


def with_change(lock: Lock, kind: str, **values: Any) -> Lock:
    other = copy.deepcopy(lock)
    other["stages"][kind].update(values)
    return other


def test_a_change_without_a_bump_says_what_to_do(now: Lock) -> None:
    changed = with_change(now, "wgan", digest="other")
    changed["modules"]["tasks.gan.training"] = "other"
    (change,) = changes(now, changed)
    assert not change.bumped
    assert "wgan (version 1) changed in tasks.gan.training" in change.text
    assert "bump `version`" in change.text
    assert "--same-results" in change.text
    assert changes(updated(now, changed, bumped=False), changed) == []
    assert changes(updated(now, changed, bumped=True), changed) == [change], "--write takes only what was bumped"


def test_a_bump_is_taken_over_by_write_alone(now: Lock) -> None:
    changed = with_change(now, "wgan", digest="other", version=99)
    (change,) = changes(now, changed)
    assert change.bumped
    assert "--write" in change.text
    assert changes(updated(now, changed, bumped=True), changed) == []
    assert changes(updated(now, changed, bumped=False), changed) == [change]


def test_new_and_gone_stages(now: Lock) -> None:
    fewer = copy.deepcopy(now)
    del fewer["stages"]["gmi"]
    assert "gmi is gone" in changes(now, fewer)[0].text
    assert "gmi is new" in changes(fewer, now)[0].text
    assert updated(fewer, now, bumped=True) == now
    assert updated(now, fewer, bumped=True) == fewer


BEFORE = '''
"""Module."""
from a import b
class C(D):
    """What it is."""
    x: int = Field(3, ge=0, description="three")  # why
    def f(self, y):
        """Say."""
        return f"{self.x + y:.2f}" if y else None
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What it is.", "What it was.", True),
        ("# why", "# because", True),
        ('description="three"', 'description="a few"', True),
        ('"""Module."""', "", True),
        ("y else None", "y \\\n else None", True),
        ("Field(3", "Field(4", False),
        ("ge=0", "gt=0", False),
        ("self.x + y", "self.x - y", False),
        (":.2f", ":.3f", False),
        ("from a import b", "from a import c", False),
        ("Field(3", "Field(3.0", False),
        ("x: int", "x: float", False),
    ],
)
def test_the_digest_sees_code_and_nothing_else(old: str, new: str, same: bool) -> None:
    assert old in BEFORE
    assert (digest(ast.parse(BEFORE)) == digest(ast.parse(BEFORE.replace(old, new)))) is same
