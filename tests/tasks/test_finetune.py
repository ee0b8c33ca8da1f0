"""The fine-tune (eq. 10): what has weight 0 is not touched, BatchNorm statistics stay, labels are averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from tasks.artifact import Artifact
from tasks.context import Context
from tasks.defenses.defense import Defender, GANChoice
from tasks.defenses.gan_id import GANID
from tasks.finetune.finetune import Finetune, Pair
from tasks.inversion.fakes import Fakes
from tasks.models.classifier import Classifier
from tasks.stage import Stage
from tests.lab import Lab

LABELS = (0, 2, 5)
PLAIN: dict[str, Any] = {
    "lr": 0.01,
    "momentum": 0.0,
    "omega": 0.0,
    "steps": 1,
    "batch": 4,
    "clip_norm": 1e6,
    "augment": False,
}


def pair(lab: Lab, label: int, *, private: bool = True, public: bool = True) -> Pair:
    """Fakes of one image each, so that every batch is that image again and a step can be worked out."""
    return Pair(
        label=label,
        decoy=1,
        private=lab.fakes(label, private=True, count=1) if private else None,
        public=lab.fakes(1, private=False, count=1) if public else None,
    )


def tuned(lab: Lab, pairs: tuple[Pair, ...], **fields: Any) -> tuple[dict[str, torch.Tensor], Context, list[str]]:
    """Run a fine-tune: weights, context, and the kinds of what it read."""
    stage = Finetune(victim=lab.victim, pairs=pairs, **{**PLAIN, **fields})
    read: list[str] = []

    def load(upstream: Stage) -> Artifact:
        read.append(upstream.kind)
        return lab.run(upstream)

    ctx = lab.context(stage, load=load)
    stage.run(ctx)
    return load_file(ctx.out / "model.safetensors"), ctx, read


def victim_weights(lab: Lab) -> dict[str, torch.Tensor]:
    return load_file(lab.run(lab.victim).path("model.safetensors"))


def moved(lab: Lab, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """All trained weights' change from the victim, flat."""
    before = victim_weights(lab)
    names = [name for name in before if not is_statistic(name)]
    return torch.cat([(weights[name] - before[name]).flatten() for name in names])


