"""Small trees with the exact layout of each real archive, written for tests: faces of noise, and all the traps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

PEOPLE, COUNT = 12, 6
_META = "Class_ID, Name, Sample_Num, Flag, Gender"


def face(person: int, index: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A smooth picture: the same blobs for a person, a little noise of its own."""
    own, moment = np.random.default_rng(person), np.random.default_rng([person, index])
    coarse = own.integers(40, 215, (5, 5, 3)) + moment.integers(-20, 20, (5, 5, 3))
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: object) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90, **options)
    return buffer.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def celeba(data: Path, people: int = PEOPLE, count: int = COUNT) -> Path:
    """data/celeba as torchvision has it: people dealt in turn over the numbered, aligned pictures (178x218)."""
    root = data / "celeba"
    identities, partition = [], []
    for number in range(people * count):
        person, index = number % people, number // people
        name = f"{number + 1:06d}.jpg"
        put(root / "img_align_celeba" / name, jpeg(face(person, index, (178, 218))))
        identities.append(f"{name} {person + 1}")
        partition.append(f"{name} {index % 3}")
    (root / "identity_CelebA.txt").write_text("\n".join(identities) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    for name in ("list_attr_celeba.txt", "list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (root / name).write_text("0\n")
    return root


def vggface(data: Path, people: int = PEOPLE, count: int = COUNT) -> Path:
    """data/vggface: files/PERSON.txt with addresses and boxes, images/PERSON/ID.jpg; the last address is dead."""
    root = data / "vggface"
    for person in range(people):
        name = f"Person_{chr(65 + person)}"
        lines = []
        for index in range(count + 1):
            rest = f"40.5 20.25 120.5 100.25 3.00 2.{index} {index % 2}"
            lines.append(f"{index + 1:08d} http://example.org/a%20b/{index}.jpg {rest}")
            if index < count:
                put(root / "images" / name / f"{index + 1:08d}.jpg", jpeg(around(face(person, index, (80, 80)))))
        put(root / "files" / f"{name}.txt", ("\n".join(lines) + "\n").encode())
    return root


def around(inner: Image.Image) -> Image.Image:
    """A larger white picture with the face where the lists of `vggface` say."""
    whole = Image.new("RGB", (200, 150), (255, 255, 255))
    whole.paste(inner, (40, 20))
    return whole


def vggface2(data: Path, people: int = PEOPLE, count: int = COUNT) -> Path:
    """data/vggface2: train/n000002/0001_01.jpg, identity_meta.csv with the quirks of the real one."""
    root = data / "vggface2"
    lines = [_META, f'n000001, "14th_Dalai_Lama",{count},0, m,']
    for person in range(people):
        key = f"n{person + 2:06d}"
        for index in range(count):
            put(root / "train" / key / f"{index + 1:04d}_01.jpg", jpeg(face(person, index, (90 + index, 120))))
        lines.append(f'{key}, "A, Fine_Frenzy {person}",{count},1, f{"," if person % 2 else ""}')
    put(root / "test" / "n000001" / "0001_01.jpg", jpeg(face(999, 0)))
    (root / "identity_meta.csv").write_text("\n".join(lines) + "\n")
    return root


def lfw(data: Path, people: int = PEOPLE, count: int = COUNT) -> Path:
    """data/lfw-py as torchvision has it; beside people with `count` pictures one with a single one."""
    root = data / "lfw-py"
    names = []
    for person in range(people + 1):
        name = f"Name_{chr(65 + person)}"
        pictures = count if person < people else 1
        for index in range(pictures):
            picture = jpeg(face(person, index, (250, 250)))
            put(root / "lfw-deepfunneled" / name / f"{name}_{index + 1:04d}.jpg", picture)
        names.append(f"{name}\t{pictures}")
    (root / "lfw-names.txt").write_text("\n".join(names) + "\n")
    return root


TREES: dict[str, Callable[..., Path]] = {"celeba": celeba, "vggface": vggface, "vggface2": vggface2, "lfw": lfw}
PICTURES = {"celeba": "img_align_celeba", "vggface": "images", "vggface2": "train", "lfw": "lfw-deepfunneled"}


def pictures(name: str, root: Path) -> list[Path]:
    """All picture files of a tree."""
    return sorted((root / PICTURES[name]).rglob("*.jpg"))


def of_person(name: str, root: Path, person: str) -> Sequence[Path]:
    """The picture files of a person, as the archive's annotation has it."""
    if name != "celeba":
        return sorted((root / PICTURES[name] / person).iterdir())
    lines = (line.split() for line in (root / "identity_CelebA.txt").read_text().splitlines())
    return [root / PICTURES[name] / picture for picture, identity in lines if int(identity) == int(person)]
