"""Two detectors on the same clips: DeLong's test, a paired bootstrap by subject, McNemar's exact test.

A difference is always the first detector's metric minus the second's.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, rankdata

from utils.statistics.bootstrap import (
    PERCENTILES,
    RESAMPLES,
    SEED,
    WeightedMetrics,
    no_intervals,
    resampled,
    with_rule_of_three,
)

COMPARED = ("auc", "acc")


def compare(table: pd.DataFrame, other: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Any]:
    """Compare two detectors, whose scores are row by row of the same clips (see `utils.results.match`).

    The keys are ``n``, ``delong``, ``mcnemar`` and ``bootstrap``, of the three tests below.
    """
    label = table["label"].to_numpy()
    return {
        "n": len(table),
        "delong": delong_test(label, table["score"].to_numpy(), other["score"].to_numpy()),
        "mcnemar": mcnemar_test(label, table["decision"].to_numpy(), other["decision"].to_numpy()),
        "bootstrap": paired_bootstrap(table, other, resamples, seed),
    }


def placements(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count for each of M real clips the fakes below it, (M,), and for each of N fakes the real clips above it, (N,).

    A tie is half a clip. By midranks, in O(K log K) of K clips: Sun & Xu, IEEE Signal Processing Letters 21 (2014)
    1389-1393. Label (1 = real) and score are (K,).
    """
    real = label == 1
    rank = rankdata(score)
    below = rank[real] - rankdata(score[real])
    above = real.sum() - (rank[~real] - rankdata(score[~real]))
    return below, above


def placement_variance(below: np.ndarray, above: np.ndarray) -> float:
    """DeLong's variance of an AUC from its placements, or of a difference of AUCs from the differences of these.

    DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845. Needs two real and two fake clips.
    """
    m, n = len(below), len(above)
    # Counts are exact in floating point, so that a variance of 0 is 0 and not a rounding error.
    return float(below.var(ddof=1) / (m * n**2) + above.var(ddof=1) / (n * m**2))


def delong_test(label: np.ndarray, score: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Test whether two AUCs on the same clips differ, by DeLong's method, which takes clips as independent.

    Label: 1 = real; score and other: probability of real by either detector, (N,) each. ``interval`` is that of the
    difference at 95 %, ``p`` two-sided. What is not defined is None, and ``why`` says why.
    """
    result: dict[str, Any] = dict.fromkeys(
        ("auc", "auc_against", "difference", "standard_error", "interval", "z", "p", "why")
    )
    counts = {"real": int((label == 1).sum()), "fake": int((label == 0).sum())}
    for name, count in counts.items():
        if count == 0:
            return result | {"why": f"no {name} clip"}
    (below, above), (other_below, other_above) = placements(label, score), placements(label, other)
    pairs = counts["real"] * counts["fake"]
    result["auc"], result["auc_against"] = float(below.sum() / pairs), float(other_below.sum() / pairs)
    difference = result["difference"] = float((below - other_below).sum() / pairs)
    for name, count in counts.items():
        if count == 1:
            return result | {"why": f"one {name} clip only"}
    error = result["standard_error"] = math.sqrt(placement_variance(below - other_below, above - other_above))
    if error == 0:
        return result | {"why": "the standard error is 0"}
    half = norm.ppf(PERCENTILES[1] / 100) * error
    z = difference / error
    interval_ = [float(difference - half), float(difference + half)]
    return result | {"interval": interval_, "z": z, "p": float(2 * norm.sf(abs(z)))}


def mcnemar_test(label: np.ndarray, decision: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Test whether two detectors are right equally often, by the clips that one alone is right about.

    McNemar, Psychometrika 12 (1947) 153-157, with the exact binomial distribution; it takes clips as independent. The
    two-sided ``p`` is 1 where no clip is told apart.
    """
    first, second = label == decision, label == other
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return {
        "acc": float(first.mean()),
        "acc_against": float(second.mean()),
        "difference": (only_first - only_second) / len(label),
        "only_first_right": only_first,
        "only_against_right": only_second,
        "p": float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    }


def paired_bootstrap(
    table: pd.DataFrame, other: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Resample subjects and take the difference of two detectors, row by row of the same clips, in each resample.

    Returns
    -------
    dict
        For ``auc`` and ``acc``: the 95 % ``interval`` of the difference, and ``other_sign``, the share of resamples in
        which it is 0 or has another sign than on all clips (None where it is 0 there); ``rule_of_three``, the names of
        those whose interval resampling cannot see; ``left_out``, resamples with one class only; ``why`` there is
        nothing, or None.
    """
    if why := no_intervals(table, resamples):
        nothing = {name: {"interval": None, "other_sign": None} for name in COMPARED}
        return nothing | {"rule_of_three": [], "left_out": None, "why": why}
    sides = [WeightedMetrics.of(side) for side in (table, other)]
    first, second = resampled(sides, table["subject"].to_numpy(), resamples, seed, COMPARED)
    once = np.ones((1, len(table)))
    whole_first, whole_second = (side(once, COMPARED) for side in sides)
    both = np.isfinite(first["auc"])
    values = {name: (first[name] - second[name])[both] for name in COMPARED}
    ends, unseen = with_rule_of_three(table, values, lowest=-1.0)
    result: dict[str, Any] = {}
    for name in COMPARED:
        whole = (whole_first[name] - whole_second[name]).item()
        other_sign = float(np.mean(values[name] * whole <= 0)) if both.any() and whole else None
        result[name] = {"interval": ends[name], "other_sign": other_sign}
    return result | {
        "rule_of_three": unseen,
        "left_out": int((~both).sum()),
        "why": None if both.any() else "no resample has both classes",
    }


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust the p of several tests, so that all together err no more often than one (Holm, 1979).

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 65-70. Where
    there was no test, p is None before and after, and does not count.
    """
    made = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, (p, k) in enumerate(made):
        so_far = max(so_far, min(1.0, (len(made) - rank) * p))
        adjusted[k] = so_far
    return adjusted
