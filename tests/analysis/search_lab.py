"""A realistic record of a search, made up: 60 random trials on a smooth surface, some stopped as by ASHA, two failed.

`python -m tests.analysis.search_lab FOLDER` writes its report there, to be looked at.
"""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

STEPS, RUNGS = 80, (20, 40, 80)  # of each label's fine-tune
LABELS = (0, 4, 8)
IMAGES, PICTURES = 40, 100  # attack images and validation pictures behind a rate: they make it coarse
OBJECTIVES = [["mc_all", "max"], ["mc_target", "max"], ["aa_top1", "min"], ["aa_top5", "min"]]
UNDEFENDED = {"mc_all": 0.97, "mc_target": 0.98, "aa_top1": 0.475, "aa_top5": 0.825, "target_confidence": 0.98}
SPACE: dict[str, dict[str, Any]] = {
    "alpha": {"kind": "loguniform", "low": 0.1, "high": 10.0, "log": True},
    "beta": {"kind": "loguniform", "low": 0.1, "high": 10.0, "log": True},
    "omega": {"kind": "loguniform", "low": 0.1, "high": 10.0, "log": True},
    "gamma": {"kind": "uniform", "low": 0.0, "high": 5.0, "log": False},
    "lambda3": {"kind": "loguniform", "low": 0.1, "high": 1000.0, "log": True},
    "lr": {"kind": "constant", "values": [1e-3], "log": False},
}


