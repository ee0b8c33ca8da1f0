"""Black-box access: an attack with an API can reach no weight, neither by the oracle nor by its context."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tasks.artifact import Artifact
from tasks.attacks.attack import BlackBoxAttack, Inverted, WhiteBoxAttack
from tasks.attacks.oracle import Oracle, oracle
from tasks.attacks.rerun import Rerun
from tasks.context import Context
from tasks.finetune.finetune import Finetune, Pair
from tasks.models.architectures import Network
from tasks.models.training import predict
from tests.lab import CLASSES, Lab
from tests.tasks.reachable import secrets


def photographs(lab: Lab) -> torch.Tensor:
    images, _ = lab.split("train").tensors(lab.context(lab.victim))
    return images


class Asking(BlackBoxAttack):
    """Random images, and what the API says of them; `trick` is what it does besides."""

    kind = "asking"
    group = "attack"

    def trick(self, ctx: Context, target: Oracle) -> Inverted | None:
        return None

    def invert(self, ctx: Context, target: Oracle) -> Inverted:
        found = self.trick(ctx, target)
        images = torch.rand(self.images, 1, 32, 32, generator=ctx.generator("latents")) * 2 - 1
        losses = -target.query(images)[:, self.label].log()
        return found or Inverted(images, losses, passes=0, queries=target.queries)


def test_the_walk_would_find_a_network() -> None:
    """Else all that follows proves nothing."""

    class Holder:
        def __init__(self, kept: object) -> None:
            self.kept = {"deep": [kept]}

    network = nn.Linear(2, 2)

    def closure() -> nn.Module:
        return network

    assert network in secrets(Holder(network))
    assert network in secrets(Holder(closure))
    assert network in secrets(Holder(network.forward))
    assert network.weight in secrets(Holder(network.weight))
    assert secrets(Holder(network(torch.zeros(1, 2)))) != []
    assert secrets(Holder(torch.zeros(3))) == []
    with pytest.raises(RuntimeError) as caught:
        predict(network, torch.zeros(2, 3, 4))  # type: ignore[arg-type]
    assert network in secrets(caught.value), "in a frame of its traceback"


def test_nothing_that_an_oracle_holds_leads_to_a_weight(lab: Lab) -> None:
    ctx = lab.context(lab.victim)
    before = set(threading.enumerate())
    with oracle(lab.victim, ctx) as api:
        assert secrets(api) == []
        answer = api.query(photographs(lab)[:3])
        assert secrets(api) == []
        assert secrets(answer) == []
        (server,) = new_threads(before)
        assert secrets(server) == [], "not even by the list of threads"
        assert not hasattr(api, "__dict__"), "no place to leave anything"


def test_an_answer_has_no_graph_even_if_the_question_wants_one(lab: Lab) -> None:
    with oracle(lab.victim, lab.context(lab.victim)) as api:
        images = photographs(lab)[:2].clone().requires_grad_()
        answer = api.query(images)
        assert not answer.requires_grad
        assert answer.grad_fn is None
        with torch.enable_grad():
            assert not api.query(images * 1.0).requires_grad
        with pytest.raises(RuntimeError, match="does not require grad"):
            answer.sum().backward()
    assert images.grad is None


@pytest.mark.parametrize("count", [1, 64, 65])
def test_confidences_are_the_targets_to_the_last_bit(lab: Lab, count: int) -> None:
    images = photographs(lab).repeat(3, 1, 1, 1)[:count]
    ctx = lab.context(lab.victim)
    expected = predict(lab.victim.network(ctx), images).softmax(dim=1)
    with oracle(lab.victim, ctx) as api:
        answer = api.query(images)
        assert torch.equal(answer, expected)
        assert torch.allclose(answer.sum(dim=1), torch.ones(count))
        assert (api.classes, api.queries) == (CLASSES, count)


def test_confidences_are_the_targets_in_mixed_precision_too(lab: Lab) -> None:
    """Whether autocast is on is a thread's own: with `cuda_amp` the oracle would answer for another network."""
    images, ctx = photographs(lab), lab.context(lab.victim)
    with torch.autocast("cpu", torch.bfloat16):
        expected = predict(lab.victim.network(ctx), images).softmax(dim=1)
        with oracle(lab.victim, ctx) as api:
            assert torch.equal(api.query(images), expected)


