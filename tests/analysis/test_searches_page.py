"""Searches beside each other: what each reaches within a loss of accuracy, and the picture of their fronts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from analysis.search_record import read_search
from analysis.searches_page import least_attacked, searches_markdown, write_searches_page
from tests.analysis import search_lab


def _two() -> list[dict[str, Any]]:
    first = search_lab.record(24, 0)
    second = copy.deepcopy(search_lab.record(24, 1)) | {"name": "orl_search-extended"}
    return [first, second]


def test_one_search_needs_no_comparison(tmp_path: Path) -> None:
    assert write_searches_page(_two()[:1], tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_page_and_picture_name_every_search_and_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files = write_searches_page(_two(), tmp_path / folder)
        assert sorted(files) == ["fronts.png", "fronts.svg", "searches.md"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page, picture = files["searches.md"].read_text(), files["fronts.svg"].read_text()
    for text in (page, picture):
        assert "finetune" in text
        assert "extended" in text


@pytest.mark.parametrize("points", [0.0, 2.0, 5.0, 10.0, None])
def test_the_least_attacked_trial_within_a_loss_is_found_by_looking_at_all(points: float | None) -> None:
    search = read_search(_two()[0])
    assert search.undefended is not None
    limit = -1.0 if points is None else search.undefended.search["mc_all"] - points / 100 - 1e-9
    within = [trial.metrics for trial in search.finished if trial.metrics["mc_all"] >= limit]
    found = least_attacked(search, points)
    if not within:
        assert found is None
        return
    assert found is not None
    assert found.state == "finished"
    assert found.metrics["mc_all"] >= limit
    assert all(found.metrics["aa_top1"] <= metrics["aa_top1"] for metrics in within)


def test_a_stopped_trial_is_not_said_to_reach_anything() -> None:
    document = _two()[0]
    stopped = next(trial for trial in document["trials"] if trial["state"] == "stopped")
    stopped["metrics"] |= {"mc_all": 1.0, "aa_top1": 0.0, "aa_top5": 0.0}
    stopped["curve"][-1] |= stopped["metrics"]
    found = least_attacked(read_search(document), None)
    assert found is not None
    assert found.id != stopped["id"]


def test_page_and_picture_say_which_search_protects_all_labels_in_one_model(tmp_path: Path) -> None:
    documents = _two()
    for document, protect in zip(documents, ("single", "joint"), strict=True):
        document["measured_by"] = {**document.get("measured_by", {}), "protect": protect}
    files = write_searches_page(documents, tmp_path)
    lines = files["searches.md"].read_text().splitlines()
    for name, said in (
        ("| orl\\_search-extended ", "| all in one model |"),
        ("| orl\\_search-finetune ", "| one model a label |"),
    ):
        assert next(said in line for line in lines if line.startswith(name)), name
    assert "in one model" in files["fronts.svg"].read_text()


def test_confirmed_values_stand_with_their_attack_and_unconfirmed_ones_are_left_out() -> None:
    documents = _two()
    documents[1]["undefended"]["confirmed"] = None
    for pick in documents[1]["picks"]:
        pick["confirmed"] = None
    page = searches_markdown([read_search(document) for document in documents])
    confirmed = page.split("## Confirmed")[1]
    assert "finetune" in confirmed
    assert "extended" not in confirmed
