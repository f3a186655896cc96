"""Two detectors on the same clips: DeLong, McNemar and the paired bootstrap, against slow forms and by hand."""

import math
from itertools import product

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tests.score_tables import random_table, table_of
from utils.metrics import evaluate
from utils.statistics.bootstrap import WeightedMetrics, resampled
from utils.statistics.paired import (
    compare,
    delong_test,
    holm,
    mcnemar_test,
    paired_bootstrap,
    placement_variance,
    placements,
)


def delong_by_pairs(label: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance, from the formulas of the paper and one pair of clips after another."""
    parts = []
    for score in scores:
        real, fake = score[label == 1], score[label == 0]
        psi = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in fake] for x in real])  # (M, N)
        parts.append((psi.mean(), psi.mean(1), psi.mean(0)))
    auc = np.array([part[0] for part in parts])
    covariance = np.zeros((len(scores), len(scores)))
    for r, s in product(range(len(scores)), repeat=2):
        for axis in (1, 2):
            count = len(parts[r][axis])
            products = (parts[r][axis] - auc[r]) * (parts[s][axis] - auc[s])
            covariance[r, s] += products.sum() / (count - 1) / count
    return auc, covariance


def test_delong_of_a_published_example() -> None:
    """109 CT images rated 1 to 5: Hanley & McNeil, Radiology 143 (1982) 29-36; DeLong's error as Stata prints it."""
    ratings = {0: [33, 6, 6, 11, 2], 1: [3, 2, 2, 11, 33]}
    label = np.repeat([0, 1], [58, 51])
    score = np.concatenate([np.repeat(np.arange(1, 6), counts) for counts in ratings.values()])
    below, above = placements(label, score)
    assert below.sum() / (58 * 51) == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(placement_variance(below, above)) == pytest.approx(0.0307, abs=5e-5)


@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize("seed", range(4))
def test_delong_against_its_formula(seed: int, levels: int | None) -> None:
    table, other = random_table(seed, levels=levels), random_table(seed + 100, levels=levels, shift=0.5)
    label, score, against = table["label"].to_numpy(), table["score"].to_numpy(), other["score"].to_numpy()
    auc, covariance = delong_by_pairs(label, [score, against])
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = (auc[0] - auc[1]) / error
    result = delong_test(label, score, against)
    assert result["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(label, score), abs=1e-12)
    assert [result["auc"], result["auc_against"]] == pytest.approx(auc.tolist(), abs=1e-12)
    assert result["standard_error"] == pytest.approx(error, rel=1e-9)
    assert result["z"] == pytest.approx(z, rel=1e-9)
    assert result["p"] == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-9)
    half = 1.959963984540054 * error
    assert result["interval"] == pytest.approx([auc[0] - auc[1] - half, auc[0] - auc[1] + half], abs=1e-12)
    assert result["why"] is None
    mirrored = delong_test(label, against, score)
    assert (mirrored["z"], mirrored["p"]) == pytest.approx((-result["z"], result["p"]))


def test_hand_computed_delong() -> None:
    label = np.array([1, 1, 0, 0])
    result = delong_test(label, np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.5, 0.9, 0.6, 0.7]))
    # Fakes below each real clip: 2, 1 against 0, 2; their differences 2, -1 have variance 9/2.
    # Reals above each fake clip: 1, 2 against 1, 1; their differences 0, 1 have variance 1/2.
    assert (result["auc"], result["auc_against"], result["difference"]) == (3 / 4, 1 / 2, 1 / 4)
    assert result["standard_error"] == pytest.approx(math.sqrt(9 / 2 / 8 + 1 / 2 / 8), rel=1e-12)


@pytest.mark.parametrize(
    ("category", "other", "why"),
    [
        ("AABB", [0.8, 0.7, 0.3, 0.1], "the standard error is 0"),  # another score, the same order
        ("AABB", [0.1, 0.2, 0.8, 0.9], "the standard error is 0"),  # all pairs the other way round
        ("ABBB", [0.1, 0.2, 0.8, 0.9], "one real clip only"),
        ("AAAB", [0.1, 0.2, 0.8, 0.9], "one fake clip only"),
        ("BBBB", [0.1, 0.2, 0.8, 0.9], "no real clip"),
        ("AAAA", [0.1, 0.2, 0.8, 0.9], "no fake clip"),
    ],
)
def test_delong_without_a_test(category: str, other: list[float], why: str) -> None:
    label = table_of(category, other)["label"].to_numpy()
    result = delong_test(label, np.array([0.9, 0.8, 0.2, 0.1]), np.array(other))
    assert (result["z"], result["p"], result["interval"], result["why"]) == (None, None, None, why)


def test_hand_computed_mcnemar() -> None:
    label = np.ones(12, int)
    first, second = np.array([1] * 9 + [0] * 3), np.array([0] * 5 + [1] * 5 + [0] * 2)
    result = mcnemar_test(label, first, second)
    assert (result["only_first_right"], result["only_against_right"]) == (5, 1)
    assert result["p"] == pytest.approx(2 * (1 + 6) / 2**6, rel=1e-12)
    assert (result["acc"], result["acc_against"], result["difference"]) == (9 / 12, 5 / 12, 4 / 12)
    assert mcnemar_test(label, first, first)["p"] == 1


def test_paired_bootstrap_sees_both_through_the_same_resamples() -> None:
    table, other = random_table(6, 30), random_table(7, 30, shift=0.6)
    subject = table["subject"].to_numpy()
    result = compare(table, other, 300, seed=5)
    alone = [resampled([WeightedMetrics.of(side)], subject, 300, seed=5)[0] for side in (table, other)]
    for name, test in (("auc", "delong"), ("acc", "mcnemar")):
        values = alone[0][name] - alone[1][name]
        whole = evaluate(table)[name] - evaluate(other)[name]
        assert result[test]["difference"] == pytest.approx(whole, abs=1e-12)
        assert result["bootstrap"][name]["interval"] == np.percentile(values, [2.5, 97.5]).tolist()
        assert result["bootstrap"][name]["other_sign"] == np.mean(np.sign(values) != np.sign(whole))
    same = paired_bootstrap(table, table, 100, seed=5)
    # No resample tells them apart, which is not to say that no other subject would.
    assert same["auc"] == same["acc"] == {"interval": [-0.1, 0.1], "other_sign": None}
    assert same["rule_of_three"] == ["auc", "acc"]


def test_holm_by_hand_and_in_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.001, 0.9]) == [1.0, None, pytest.approx(0.003), 1.0]
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


def test_holm_rejects_what_its_steps_reject() -> None:
    p = np.random.default_rng(0).beta(0.3, 2, size=12)
    for level in (0.01, 0.05, 0.2):
        rejected = np.zeros(12, bool)
        for rank, k in enumerate(np.argsort(p)):
            if p[k] > level / (12 - rank):
                break
            rejected[k] = True
        assert (np.array(holm(p.tolist())) <= level).tolist() == rejected.tolist()
