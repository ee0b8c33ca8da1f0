"""The real command with a user's mistakes, and stores that cannot be used: exit 2, one message, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from grid.places import open_store
from grid.problems import SpecError
from grid.store_files import StoreFiles
from tests.grid.specs import complaint, decoygrid, write


def test_the_command_says_it_all_and_exits_with_2(tmp_path: Path) -> None:
    spec = write(tmp_path, attacks=["gmj"], defenses=[{"name": "gan_id", "alpha": -1}], labels=[0, 99])
    text = complaint(decoygrid("run", spec, "--in-process", "--tracking", "none", cwd=tmp_path))
    assert "unknown attack 'gmj'; did you mean 'gmi'? choose one of: " in text
    assert "small.yaml:" in text
    assert "defenses[0].alpha" in text
    assert "label 99 is out of range" in text
    assert len(text.splitlines()) == 4
    assert not (tmp_path / ".decoygrid").exists()


def test_the_command_with_yaml_that_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("attacks: [gmi\ndefenses: none\n")
    text = complaint(decoygrid("plan", "bad.yaml", "--json", cwd=tmp_path))
    assert "bad.yaml:2" in text
    assert "is not valid YAML" in text


def test_the_command_with_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    spec = write(tmp_path)
    text = complaint(decoygrid("run", spec, "--in-process", "--store", "taken", "--tracking", "none", cwd=tmp_path))
    assert "--store" in text
    assert "cannot be written" in text


def test_the_command_with_weights_that_do_not_fit(tmp_path: Path) -> None:
    save_file({"module.classifier.bias": torch.zeros(3)}, tmp_path / "w.safetensors")
    spec = write(tmp_path, victim={"arch": "vgg16", "width": 0.0625, "weights": "w.safetensors"})
    text = complaint(decoygrid("run", spec, "--in-process", "--store", "s", "--tracking", "none", cwd=tmp_path))
    assert "victim.weights" in text
    assert "do not fit vgg16 (width 0.0625, 1x32x32, 5 labels)" in text
    assert "body.0.bias is missing" in text


@pytest.mark.parametrize("writable", [True, False])
def test_a_store_that_is_a_file(tmp_path: Path, writable: bool) -> None:
    """`plan` and `status` only read (`writable=False`), and must answer just as well."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError) as caught:
        open_store(str(tmp_path / "file"), writable=writable)
    assert caught.value.problems[0].place.startswith("--store")


def test_a_read_only_store_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(StoreFiles, "write", refuse)
    with pytest.raises(SpecError, match=r"cannot be written .*Permission denied"):
        open_store(str(tmp_path / "store"))
