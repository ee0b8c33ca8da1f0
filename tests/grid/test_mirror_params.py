"""What tells rows apart in MLflow: output, kind, the GAN behind the fakes, settings that share an axis or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from grid.mirror_model import Grid, RunView
from grid.mirror_views import describe
from grid.store import Store
from tests.grid.mirrored import build
from tests.grid.specs import planned

Views = Mapping[tuple[str, str], RunView]


def views(document: dict[str, Any], records: Mapping[str, Any] | None = None) -> Views:
    """The rows' runs by (defense, attack), as if all cells were done; nothing is loaded for that."""
    done = {"metrics": {}, "started": 0.0, "ended": 1.0, "digest": "d", "files": {}, "config": {}}
    found = {key: done for key, about in document["stages"].items() if not about["trains"]}
    for row in document["rows"]:
        found |= {cell["attack"]: done for cell in row["cells"]}

    def load(key: str) -> Any:
        raise AssertionError(f"{key} is loaded")

    grid = Grid(document, {**found, **(records or {})}, load)
    shown = [view for view in describe(grid) if view.key.startswith("row/")]
    return {(view.params["defense"], view.params["attack"]): view for view in shown}


def rows(folder: Path, defenses: Sequence[Any], attacks: Sequence[Any] = ("ami",)) -> Views:
    return views(planned(folder, labels=[0], attacks=list(attacks), defenses=list(defenses)).document())


def test_how_a_wrapper_is_met_and_what_kind_a_row_is_of(tmp_path: Path) -> None:
    found = rows(tmp_path, ["none", "ad_mi", {"name": "gan_id", "as": "mine"}, "gan_id"])
    through, stripped = (found[f"ad_mi {how}", "ami"] for how in ("through", "stripped"))
    assert through.params["output"] == "through, straight-through gradients"
    assert stripped.params["output"] == "stripped"
    assert through.params["defense_kind"] == stripped.params["defense_kind"] == "ad_mi"
    assert "`ad_mi stripped` (kind ad_mi)" in stripped.note
    assert "stripped" in stripped.note.split("meet its output wrapper so: ")[1]
    assert found["mine", "ami"].params["defense_kind"] == "gan_id"
    for bare in (found["none", "ami"], found["gan_id", "ami"]):
        assert not {"output", "defense_kind"} & bare.params.keys()
        assert "output wrapper" not in bare.note


def test_what_is_not_comparable_shares_no_axis(tmp_path: Path) -> None:
    """MID's beta weighs another thing than eq. 10's, and DP's epochs are not the fine-tune's steps."""
    defenses = [
        "none",
        "gan_id",
        "mid",
        "ad_mi",
        "dp",
        "purifier",
        {"name": "mid", "as": "more", "beta": 0.5, "lr": 0.2},
    ]
    found = rows(tmp_path, defenses)
    params = {defense: view.params for (defense, _), view in found.items()}
    assert params["none"] == {
        "attack": "ami",
        "defense": "none",
        "alpha": "0",
        "beta": "0",
        "omega": "0",
        "replay": "0",
    }
    assert {"alpha": "1", "beta": "1", "lambda3": "10"}.items() <= params["gan_id"].items()
    assert (params["more"]["mid_beta"], params["more"]["mid_lr"]) == ("0.5", "0.2")
    assert "mid_lr" not in params["mid"], "as the victim's: nothing to show"
    assert {"mid_beta", "dp_epsilon", "ad_mi_budget", "purifier_lam"} <= set().union(*params.values())
    eq_10 = {"alpha", "beta", "omega", "gamma", "lambda3", "lpri", "replay", "rounds"}
    for defense in ("mid", "more", "dp", "ad_mi through", "ad_mi stripped", "purifier through"):
        assert not eq_10 & params[defense].keys(), defense
        kind = params[defense].get("defense_kind", defense)
        others = params[defense].keys() - {"attack", "defense", "output", "defense_kind"}
        assert others
        assert all(name.startswith(f"{kind}_") for name in others), others


def test_a_grid_without_fine_tunes_has_no_weights(tmp_path: Path) -> None:
    found = rows(tmp_path, ["none", "mid"])
    assert found["none", "ami"].params == {"attack": "ami", "defense": "none"}


def test_no_noise_is_an_infinite_epsilon(tmp_path: Path) -> None:
    found = rows(tmp_path, ["dp", {"name": "dp", "epsilon": None}, {"name": "dp", "as": "weak", "epsilon": 50}])
    shown = {defense: view.params["dp_epsilon"] for (defense, _), view in found.items()}
    assert shown == {"dp": "8", "dp+epsilon_inf": "inf", "weak": "50"}
    assert "epsilon=inf" in found["dp+epsilon_inf", "ami"].note
    assert "dp_delta" not in found["dp", "ami"].params


def test_gan_d_shows_the_structure_that_met_this_attack(tmp_path: Path) -> None:
    found = rows(tmp_path, ["none", "gan_d", "gan_id"], ["gmi", "dmi", "mirror", "ami"])
    shown = {attack: view.params.get("gan") for (defense, attack), view in found.items() if defense == "gan_d"}
    assert shown == {"gmi": "wgan", "dmi": "inversion", "mirror": "stylegan", "ami": "wgan"}
    assert {view.params.get("gan") for (defense, _), view in found.items() if defense == "gan_id"} == {"wgan"}
    assert {view.params.get("gan") for (defense, _), view in found.items() if defense == "none"} == {None}
    assert "gan=stylegan" in found["gan_d", "mirror"].note


@pytest.mark.parametrize(
    ("epsilons", "shown"), [([7.5, 7.9], 7.9), ([7.5, None], None), ([None, None], None), ([7.5, float("inf")], None)]
)
def test_what_dp_achieved_is_a_metric_of_the_row(
    tmp_path: Path, epsilons: list[float | None], shown: float | None
) -> None:
    """Of several targets the worst; none, if one of them does not say."""
    document = planned(tmp_path, labels=[0], seeds=[0, 1], attacks=["ami"], defenses=["none", "dp"]).document()
    targets = [cell["target"] for row in document["rows"] if row["defense"] == "dp" for cell in row["cells"]]
    assert len(set(targets)) == 2
    plain = {"started": 0.0, "ended": 1.0, "digest": "d", "files": {}, "config": {}}
    metrics: list[dict[str, float]] = [{} if e is None else {"achieved_epsilon": e} for e in epsilons]
    records = {key: {**plain, "metrics": found} for key, found in zip(targets, metrics, strict=True)}
    points = {defense: view.points() for (defense, _), view in views(document, records).items()}
    found = [point.value for point in points["dp"] if point.key == "target/achieved_epsilon"]
    assert found == ([] if shown is None else [shown])
    assert points["none"] == []


def test_records_of_before_have_neither_kind_nor_output(tmp_path: Path) -> None:
    """A document that was written without them is still shown."""
    grid = build(tmp_path)
    for row in grid.document["rows"]:
        for name in ("defense_kind", "undefended"):
            del row[name]
    store: Store = grid.store
    shown = describe(Grid(grid.document, store.records(grid.document["stages"]), store.load))
    (row,) = [view for view in shown if view.name == "gan_id · gmi"]
    assert row.params["alpha"] == "1"
