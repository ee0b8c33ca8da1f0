"""Which row of a grid is which column of the paper's tables, told by kind and settings, never by a name alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.paper_layout import AA, FID, MC_ALL, MC_TARGET, Metric
from analysis.records import Document
from tasks.defenses.dp import DP
from tasks.defenses.finetuning import GANDefense

_FOUR = (AA, MC_ALL, MC_TARGET, FID)
_STRIPPED = "stripped"


class Defended(NamedTuple):
    """One defense of a grid: its row's name, its name in the registry, and what tells variants apart."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    output: str
    position: int

    def of(self, setting: str) -> float:
        """A coefficient of eq. 10; where a record does not say, the default of the fine-tune, which is the paper's."""
        return float(self.settings.get(setting, GANDefense.model_fields[setting].default))

    @property
    def gan(self) -> str:
        """The structure of its substitute GAN; the paper's is a WGAN."""
        return str(self.settings.get("gan", "wgan"))

    @property
    def named_as_its_kind(self) -> bool:
        """No `as:`, no extension and no unusual way to meet it."""
        return self.name in (self.kind, f"{self.kind} through")

    @property
    def by_the_paper(self) -> bool:
        """A fine-tune by eq. 7-10 on both kinds of samples or on the private ones, without any extension."""
        form = self.settings.get("lpri", GANDefense.model_fields["lpri"].default)
        as_printed = form == "detached" or (self.of("gamma") == 0 and form != "unlikelihood")  # then all cross-entropy
        extended = self.of("replay") > 0 or self.of("rounds") > 1 or bool(self.settings.get("more_gans"))
        fisher = self.settings.get("fisher", "empirical") == "empirical" and self.of("fisher_augmented") == 0
        return as_printed and self.of("alpha") > 0 and fisher and not extended

    @property
    def consolidates(self) -> bool:
        """Whether L_CL has weight."""
        return self.of("omega") * self.of("lambda3") > 0

    @property
    def whole(self) -> bool:
        """All three terms of eq. 10."""
        return self.by_the_paper and self.of("beta") > 0 and self.consolidates

    @property
    def focal(self) -> bool:
        """The paper's default: all three terms with the focal loss."""
        return self.whole and self.of("gamma") > 0


class Slot(NamedTuple):
    """A column group that the paper prints: its name in `PAPER`, its heading, and which defense belongs there."""

    column: str
    heading: str
    fits: Callable[[Defended], bool]
    metrics: tuple[Metric, ...] = _FOUR


def _dp(d: Defended) -> bool:
    """DP-SGD as the paper's: epsilon 8, with clipping, on all layers, without public pretraining."""

    def given(setting: str) -> Any:
        return d.settings.get(setting, DP.model_fields[setting].default)

    from_scratch = given("pretraining") == "none" and given("layers") == "all"
    return d.kind == "dp" and from_scratch and given("max_grad_norm") is not None and given("epsilon") == 8


def _terms(kind: str) -> tuple[Slot, ...]:
    """The four columns of Tables IV and V for GAN-D or GAN-ID."""
    shown = {"gan_d": "GAN-D", "gan_id": "GAN-ID"}[kind]

    def fits(test: Callable[[Defended], bool]) -> Callable[[Defended], bool]:
        return lambda d: d.kind == kind and d.by_the_paper and d.gan == "wgan" and test(d)

    return (
        Slot("l_pri", "L_pri", fits(lambda d: d.of("beta") == 0 and not d.consolidates)),
        Slot("l_pri_l_pub", "L_pri + L_pub", fits(lambda d: d.of("beta") > 0 and not d.consolidates)),
        Slot("l_ce", f"{shown}(L_CE)", fits(lambda d: d.whole and d.of("gamma") == 0)),
        Slot("l_fl", f"{shown}(L_FL)", fits(lambda d: d.focal)),
    )


def _structure(gan: str, heading: str) -> Slot:
    return Slot(gan, heading, lambda d: d.kind == "gan_id" and d.focal and d.gan == gan)


# The paper prints MC, AA, FID of the undefended victim; its MC(l_t), which the others are to be compared with, is ours.
_ORIGINAL = Slot("original", "Original", lambda d: d.kind == "none", (MC_ALL, AA, FID, MC_TARGET))
_GAN_D = Slot("gan_d", "GAN-D", lambda d: d.kind == "gan_d" and d.focal)
_GAN_ID = Slot("gan_id", "GAN-ID", lambda d: d.kind == "gan_id" and d.focal and d.gan == "wgan")
SLOTS: Mapping[str, tuple[Slot, ...]] = {
    "table2": (
        _ORIGINAL,
        Slot("dp", "DP", _dp),
        Slot("ad_mi", "Ad-mi", lambda d: d.kind == "ad_mi" and not d.output.startswith(_STRIPPED)),
        _GAN_D,
        _GAN_ID,
    ),
    "table3": (
        Slot("random_fakes", "Random fake samples", lambda d: d.kind == "random_fakes" and d.focal),
        _GAN_D,
        _GAN_ID,
    ),
    "table4": _terms("gan_d"),
    "table5": _terms("gan_id"),
    "table6": (
        _ORIGINAL,
        _structure("infogan", "InfoGAN"),
        _structure("cgan", "CGAN"),
        _structure("wgan", "WGAN"),
    ),
}


def defended(document: Document) -> list[Defended]:
    """The defenses of a document's rows in its order, controls apart.

    Rows of records without a kind have it from the spec, where that renames a defense (`as:`), else from the name:
    `gan_id+ce` is gan_id.
    """
    renamed = _renamed(document)
    found: dict[str, Defended] = {}
    for row in document["rows"]:
        if row.get("control"):
            continue
        name, settings = str(row["defense"]), row.get("settings") or {}
        told = renamed.get(name) or renamed.get(name.rpartition(" ")[0]) or re.split("[+ ]", name)[0]
        kind = str(row.get("defense_kind") or ("none" if row.get("undefended") else told))
        output = str(row.get("output") or (_STRIPPED if name.endswith(_STRIPPED) else ""))
        found.setdefault(name, Defended(name, kind, settings, output, len(found)))
    return list(found.values())


def _renamed(document: Document) -> dict[str, str]:
    """Name in the registry by the name that the spec gives a defense with `as:`."""
    entries = (document.get("spec") or {}).get("defenses") or []
    named = [entry for entry in entries if isinstance(entry, Mapping) and entry.get("as")]
    return {str(entry["as"]): str(entry.get("name")) for entry in named}


def placed(slots: Sequence[Slot], defenses: Sequence[Defended]) -> tuple[list[Defended | None], list[Defended]]:
    """The defense of each slot (None: the grid has none), and those for which the paper has no column, in order.

    Where several fit, the one that is named as its kind is taken, else the first; the others are columns of ours.
    """
    chosen = []
    for slot in slots:
        fitting = [d for d in defenses if slot.fits(d)]
        chosen.append(min(fitting, key=lambda d: (not d.named_as_its_kind, d.position), default=None))
    return chosen, [d for d in defenses if d not in chosen]
