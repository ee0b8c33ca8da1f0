"""The paper's tables at its scale: refused with what to fetch, planned on trees of the right layout, run at smoke."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from grid.cli import app
from grid.expand import expand
from grid.problems import SpecError
from grid.spec_parser import load_spec
from tasks.models.classifier import Classifier
from tasks.stage import Stage
from tests import archives
from tests.grid.archive_specs import downloaded, named, on_trees, write_trees
from tests.grid.specs import complaint, decoygrid, only

PAPER = {"table1", "table2", "table3", "table4", "table5", "table6", "figure2"}
SIZES = {"celeba": 64, "vggface": 112, "vggface2": 224}
SMALL = [
    *(f"dataset.{i}.size=32" for i in range(3)),
    *(f"dataset.{i}.val_per_label=0" for i in range(3)),
    "victim={arch: vgg16_bn, width: 0.0625, epochs: 1}",
    "public_classifier={arch: vgg16_bn, width: 0.0625, epochs: 1}",
    "evaluator={arch: ir_small, width: 0.25, epochs: 1}",
    "second_evaluator={arch: densenet_small, width: 0.5, epochs: 1}",
    "labels=[0]",
    "numerics=cpu_fp32",
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trees(tmp_path_factory.mktemp("trees"))


def test_there_is_a_spec_for_each_table_and_they_are_the_papers() -> None:
    assert set(named()) == PAPER
    for name in PAPER:
        spec = load_spec(name, look=False)
        assert downloaded(name) == list(SIZES)
        assert {c.dataset.name: c.dataset.size for c in spec.datasets} == SIZES
        assert {getattr(c.dataset, "labels", None) for c in spec.datasets} == {1000}
        assert {c.dataset.test_per_label for c in spec.datasets} == {2}
        assert (spec.budget, spec.protect) == ("paper", "single")
        assert spec.source.content["paper"] == name


def test_without_the_files_a_plan_says_what_to_fetch(tmp_path: Path) -> None:
    text = complaint(decoygrid("plan", "table2", cwd=tmp_path))
    assert text.count("fetch ") == 3
    for name, place in (("CelebA", "celeba"), ("VGG-Face", "vggface"), ("VGG-Face2", "vggface2")):
        assert f"no {name}: {tmp_path / 'data' / place}" in text
    assert "dataset[0].root" in text
    assert "table2.yaml:7" in text


def test_the_papers_learning_settings(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate 0.01; batches of 32, of 16 for VGG-Face2 alone."""
    monkeypatch.chdir(trees)
    plan = expand(load_spec("table1", on_trees("table1")))
    victims = [s for s in plan.stages().values() if isinstance(s, Classifier) and s.role == "victim"]
    assert {(v.shape[1], v.batch, v.lr, v.optimizer) for v in victims} == {
        (64, 32, 0.01, "sgd"),
        (112, 32, 0.01, "sgd"),
        (224, 16, 0.01, "sgd"),
    }


def test_a_plan_makes_each_stage_about_once(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of cells ask for the same few judges and GANs; what a key costs is paid for each stage made."""
    monkeypatch.chdir(trees)
    keyed: Counter[str] = Counter()
    key_of = Stage.__dict__["key"].func

    def counted(stage: Stage) -> str:
        keyed[stage.kind] += 1
        return str(key_of(stage))

    monkeypatch.setattr(Stage.__dict__["key"], "func", counted)
    stages = expand(load_spec("table2", on_trees("table2"))).stages()
    assert keyed["accuracy"] == sum(stage.kind == "accuracy" for stage in stages.values())
    assert keyed.total() < 1.6 * len(stages)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"arch": "ir50"}, "is the same for all datasets"),
        ({"batch": 0}, "greater than or equal"),
        ({"bach": 16}, "did you mean 'batch'"),
        ([16], "expected a mapping"),
    ],
)
def test_the_victims_training_on_one_dataset(tmp_path: Path, own: object, message: str) -> None:
    place, text = only(tmp_path, dataset={"name": "synthetic", "size": 32, "people": 10, "victim": own})
    assert message in text
    assert "dataset.victim" in place


def test_data_says_who_is_there_and_what_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trees(tmp_path)
    empty = archives.pictures("celeba", tmp_path / "data" / "celeba")[0]
    empty.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    overrides = [part for value in (*on_trees("table1"), "dataset.0.min_pictures=4") for part in ("--set", value)]
    done = CliRunner().invoke(app, ["data", "table1", *overrides])
    assert done.exit_code == 0
    assert "celeba: 3 private people" in done.stdout
    assert "1 pictures left out: the file is empty (0 bytes): img_align_celeba/000001.jpg" in done.stdout
    content = json.loads(CliRunner().invoke(app, ["data", "table1", *overrides, "--json"]).stdout)
    assert list(content) == list(SIZES)
    assert content["celeba"]["findings"]["pictures left out: the file is empty (0 bytes)"] == [
        "img_align_celeba/000001.jpg"
    ]
    assert content["celeba"]["private_pictures"] + content["celeba"]["public_pictures"] == 9 * 5 - 1
    planned = CliRunner().invoke(app, ["plan", "table1", *overrides])
    assert "celeba: 1 pictures left out, 0 people passed over; `decoygrid data SPEC`" in planned.stdout


def test_data_that_is_not_there_is_refused_by_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from grid.data_report import show_data

    with pytest.raises(SpecError, match="no LFW"):
        show_data("table1", ["dataset={name: lfw, size: 64}"], as_json=False)


def test_the_smoke_budget_runs_end_to_end(trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table II on all three datasets: an attack, the row without defense and ours."""
    monkeypatch.chdir(trees)
    chosen = ["attacks=[gmi]", "defenses=[none, gan_id]", "budget=smoke"]
    overrides = [part for value in (*on_trees("table2"), *SMALL, *chosen) for part in ("--set", value)]
    places = ["--store", str(tmp_path / "store"), "--tracking", "none", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["run", "table2", *overrides, *places, "--in-process", "--json"])
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["failed"] == {}
    rows = {(row["dataset"], row["defense"], row["attack"]) for row in content["rows"]}
    assert len(rows) == 3 * 2
    assert (tmp_path / "out" / "table2.md").exists()
