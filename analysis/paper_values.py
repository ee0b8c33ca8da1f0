"""The numbers that Gong et al. (IEEE TIFS 2023) print in Tables I-VI, as printed: percent, and the "FID" of eq. 13.

Where their tables and text contradict each other is in analysis/paper_misprints.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

DATASETS = ("celeba", "vggface", "vggface2")
ATTACKS = ("DMI", "Mirror", "Privacy", "AMI")  # in lower case they are the kinds in a document
ACCURACY = "accuracy"  # the one measure of Table I
FIELDS = ("aa_top1", "mc_all", "mc_target", "feat_mean_sqdist")  # of Tables II-VI: AA, MC(all), MC(l_t), "FID"
COLUMNS = {
    "table1": ("victim", "evaluator"),
    "table2": ("original", "dp", "ad_mi", "gan_d", "gan_id"),
    "table3": ("random_fakes", "gan_d", "gan_id"),
    "table4": ("l_pri", "l_pri_l_pub", "l_ce", "l_fl"),
    "table5": ("l_pri", "l_pri_l_pub", "l_ce", "l_fl"),
    "table6": ("original", "infogan", "cgan", "wgan"),
}


class Place(NamedTuple):
    """Where in the paper a group of numbers stands: `attack` is empty in Table I."""

    table: str
    dataset: str
    attack: str
    column: str


# Table I: dataset, victim model, evaluation model
_TABLE_1 = """
celeba    87.46 88.93
vggface   82.41 84.74
vggface2  92.03 94.95
"""

# Tables II-VI: dataset, attack, and for each column AA, MC(all), MC(l_t), FID; `-` is not printed
_TABLE_2 = """
celeba   DMI     52 87.46 - 108 | 40 56.82  50 101 | 0 87.46 100 153 | 0 86.33 100 188 | 0 86.65 100 168
celeba   Mirror  69 87.46 -  98 | 45 56.82  50 103 | 0 87.46 100 170 | 0 85.01 100 191 | 0 86.65 100 190
celeba   Privacy 48 87.46 - 301 |  0 56.82  50 339 | 1 87.46 100 329 | 0 85.74 100 347 | 0 86.65 100 362
celeba   AMI      3 87.46 - 124 |  3 56.82  50 151 | 0 87.46 100 166 | 0 86.25 100 179 | 0 86.65 100 173
vggface  DMI     21 82.41 - 162 | 12 70.61 100 154 | 2 82.41 100 226 | 0 81.87 100 221 | 0 81.24 100 214
vggface  Mirror  49 82.41 - 163 | 44 70.61 100 173 | 0 82.41 100 219 | 0 79.93 100 269 | 0 81.24 100 247
vggface  Privacy  0 82.41 - 347 |  0 70.61 100 320 | 0 82.41 100 399 | 0 81.22 100 443 | 0 81.24 100 390
vggface  AMI     17 82.41 - 212 |  0 70.61 100 194 | 0 82.41 100 317 | 0 81.52 100 362 | 0 81.24 100 344
vggface2 DMI     27 92.03 - 142 | 19 87.83 100 144 | 0 92.03 100 211 | 0 90.44 100 273 | 0 91.02 100 244
vggface2 Mirror  34 92.03 -  78 | 30 87.83 100 101 | 0 92.03 100 178 | 0 89.24 100 213 | 1 91.02 100 223
vggface2 Privacy  0 92.03 - 410 |  0 87.83 100 338 | 0 92.03 100 396 | 0 91.07 100 406 | 0 91.02 100 379
vggface2 AMI     14 92.03 - 186 | 14 87.83 100 213 | 0 92.03 100 244 | 0 88.21 100 249 | 0 91.02 100 255
"""

_TABLE_3 = """
celeba   DMI      8 81.44 0 158 | 0 86.54 100 159 | 0 86.49 100 170
celeba   Mirror  10 81.44 0 144 | 0 84.46 100 174 | 0 86.49 100 168
celeba   Privacy  0 81.44 0 322 | 0 85.33 100 351 | 0 86.49 100 355
celeba   AMI      5 81.44 0 170 | 0 85.62 100 171 | 0 86.49 100 170
"""

_TABLE_4 = """
celeba   DMI     0 21.71   0 275 | 2 84.23 100 153 | 0 86.54 100 159 | 0 86.33 100 188
celeba   Mirror  2 10.73   0 226 | 0 80.34  50 166 | 0 84.46 100 174 | 0 85.01 100 191
celeba   Privacy 0 18.86   0 326 | 0 46.37   0 387 | 0 85.33 100 351 | 0 85.74 100 347
celeba   AMI     3  4.28   0 203 | 0 77.92  50 180 | 0 85.62 100 171 | 0 86.25 100 179
vggface  DMI     0  5.64   0 288 | 0 74.63   0 258 | 0 81.14 100 216 | 0 81.87 100 221
vggface  Mirror  2  8.61   0 252 | 1 70.71   0 212 | 0 80.01 100 273 | 0 79.93 100 269
vggface  Privacy 0 20.35   0 379 | 0 68.50   0 423 | 0 80.75   - 401 | 0 81.22 100 443
vggface  AMI     0 14.41  50 332 | 0 78.97  50 289 | 0 81.54 100 317 | 0 81.52 100 362
vggface2 DMI     0  3.00   0 307 | 0 80.76 100 322 | 0 90.77 100 261 | 0 90.44 100 273
vggface2 Mirror  7 33.15 100 229 | 0 33.15 100 251 | 0 88.35 100 199 | 0 89.24 100 213
vggface2 Privacy 0 41.00   0 412 | 0 69.61  50 362 | 0 91.39 100 401 | 0 91.07 100 406
vggface2 AMI     0  5.84   0 297 | 0 85.57 100 331 | 0 87.94 100 265 | 0 88.21 100 249
"""

_TABLE_5 = """
celeba   DMI     0 19.35 0 279 |  4 86.58  0 153 | 0 86.49 100 170 | 0 86.65 100 168
celeba   Mirror  1 19.35 0 263 |  1 86.58  0 166 | 0 86.49 100 168 | 0 86.65 100 190
vggface  DMI     0 13.77 0 209 |  0 79.20  0 258 | 0 80.87 100 238 | 0 81.24 100 214
vggface  Mirror  0 13.77 0 245 | 13 79.20  0 212 | 0 80.87 100 214 | 0 81.24 100 247
vggface2 DMI     0 24.32 0 341 |  1 88.33 50 322 | 0 90.35 100 244 | 0 91.02 100 244
vggface2 Mirror  1 24.32 0 272 |  6 88.33 50 251 | 1 90.35 100 207 | 1 91.02 100 223
"""

_TABLE_6 = """
celeba   DMI     52 87.46 - 108 | 0 86.88 100 190 | 0 85.71 100 165 | 0 86.65 100 168
celeba   Mirror  69 87.46 -  98 | 2 86.88 100 157 | 1 85.71 100 202 | 0 86.65 100 190
celeba   Privacy 48 87.46 - 301 | 0 86.88 100 390 | 0 85.71 100 406 | 0 86.65 100 362
celeba   AMI      3 87.46 - 124 | 0 86.88 100 207 | 0 86.25 100 200 | 0 86.65 100 173
vggface  DMI     21 82.41 - 162 | 0 81.92 100 194 | 0 81.25 100 209 | 0 81.24 100 214
vggface  Mirror  49 82.41 - 163 | 0 81.92 100 212 | 2 81.25 100 244 | 0 81.24 100 247
vggface  Privacy  0 82.41 - 347 | 0 81.92 100 350 | 0 81.25 100 353 | 0 81.24 100 390
vggface  AMI     17 82.41 - 212 | 0 81.92 100 252 | 0 81.25 100 409 | 0 81.24 100 344
vggface2 DMI     27 92.03 - 142 | 0 90.59 100 216 | 0 92.21 100 277 | 0 91.02 100 244
vggface2 Mirror  34 92.03 -  78 | 1 90.59 100 283 | 3 92.21 100 206 | 1 91.02 100 223
vggface2 Privacy  0 92.03 - 410 | 0 90.59 100 417 | 0 92.21 100 430 | 0 91.02 100 419
vggface2 AMI     14 92.03 - 186 | 0 90.59 100 274 | 0 92.21 100 280 | 0 91.02 100 255
"""


def _accuracies() -> Iterator[tuple[Place, Mapping[str, float]]]:
    for line in _TABLE_1.split("\n"):
        if line:
            dataset, *values = line.split()
            for column, value in zip(COLUMNS["table1"], values, strict=True):
                yield Place("table1", dataset, "", column), {ACCURACY: float(value)}


def _attacks(table: str, text: str) -> Iterator[tuple[Place, Mapping[str, float]]]:
    for line in text.split("\n"):
        if line:
            dataset, attack, rest = line.split(maxsplit=2)
            for column, values in zip(COLUMNS[table], rest.split("|"), strict=True):
                named = zip(FIELDS, values.split(), strict=True)
                yield Place(table, dataset, attack, column), {name: float(v) for name, v in named if v != "-"}


PAPER: Mapping[Place, Mapping[str, float]] = {
    **dict(_accuracies()),
    **dict(_attacks("table2", _TABLE_2)),
    **dict(_attacks("table3", _TABLE_3)),
    **dict(_attacks("table4", _TABLE_4)),
    **dict(_attacks("table5", _TABLE_5)),
    **dict(_attacks("table6", _TABLE_6)),
}
