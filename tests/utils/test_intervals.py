"""Intervals and metrics by race and gender against those by hand, and intervals against resamples that are built."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from scripts.evaluate.tables import FEW, remarks
from tests.score_tables import random_table, table_of, with_heads
from utils.metrics import evaluate
from utils.statistics.bootstrap import METRICS, RATES, bootstrap_intervals, group_intervals, subject_weights
from utils.statistics.evaluation import SHORT, evaluate_table, group_metrics, per_group

NAMES = [f"{figure}_{side}" for figure in ("f1", "recall", "precision") for side in ("real", "fake")]
NAMES += ["audio_auc", "video_auc"]


def people(subjects: int, shift: float = 1.0, worse: str = "") -> pd.DataFrame:
    """Half men, half women; the scores of one of them say nothing."""
    table = random_table(0, subjects, shift=shift)
    gender = np.array(["men", "women"])[np.arange(len(table)) // 4 % 2]
    useless = np.random.default_rng(1).uniform(size=len(table))
    score = np.where(gender == worse, useless, table["score"])
    return table.assign(gender=gender, race="", score=score, decision=(score >= 0.5).astype(int))


def test_figures_by_hand() -> None:
    table = table_of("AAABBCD", [0.9, 0.6, 0.2, 0.7, 0.1, 0.3, 0.4], ["a", "b", "c", "a", "b", "c", "c"])
    found = group_metrics(table, 500, seed=0)
    intervals = found.pop("intervals")
    assert found == {
        "n": 7,
        "subjects": 3,
        "real": 3,
        "fake": 4,
        "acc": pytest.approx(5 / 7),
        "auc": pytest.approx(8 / 12),
        "false_rejection": pytest.approx(1 / 3),
        "false_acceptance": pytest.approx(1 / 4),
        "rule_of_three": [],
        "why": None,
    }
    assert intervals["false_rejection"] == [0, 1]  # all draws are of c, or none
    low, high = intervals["auc"]
    assert (low, high) == (0, 1)  # c alone has no pair in order; b alone only such


def test_intervals_are_those_of_the_bootstrap_and_of_repeated_rows() -> None:
    for table in (random_table(2, 30), random_table(2, 30, levels=5)):
        (found, _), expected = group_intervals(table, 60, 5), bootstrap_intervals(table, 60, 5)["intervals"]
        for name in ("acc", "auc"):
            assert_allclose(found[name], expected[name], rtol=1e-12)
        rates = []
        for weights in np.concatenate(list(subject_weights(table["subject"].to_numpy(), 60, 5))).astype(int):
            rows = table.loc[np.repeat(table.index, weights)]
            rates.append([1 - rows.query("label == 1")["decision"].mean(), rows.query("label == 0")["decision"].mean()])
        ends = np.percentile(rates, [2.5, 97.5], axis=0).T
        assert_allclose([found["false_rejection"], found["false_acceptance"]], ends, rtol=1e-12)


def test_clips_of_one_class_have_intervals_too() -> None:
    table = random_table(2, 30)
    (whole, _), (real, _) = (group_intervals(rows, 300, 5) for rows in (table, table[table["label"] == 1]))
    assert real["false_rejection"] == whole["false_rejection"]
    assert_allclose(real["acc"], 1 - np.array(real["false_rejection"])[::-1])
    assert (real["auc"], real["false_acceptance"]) == (None, None)
    assert group_intervals(table.iloc[:4], 300, 5) == group_intervals(table, 0, 5) == (dict.fromkeys(RATES), [])


@pytest.mark.parametrize(
    ("category", "subjects", "absent", "why"),
    [
        ("AA", ["a", "b"], {"auc", "false_acceptance"}, "no fake clip"),
        ("BC", ["a", "b"], {"auc", "false_rejection"}, "no real clip"),
        ("AB", ["a", "a"], set(), "one subject only"),
    ],
)
def test_what_a_group_does_not_have(category: str, subjects: list[str], absent: set[str], why: str) -> None:
    found = group_metrics(table_of(category, [0.9, 0.1], subjects), 50, seed=0)
    assert {name for name in RATES if found[name] is None} == absent
    assert found["why"] == why
    assert found["intervals"]["auc"] is None
    assert (found["intervals"]["acc"] is None) == (why == "one subject only")


def test_both_together_only_if_short() -> None:
    table = random_table(1, 2 * SHORT + 2)
    number = np.arange(len(table)) // 8  # two subjects each
    assert set(per_group(table.assign(race="", gender=""), 5, 0)) == set()
    assert set(per_group(table.assign(gender=np.where(number % 2, "x", "y")), 5, 0)) == {"gender"}
    one_race = table.assign(race="x", gender=np.where(number % 2, "x", "y"))
    assert set(per_group(one_race, 5, 0)) == {"race", "gender"}
    by_two = table.assign(race=(number // 2).astype(str), gender=np.where(number % 2, "x", "y"))
    assert set(per_group(by_two, 5, 0)) == {"race", "gender"}  # a group too many
    few = by_two[number < SHORT]
    found = per_group(few, 5, 0)
    assert len(found["race_gender"]) == SHORT
    assert found["race_gender"]["0, y"] == group_metrics(few[number[number < SHORT] == 0], 5, 0)
    alone = few.iloc[4:]  # the first group has one subject
    assert set(per_group(alone, 5, 0)) == {"race", "gender"}


def test_few_are_not_compared() -> None:
    groups = per_group(people(2 * FEW - 1), 50, seed=0)
    assert remarks(groups) == [
        "Nothing by race: the scores do not say it.",
        f"By gender: women ({FEW - 1}): fewer than {FEW} subjects, too few to compare; differences may be chance.",
    ]
    assert remarks({})[0] == "Nothing by race or gender: the scores do not say it."
    one = per_group(people(2).assign(gender="men"), 50, seed=0)
    assert remarks(one)[1] == "By gender: there is one group only, so that nothing can be compared."


def test_groups_that_differ_are_named() -> None:
    groups = per_group(people(120, shift=3.0, worse="women"), 200, seed=0)["gender"]
    points = 100 * (groups["men"]["auc"] - groups["women"]["auc"])
    assert points > 20
    told = f"By gender: the AUC differs most between men and women, by {points:.2f} points; their intervals "
    assert remarks({"gender": groups, "race": groups})[0] == told + "do not overlap."
    alike = per_group(people(120), 200, seed=0)
    assert remarks(alike)[1].endswith("their intervals overlap, so that it may be chance.")
    nothing = per_group(people(120).query("label == 1"), 200, seed=0)
    assert remarks(nothing)[1] == "By gender: fewer than two groups have an AUC with an interval."


def more_intervals(table: pd.DataFrame, resamples: int = 40, seed: int = 42) -> dict[str, list[float] | None]:
    found = bootstrap_intervals(table, resamples, seed, detailed=True)["intervals"]
    return {name: found[name] for name in found if name not in METRICS}


def test_they_are_those_of_resamples_that_are_built() -> None:
    table = with_heads(random_table(4, 15))
    (weights,) = subject_weights(table["subject"].to_numpy(), 40, 42)
    drawn = [evaluate(table.loc[table.index.repeat(counts.astype(int))]) for counts in weights]
    found = more_intervals(table)
    assert found.keys() == set(NAMES)
    for name in NAMES:
        expected = np.percentile([figures[name] for figures in drawn], [2.5, 97.5])
        assert found[name] == pytest.approx(expected.tolist(), abs=1e-12), name


def test_clips_of_an_unknown_category_are_left_out_of_the_heads() -> None:
    table = with_heads(random_table(4, 15))
    unknown = table.tail(20).assign(category="")
    some = pd.concat([table.head(40), unknown])
    found, expected = more_intervals(some), more_intervals(table.head(40))
    assert found["audio_auc"] == expected["audio_auc"]
    assert found["f1_real"] != expected["f1_real"]


def test_evaluation_has_them_in_detail() -> None:
    table = with_heads(random_table(4, 15))
    intervals = evaluate_table(table, 40, 42, detailed=True)["bootstrap"]["intervals"]
    assert {name: intervals[name] for name in NAMES} == more_intervals(table)


def test_where_there_are_none() -> None:
    table = with_heads(random_table(4, 15))
    assert more_intervals(table[table["label"] == 1]) == {}
    assert more_intervals(table, 0) == {}
    never = more_intervals(table.assign(decision=0, audio_score=np.nan))
    assert never["precision_real"] is None
    assert never["recall_real"] == pytest.approx([0, 3 / 15])
    assert "audio_auc" not in never
