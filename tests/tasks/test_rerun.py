"""The second try: made only where the first did not converge, from the undefended points, and the worse counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from tasks.artifact import Artifact
from tasks.attacks.attack import Attack, Inverted, WhiteBoxAttack
from tasks.attacks.gmi import GMI
from tasks.attacks.privacy import Privacy
from tasks.attacks.rerun import Rerun
from tasks.attacks.scoring import POINTS
from tasks.context import Context
from tasks.data.pixels import to_float, to_uint8
from tasks.data.stored_images import Images
from tasks.metrics import measure
from tasks.metrics.evaluate import Distance, Evaluate
from tasks.models.architectures import Network
from tasks.models.classifier import Classifier
from tasks.models.training import predict
from tasks.stage import Metrics, Stage
from tests.lab import Lab

LABEL = 2
TINY: dict[str, Any] = {"images": 4, "steps": 2, "chunk": 4, "lr": 1e-12}


def target(lab: Lab) -> Classifier:
    """Stands for a defended model: the victim, hardly trained."""
    return lab.victim.model_copy(update={"epochs": 2})


def gmi(lab: Lab, model: Classifier, **settings: Any) -> GMI:
    return GMI(target=model, gan=lab.attacker_gan, label=LABEL, **{**TINY, **settings})


def privacy(lab: Lab, model: Classifier, **settings: Any) -> Privacy:
    return Privacy(target=model, label=LABEL, **{**TINY, **settings})


def rerun(lab: Lab, build: Callable[..., Attack] = gmi, threshold: float = 0.8, **settings: Any) -> Rerun:
    first, undefended = (build(lab, model, **settings) for model in (target(lab), lab.victim))
    return Rerun(first=first, undefended=undefended, threshold=threshold)


class Loader:
    """Loads from the lab, but for products of the test's own."""

    def __init__(self, lab: Lab, products: Mapping[str, tuple[Metrics, Path]]) -> None:
        self.lab, self.products = lab, products

    def __call__(self, stage: Stage) -> Artifact:
        if stage.key not in self.products:
            return self.lab.run(stage)
        metrics, folder = self.products[stage.key]
        return Artifact(stage.key, metrics, lambda name: folder / name)


def run(lab: Lab, stage: Rerun, confidence: float, tmp_path: Path) -> tuple[Metrics, Path]:
    """Metrics and folder of a rerun whose first try convinced the target so often."""
    first = {stage.first.key: ({"target_confidence": confidence}, tmp_path)}
    ctx = lab.context(stage, load=Loader(lab, first))
    return stage.run(ctx), ctx.out


