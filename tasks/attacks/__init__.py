"""Attacks by name. A new attack is its file and one line here; the contract tests pick it up."""

from tasks.attacks.attack import Attack
from tasks.attacks.gmi import GMI
from tasks.attacks.privacy import Privacy

ATTACKS: dict[str, type[Attack]] = {
    "gmi": GMI,
    "privacy": Privacy,
}
