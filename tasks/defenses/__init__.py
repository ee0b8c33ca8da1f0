"""Defenses by name. A new defense is its file and one line here."""

from tasks.defenses.defense import Defense
from tasks.defenses.gan_id import GANID
from tasks.defenses.none import NoDefense

DEFENSES: dict[str, type[Defense]] = {
    "none": NoDefense,
    "gan_id": GANID,
}
