"""`decoygrid list`: what can stand in a spec, from the registries and the fields' own descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from grid.cli import emit_json
from grid.entries import settings_model
from grid.problems import Problem, SpecError, choices
from grid.search_space import Domain, load_space
from grid.search_space_file import SPACES, about_space, space_names
from grid.spec_source import BUDGETS, SPECS
from tasks.attacks import ATTACKS
from tasks.attacks.attack import Attack, GeneratorAttack
from tasks.data import DATASETS
from tasks.defenses import DEFENSES
from tasks.gan import GANS
from tasks.gan.gan import GANChoice
from tasks.stage import Stage

METRICS = {
    "aa_top1, aa_top5": "attack accuracy by F_E (eq. 12): share of attack images it takes for l_t; top 5 likewise",
    "aa_top1_second, aa_top5_second": "the same by the second evaluator, which may be used for selection",
    "mc_all": "accuracy of the target on the whole test split (eq. 11)",
    "mc_target": "accuracy of the target on the test images of the protected labels",
    "feat_mean_sqdist": "squared distance of mean F_E features of inverted and private images (eq. 13)",
    "frechet_evaluator": "Frechet distance (pytorch-fid's formula) of F_E features, over a row's images",
    "fid_inception": "pytorch-fid on Inception features, if its weights are there",
    "knn_sqdist": "squared F_E feature distance to the nearest private training picture of l_t",
    "diversity": "mean squared F_E feature distance between two attack images of a label",
    "target_confidence": "share of attack images that the target, without an output wrapper, gives l_t with p >= 0.9",
    "setup_queries": "images sent to the target while the attack's own GAN or decoder was trained",
    "reruns, reruns_counted": "cells whose attack had not converged and ran again; those where the second run counts",
    "frechet, density, coverage": "of a GAN: its samples against its public images, in a judge's features (gans.csv)",
    "evaluator_accuracy, second_accuracy": "test accuracy of the evaluators themselves, on which every AA stands",
    "passes, queries": "forward and backward passes, and forward passes alone, of one sample through the target",
}


def show_list(what: str, *, as_json: bool) -> None:
    """Print one registry with every setting; SpecError for an unknown one."""
    listings: dict[str, Callable[[], dict[str, Any]]] = {
        "attacks": lambda: {name: _describe(kind) for name, kind in ATTACKS.items()},
        "defenses": lambda: {name: _describe(kind) for name, kind in DEFENSES.items()},
        "gans": lambda: {name: _describe(kind) for name, kind in GANS.items()},
        "datasets": lambda: {name: _describe(kind) for name, kind in DATASETS.items()},
        "metrics": lambda: {name: {"about": text, "settings": {}} for name, text in METRICS.items()},
        "spaces": lambda: {name: _describe_space(name) for name in space_names()},
        "budgets": lambda: {p.stem: _about_file(p.read_text()) for p in sorted(BUDGETS.glob("*.yaml"))},
        "specs": lambda: {p.stem: _about_file(p.read_text()) for p in sorted(SPECS.glob("*.yaml"))},
    }
    if what not in listings:
        raise SpecError([Problem("list", choices(what, listings, what="list"))])
    content = listings[what]()
    if not content and not as_json:
        print(f"there are no {what} yet")  # noqa: T201
    if as_json:
        emit_json(content)
        return
    console = Console(highlight=False)
    for name, entry in content.items():
        console.print(Text(name, style="bold"), Text(entry["about"]))
        if entry["settings"]:
            console.print(_settings_table(entry["settings"]))


def _describe(kind: type[BaseModel]) -> dict[str, Any]:
    about = (kind.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
    settings = _settings(settings_model(kind) if issubclass(kind, Stage) else kind)
    if issubclass(kind, GeneratorAttack):
        settings |= _gan("gan", kind.default_gan, "the attacker's GAN, trained on the attacker's public images")
    for name, part in kind.parts.items() if issubclass(kind, Attack) else ():
        inner = settings_model(part)
        settings[name] = {"default": inner().model_dump(), "about": "what the attack trains for itself"}
        settings |= _settings(inner, f"{name}.")
    return {"about": about, "settings": settings}


def _settings(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every setting by its path in a spec, `fakes.count`; default and meaning of each."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        default, about = field.get_default(call_default_factory=True), field.description or ""
        if isinstance(default, GANChoice):
            found |= _gan(prefix + name, default.name, about)
            continue
        found[prefix + name] = {
            "default": None if field.is_required() else _plain(default),
            "about": f"{about}; must be given" if field.is_required() else about,
        }
        if isinstance(default, BaseModel):
            found |= _settings(type(default), f"{prefix}{name}.")
    return found


def _gan(name: str, structure: str, about: str) -> dict[str, Any]:
    """A GAN may be given by its structure's name, or as a mapping with the structure's own settings."""
    return {
        name: {"default": {"name": structure, "settings": {}}, "about": about},
        f"{name}.name": {
            "default": structure,
            "about": "structure; `decoygrid list gans` has the others, and the settings that may stand beside it",
        },
    }


def _plain(value: object) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _about_file(text: str) -> dict[str, Any]:
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    return {"about": comments[0] if comments else "", "settings": {}}


def _describe_space(name: str) -> dict[str, Any]:
    """A shipped search space: its keys with range and reason. Loads ray.tune."""
    space = load_space(name)
    settings = {
        key: {"default": _range(domain), "about": space.reasons.get(key, "")} for key, domain in space.domains.items()
    }
    return {"about": about_space(SPACES / f"{name}.py"), "settings": settings}


def _range(domain: Domain) -> str:
    """`0.3 .. 10 log`, `a | b`, or a constant."""
    if domain.values:
        return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in domain.values)
    low, high = domain.ends()
    return f"{low:g} .. {high:g}{' log' if domain.log else ''}"


def _settings_table(settings: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name, setting in settings.items():
        default = setting["default"]
        table.add_row(
            "",
            name,
            Text("" if default is None or isinstance(default, dict) else str(default)),
            Text(setting["about"]),
        )
    return table
