"""What is wrong with a spec's data, labels, decoys and files, in the same breath as what is wrong with its text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from grid.problems import Problem, join_place
from tasks.data.dataset import Catalogue, DataProblemsError
from tasks.data.split import Audience, Split
from tasks.gan import GANS
from tasks.gan.gan import GANChoice
from tasks.gan.given import GivenGAN
from tasks.models.classifier import GivenClassifier

if TYPE_CHECKING:
    from grid.spec import DatasetChoice, Spec, VictimChoice

_WEIGHTS = ("weights", "critic_weights")


def data_problems(spec: Spec) -> list[Problem]:
    """Look at every dataset and file that a spec names. Loads torch only if the user brings weights."""
    problems: list[Problem] = []
    for choice in spec.datasets:
        try:
            catalogue = spec.catalogue(choice)
        except DataProblemsError as error:
            problems += [Problem(join_place(choice.place, p.field), p.message) for p in error.problems]
            continue
        problems += _label_problems(spec, catalogue)
        problems += _size_problems(spec, choice)
        problems += _given_gan_problems(spec, choice, catalogue)
        for victim in spec.victims:
            problems += _victim_problems(spec, victim, catalogue, choice.dataset.size)
    if spec.inception_weights is not None:
        problems += _inception_problems(find_file(spec.inception_weights, spec.folder))
    return problems


def find_file(path: str, base: Path) -> Path:
    """A user's path, from the current folder or else from the spec's."""
    here = Path(path).expanduser()
    return here if here.is_absolute() or "\0" in path or here.exists() else base / here


def _size_problems(spec: Spec, choice: DatasetChoice) -> list[Problem]:
    """An image size that one of the GANs cannot paint."""
    gans = [attack.parts["gan"] for attack in spec.attacks if "gan" in attack.parts]
    gans += [gan for entry in spec.defenses for gan in entry.defense.generators]
    size = choice.dataset.size
    return [
        Problem(
            join_place(choice.place, "size"), f"{name} cannot paint {size} pixels; it can {_listed(GANS[name].sizes)}"
        )
        for name in sorted({gan.name for gan in gans})
        if size % 32 == 0 and size not in GANS[name].sizes
    ]


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))


def _label_problems(spec: Spec, catalogue: Catalogue) -> list[Problem]:
    """Labels and decoys that the dataset does not have."""
    last, decoys = len(catalogue.private) - 1, len(catalogue.public[::2])
    problems = [
        Problem("labels", f"label {label} is out of range; the private people have labels 0..{last}")
        for label in spec.labels or ()
        if label > last
    ]
    for label, decoy in spec.decoys.items():
        if not 0 <= label <= last:
            problems.append(Problem(f"decoys.{label}", f"label {label} is out of range; there are 0..{last}"))
        elif spec.labels is not None and label not in spec.labels:
            text = f"label {label} is not protected; labels: {', '.join(map(str, spec.labels))}"
            problems.append(Problem(f"decoys.{label}", text))
        if not 0 <= decoy < decoys:
            text = f"decoy {decoy} is out of range; the public classifier has labels 0..{decoys - 1}"
            problems.append(Problem(f"decoys.{label}", text))
    return problems


def _given_gan_problems(spec: Spec, choice: DatasetChoice, catalogue: Catalogue) -> list[Problem]:
    """Generators that the user brings: settings, files, and whether the weights fit."""
    halves: dict[Audience, tuple[str, ...]] = {"attacker": catalogue.public[1::2], "defender": catalogue.public[::2]}
    named: list[tuple[Audience, str, GANChoice]] = [
        ("attacker", join_place(a.place, "gan"), a.parts["gan"])
        for a in spec.attacks
        if "gan" in a.parts and not a.control
    ]
    named += [("defender", join_place(d.place, "gan"), gan) for d in spec.defenses for gan in d.defense.generators]
    problems: list[Problem] = []
    for side, place, gan in named:
        if not issubclass(GANS[gan.name], GivenGAN) or "weights" not in gan.settings:
            continue
        files = {name: find_file(gan.settings[name], spec.folder) for name in _WEIGHTS if gan.settings.get(name)}
        unreadable = [p for name, path in files.items() for p in _file_problems(path, join_place(place, name))]
        data = choice.dataset.split(catalogue, halves[side], "all", side)
        problems += unreadable or _gan_misfits(place, gan, files, data)
    return problems


def _gan_misfits(place: str, gan: GANChoice, files: Mapping[str, Path], data: Split) -> list[Problem]:
    """Loads torch."""
    try:
        stage = GivenGAN(data=data, **{**gan.settings, **dict.fromkeys(files, "unread")})
    except ValidationError as error:
        return [Problem(place, str(e["ctx"]["error"]) if "ctx" in e else e["msg"]) for e in error.errors()]
    from tasks.gan.adopting import gan_misfits

    if broken := [p for name, path in files.items() for p in _broken(path, join_place(place, name))]:
        return broken
    weights = files["weights"]
    misfits = gan_misfits(stage, weights, files.get("critic_weights"))
    text = f"the weights in {weights} do not fit {stage.structure} ({data.channels}x{data.size}x{data.size})"
    return [Problem(join_place(place, "weights"), f"{text}: {'; '.join(misfits)}")] if misfits else []


def _broken(path: Path, place: str) -> list[Problem]:
    """A file that is no safetensors file."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt"):
            return []
    except Exception as error:  # noqa: BLE001  a broken file may fail in any way
        return [Problem(place, f"{path} is not a safetensors file ({error})")]


def _victim_problems(spec: Spec, victim: VictimChoice, catalogue: Catalogue, size: int) -> list[Problem]:
    """Weights that cannot be read, are no safetensors file, or do not fit the named network."""
    if victim.weights is None:
        return []
    place = join_place(victim.place, "weights")
    path = find_file(victim.weights, spec.folder)
    if found := _file_problems(path, place):
        return found
    fields = {name: victim.settings[name] for name in ("arch", "width") if name in victim.settings}
    stage = GivenClassifier(weights="", people=catalogue.private, channels=catalogue.channels, size=size, **fields)
    from tasks.models.training import weight_problems

    try:
        misfits = weight_problems(stage, path)
    except Exception as error:  # noqa: BLE001  a broken file may fail in any way
        return [Problem(place, f"{path} is not a safetensors file ({error})")]
    if not misfits:
        return []
    shown = "; ".join(misfits)
    what = f"{stage.arch} (width {stage.width:g}, {stage.channels}x{size}x{size}, {len(stage.people)} labels)"
    return [Problem(place, f"the weights in {path} do not fit {what}: {shown}")]


def _inception_problems(path: Path) -> list[Problem]:
    """A file that is not pytorch-fid's Inception weights. Loads torch."""
    if found := _file_problems(path, "inception_weights"):
        return found
    from tasks.metrics.inception import WEIGHTS_NAME, load_inception

    try:
        load_inception(path)
    except Exception as error:  # noqa: BLE001  a broken file may fail in any way
        text = f"{path} is not pytorch-fid's weights file {WEIGHTS_NAME} ({str(error).splitlines()[0]})"
        return [Problem("inception_weights", text)]
    return []


def _file_problems(path: Path, place: str) -> list[Problem]:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        return [Problem(place, f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}")]
    return []