@pytest.mark.parametrize("confidence", [0.8, 1.0])
def test_where_the_first_try_converged_nothing_is_done(lab: Lab, tmp_path: Path, confidence: float) -> None:
    metrics, out = run(lab, rerun(lab), confidence, tmp_path)
    assert metrics == {"needed": 0.0, "passes": 0.0, "queries": 0.0}
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("build", [gmi, privacy])
def test_otherwise_it_starts_where_the_undefended_attack_ended(
    lab: Lab, tmp_path: Path, build: Callable[..., Attack]
) -> None:
    """With a rate of nothing, a search ends where it started; its own starts are elsewhere."""
    stage = rerun(lab, build)
    own = lab.run(stage.first).tensors(POINTS)["points"]
    known = (0.3 * torch.randn(own.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)
    save_file({"points": known}, tmp_path / POINTS)
    products = {attack.key: ({"target_confidence": 0.79}, tmp_path) for attack in (stage.first, stage.undefended)}
    ctx = lab.context(stage, load=Loader(lab, products))
    metrics = stage.run(ctx)
    ended = load_file(ctx.out / POINTS)["points"]
    assert torch.allclose(ended, known, atol=1e-6)
    assert not torch.allclose(ended, own, atol=0.1)
    assert (metrics["needed"], metrics["first_target_confidence"]) == (1.0, 0.79)


def test_a_target_trained_anew_is_attacked_from_where_the_first_try_ended(lab: Lab) -> None:
    """Nobody outside sees the undefended model that such a target was not made from."""
    stage = Rerun(first=gmi(lab, target(lab)), threshold=1.0)
    assert lab.victim.key not in stage.closure(), "no stage of the second try may rest on it"
    first = lab.run(stage.first)
    assert first.metrics["target_confidence"] < 1.0
    again = lab.run(stage)
    assert torch.allclose(again.tensors(POINTS)["points"], first.tensors(POINTS)["points"], atol=1e-6)
    assert again.metrics["passes"] == 4 * first.metrics["passes"]


def test_it_searches_on_from_there(lab: Lab, tmp_path: Path) -> None:
    """And what the target thinks of the least-loss point can only get better."""
    stage = rerun(lab, steps=3, lr=0.05)
    _, out = run(lab, stage, 0.0, tmp_path)
    known, ended = lab.run(stage.undefended).tensors(POINTS)["points"], load_file(out / POINTS)["points"]
    assert not torch.allclose(ended, known, atol=1e-2)
    still = rerun(lab, steps=3, lr=0.05).again().model_copy(update={"lr": 1e-12})
    before = lab.run(still).table("samples.parquet").column("loss").to_pylist()
    after = pq.read_table(out / "samples.parquet").column("loss").to_pylist()
    assert all(new < old for new, old in zip(after, before, strict=True))


def test_it_has_four_times_the_steps_and_stores_what_an_attack_stores(lab: Lab, tmp_path: Path) -> None:
    metrics, out = run(lab, rerun(lab), 0.0, tmp_path)
    first = lab.run(gmi(lab, target(lab))).metrics
    assert first["passes"] == 4 * 2
    assert metrics["passes"] == 4 * first["passes"]
    assert {"target_confidence", "target_accuracy", "mean_loss", "queries", "setup_queries"} <= metrics.keys()
    assert load_file(out / "images.safetensors")["images"].shape == (4, 1, 32, 32)
    assert pq.read_table(out / "samples.parquet").column_names == ["image", "loss", "target_p"]


def test_it_attacks_the_defended_target(lab: Lab, tmp_path: Path) -> None:
    """The scores in its samples are the defended model's, not those of the model whose points it starts from."""
    stage = rerun(lab)
    _, out = run(lab, stage, 0.0, tmp_path)
    images = to_float(load_file(out / "images.safetensors")["images"])
    network = stage.first.target.network(lab.context(stage))
    expected = predict(network, images).softmax(dim=1)[:, LABEL]
    assert pq.read_table(out / "samples.parquet").column("target_p").to_pylist() == expected.tolist()


def test_only_the_first_of_each_images_restarts_starts_there(lab: Lab) -> None:
    """The others are what they would have been: a known solution may be a bad one for this target."""
    stage = rerun(lab, restarts=3)
    again = stage.again()
    ctx = lab.context(stage)
    fresh = torch.arange(24.0).view(12, 2).repeat(1, 8)
    starts = again.starts(ctx, lambda: fresh)
    known = lab.run(stage.undefended).tensors(POINTS)["points"]
    assert torch.equal(starts[::3], known)
    assert torch.equal(starts.view(4, 3, 16)[:, 1:], fresh.view(4, 3, 16)[:, 1:])
    assert torch.equal(fresh, torch.arange(24.0).view(12, 2).repeat(1, 8)), "the draw itself is left alone"


def test_points_that_do_not_fit_are_named(lab: Lab) -> None:
    stage = rerun(lab)
    with pytest.raises(ValueError, match=r"ended at \(4, 16\); \(4, 5\) cannot start there"):
        stage.again().starts(lab.context(stage), lambda: torch.zeros(4, 5))


class Decoding(WhiteBoxAttack):
    """An attack without steps."""

    kind = "decoding"

    def invert(self, ctx: Context, target: Network) -> Inverted:
        return Inverted(torch.zeros(self.images, 1, 32, 32), torch.zeros(self.images), 0, 1)


def test_a_rerun_that_makes_no_sense_is_refused(lab: Lab) -> None:
    first = gmi(lab, target(lab))
    with pytest.raises(ValidationError, match="the same attack on the undefended model"):
        Rerun(first=first, undefended=privacy(lab, lab.victim))
    with pytest.raises(ValidationError, match="the same attack on the undefended model"):
        Rerun(first=first, undefended=gmi(lab, lab.victim).model_copy(update={"label": 0}))
    decoding = (Decoding(target=model, label=0) for model in (target(lab), lab.victim))
    with pytest.raises(ValidationError, match="does not search, so there is nothing to run longer"):
        Rerun(first=next(decoding), undefended=next(decoding))


def test_draws_are_those_of_the_attack(lab: Lab) -> None:
    """Restarts of the second try are the first one's, and the steps of both are in the key."""
    stage = rerun(lab)
    assert lab.context(stage).seed("latents") == lab.context(stage.first).seed("latents")
    assert stage.key != rerun(lab, threshold=0.7).key
    assert stage.upstream[:2] == (stage.first, stage.undefended)


# --- which of the two counts --------------------------------------------------------------------------


class Cell:
    """A first try and a rerun with images that the evaluator takes for the label, or for someone else."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.stage = rerun(lab)
        common = {"reference": lab.split("train"), "evaluator": lab.sure_victim, "second": lab.public_classifier}
        self.evaluate = Evaluate(attack=self.stage.first, rerun=self.stage, **common)
        images, labels = lab.split("train").tensors(lab.context(self.evaluate))
        self.faces = {True: images[labels == LABEL][:4], False: images[labels == 0][:4]}
        self.products: dict[str, tuple[Metrics, Path]] = {}

    def put(self, stage: Stage, metrics: Metrics, hits: list[bool] | None, target_p: float) -> None:
        """Store images of the right person where `hits`; None: nothing was stored."""
        folder = self.folder / stage.key
        folder.mkdir(exist_ok=True)
        self.products[stage.key] = (metrics, folder)
        if hits is not None:
            images = to_uint8(torch.stack([self.faces[hit][i] for i, hit in enumerate(hits)]))
            save_file({"images": images.contiguous()}, folder / "images.safetensors")
            rows = {"image": list(range(4)), "loss": [0.0] * 4, "target_p": [target_p] * 4}
            pq.write_table(pa.table(rows), folder / "samples.parquet")

    def measured(self, first: list[bool], second: list[bool] | None) -> tuple[Metrics, list[dict[str, Any]]]:
        """Metrics of the evaluation, and its rows; `second` None: no rerun was needed."""
        self.put(self.stage.first, {"target_confidence": 0.0}, first, 0.25)
        self.put(self.stage, {"needed": float(second is not None)}, second, 0.95)
        ctx = self.lab.context(self.evaluate, load=Loader(self.lab, self.products))
        metrics = self.evaluate.run(ctx)
        self.products[self.evaluate.key] = (metrics, ctx.out)
        return metrics, pq.read_table(ctx.out / "outcomes.parquet").to_pylist()


@pytest.fixture
def cell(lab: Lab, tmp_path: Path) -> Cell:
    found = Cell(lab, tmp_path)
    network = lab.sure_victim.network(lab.context(found.evaluate))
    assert (predict(network, found.faces[True]).argmax(dim=1) == LABEL).all()
    assert not (predict(network, found.faces[False]).argmax(dim=1) == LABEL).any()
    return found


NEITHER, ONE, BOTH = [False] * 4, [True, False, False, False], [True, True, False, False]


def test_the_run_that_is_worse_for_the_defense_counts(cell: Cell) -> None:
    metrics, rows = cell.measured(ONE, BOTH)
    assert (metrics["aa_top1"], metrics["aa_top1_first"], metrics["aa_top1_rerun"]) == (0.5, 0.25, 0.5)
    assert (metrics["rerun"], metrics["rerun_counts"]) == (1.0, 1.0)
    assert [row["top1_evaluator"] for row in rows] == BOTH
    assert metrics["target_confidence"] == 1.0, "of the run that counts"
    assert {row["target_p"] for row in rows} == {0.95}


def test_a_rerun_that_found_less_changes_nothing_but_is_recorded(cell: Cell) -> None:
    metrics, rows = cell.measured(BOTH, NEITHER)
    assert (metrics["aa_top1"], metrics["aa_top1_first"], metrics["aa_top1_rerun"]) == (0.5, 0.5, 0.0)
    assert (metrics["rerun"], metrics["rerun_counts"]) == (1.0, 0.0)
    assert [row["top1_evaluator"] for row in rows] == BOTH
    assert metrics["target_confidence"] == 0.0


def test_of_equal_tries_the_first_counts(cell: Cell) -> None:
    metrics, rows = cell.measured(ONE, ONE[::-1])
    assert metrics["rerun_counts"] == 0.0
    assert [row["top1_evaluator"] for row in rows] == ONE


def test_without_need_the_first_counts_and_nothing_of_a_rerun_is_read(cell: Cell) -> None:
    metrics, rows = cell.measured(ONE, None)
    assert (metrics["aa_top1"], metrics["rerun"]) == (0.25, 0.0)
    assert not metrics.keys() & {"rerun_counts", "aa_top1_first", "aa_top1_rerun"}
    assert [row["top1_evaluator"] for row in rows] == ONE


@pytest.mark.parametrize(
    ("first", "second", "counted"), [(ONE, BOTH, "second"), (BOTH, ONE, "first"), (ONE, None, "first")]
)
def test_distances_are_of_the_run_that_counts(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, first: list[bool], second: list[bool] | None, counted: str
) -> None:
    """Both the one by F_E and the one by Inception, which reads the images themselves."""
    cell.measured(first, second)
    stage = Distance(evaluations=(cell.evaluate,), reference=cell.lab.split("train"), inception="weights")
    seen: list[torch.Tensor] = []

    def pixels(_: object, images: Images) -> torch.Tensor:
        seen.append(images[:])
        return images[:].flatten(1)[:, :4]

    monkeypatch.setattr(measure, "load_inception", lambda _: None)
    monkeypatch.setattr(measure, "inception_features", pixels)
    ctx = cell.lab.context(stage, load=Loader(cell.lab, cell.products), sources={"weights": Path("unused")})
    stage.run(ctx)
    owner = cell.stage if counted == "second" else cell.stage.first
    stored = load_file(cell.products[owner.key][1] / "images.safetensors")["images"]
    assert torch.equal(seen[0], to_float(stored))
