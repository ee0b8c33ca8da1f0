"""Imports go one way, heavy packages are loaded late, and adding an attack is its file and one line."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_tree import PACKAGES, REPOSITORY, Import, imports, modules, tree

BELOW = {  # what a package may import of the others
    "tasks": {"tasks"},
    "search_spaces": {"search_spaces", "tasks"},
    "grid": {"grid", "search_spaces", "tasks"},
    "analysis": {"analysis", "grid", "tasks"},
}
# lazily: the command line and the caller of the mirror
CALLERS_OF_ANALYSIS = {"grid.cli", "grid.commands", "grid.search_pages"}
REGISTRIES = {"tasks.attacks": "ATTACKS", "tasks.data": "DATASETS", "tasks.defenses": "DEFENSES", "tasks.gan": "GANS"}


def package(name: str) -> str:
    return name.split(".")[0]


def every_import() -> Iterator[Import]:
    for module in modules():
        yield from imports(module)


def importers(name: str) -> set[str]:
    return {i.module for i in every_import() if package(i.target) == name}


def test_the_tree_is_found() -> None:
    assert {package(module) for module in modules()} == set(PACKAGES)
    assert Import("grid.runner", "tasks.stage", 1, False)._replace(line=0) in {
        i._replace(line=0) for i in imports("grid.runner")
    }
    assert any(i.target == "tasks.gan.play" and i.lazy for i in imports("tasks.gan.wgan"))
    assert any(i.target == "torch" and i.lazy for i in imports("grid.runner"))


def test_imports_go_one_way() -> None:
    breaches = [
        f"{i.module}:{i.line} imports {i.target}"
        for i in every_import()
        if package(i.target) in PACKAGES
        and package(i.target) not in BELOW[package(i.module)]
        and not (i.lazy and package(i.target) == "analysis" and i.module in CALLERS_OF_ANALYSIS)
    ]
    assert breaches == []


def test_nothing_imports_the_tests() -> None:
    assert importers("tests") == set()


def test_ray_is_imported_in_its_places_and_late() -> None:
    searching = {module for module in modules() if module.startswith(("search_spaces", "grid.search"))}
    assert importers("ray") <= searching | {"grid.ray_executor", "grid.doctor_cluster"}
    eager = [i for i in every_import() if package(i.target) == "ray" and not i.lazy]
    assert {package(i.module) for i in eager} <= {"search_spaces"}, "a space is a plain file that needs tune at once"


def test_a_space_is_read_only_when_it_is_asked_for() -> None:
    """Each imports ray.tune, so no module may import one; they are found by their files."""
    spaces = [module for module in modules() if module.startswith("search_spaces.")]
    assert spaces
    assert [i for i in every_import() if i.target in spaces] == []


def test_mlflow_is_imported_in_one_place_and_late() -> None:
    assert len(importers("mlflow")) <= 1
    assert [i for i in every_import() if package(i.target) == "mlflow" and not i.lazy] == []


@pytest.mark.parametrize("name", ["torch", "torchvision", "ray", "mlflow"])
def test_analysis_needs_none_of_the_heavy_packages(name: str) -> None:
    assert [module for module in importers(name) if package(module) == "analysis"] == []


def test_stages_are_defined_without_torch() -> None:
    """A module that defines a stage, or a dataset or a defense of a spec, is imported by the planner."""
    for module in modules():
        bases = {base for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef) for base in _bases(node)}
        if bases & {
            "Stage",
            "ComputeStage",
            "Model",
            "GAN",
            "Attack",
            "WhiteBoxAttack",
            "BlackBoxAttack",
            "GeneratorAttack",
            "TrainedGAN",
            "TargetGAN",
            "Split",
            "ArchiveSplit",
            "Dataset",
            "ArchiveDataset",
            "Defense",
            "FinetuneDefense",
            "GANDefense",
            "WrapperDefense",
            "Samples",
            "Wrapped",
        }:
            eager = [i for i in imports(module) if not i.lazy]
            heavy = {"torch", "torchvision", "numpy", "PIL", "pyarrow", "safetensors"}
            assert [i for i in eager if package(i.target) in heavy] == [], module


def _bases(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        if isinstance(base, ast.Name):
            yield base.id


def test_no_pickle_no_global_randomness() -> None:
    banned = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
    assert {i.module for i in every_import() if package(i.target) in banned} == set()
    for module in modules():
        if package(module) != "tasks":
            continue
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                text = ast.unparse(node)
                explicit = {"np.random.default_rng", "np.random.Generator", "np.random.Philox"}
                assert not text.startswith("np.random.") or text in explicit, f"{module}: {text}"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plan", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from grid.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = ['torch', 'torchvision', 'ray', 'mlflow', 'pyarrow', 'numpy', 'PIL', 'matplotlib']\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("module", REGISTRIES)
def test_a_registry_is_a_literal_dict_with_a_line_per_entry(module: str) -> None:
    """So adding one touches its file and one line here, and nothing fills a registry behind one's back."""
    (value,) = [
        node.value
        for node in tree(module).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == REGISTRIES[module]
    ]
    literal = value.args[0] if isinstance(value, ast.Call) else value
    assert isinstance(literal, ast.Dict)
    names = [ast.literal_eval(key) for key in literal.keys if key is not None]
    lines = [key.lineno for key in literal.keys if key is not None]
    assert len(names) == len(literal.keys) == len(set(names)) == len(set(lines))
    assert all(name == name.lower() and " " not in name and "-" not in name for name in names)


def mentions(word: str) -> list[str]:
    """Places in the packages' code and YAML that name a word as a whole string."""
    found = []
    for module in modules():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Constant) and node.value == word:
                found.append(module)
    return found


def test_an_attack_is_named_in_its_file_and_in_one_line() -> None:
    """Nothing but the registry and the attack itself (`kind`) knows an attack by name."""
    from tasks.attacks import ATTACKS

    for name, attack in ATTACKS.items():
        assert set(mentions(name)) == {"tasks.attacks", attack.__module__}
        assert mentions(name).count("tasks.attacks") == 1


def test_every_package_is_shipped() -> None:
    import tomllib

    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    inits = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert set(settings["tool"]["setuptools"]["packages"]) == inits
