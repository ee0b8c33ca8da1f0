"""Defenses by name. A new defense is its file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry import Registry

if TYPE_CHECKING:
    from tasks.defenses.defense import Defense

DEFENSES: Registry[Defense] = Registry(
    {
        "mid": "tasks.defenses.mid:MID",
        "ad_mi": "tasks.defenses.ad_mi:AdMI",
        "purifier": "tasks.defenses.purifier:Purification",
        "none": "tasks.defenses.none:NoDefense",
        "gan_d": "tasks.defenses.gan_d:GAND",
        "gan_id": "tasks.defenses.gan_id:GANID",
        "random_fakes": "tasks.defenses.random_fakes:RandomFakes",
        "dp": "tasks.defenses.dp:DP",
    }
)
