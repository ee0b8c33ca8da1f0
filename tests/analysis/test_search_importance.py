"""Coefficient importance: a made coefficient that drives everything is found, an idle one is not, few are refused."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.importance import LEAST, Importance, TooFewTrialsError, importance_csv, importances
from analysis.importance_plot import importance_pictures
from analysis.search_parts import Search
from analysis.search_record import read_search
from tests.analysis.search_lab import record

SPACE = {
    "strong": {"kind": "loguniform", "low": 1e-3, "high": 1e3, "log": True},
    "weak": {"kind": "uniform", "low": 0.0, "high": 1.0},
    "form": {"kind": "choice", "values": ["ce", "detached"]},
    "fixed": {"kind": "constant", "values": [3.0]},
}


def made(trials: int, *, objective: str = "strong", seed: int = 0) -> Search:
    """AA top-1 from `strong` (by its logarithm), hardly from `weak`; or from nothing; MC all never varies."""
    draw = np.random.default_rng(seed)
    document = record(trials, asha=False, failures=0) | {"space": SPACE, "picks": [], "undefended": None}
    document["objectives"] = [["aa_top1", "min"], ["mc_all", "max"]]
    for trial in document["trials"]:
        decades, weak = draw.uniform(-3, 3), draw.random()
        form = ["ce", "detached"][draw.integers(2)]
        trial["coefficients"] = {"strong": 10**decades, "weak": weak, "form": form, "fixed": 3.0}
        rate = 0.25 + 0.03 * decades + 0.02 * weak if objective == "strong" else 0.9 * draw.random()
        trial["metrics"] = {"aa_top1": rate + 0.01 * draw.random(), "mc_all": 0.9}
    return read_search(document)


@pytest.fixture(scope="module")
def found() -> list[Importance]:
    return importances(made(40))


def test_what_drives_the_attack_is_first_and_what_is_idle_is_not_above_noise(found: list[Importance]) -> None:
    aa, _ = found
    assert next(iter(aa.shares)) == "strong"
    assert aa.shares["strong"] > 0.7, "over all six decades, not only the last one"
    assert aa.shares["form"] < aa.noise < aa.shares["strong"]
    assert set(aa.shares) == {"strong", "weak", "form"}, "what is fixed matters to nothing"
    assert (aa.objective, aa.trials, aa.rung) == ("aa_top1", 40, None)


def test_an_objective_that_does_not_vary_has_no_importance(found: list[Importance]) -> None:
    assert found[1] == Importance("mc_all", None, 40, {"strong": 0.0, "weak": 0.0, "form": 0.0}, 0.0)


def test_of_noise_alone_no_coefficient_stands_out() -> None:
    """One in twenty may by chance (4 of 120 did over 40 seeds)."""
    above = [
        share > one.noise
        for seed in range(1000, 1004)
        for one in importances(made(30, objective="nothing", seed=seed))[:1]
        for share in one.shares.values()
    ]
    assert sum(above) <= 1, f"{sum(above)} of {len(above)}"


def test_equal_records_give_equal_numbers_and_optuna_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    assert importances(made(30)) == importances(made(30))
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", ""), "no line for each study"


def test_few_trials_are_refused_with_the_numbers() -> None:
    with pytest.raises(TooFewTrialsError, match=f"finished trials: 29; {LEAST} are needed for 3 coefficients"):
        importances(made(29))
    document = record(90, asha=False, failures=0)
    document["space"] = document["space"] | {name: {"kind": "uniform", "low": 0, "high": 1} for name in "abcdefghijk"}
    for trial in document["trials"]:
        trial["coefficients"] |= dict.fromkeys("abcdefghijk", 0.5)
    with pytest.raises(TooFewTrialsError, match="finished trials: 90; 96 are needed for 16 coefficients"):
        importances(read_search(document))


def test_at_a_rung_the_stopped_trials_count_too() -> None:
    objectives = [["mc_all", "max"], ["aa_top1", "min"]]
    search = read_search(record(60) | {"objectives": objectives})
    with pytest.raises(TooFewTrialsError, match="finished trials"):
        importances(search)
    found = importances(search, search.common_rung)
    assert {one.trials for one in found} == {60}, "those that failed later have reported there as well"
    by_objective = {one.objective: one for one in found}
    aa = by_objective["aa_top1"]
    assert next(iter(aa.shares)) == "lambda3", "the surface is made so: it spans four decades"
    assert aa.shares["gamma"] < aa.noise < aa.shares["lambda3"]


def test_csv_and_picture(found: list[Importance]) -> None:
    lines = list(csv.DictReader(io.StringIO(importance_csv(found))))
    assert [(line["objective"], line["coefficient"]) for line in lines[:1]] == [("aa_top1", "strong")]
    assert len(lines) == 6
    shares = [float(line["share"]) for line in lines[:3]]
    assert math.fsum(shares) <= 1
    files = importance_pictures("x", found)
    assert sorted(files) == ["importance.png", "importance.svg"]
    assert importance_pictures("x", found) == files
    assert importance_pictures("x", []) == {}
    with Image.open(io.BytesIO(files["importance.png"])) as picture:
        assert picture.width > picture.height


def test_a_trial_from_elsewhere_may_lie_outside_of_the_space() -> None:
    document: dict[str, Any] = record(36, asha=False, failures=0) | {"objectives": [["aa_top1", "min"]]}
    document["trials"][0]["coefficients"]["alpha"] = 500.0
    document["trials"][1]["coefficients"]["alpha"] = 0.0
    assert [one.trials for one in importances(read_search(document))] == [36]
