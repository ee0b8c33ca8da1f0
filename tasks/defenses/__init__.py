"""Defenses by name. A new defense is its file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry import Registry

if TYPE_CHECKING:
    from tasks.defenses.defense import Defense

DEFENSES: Registry[Defense] = Registry(
    {
        "none": "tasks.defenses.none:NoDefense",
        "gan_id": "tasks.defenses.gan_id:GANID",
        "gan_d": "tasks.defenses.gan_d:GAND",
        "random_fakes": "tasks.defenses.random_fakes:RandomFakes",
        "dp": "tasks.defenses.dp:DP",
        "ad_mi": "tasks.defenses.ad_mi:AdMI",
        "mid": "tasks.defenses.mid:MID",
        "purifier": "tasks.defenses.purifier:Purification",
    }
)
