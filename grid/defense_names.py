"""What rows of defenses are called: their own honest name, or one of the user's that is no other defense's."""

from __future__ import annotations

import re
import unicodedata
from typing import get_args

from tasks.defenses import DEFENSES
from tasks.defenses.defense import Defense
from tasks.gan import GANS
from tasks.models.wrapped import Gradient

# The words that the grid itself puts behind a defense's name (a test asks every defense for more).
EXTENSIONS = (
    "replay",
    "ce",
    "lpri_ce",
    "literal",
    "unlikelihood",
    "no_l_pri",
    "no_l_pub",
    "no_l_cl",
    "fisher_sampled",
    "fisher_augmented",
    *(f"{gan}_fakes" for gan in GANS),
    "synthetic_decoys",
    "public_pretraining",
    "head_only",
    "epsilon_inf",
    "no_clip",
    "no_kl",
    "sampled",
)
SUFFIXES = ("through", "stripped", *get_args(Gradient))
_ROUNDS = re.compile(r"rounds\d+")


def honest_name(kind: str, defense: Defense) -> str:
    """The registry's name and what goes beyond the published defense: `gan_id+replay`."""
    return "+".join((kind, *defense.extensions))


def row_names(kind: str, defense: Defense, shown: str | None) -> list[str]:
    """The names of an entry's rows, in the order of its variants; `shown` is what the user calls it."""
    base, suffixes = shown or honest_name(kind, defense), [suffix for suffix, _ in defense.variants]
    if len(suffixes) == 1:
        base = base.removesuffix(suffixes[0])  # `as: ad_mi stripped` of a row that is that
    return [base + suffix for suffix in suffixes]


def name_problem(kind: str, defense: Defense, shown: str) -> str | None:
    """Why an entry may not be called so; None if it may.

    A name of the form that the grid makes, `<registry name>` with its extensions and suffixes in any spelling, must
    be what the grid would call the entry; and no name begins with another defense's. `gan_id cgan` is the user's own.
    """
    first, *rest = words(shown) or [""]
    named = {name for known in DEFENSES for name in words(known)}
    if first not in named:
        return None
    own = row_names(kind, defense, None)
    told = f"leave `as:` out (it is then {' and '.join(map(repr, own))}) or choose a name of your own"
    if first not in words(kind):
        return f"{shown!r} begins like another defense, {first!r}, but this is {kind!r}; {told}"
    honest = [set(defense.extensions)]
    if len(own) == 1:
        honest.append(set(words(own[0])[1:]))
    if not rest and defense.extensions:
        extensions = ", ".join(defense.extensions)
        return f"{shown!r} means the published defense; with {extensions} name it {honest_name(kind, defense)!r}"
    if all(_is_the_grids(word) for word in rest) and set(rest) not in honest:
        return f"{shown!r} is what the grid calls another row; {told}"
    return None


def words(name: str) -> list[str]:
    """A name's words as they are compared: `GAN-ID + ce` is gan_id and ce."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", name).casefold().replace("-", "_"))


def _is_the_grids(word: str) -> bool:
    return word in EXTENSIONS or word in SUFFIXES or _ROUNDS.fullmatch(word) is not None