def test_the_question_is_left_as_it_was(lab: Lab) -> None:
    images = photographs(lab)[:3].clone()
    before = images.clone()
    with oracle(lab.victim, lab.context(lab.victim)) as api:
        api.query(images)
    assert torch.equal(images, before)


def test_images_are_counted_not_calls_and_not_failures(lab: Lab) -> None:
    images = photographs(lab)
    with oracle(lab.victim, lab.context(lab.victim)) as api:
        for count in (1, 5, 2):
            api.query(images[:count])
        with pytest.raises(RuntimeError):
            api.query(torch.zeros(2, 5, 32, 32))
        assert api.queries == 8
        api.query(images[:1])
        assert api.queries == 9, "it still answers after a question that it could not"


def test_an_error_inside_comes_out_where_the_question_was_asked_and_carries_nothing(lab: Lab) -> None:
    with oracle(lab.victim, lab.context(lab.victim)) as api:
        with pytest.raises(RuntimeError, match="channels") as caught:
            api.query(torch.zeros(2, 5, 32, 32))
        assert secrets(caught.value) == [], "a traceback leads to the frame in which the network lives"


def new_threads(before: set[threading.Thread]) -> set[threading.Thread]:
    """Threads begun since; the store's heartbeat begins with whichever test first runs a stage."""
    return {thread for thread in set(threading.enumerate()) - before if thread.name != "heartbeat"}


