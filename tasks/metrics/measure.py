"""Compute what the evaluation stages record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tasks.artifact import Artifact
from tasks.attacks.scoring import CONVERGED
from tasks.context import Context
from tasks.data.pixels import to_float
from tasks.data.stored_images import StoredImages
from tasks.metrics.accuracy_terms import topk_hits
from tasks.metrics.image_distances import diversity, feature_mean_sqdist, frechet_distance, knn_sqdist
from tasks.metrics.inception import inception_features, load_inception
from tasks.models.architectures import Network
from tasks.models.training import features, predict
from tasks.stage import Metrics, Stage

if TYPE_CHECKING:
    from tasks.metrics.evaluate import Accuracy, Distance, Evaluate


class _Judges(NamedTuple):
    evaluator: Network
    second: Network
    reference: torch.Tensor  # features of the private training images of the label
    names: list[str]


def evaluate(stage: Evaluate, ctx: Context) -> Metrics:
    """Write outcomes.parquet; return the cell's metrics (fractions in [0, 1]; squared distances)."""
    evaluator = stage.evaluator.network(ctx)
    judges = _Judges(evaluator, stage.second.network(ctx), *_reference(stage, ctx, evaluator))
    rows, metrics = _judge(ctx.load(stage.attack), stage.attack.label, judges)
    if stage.rerun is not None:
        again = ctx.load(stage.rerun)
        metrics["rerun"] = again.metrics["needed"]
        if again.metrics["needed"]:
            other_rows, other = _judge(again, stage.attack.label, judges)
            both = {"aa_top1_first": metrics["aa_top1"], "aa_top1_rerun": other["aa_top1"], "rerun": 1.0}
            worse = [(m["aa_top1"], m["aa_top5"]) for m in (metrics, other)]
            counts = worse[1] > worse[0]
            rows, metrics = (other_rows, other) if counts else (rows, metrics)
            metrics = {**metrics, **both, "rerun_counts": float(counts)}
    pq.write_table(pa.table(rows), ctx.out / "outcomes.parquet")
    return metrics


def _judge(product: Artifact, label: int, judges: _Judges) -> tuple[dict[str, list[Any]], Metrics]:
    """One attack's images as the evaluators see them: a row per image, and the metrics of the set."""
    images = to_float(product.tensors("images.safetensors")["images"])
    found = features(judges.evaluator, images)
    logits = {"evaluator": predict(judges.evaluator, images), "second": predict(judges.second, images)}
    nearest, index = knn_sqdist(found, judges.reference)
    hits = {f"top{k}_{who}": topk_hits(scores, label, k).tolist() for who, scores in logits.items() for k in (1, 5)}
    samples = product.table("samples.parquet")
    target_p = samples.column("target_p").to_pylist()
    inner_p = samples.column("inner_p").to_pylist() if "inner_p" in samples.column_names else target_p
    rows = {
        "image": list(range(len(images))),
        "label": [label] * len(images),
        **hits,
        **{f"p_{who}": scores.softmax(dim=1)[:, label].tolist() for who, scores in logits.items()},
        "target_p": target_p,
        "knn_sqdist": nearest.tolist(),
        "knn_picture": [judges.names[i] for i in index.tolist()],
        "features": found.tolist(),
    }
    return rows, {
        "aa_top1": _share(hits["top1_evaluator"]),
        "aa_top5": _share(hits["top5_evaluator"]),
        "aa_top1_second": _share(hits["top1_second"]),
        "aa_top5_second": _share(hits["top5_second"]),
        "feat_mean_sqdist": feature_mean_sqdist(found, judges.reference),
        "knn_sqdist": nearest.mean().item(),
        "diversity": diversity(found),
        "target_confidence": _share([p >= CONVERGED for p in inner_p]),
        "images": float(len(images)),
    }


def _reference(stage: Evaluate, ctx: Context, evaluator: Network) -> tuple[torch.Tensor, list[str]]:
    """Features and names of the private training pictures of the attacked label."""
    images, labels = stage.reference.images(ctx)
    rows = (labels == stage.attack.label).nonzero().flatten()
    names = ctx.load(stage.reference).table("index.parquet").column("picture").to_pylist()
    return features(evaluator, images[rows]), [names[i] for i in rows.tolist()]


def measure_accuracy(stage: Accuracy, ctx: Context) -> Metrics:
    """Write predictions.parquet (picture, label, predicted, correct); mc_all is eq. 11 over the whole split."""
    images, labels = stage.test.images(ctx)
    predicted = predict(stage.model.network(ctx), images).argmax(dim=1)
    correct = predicted == labels.cpu()
    rows = {
        "picture": ctx.load(stage.test).table("index.parquet").column("picture").to_pylist(),
        "label": labels.tolist(),
        "predicted": predicted.tolist(),
        "correct": correct.tolist(),
    }
    pq.write_table(pa.table(rows), ctx.out / "predictions.parquet")
    return {"mc_all": correct.double().mean().item(), "images": float(len(labels))}


def measure_distance(stage: Distance, ctx: Context) -> Metrics:
    """frechet_evaluator over the pooled images of a row; fid_inception if its weights are there."""
    wanted = sorted({evaluation.attack.label for evaluation in stage.evaluations})
    images, labels = stage.reference.images(ctx)
    private = images.only(torch.isin(labels.cpu(), torch.tensor(wanted)))
    by_evaluator: dict[str, list[Evaluate]] = {}
    for evaluation in stage.evaluations:
        by_evaluator.setdefault(evaluation.evaluator.key, []).append(evaluation)
    distances = [_frechet(evaluations, private, ctx) for evaluations in by_evaluator.values()]
    known = [distance for distance in distances if distance is not None]
    metrics = {"reference_images": float(len(private))}
    if known:
        metrics["frechet_evaluator"] = sum(known) / len(known)
    if stage.inception is None:
        ctx.note("fid_inception", "unavailable: no Inception weights were given (spec: inception_weights: FILE)")
    else:
        metrics["fid_inception"] = _inception_distance(stage, ctx, private)
    return metrics


def _frechet(evaluations: list[Evaluate], private: StoredImages, ctx: Context) -> float | None:
    """Frechet distance in the features of the one evaluator that these evaluations share."""
    tables = [ctx.load(evaluation).table("outcomes.parquet") for evaluation in evaluations]
    attacked = torch.tensor([row for table in tables for row in table.column("features").to_pylist()])
    if min(len(attacked), len(private)) < 2:
        ctx.note("frechet_evaluator", "unavailable: a covariance needs two images on each side")
        return None
    if min(len(attacked), len(private)) <= attacked.shape[1]:
        sizes = f"{len(attacked)} and {len(private)} images for {attacked.shape[1]} dimensions"
        ctx.note("frechet_evaluator", f"rank-deficient: {sizes}")
    return frechet_distance(attacked, features(evaluations[0].evaluator.network(ctx), private))


def _inception_distance(stage: Distance, ctx: Context, private: StoredImages) -> float:
    pooled = [to_float(ctx.load(_counted(e, ctx)).tensors("images.safetensors")["images"]) for e in stage.evaluations]
    network = load_inception(ctx.source(str(stage.inception)))
    return frechet_distance(inception_features(network, torch.cat(pooled)), inception_features(network, private))


def _counted(evaluation: Evaluate, ctx: Context) -> Stage:
    """The run of the attack that counts."""
    again = ctx.load(evaluation).metrics.get("rerun_counts", 0.0) and evaluation.rerun
    return again or evaluation.attack


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)
