"""Search spaces: what the shipped ones hold, what a user's may, and coefficients that meet the same keys again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from grid.problems import SpecError
from grid.search_space import fields_of, filled, load_space, rounded
from grid.search_space_file import space_names
from tasks.defenses.gan_id import GANID
from tests.grid.searching import space_of


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        space_of(folder, text)
    return str(caught.value)


def space(line: str, more: str = "") -> str:
    return f"from ray import tune\n{more}\nSPACE = {{\n    {line}\n}}\n"


@pytest.mark.parametrize("name", space_names())
def test_a_shipped_space_fits_its_defense_and_gives_a_reason_for_each_key(name: str) -> None:
    found = load_space(name)
    assert set(found.reasons) == set(found.domains)
    assert all(len(reason) > 10 for reason in found.reasons.values())


def test_the_spaces_vary_what_they_are_for() -> None:
    assert load_space("finetune").searched == ["alpha", "beta", "omega", "gamma", "lambda3"]
    reduced = load_space("finetune_reduced")
    assert reduced.searched == ["alpha", "beta", "gamma", "lambda3"]
    assert reduced.domains["omega"].values == (1.0,), "only omega * lambda3 counts"
    extensions = {"replay", "fakes.count", "rounds", "lpri", "steps", "lr"}
    assert extensions <= set(load_space("extended").searched)
    assert load_space("inversion").searched == ["fakes.lam", "fakes.steps", "fakes.lr"]
    assert load_space("joint").protect == "joint"


def test_a_misspelt_key_is_named_with_the_valid_ones(tmp_path: Path) -> None:
    said = refused(tmp_path, space('"alhpa": tune.uniform(1, 2), "fakes.conut": tune.choice([1]), "gan": 1'))
    assert "did you mean 'alpha'" in said
    assert "did you mean 'fakes.count'" in said
    assert "unknown setting of gan_id 'gan'" in said, "a GAN is no coefficient"
    assert "lambda3" in said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"alpha": tune.uniform(3, 1)', "the range is empty"),
        ('"alpha": tune.uniform(2, 2)', "the range is empty"),
        ('"rounds": tune.randint(3, 3)', "the range is empty"),
        ('"alpha": tune.choice([])', "a choice needs values"),
        ('"alpha": tune.loguniform(0, 1)', "ValueError"),
        ('"alpha": tune.randn(0, 1)', "has no ends"),
        ('"alpha": tune.sample_from(lambda _: 1)', "cannot be shown"),
        ('"alpha": [1, 2]', "must be a number, a text or a Tune domain"),
        ('"alpha": 1.0', "constants only"),
        ("1 +", "SyntaxError"),
        ('"alpha": tune.nothing(1)', "AttributeError"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    said = refused(tmp_path, space(line))
    assert reason in said
    assert "mine.py" in said


def test_an_error_in_a_users_file_has_its_line(tmp_path: Path) -> None:
    assert "mine.py:4" in refused(tmp_path, space('"alpha": tune.nothing(1)'))


def test_an_unknown_space_and_an_unknown_defense_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'finetune'"):
        load_space("fintune")
    assert "choose one of: ad_mi" in refused(tmp_path, space('"alpha": tune.uniform(1, 2)', 'DEFENSE = "gan"'))


def test_values_that_the_defense_does_not_take_are_named_together(tmp_path: Path) -> None:
    """With the misspelt keys, each with the file."""
    said = refused(
        tmp_path,
        space(
            '"gamma": tune.uniform(1, 20), "lpri": tune.choice(["ce", "cf", "cg"]), "fakes.steps": 0, "lr": 1.0, "x": 1'
        ),
    )
    lines = said.splitlines()
    assert len(lines) == 5
    assert all("mine.py SPACE[" in line for line in lines)
    assert "['gamma']: holds 20: should be less than or equal to 10" in said
    assert "['lpri']: holds 'cf': should be 'detached'" in said
    assert "holds 'cg'" in said
    assert "['fakes.steps']: holds 0" in said
    assert "unknown setting of gan_id 'x'" in said


@pytest.mark.parametrize("line", ['"steps": tune.uniform(10, 20)', '"fakes.count": tune.loguniform(20, 80)'])
def test_a_range_of_fractions_over_whole_numbers_is_refused_before_its_trials_fail(tmp_path: Path, line: str) -> None:
    said = refused(tmp_path, space(line))
    assert "fractional part" in said
    assert "use tune.randint or tune.choice" in said
    whole = space_of(tmp_path, space(line.replace("loguniform", "lograndint").replace("uniform", "randint")))
    assert len(whole.searched) == 1


def test_values_that_only_contradict_each_other_are_left_to_their_trial(tmp_path: Path) -> None:
    """With replay, alpha and beta may both be 0."""
    text = space('"alpha": 0.0, "beta": tune.choice([0.0, 1.0]), "replay": 1.0')
    assert space_of(tmp_path, text).searched == ["beta"]


def test_a_protection_that_is_unknown_is_refused_with_the_defense(tmp_path: Path) -> None:
    said = refused(tmp_path, space('"alpha": tune.uniform(1, 2)', 'DEFENSE = "gan_ie"\nPROTECT = "both"'))
    assert "did you mean 'gan_id'" in said
    assert "PROTECT: unknown protect 'both'; choose one of: joint, single" in said


def test_a_file_that_is_not_there_is_no_misspelt_name(tmp_path: Path) -> None:
    for name in (str(tmp_path / "gone.py"), "gone.py"):
        with pytest.raises(SpecError, match=r"no such file; give the path .* or a shipped space: extended, finetune"):
            load_space(name)


def test_coefficients_are_rounded_to_three_digits_and_stay_in_their_range(tmp_path: Path) -> None:
    assert [rounded(value) for value in (0.123456, 1234.56, 2, "ce", True)] == [0.123, 1230.0, 2, "ce", True]
    found = space_of(tmp_path, space('"alpha": tune.uniform(1.2344, 9.8765), "omega": 1.0'))
    assert found.complete({"alpha": 4.56789}) == {"alpha": 4.57, "omega": 1.0}
    assert found.complete({"alpha": 9.8764})["alpha"] == 9.8765, "rounding left the range"
    assert found.complete({"alpha": 1.2345})["alpha"] == 1.2344


def test_nested_settings_are_filled_and_others_kept() -> None:
    base = GANID(alpha=3.0)
    found = filled(base, {"fakes.count": 12, "fakes.lr": 0.1, "beta": 2.0})
    assert isinstance(found, GANID)
    assert (found.fakes.count, found.fakes.lr, found.beta, found.alpha) == (12, 0.1, 2.0, 3.0)
    assert found.fakes.steps == base.fakes.steps
    assert {"fakes.count", "alpha"} <= set(fields_of(GANID))


def test_a_logarithmic_range_is_cut_evenly_in_its_logarithm(tmp_path: Path) -> None:
    found = space_of(
        tmp_path, space('"lambda3": tune.loguniform(1, 100), "rounds": tune.randint(1, 4), "alpha": tune.uniform(0, 1)')
    )
    assert found.domains["lambda3"].points(3) == pytest.approx([1, 10, 100])
    assert found.domains["rounds"].points(9) == [1, 2, 3], "the upper end of randint is not in it"
    assert found.domains["alpha"].points(1) == [0.5]


def test_planning_loads_neither_ray_nor_a_space(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom grid.search_study import study_of\nimport grid.search_driver, grid.search_trial\n"
        "print([name for name in ('ray', 'torch', 'optuna', 'mlflow') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