def ends(threads: set[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(timeout=10)
    return not any(thread.is_alive() for thread in threads)


def test_the_server_ends_with_its_oracle_whatever_happens(lab: Lab) -> None:
    before = set(threading.enumerate())
    with oracle(lab.victim, lab.context(lab.victim)):
        first = new_threads(before)

    def fail() -> None:
        with oracle(lab.victim, lab.context(lab.victim)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(first) == 1
    assert ends(new_threads(before) | first)


def defended(lab: Lab) -> Finetune:
    pair = Pair(label=0, private=lab.fakes(0, private=True), public=lab.fakes(1, private=False), decoy=1)
    return Finetune(victim=lab.victim, pairs=(pair,), omega=0.0)


def test_the_context_refuses_the_target_and_all_that_it_is_made_from(lab: Lab) -> None:
    target = defended(lab)
    attack = Asking(target=target, label=0)
    ctx = Context(attack, lab.root, lambda stage: Artifact(stage.key, {}, lambda name: lab.root / name))
    made_from = target.closure()
    assert {lab.victim.key, lab.defender_gan.key, lab.split("train").key} < made_from.keys()
    with ctx.closed_to(target.closure()):
        for stage in made_from.values():
            with pytest.raises(PermissionError, match="an attacker does not have it"):
                ctx.load(stage)
        with pytest.raises(KeyError, match="not upstream"):  # what was out of reach still is, and says so
            ctx.load(lab.split("test"))
    for stage in made_from.values():
        assert ctx.load(stage).key == stage.key


def test_a_context_that_closes_twice_opens_once(lab: Lab) -> None:
    ctx = lab.context(Asking(target=lab.victim, label=0))
    with ctx.closed_to(lab.victim.closure()):
        with pytest.raises(ZeroDivisionError), ctx.closed_to(lab.split("train").closure()):
            raise ZeroDivisionError
        with pytest.raises(PermissionError):
            ctx.load(lab.victim)
    assert ctx.load(lab.victim).key == lab.victim.key


def test_an_attacks_own_gan_stays_open(lab: Lab) -> None:
    class WithGAN(Asking):
        kind = "with_gan"
        own: Any = None

    ctx = lab.context(WithGAN(target=lab.victim, label=0, own=lab.attacker_gan))
    with ctx.closed_to(lab.victim.closure()):
        assert ctx.load(lab.attacker_gan).key == lab.attacker_gan.key


def run(lab: Lab, attack: BlackBoxAttack) -> dict[str, float]:
    return attack.run(lab.context(attack))


def test_an_honest_attack_runs_and_its_cost_is_what_the_api_counted(lab: Lab) -> None:
    class Modest(Asking):
        kind = "modest"

        def trick(self, ctx: Context, target: Oracle) -> Inverted | None:
            images = torch.zeros(self.images, 1, 32, 32)
            target.query(images)
            return Inverted(images, torch.zeros(self.images), passes=0, queries=1)

    assert run(lab, Asking(target=lab.victim, label=2, images=3))["queries"] == 3
    metrics = run(lab, Modest(target=lab.victim, label=2, images=3))
    assert metrics["queries"] == 6, "the API's count stands, whatever the attack says"
    assert metrics["passes"] == 0
    assert metrics["setup_queries"] == 0


def by_its_network(attack: BlackBoxAttack, ctx: Context) -> None:
    attack.target.network(ctx)


def by_its_product(attack: BlackBoxAttack, ctx: Context) -> None:
    ctx.load(attack.target)


def by_its_private_photographs(attack: BlackBoxAttack, ctx: Context) -> None:
    for split in attack.target.upstream:
        split.tensors(ctx)  # type: ignore[attr-defined]


@pytest.mark.parametrize("reach", [by_its_network, by_its_product, by_its_private_photographs])
def test_an_attack_that_reaches_past_the_api_fails(lab: Lab, reach: Callable[[BlackBoxAttack, Context], None]) -> None:
    class Reaching(Asking):
        kind = "reaching"

        def trick(self, ctx: Context, target: Oracle) -> Inverted | None:
            reach(self, ctx)
            return None

    before = set(threading.enumerate())
    with pytest.raises(PermissionError, match="may not read"):
        run(lab, Reaching(target=lab.victim, label=0, images=2))
    assert ends(new_threads(before))


def test_a_white_box_attack_has_the_model_but_no_private_photograph(lab: Lab) -> None:
    class Peeping(WhiteBoxAttack):
        kind = "peeping"

        def invert(self, ctx: Context, target: Network) -> Inverted:
            for split in self.target.upstream:
                split.tensors(ctx)  # type: ignore[attr-defined]
            raise AssertionError("it read private photographs")

    stage = Peeping(target=lab.victim, label=0, images=2)
    with pytest.raises(PermissionError, match="an attacker does not have it"):
        stage.run(lab.context(stage))


@pytest.mark.parametrize(("passes", "queries"), [(1, 2), (0, 99)])
def test_an_attack_that_claims_what_an_api_cannot_have_done_is_refused(lab: Lab, passes: int, queries: int) -> None:
    class Claiming(Asking):
        kind = "claiming"

        def trick(self, ctx: Context, target: Oracle) -> Inverted | None:
            return Inverted(torch.zeros(2, 1, 32, 32), torch.zeros(2), passes=passes, queries=queries)

    with pytest.raises(
        ValueError, match=rf"is black-box and says inverted.passes={passes}, inverted.queries={queries}"
    ):
        run(lab, Claiming(target=lab.victim, label=0, images=2))


def test_a_rerun_has_no_more_access_than_its_attack(lab: Lab) -> None:
    class Climbing(Asking):
        kind = "climbing"
        steps: int = 1

        def trick(self, ctx: Context, target: Oracle) -> Inverted | None:
            if self.warm is not None:
                self.warm.target.network(ctx)
            return None

    target = defended(lab)
    first, undefended = (Climbing(target=t, label=0, images=2) for t in (target, lab.victim))
    rerun = Rerun(first=first, undefended=undefended, threshold=1.0)

    def load(stage: Any) -> Artifact:
        if stage.key == first.key:
            return Artifact(stage.key, {"target_confidence": 0.0}, lambda name: lab.root / name)
        return lab.run(lab.victim if stage.key == target.key else stage)

    with pytest.raises(PermissionError, match="may not read"):
        rerun.run(lab.context(rerun, load=load))
