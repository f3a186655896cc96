"""Figures of scores.csv: calibration, intervals by subject, and what is said where there is none."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from tests.score_tables import random_table, table_of
from utils.metrics import evaluate, per_method
from utils.statistics import bootstrap
from utils.statistics.bootstrap import (
    CLASS_METRICS,
    METRICS,
    WeightedMetrics,
    bootstrap_intervals,
    resampled,
    rule_of_three,
    subject_weights,
)
from utils.statistics.calibration import calibration
from utils.statistics.evaluation import evaluate_folds, evaluate_table
from utils.statistics.paired import paired_bootstrap


def test_hand_computed_calibration() -> None:
    figures = calibration(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.4, 1.0]), bins=2)
    assert figures["bins"] == [
        {"low": 0.0, "high": 0.5, "n": 3, "mean_score": pytest.approx(0.7 / 3), "share_real": pytest.approx(1 / 3)},
        {"low": 0.5, "high": 1.0, "n": 1, "mean_score": 1.0, "share_real": 1.0},
    ]
    assert figures["ece"] == pytest.approx(3 / 4 * 0.1)
    assert [row["n"] for row in figures["bins_equal_mass"]] == [2, 2]
    assert figures["ece_equal_mass"] == pytest.approx((0.15 + 0.3) / 2)
    assert figures["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0) / 4)


@pytest.mark.parametrize("levels", [None, 15, 6])
def test_calibration_against_scikit_learn(levels: int | None) -> None:
    table = random_table(3, 50, levels)
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    figures = calibration(label, score)
    assert figures["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(label, score), rel=1e-12)
    for name, strategy in (("bins", "uniform"), ("bins_equal_mass", "quantile")):
        share_real, mean_score = calibration_curve(label, score, n_bins=15, strategy=strategy)
        filled = [row for row in figures[name] if row["n"]]
        assert sum(row["n"] for row in filled) == len(table)
        assert_allclose([row["share_real"] for row in filled], share_real, rtol=1e-12)
        assert_allclose([row["mean_score"] for row in filled], mean_score, rtol=1e-12)


def test_calibration_does_not_depend_on_the_order_and_takes_both_ends() -> None:
    table = random_table(1, 30, levels=4)
    assert {0.0, 1.0} <= set(table["score"])
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    forward, backward = calibration(label, score), calibration(label[::-1], score[::-1])
    assert backward["ece_equal_mass"] == pytest.approx(forward["ece_equal_mass"], rel=1e-12)
    assert sum(row["n"] for row in forward["bins"]) == len(table)


def test_perfectly_calibrated_and_perfectly_wrong() -> None:
    assert calibration(np.array([1, 0]), np.array([1.0, 0.0]))["ece"] == 0
    wrong = calibration(np.array([0, 1]), np.array([1.0, 0.0]))
    assert (wrong["ece"], wrong["brier"]) == (1, 1)


@pytest.mark.parametrize("levels", [None, 5])
def test_weights_give_what_repeated_rows_give(levels: int | None) -> None:
    table = random_table(0, levels=levels)
    subject = table["subject"].to_numpy()
    (figures,) = resampled([WeightedMetrics.of(table)], subject, 40, seed=1)
    weights = np.concatenate(list(subject_weights(subject, 40, seed=1)))
    for k, row in enumerate(weights.astype(int)):
        expected = evaluate(table.loc[np.repeat(table.index, row)])
        assert {name: figures[name][k] for name in METRICS} == pytest.approx(
            {name: expected[name] for name in METRICS}, abs=1e-12
        )


def test_a_resample_takes_whole_subjects() -> None:
    subject = np.array(["a", "b", "a", "c", "c", "c"])
    weights = np.concatenate(list(subject_weights(subject, 3000, seed=0)))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [3]] == weights[:, 4:]).all()
    draws = weights[:, [0, 1, 3]]
    assert (draws.sum(1) == 3).all()
    assert_allclose(draws.mean(0), 1, atol=0.05)
    assert_allclose((draws == 0).mean(0), (2 / 3) ** 3, atol=0.03)


def test_more_clips_of_the_same_kind_do_not_narrow_an_interval() -> None:
    table = random_table(2)
    often = pd.concat([table.assign(file=f"{k}/" + table["file"]) for k in range(10)], ignore_index=True)
    once, ten_times = (bootstrap_intervals(rows, 200, seed=3) for rows in (table, often))
    for name in METRICS:
        assert_allclose(ten_times["intervals"][name], once["intervals"][name], rtol=0, atol=1e-12)
    apart = often.assign(subject=often["file"])  # what it would be if clips were independent
    narrow = bootstrap_intervals(apart, 200, seed=3)["intervals"]["auc"]
    assert np.ptp(narrow) < 0.5 * np.ptp(once["intervals"]["auc"])


def test_intervals_depend_on_the_seed_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_table(4)
    first = bootstrap_intervals(table, 150, seed=42)
    assert bootstrap_intervals(table.sample(frac=1, random_state=0), 150, seed=42) == first
    assert bootstrap_intervals(table, 150, seed=43) != first
    monkeypatch.setattr(bootstrap, "WEIGHTS_AT_ONCE", 7 * len(table))
    assert bootstrap_intervals(table, 150, seed=42) == first


def test_intervals_are_percentiles_around_the_figure() -> None:
    table = random_table(5, 60)
    figures = evaluate_table(table, 500, seed=0)
    for name, (low, high) in figures["bootstrap"]["intervals"].items():
        assert 0 <= low < figures[name] < high <= 1, name
    (values,) = resampled([WeightedMetrics.of(table)], table["subject"].to_numpy(), 500, seed=0)
    assert figures["bootstrap"]["intervals"]["auc"] == np.percentile(values["auc"], [2.5, 97.5]).tolist()


def test_intervals_cover_the_true_value() -> None:
    # Real N(1/2, 5/4), fake N(-1/2, 5/4), so that a real clip of another subject is higher with this probability.
    truth = norm.cdf(1 / math.sqrt(2 * 1.25))
    within_subject = norm.cdf(1 / math.sqrt(2))
    subjects, runs = 40, 150
    truth += (within_subject - truth) / subjects  # one pair in forty is of one subject
    covered = 0
    for seed in range(runs):
        low, high = bootstrap_intervals(random_table(1000 + seed, subjects), 200, seed)["intervals"]["auc"]
        covered += low <= truth <= high
    assert 0.88 <= covered / runs <= 0.99


def test_resamples_of_one_class_are_left_out_and_counted() -> None:
    table = table_of("AABB", [0.9, 0.8, 0.1, 0.6], ["a", "a", "b", "b"])
    result = bootstrap_intervals(table, 1000, seed=0)
    assert result["left_out"] == pytest.approx(500, abs=60)  # both draws are of one subject
    # All resamples that count are alike: 0.75, and by the rule of three of two subjects anything.
    assert result["intervals"]["acc"] == [0.0, 1.0]
    assert "acc" in result["rule_of_three"]
    weights = np.concatenate(list(subject_weights(table["subject"].to_numpy(), 1000, seed=0)))
    assert result["left_out"] == np.sum((weights == 0).any(1))
    first_bad = next(s for s in range(99) if (next(subject_weights(table["subject"].to_numpy(), 1, s)) == 0).any())
    nothing = bootstrap_intervals(table, 1, first_bad)
    nowhere = {"intervals": dict.fromkeys(METRICS), "rule_of_three": []}
    assert nothing == nowhere | {"left_out": 1, "why": "no resample has both classes"}


@pytest.mark.parametrize(
    ("category", "subject", "resamples", "why"),
    [
        ("AA", None, 9, "no fake clip"),
        ("BC", None, 9, "no real clip"),
        ("AB", ["a", "a"], 9, "one subject only"),
        ("AB", None, 0, "no resamples"),
    ],
)
def test_no_interval_without_a_reason(category: str, subject: list[str] | None, resamples: int, why: str) -> None:
    table = table_of(category, [0.9, 0.1], subject)
    nothing = bootstrap_intervals(table, resamples, seed=0)
    nowhere = {"intervals": dict.fromkeys(METRICS), "rule_of_three": []}
    assert nothing == nowhere | {"left_out": None, "why": why}
    assert paired_bootstrap(table, table, resamples, 0) == {
        "auc": {"interval": None, "other_sign": None},
        "acc": {"interval": None, "other_sign": None},
        "rule_of_three": [],
        "left_out": None,
        "why": why,
    }


def test_what_resampling_cannot_see_is_by_the_rule_of_three() -> None:
    right = table_of("ABCD" * 20, np.tile([0.9, 0.1, 0.2, 0.3], 20), [f"{k // 4}" for k in range(80)])
    found = bootstrap_intervals(right, 50, seed=0, detailed=True)
    assert found["rule_of_three"] == list(found["intervals"]) == [*METRICS, *CLASS_METRICS]
    for name, ends in found["intervals"].items():
        assert ends == pytest.approx([0.0, 3 / 20] if name == "eer" else [1 - 3 / 20, 1.0]), name
    one_wrong = right.assign(decision=right["decision"].where(right.index != 0, 0))
    found = bootstrap_intervals(one_wrong, 50, seed=0, detailed=True)
    assert {"auc", "recall_fake", "precision_real"} <= set(found["rule_of_three"])
    assert not {"acc", "recall_real"} & set(found["rule_of_three"])
    entry = evaluate_table(right[:32], 20, seed=0, detailed=True)["per_category"]["C"]  # eight clips, all right
    assert entry["intervals"]["acc"] == [pytest.approx(1 - 3 / 8), 1.0]
    assert entry["rule_of_three"] == ["acc", "auc"]
    assert [rule_of_three(n) for n in (0, 1, 3, 60)] == [1, 1, 1, 0.05]


def test_methods_are_taken_against_all_real_clips() -> None:
    table = table_of("AABCC", [0.9, 0.3, 0.5, 0.2, 0.6]).assign(method=["x", "y", "x", "z", "x"])
    assert per_method(table) == {
        "x": {"n": 2, "acc": 0.0, "auc": 1 / 2},
        "z": {"n": 1, "acc": 1.0, "auc": 1.0},
    }


def test_a_table_has_all_figures_of_metrics_json() -> None:
    table = random_table(8)
    figures = evaluate_table(table, 20, seed=0)
    expected = evaluate(table)
    for category, entry in expected.pop("per_category").items():
        assert figures["per_category"][category] == entry | {"why": None}
    assert {name: figures[name] for name in expected} == expected
    assert figures["subjects"] == 15
    assert figures["why"] == {"audio_auc": "no audio score", "video_auc": "no video score"}


def test_categories_and_methods_have_intervals_in_detail() -> None:
    table = random_table(6, 40)
    figures, plain = evaluate_table(table, 200, seed=3, detailed=True), evaluate_table(table, 200, seed=3)
    for name in ("per_category", "per_method"):
        for label, entry in figures[name].items():
            intervals = entry.pop("intervals")
            assert entry.pop("rule_of_three") == []
            assert entry == plain[name][label]
            for figure in ("acc", "auc"):
                low, high = intervals[figure] or (None, None)
                assert low is None if entry.get(figure) is None else low < entry[figure] < high
    assert figures.pop("per_group") == {}
    assert plain["bootstrap"]["intervals"].items() <= figures["bootstrap"].pop("intervals").items()
    del plain["bootstrap"]["intervals"]
    assert figures == plain
    real_and_b = bootstrap_intervals(table[table["category"].isin(["A", "B"])], 200, seed=3)["intervals"]["auc"]
    again = evaluate_table(table, 200, seed=3, detailed=True)
    assert again["per_category"]["B"]["intervals"]["auc"] == pytest.approx(real_and_b, rel=1e-12)
    assert again["per_method"]["fake-B"]["intervals"] == again["per_category"]["B"]["intervals"]


@pytest.mark.parametrize(("category", "absent", "present"), [("BCD", "real", "fake"), ("AAA", "fake", "real")])
def test_why_a_figure_is_not_there(category: str, absent: str, present: str) -> None:
    scores = {"audio_score": 0.5, "video_score": [0.5, np.nan, 0.5]}
    figures = evaluate_table(table_of(category, [0.9, 0.8, 0.7]).assign(**scores), 9, seed=0)
    for name in ("auc", "auc_hard", "balanced_acc", "ap_real", "ap_fake", "eer", f"f1_{absent}", f"recall_{absent}"):
        assert (figures[name], figures["why"][name]) == (None, f"no {absent} clip")
    assert figures[f"recall_{present}"] is not None
    assert figures["why"]["video_auc"] == "video scores in some files only"
    assert figures["why"].get("audio_auc") == ("no clip with fake audio" if absent == "fake" else None)
    if absent == "real":
        assert figures["why"]["precision_fake"] == "no clip decided fake"
        assert figures["per_category"]["B"] == {"n": 1, "acc": 0.0, "auc": None, "why": "no real clip"}
        assert figures["per_category"]["A"] == {"n": 0, "acc": None, "why": "no clip"}
    assert set(figures["why"]) == {name for name, value in figures.items() if value is None}


def test_folds_are_pooled_and_each() -> None:
    first, second = random_table(0), random_table(1, shift=2)
    second = second.assign(file="b/" + second["file"], subject="b" + second["subject"])
    result = evaluate_folds({"train_1": first, "train_2": second}, resamples=30, seed=1)
    assert result["folds"] == {"train_1": evaluate_table(first, 30, 1), "train_2": evaluate_table(second, 30, 1)}
    both = pd.concat([first, second], ignore_index=True)
    assert result["pooled"] == evaluate_table(both, 30, 1, detailed=True)
    assert result["comparison"] is None
    assert evaluate_folds({"train_1": first}, resamples=0)["folds"] == {}
