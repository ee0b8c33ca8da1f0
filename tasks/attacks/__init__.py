"""Attacks by name. A new attack is its file and one line here; the contract tests pick it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry import Registry

if TYPE_CHECKING:
    from tasks.attacks.attack import Attack

ATTACKS: Registry[Attack] = Registry(
    {
        "gmi": "tasks.attacks.gmi:GMI",
        "dmi": "tasks.attacks.dmi:DMI",
        "mirror": "tasks.attacks.mirror:Mirror",
        "mirror_bb": "tasks.attacks.mirror_bb:MirrorBB",
        "ami": "tasks.attacks.ami:AMI",
        "deepinversion": "tasks.attacks.deepinversion:DeepInversion",
        "privacy": "tasks.attacks.privacy:Privacy",
    }
)
