"""Whether a score says how often it is right: reliability bins, expected calibration error, Brier score.

Of the score as the probability of real, against the label (1 = real); not of the confidence in the decision.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

BINS = 15


def calibration(label: np.ndarray, score: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Compute the calibration of the scores.

    The error is the mean over all clips of how far the mean score of a clip's bin lies from the share of real clips
    in it (Naeini et al., AAAI 2015; Guo et al., ICML 2017, with the probability of real for the confidence).

    Parameters
    ----------
    label
        1 = real, (N,).
    score
        Probability of real, from 0 to 1, (N,).
    bins
        Number of bins, of equal width or of as many clips each.

    Returns
    -------
    dict
        ``ece`` and ``ece_equal_mass`` (0 to 1), ``brier`` (mean squared difference of score and label) and the bins
        of the reliability diagram, ``bins`` and ``bins_equal_mass``: low, high, n, mean_score, share_real. A bin
        takes the scores above its low end up to its high end; the first takes its low end too. All are None or
        empty without clips.
    """
    if not label.size:
        return {"ece": None, "ece_equal_mass": None, "brier": None, "bins": [], "bins_equal_mass": []}
    shares = np.linspace(0, 1, bins + 1)
    equal_width = reliability_bins(label, score, shares)
    # Clips of one score are never parted, so that the order of the rows does not matter.
    equal_mass = reliability_bins(label, score, np.quantile(score, shares))
    return {
        "ece": calibration_error(equal_width),
        "ece_equal_mass": calibration_error(equal_mass),
        "brier": float(np.mean((score - label) ** 2)),
        "bins": equal_width,
        "bins_equal_mass": equal_mass,
    }


def reliability_bins(label: np.ndarray, score: np.ndarray, edges: np.ndarray) -> list[dict[str, Any]]:
    """Sort clips into bins by their score; an empty bin has no mean score and no share of real clips.

    Parameters
    ----------
    label, score
        Of each clip, (N,).
    edges
        Ends of the bins, rising, (bins + 1,).
    """
    which = np.searchsorted(edges[1:-1], score, side="left")
    rows = []
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = which == k
        n = int(inside.sum())
        mean_score, share_real = (float(values[inside].mean()) if n else None for values in (score, label))
        row = {"low": float(low), "high": float(high), "n": n, "mean_score": mean_score, "share_real": share_real}
        rows.append(row)
    return rows


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Return the mean over clips of the distance between the mean score of a bin and its share of real clips."""
    filled = [row for row in bins if row["n"]]
    weights = [row["n"] for row in filled]
    return float(np.average([abs(row["mean_score"] - row["share_real"]) for row in filled], weights=weights))