def is_statistic(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")


def test_batchnorm_statistics_stay_frozen(lab: Lab) -> None:
    fields = {"fisher": lab.fisher, "omega": 1.0, "lambda3": 0.01, "replay": 1.0, "train": lab.split("train")}
    weights, _, _ = tuned(lab, (pair(lab, 2),), **fields, steps=3)
    before = victim_weights(lab)
    statistics = [name for name in before if is_statistic(name)]
    assert statistics
    assert all(torch.equal(weights[name], before[name]) for name in statistics)
    assert moved(lab, weights).abs().max() > 0


@pytest.mark.parametrize(
    ("weights", "kinds", "terms"),
    [
        ({"alpha": 1.0, "beta": 0.0}, {"fakes"}, {"l_pri", "p_pri"}),
        ({"alpha": 0.0, "beta": 1.0}, {"fakes"}, {"l_pub", "p_pub"}),
        (
            {"beta": 0.0, "replay": 1.0},
            {"fakes", "synthetic_split"},
            {"l_pri", "p_pri", "l_replay"},
        ),
        ({"omega": 1.0, "lambda3": 0.0}, {"fakes"}, {"l_pri", "p_pri", "l_pub", "p_pub"}),
    ],
)
def test_a_term_of_weight_zero_is_not_computed(
    lab: Lab, weights: dict[str, float], kinds: set[str], terms: set[str]
) -> None:
    """Neither read nor logged, although the stage has been given all that the term would need."""
    everything = {"fisher": lab.fisher, "train": lab.split("train")}
    _, ctx, read = tuned(lab, (pair(lab, 2),), **everything, **weights)
    assert set(read) - {"classifier"} == kinds
    assert {name for name in ctx.curves[0] if name.startswith(("l_", "p_"))} == terms
    assert read.count("fakes") == len({"l_pri", "l_pub"} & terms)


def test_a_term_of_weight_zero_needs_no_fakes(lab: Lab) -> None:
    alone, _, _ = tuned(lab, (pair(lab, 2, public=False),), beta=0.0)
    given, _, _ = tuned(lab, (pair(lab, 2),), beta=0.0)
    assert all(torch.equal(t, given[name]) for name, t in alone.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pairs": (0,), "omega": 1.0}, "needs a fisher"),
        ({"pairs": (0,), "replay": 1.0}, "needs the private training split"),
        ({"pairs": (2, 0)}, "sorted by label"),
        ({"pairs": (2, 2)}, "each label once"),
        ({"pairs": ()}, "at least 1"),
        ({"pairs": (0,), "alpha": -1.0}, "greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(lab: Lab, fields: dict[str, Any], message: str) -> None:
    pairs = tuple(pair(lab, label) for label in fields.pop("pairs"))
    with pytest.raises(ValidationError, match=message):
        Finetune(victim=lab.victim, pairs=pairs, **{**PLAIN, **fields})


@pytest.mark.parametrize("omega", [0.0, 1.0])
def test_nothing_that_changes_the_victim_is_refused_before_it_runs(lab: Lab, omega: float) -> None:
    fields = {**PLAIN, "alpha": 0.0, "beta": 0.0, "omega": omega, "fisher": lab.fisher}
    with pytest.raises(ValidationError, match="all 0"):
        Finetune(victim=lab.victim, pairs=(pair(lab, 0),), **fields)


def test_a_weighted_term_needs_its_fakes(lab: Lab) -> None:
    for missing in ("private", "public"):
        with pytest.raises(ValidationError, match=f"needs {missing} fakes"):
            Finetune(victim=lab.victim, pairs=(pair(lab, 0, **{missing: False}),), **PLAIN)


def test_many_pairs_are_the_mean_over_labels(lab: Lab) -> None:
    """Without momentum one joint step is the mean of the labels' own steps, so alpha keeps its meaning."""
    pairs = tuple(pair(lab, label) for label in LABELS)
    joint, ctx, _ = tuned(lab, pairs)
    alone = [tuned(lab, (one,)) for one in pairs]
    steps = torch.stack([moved(lab, weights) for weights, _, _ in alone])
    assert steps.abs().max() > 1e-4
    assert torch.allclose(moved(lab, joint), steps.mean(dim=0), atol=1e-6)
    for term in ("l_pri", "l_pub", "p_pri", "p_pub", "loss"):
        mean = sum(c.curves[0][term] for _, c, _ in alone) / len(alone)
        assert ctx.curves[0][term] == pytest.approx(mean, rel=1e-4)


def test_the_direction_is_the_papers(lab: Lab) -> None:
    """Private fakes lose the probability of l_t, public fakes gain it."""
    _, private, _ = tuned(lab, (pair(lab, 2),), beta=0.0, lpri="ce", lr=1e-4, steps=6)
    _, public, _ = tuned(lab, (pair(lab, 2),), alpha=0.0, gamma=0.0, lr=1e-4, steps=6)
    assert private.curves[-1]["p_pri"] < private.curves[0]["p_pri"]
    assert public.curves[-1]["p_pub"] > public.curves[0]["p_pub"]


def test_consolidation_holds_the_weights_back(lab: Lab) -> None:
    fisher = lab.run(lab.fisher).tensors("fisher.safetensors")
    free, _, _ = tuned(lab, (pair(lab, 2),), steps=20, lr=0.002)
    held, ctx, _ = tuned(lab, (pair(lab, 2),), steps=20, lr=0.002, omega=1.0, lambda3=10.0, fisher=lab.fisher)
    assert ctx.curves[0]["l_cl"] == 0
    before = victim_weights(lab)

    def strain(weights: dict[str, torch.Tensor]) -> float:
        return sum(float((f * (weights[name] - before[name]).square()).sum()) for name, f in fisher.items())

    assert strain(held) < strain(free)


def defender(lab: Lab) -> Defender:
    return Defender(
        victim=lab.victim,
        victim_settings={},
        train=lab.split("train"),
        val=lab.split("val"),
        public=lab.split("train", "classifier"),
        public_images=lab.split("all", "defender"),
        public_classifier=lab.public_classifier,
        make_gan=lambda choice: lab.gan("defender", **choice.settings),
        decoy=lambda label: label % 2,
        common={"seed": 0, "numerics": "cpu_fp32", "threads": 1},
    )


def test_replay_is_only_an_extension(lab: Lab) -> None:
    assert GANID().extensions == ()
    assert GANID(replay=1).extensions == ("replay",)
    plain = GANID().protect(defender(lab), (2,)).target
    assert isinstance(plain, Finetune)
    assert plain.train is None
    assert plain.replay == 0
    assert isinstance(plain.fisher, Stage)
    extended = GANID(replay=1).protect(defender(lab), (2,)).target
    assert isinstance(extended, Finetune)
    assert extended.train == lab.split("train")


def test_another_l_pri_is_an_extension_too() -> None:
    """`gan_id` means eq. 10 and nothing else; another form of L_pri has a name of its own (DESIGN 6.3)."""
    for form in ("literal", "ce", "unlikelihood"):
        assert GANID(lpri=form).extensions != ()


def test_the_ablation_trains_no_more_than_it_needs(lab: Lab) -> None:
    for fields, private, public, fisher in (
        ({"beta": 0, "omega": 0}, True, False, False),
        ({"alpha": 0}, False, True, True),
        ({"lambda3": 0}, True, True, False),
    ):
        stages = GANID(**fields).protect(defender(lab), (2,)).target.closure().values()
        models = {type(s.model) for s in stages if isinstance(s, Fakes)}
        roles = {s.model.role for s in stages if isinstance(s, Fakes) and isinstance(s.model, Classifier)}
        wanted = ({"victim"} if private else set()) | ({"public_classifier"} if public else set())
        assert roles == wanted
        assert models == {Classifier}
        assert any(s.kind == "fisher" for s in stages) == fisher


def test_one_defended_model_for_one_label_or_many(lab: Lab) -> None:
    settings = GANID(gan=GANChoice(settings={"steps": 10}))
    single = [settings.protect(defender(lab), (label,)) for label in (0, 2)]
    joint = settings.protect(defender(lab), (0, 2))
    assert len({found.target.key for found in (*single, joint)}) == 3
    assert [p.label for p in joint.pairs] == [0, 2]
    assert joint.pairs == (*single[0].pairs, *single[1].pairs), "the fakes are shared"


def test_labels_that_share_a_decoy_share_its_public_fakes(lab: Lab) -> None:
    joint = GANID().protect(defender(lab), (0, 2, 3))
    publics = [p.public.key for p in joint.pairs if p.public is not None]
    assert publics[0] == publics[1] != publics[2]
