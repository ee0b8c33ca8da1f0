from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.report import read_report, write_report
from grid.store import Store


def test_all_files_are_written_and_equal_the_second_time(
    document: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    first = write_report(document, store, tmp_path / "a")
    assert sorted(first) == [
        "faces-gmi.png",
        "labels.csv",
        "paired.csv",
        "paired.md",
        "report.html",
        "table.csv",
        "table.md",
        "table.tex",
    ]
    second = write_report({**document, "written": 2.0}, Store(store.location), tmp_path / "b")
    assert {name: path.read_bytes() for name, path in first.items()} == {
        name: path.read_bytes() for name, path in second.items()
    }


def test_only_the_formats_asked_for(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    assert sorted(write_report(document, store, tmp_path, ["csv"])) == [
        "faces-gmi.png",
        "labels.csv",
        "paired.csv",
        "paired.md",
        "table.csv",
    ]
    with pytest.raises(ValueError, match="unknown format pdf; choose from table, markdown, latex, csv, html"):
        write_report(document, store, tmp_path, ["pdf"])


def test_the_page_holds_picture_and_settings(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    text = write_report(document, store, tmp_path, ["html"])["report.html"].read_text()
    assert text.count("data:image/png;base64,") == 1
    assert "defense gan_id+replay: alpha = 1.0, replay = 1.0" in text
    assert "attack gmi: steps = 120" in text


def test_records_without_images_give_the_same_table(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    whole = write_report(document, store, tmp_path / "a")
    for path in (tmp_path / "store").rglob("*.safetensors"):
        path.unlink()
    bare = write_report(document, Store(str(tmp_path / "store")), tmp_path / "b")
    assert "faces-gmi.png" not in bare
    for name in ("table.csv", "table.md", "table.tex", "labels.csv"):
        assert bare[name].read_bytes() == whole[name].read_bytes()


def test_an_empty_store_is_reported_not_raised(document: dict[str, Any], tmp_path: Path) -> None:
    empty = Store(str(tmp_path / "empty"))
    report = read_report(document, empty)
    assert [row.images for row in report.rows] == [0, 0, 0]
    assert len(report.missing) == 15
    assert sorted(write_report(document, empty, tmp_path / "out")) == [
        "labels.csv",
        "paired.csv",
        "paired.md",
        "report.html",
        "table.csv",
        "table.md",
        "table.tex",
    ]


def test_a_control_is_named(document: dict[str, Any], store: Store) -> None:
    document["rows"].append({**document["rows"][0], "attack": "gmi_untrained", "control": True})
    notes = [remark.text for remark in read_report(document, store).remarks]
    assert "Control (untrained generator): none / gmi_untrained; believe a high AA only beside it." in notes


def test_analysis_loads_neither_torch_nor_ray_nor_mlflow() -> None:
    names = sorted(path.stem for path in Path(analysis.__path__[0]).glob("*.py"))
    modules = ["analysis" if name == "__init__" else f"analysis.{name}" for name in names]
    code = "import importlib, sys\n" + "".join(f"importlib.import_module({name!r})\n" for name in modules)
    code += "print([n for n in ('torch', 'ray', 'mlflow', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_whole_report_loads_neither_torch_nor_ray(document: dict[str, Any], store: Store, tmp_path: Path) -> None:
    import json

    (tmp_path / "document.json").write_text(json.dumps(document))
    code = (
        "import json, sys; from pathlib import Path; from grid.store import Store;"
        "from analysis.report import write_report;"
        f"write_report(json.loads(Path({str(tmp_path / 'document.json')!r}).read_text()),"
        f" Store({store.location!r}), Path({str(tmp_path / 'out')!r}));"
        "print([n for n in ('torch', 'ray', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
