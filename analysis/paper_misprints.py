"""Where Gong et al. (IEEE TIFS 2023) contradict themselves: a footnote for each cell of Tables II-VI concerned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from analysis.paper_values import Place

_AA, _MC_ALL, _MC_TARGET, _FID = "aa_top1", "mc_all", "mc_target", "feat_mean_sqdist"


class Misprint(NamedTuple):
    """A footnote and the cells of one table that it speaks of; an empty tuple stands for all there are."""

    table: str
    text: str
    columns: tuple[str, ...]
    fields: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()

    def concerns(self, place: Place, field: str) -> bool:
        """Whether the cell at `place`, measure `field`, is among them."""
        among = ((self.datasets, place.dataset), (self.attacks, place.attack))
        named = self.table == place.table and place.column in self.columns and field in self.fields
        return named and all(not some or one in some for some, one in among)


_ORIGINAL = (
    "The paper's heading is MC(l_t), but the numbers are MC(all): those of Table I, and so headed in Table VI. "
    "It prints no MC(l_t) of the original."
)
_SUSPICIOUS = (
    "48% for a search in pixel space, against 0% on both other datasets: suspicious, and not explained in the paper."
)
_CE_FID = (
    "The text says 98 to 174, 163 to 273 and 78 to 199: those are the cross-entropy runs of Table IV. This table "
    "holds the focal ones."
)
_CE_TABLE = (
    "Equal to {} of Table {}, the cross-entropy runs, though the text says that the focal loss is the default. The "
    "focal runs are in Table II."
)
_LOWER_FID = "Lower with the focal loss ({}), though the text says that the focal loss enhances FID."
_NOT_SUPERIOR = (
    "With cross-entropy it is 170 (CelebA), 238 (VGG-Face) and 244 (VGG-Face2), nowhere lower: the superior defense "
    "that the text sees in the focal loss is not supported on DMI."
)
_COPIED_FID = (
    "The FID of L_pri + L_pub is the same in Table IV (GAN-D) and in Table V (GAN-ID) for DMI and Mirror on all three "
    "datasets, although AA and MC differ."
)
_DROPS = (  # table, column, dataset, attack; MC(all) of the undefended victim and of GAN-D
    ("table2", "gan_d", "vggface2", "AMI", 92.03, 88.21),
    ("table3", "gan_d", "celeba", "Mirror", 87.46, 84.46),
    ("table4", "l_ce", "celeba", "Mirror", 87.46, 84.46),
    ("table4", "l_ce", "vggface2", "Mirror", 92.03, 88.35),
    ("table4", "l_ce", "vggface2", "AMI", 92.03, 87.94),
    ("table4", "l_fl", "vggface2", "AMI", 92.03, 88.21),
)
_DIFFERS = "Two values of one and the same setting: 379 in Table II (GAN-ID), 419 in Table VI (WGAN)."


def _drop(table: str, column: str, dataset: str, attack: str, before: float, after: float) -> Misprint:
    """GAN-D: "less than a 3% reduction ... for almost all cases" (VI-A), "broadly ... with less than 3%" (VI-B)."""
    promise = "less than 3%, broadly" if table == "table4" else "less than 3% for almost all cases"
    text = f"A drop of {before - after:.2f} points ({before:.2f} to {after:.2f}); the text says {promise}."
    return Misprint(table, text, (column,), (_MC_ALL,), (dataset,), (attack,))


MISPRINTS = (
    Misprint("table2", _ORIGINAL, ("original",), (_MC_ALL,)),
    Misprint("table2", _SUSPICIOUS, ("original",), (_AA,), ("celeba",), ("Privacy",)),
    Misprint("table2", _CE_FID, ("gan_d",), (_FID,), (), ("Mirror",)),
    Misprint(
        "table2",
        "The text says 170, which is the cross-entropy run of Table V.",
        ("gan_id",),
        (_FID,),
        ("celeba",),
        ("DMI",),
    ),
    Misprint(
        "table2",
        "The text says that AA is below 1% against all attacks for all datasets.",
        ("gan_id",),
        (_AA,),
        ("vggface2",),
        ("Mirror",),
    ),
    Misprint("table2", _DIFFERS, ("gan_id",), (_FID,), ("vggface2",), ("Privacy",)),
    Misprint("table3", _CE_TABLE.format("GAN-D(L_CE)", "IV"), ("gan_d",), (_MC_ALL, _FID)),
    Misprint(
        "table3",
        _CE_TABLE.format("GAN-ID(L_CE)", "V (DMI and Mirror; it has no other attacks)"),
        ("gan_id",),
        (_MC_ALL, _FID),
    ),
    Misprint(
        "table4",
        "L_pri and L_pri + L_pub have the same 33.15% and 100%: a duplicated cell.",
        ("l_pri", "l_pri_l_pub"),
        (_MC_ALL, _MC_TARGET),
        ("vggface2",),
        ("Mirror",),
    ),
    Misprint("table4", "The paper prints no value here.", ("l_ce",), (_MC_TARGET,), ("vggface",), ("Privacy",)),
    Misprint("table4", _COPIED_FID, ("l_pri_l_pub",), (_FID,), (), ("DMI", "Mirror")),
    Misprint("table4", _LOWER_FID.format("351 to 347"), ("l_fl",), (_FID,), ("celeba",), ("Privacy",)),
    Misprint("table4", _LOWER_FID.format("273 to 269"), ("l_fl",), (_FID,), ("vggface",), ("Mirror",)),
    Misprint("table4", _LOWER_FID.format("265 to 249"), ("l_fl",), (_FID,), ("vggface2",), ("AMI",)),
    Misprint("table5", _COPIED_FID, ("l_pri_l_pub",), (_FID,)),
    Misprint("table5", _NOT_SUPERIOR, ("l_fl",), (_FID,), (), ("DMI",)),
    Misprint("table6", _SUSPICIOUS, ("original",), (_AA,), ("celeba",), ("Privacy",)),
    Misprint(
        "table6",
        "85.71 in the three other rows of the same model; 86.25 is what Table II has for GAN-D under AMI.",
        ("cgan",),
        (_MC_ALL,),
        ("celeba",),
        ("AMI",),
    ),
    Misprint("table6", "Above the undefended victim's 92.03%.", ("cgan",), (_MC_ALL,), ("vggface2",)),
    Misprint("table6", "The text says below 3% for all attacks.", ("cgan",), (_AA,), ("vggface2",), ("Mirror",)),
    *(_drop(*cell) for cell in _DROPS),
    Misprint("table6", _DIFFERS, ("wgan",), (_FID,), ("vggface2",), ("Privacy",)),
)


def misprints(place: Place, fields: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The footnotes of a group of cells, by measure; measures without one are left out."""
    found = {
        name: tuple(note.text for note in MISPRINTS if note.concerns(place, name)) for name in dict.fromkeys(fields)
    }
    return {name: texts for name, texts in found.items() if texts}