def surface(coefficients: dict[str, Any], step: int, noise: np.random.Generator | None = None) -> dict[str, float]:
    """Rates after `step` steps: alpha drives the removal, omega x lambda3 slows it, beta keeps what is public.

    gamma hardly matters, as a search should find out.
    """
    alpha, beta = math.log10(coefficients["alpha"]), math.log10(coefficients["beta"])
    hold = math.log10(coefficients["omega"] * coefficients["lambda3"])
    progress = 1 - math.exp(-step / 25)
    removal = progress * _sigmoid(1.6 * alpha + 0.4 * beta - 1.1 * (hold - 1.2) + 0.03 * coefficients["gamma"])
    damage = progress * _sigmoid(2.0 * alpha - 1.4 * beta - 1.3 * (hold - 0.2) - 1.0)
    rates = {
        "mc_all": 0.975 - 0.03 * removal - 0.55 * damage,
        "mc_target": 0.985 - 0.01 * removal - 0.75 * damage**1.5,
        "aa_top1": 0.03 + 0.445 * (1 - removal) ** 1.4,
        "aa_top5": 0.25 + 0.575 * (1 - 0.8 * removal),
        "target_confidence": 0.99 - 0.5 * max(0.0, damage - 0.45),
    }
    if noise is None:
        return rates
    counts = {"mc_all": PICTURES, "mc_target": PICTURES // 2}
    return {name: noise.binomial(n := counts.get(name, IMAGES), rate) / n for name, rate in rates.items()}


def record(trials: int = 60, seed: int = 0, *, asha: bool = True, failures: int = 2) -> dict[str, Any]:
    """The document of such a search, without front (it is computed) and with two confirmed picks."""
    draw = np.random.default_rng(seed)
    made = [_trial(number, draw) for number in range(1, trials + 1)]
    if asha:
        for rung in range(1, len(RUNGS)):
            _halve(made, rung)
    for trial in made[7 :: max(1, trials // 2)][:failures]:
        trial.update(state="failed", rung=None, steps=len(LABELS) * RUNGS[0], curve=trial["curve"][:1])
        trial["error"] = "NonFiniteLossError: the loss is not finite at step 24 (alpha=8.1, lambda3=0.12)"
    document = {
        "name": "orl_search-finetune",
        "spec": {"name": "orl_search", "labels": list(LABELS)},
        "defense": "gan_id",
        "max_drop": None,
        "space": copy.deepcopy(SPACE),
        "objectives": copy.deepcopy(OBJECTIVES),
        "algorithm": "random",
        "scheduler": "asha" if asha else "none",
        "measured_by": {"labels": list(LABELS), "seeds": [0], "attack": {"images": IMAGES // len(LABELS)}},
        "trials": made,
        "undefended": {"search": UNDEFENDED, "confirmed": UNDEFENDED | {"mc_all": 0.96, "aa_top1": 0.44}},
    }
    finished = [trial for trial in made if trial["state"] == "finished"]
    gentle = [trial for trial in finished if trial["metrics"]["mc_all"] >= UNDEFENDED["mc_all"] - 0.03]
    private = min(gentle, key=lambda trial: trial["metrics"]["aa_top1"], default=finished[0])
    even = min(finished, key=lambda trial: trial["metrics"]["aa_top1"] - trial["metrics"]["mc_all"])
    picks = {"max-privacy-at-drop=3": private, "knee": even}
    return document | {"picks": [_pick(name, trial) for name, trial in picks.items()]}


def known_front() -> tuple[dict[str, Any], set[str]]:
    """A record without noise whose front is known: the trials with omega x lambda3 = 10, and only those.

    x = log10(alpha) trades accuracy against attack accuracy; any other product costs on all four objectives.
    """
    document = record(3, asha=False, failures=0) | {"name": "known", "trials": [], "picks": [], "undefended": None}
    model = record(1, asha=False, failures=0)["trials"][0]
    front: set[str] = set()
    for number, (step, product) in enumerate((a, b) for a in range(8) for b in (0.1, 1.0, 10.0, 100.0, 1000.0)):
        x, off = step / 7, abs(math.log10(product) - 1)
        rates = {"mc_all": 0.97 - 0.3 * x**2 - 0.02 * off, "mc_target": 0.98 - 0.4 * x**2 - 0.03 * off}
        rates |= {"aa_top1": 0.45 * (1 - x) + 0.01 * off, "aa_top5": 0.85 - 0.5 * x + 0.02 * off}
        settings = {"alpha": 10 ** (2 * x - 1), "beta": 1.0, "omega": 2.0, "gamma": 2.0, "lambda3": product / 2}
        own = {"id": f"t{number:04d}", "number": number, "coefficients": settings, "metrics": rates}
        document["trials"].append({**model, **own, "curve": [{"step": STEPS, **rates}]})
        if product == 10.0:
            front.add(f"t{number:04d}")
    return document, front


def _trial(number: int, draw: np.random.Generator) -> dict[str, Any]:
    coefficients = {name: _drawn(domain, draw) for name, domain in SPACE.items()}
    curve = [{"step": step, **surface(coefficients, step, draw)} for step in RUNGS]
    return {
        "id": f"t{number:04d}",
        "number": number,
        "coefficients": coefficients,
        "state": "finished",
        "rung": None,
        "steps": len(LABELS) * STEPS,
        "max_steps": len(LABELS) * STEPS,
        "curve": curve,
        "metrics": {name: value for name, value in curve[-1].items() if name != "step"},
        "error": None,
        "artifacts": {str(label): f"finetune-{number:04x}{label:012x}" for label in LABELS},
        "seconds": 31.5,
    }


def _halve(trials: list[dict[str, Any]], rung: int) -> None:
    """Stop the worse 40% of those that still run, by what they reported at a rung (from 1)."""
    alive = [trial for trial in trials if trial["state"] == "finished"]

    def badness(trial: dict[str, Any]) -> float:
        return float(trial["curve"][rung - 1]["aa_top1"] - trial["curve"][rung - 1]["mc_all"])

    for trial in sorted(alive, key=badness)[math.ceil(0.6 * len(alive)) :]:
        curve = trial["curve"][:rung]
        metrics = {name: value for name, value in curve[-1].items() if name != "step"}
        trial.update(state="stopped", rung=rung, steps=len(LABELS) * RUNGS[rung - 1], curve=curve, metrics=metrics)
        trial["seconds"] = 31.5 * RUNGS[rung - 1] / STEPS


def _pick(name: str, trial: dict[str, Any]) -> dict[str, Any]:
    """Confirmed without noise: the surface itself, which a lucky draw of the search does better than."""
    confirmed: dict[str, Any] = {**surface(trial["coefficients"], STEPS), "attack": "gmi", "by_attack": {}}
    confirmed |= {"aa_top1_low": max(0.0, confirmed["aa_top1"] - 0.06), "aa_top1_high": confirmed["aa_top1"] + 0.07}
    about = {"judge": "F_E", "split": "test split", "labels": list(LABELS), "seeds": [1, 2]}
    confirmed["basis"] = {**about, "images": 2 * len(LABELS) * IMAGES}
    return {"pick": name, "trial": trial["id"], "search": trial["metrics"], "confirmed": confirmed, "grid": name}


def _drawn(domain: dict[str, Any], draw: np.random.Generator) -> float:
    if domain["kind"] == "constant":
        return float(domain["values"][0])
    if domain["kind"] == "loguniform":
        return float(f"{10 ** draw.uniform(math.log10(domain['low']), math.log10(domain['high'])):.3g}")
    return float(f"{draw.uniform(domain['low'], domain['high']):.3g}")


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


if __name__ == "__main__":
    from analysis.search_report import write_search_report

    for path in write_search_report(record(int(sys.argv[2]) if len(sys.argv) > 2 else 60), Path(sys.argv[1])).values():
        print(path)
