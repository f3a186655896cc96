"""Intervals by resampling subjects.

The clips of a subject have a face and a voice in common, so they are no independent draws: a resample takes whole
subjects, as many as there are, with replacement, and all clips of each as often as it was drawn (Efron & Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 8 and 13). It is never built: drawing a clip twice is a weight of 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

PERCENTILES = (2.5, 97.5)  # ends of a 95 % interval
FIGURES = ("acc", "balanced_acc", "auc", "auc_hard", "ap_real", "ap_fake", "eer")
WEIGHTS_AT_ONCE = 1 << 20  # bounds the memory: about ten arrays of 8 MB


class WeightedFigures:
    """Figures of one table of scores, for any weights of its clips; whole weights give what repeated rows give.

    Parameters
    ----------
    label, decision
        1 = real, (N,).
    score
        Probability of real, finite, (N,).
    """

    def __init__(self, label: np.ndarray, decision: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ranked = score[self.order]
        # First clip of each level: clips of one score are ranked together.
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.real = label == 1
        self.right = label == decision

    @classmethod
    def of(cls, table: pd.DataFrame) -> WeightedFigures:
        """Figures of a table with the columns label, decision and score."""
        return cls(*(table[name].to_numpy() for name in ("label", "decision", "score")))

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``FIGURES``, (R,) each.

        Parameters
        ----------
        weights
            How often each clip is there in each of R resamples, (R, N); each has clips of both classes.
        """
        right = weights * self.right  # (R, N)
        real, fake = weights[:, self.real].sum(1), weights[:, ~self.real].sum(1)  # (R,)
        balanced = (right[:, self.real].sum(1) / real + right[:, ~self.real].sum(1) / fake) / 2
        reals, fakes = (self._by_level(weights, chosen) for chosen in (self.real, ~self.real))  # (R, levels)
        reals_falling, fakes_falling = reals[:, ::-1], fakes[:, ::-1]
        below = np.cumsum(fakes, 1) - fakes / 2  # a tie is half a pair
        return {
            "acc": right.sum(1) / weights.sum(1),
            "balanced_acc": balanced,
            "auc": np.sum(reals * below, 1) / (real * fake),
            "auc_hard": balanced,  # the area under a ROC of one threshold
            "ap_real": _average_precision(reals_falling, fakes_falling),
            "ap_fake": _average_precision(fakes, reals),
            "eer": _equal_error_rate(reals_falling, fakes_falling),
        }

    def _by_level(self, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Weight of the chosen clips at each score, from the smallest up, (R, levels)."""
        return np.add.reduceat((weights * chosen)[:, self.order], self.starts, axis=1)


def subject_weights(subject: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each clip is drawn, (R, N), for a few resamples at a time and ``resamples`` in all.

    It depends on the seed and the set of subjects, not on the order of the rows or the number of clips of a subject.

    Parameters
    ----------
    subject
        Subject of each clip, (N,).
    resamples, seed
        How many, and of which draw.
    """
    names, index = np.unique(subject, return_inverse=True)
    rng = np.random.default_rng(seed)
    at_once = max(1, WEIGHTS_AT_ONCE // len(subject))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(len(names), size=(rows, len(names)))
        cells = drawn + len(names) * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * len(names)).reshape(rows, len(names))
        yield counts[:, index].astype(float)


def resampled_figures(
    tables: Sequence[WeightedFigures], subject: np.ndarray, resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """Return the figures of each table in every resample that has clips of both classes.

    Parameters
    ----------
    tables
        Scores of the same clips by one detector or several; all are seen through the same resamples.
    subject
        Subject of each clip, (N,).
    resamples, seed
        How many are drawn, and the seed.

    Returns
    -------
    list of dict
        For each table its ``FIGURES``, (resamples with both classes,) each.
    """
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in tables]
    for weights in subject_weights(subject, resamples, seed):
        both = weights[:, tables[0].real].any(1) & weights[:, ~tables[0].real].any(1)
        for figures, table in zip(parts, tables, strict=True):
            figures.append(table(weights[both]))
    return [
        {name: np.concatenate([part[name] for part in figures]) if figures else np.empty(0) for name in FIGURES}
        for figures in parts
    ]


def no_intervals(table: pd.DataFrame, resamples: int) -> str | None:
    """Why a table has no intervals; None if it can have them."""
    for value, name in ((1, "real"), (0, "fake")):
        if not (table["label"] == value).any():
            return f"no {name} clip"
    if table["subject"].nunique() < 2:
        return "one subject only"
    return None if resamples else "no resamples"


def interval(values: np.ndarray) -> list[float] | None:
    """Percentile interval, [low, high]; None without values."""
    return np.percentile(values, PERCENTILES).tolist() if values.size else None


def bootstrap_intervals(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Compute 95 % intervals of ``FIGURES`` by resampling subjects.

    Parameters
    ----------
    table
        One row a clip, with the columns subject, label, decision and score.
    resamples, seed
        How many are drawn, and the seed.

    Returns
    -------
    dict
        ``intervals``: [low, high] of each figure, or None; ``left_out``: how many resamples had one class only;
        ``why``: why there are no intervals, or None.
    """
    why = no_intervals(table, resamples)
    if why:
        return {"intervals": dict.fromkeys(FIGURES), "left_out": None, "why": why}
    (figures,) = resampled_figures([WeightedFigures.of(table)], table["subject"].to_numpy(), resamples, seed)
    used = len(figures["acc"])
    return {
        "intervals": {name: interval(values) for name, values in figures.items()},
        "left_out": resamples - used,
        "why": None if used else "no resample has both classes",
    }


def _average_precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Mean over positive clips of the precision at their score, (R,).

    The weights of both classes at each level are (R, levels), the level that looks most positive first.
    """
    found = np.cumsum(positive, 1)
    taken = found + np.cumsum(negative, 1)
    # Before the first drawn clip nothing is taken, nor is there a clip whose precision would count.
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    return np.sum(positive * precision, 1) / found[:, -1]


def _equal_error_rate(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """As ``utils.metrics.equal_error_rate``, for each resample, (R,); the highest score first, (R, levels)."""
    rates = []
    for side in (real, fake):
        total = np.cumsum(side, 1)
        rates.append(np.pad(total / total[:, -1:], ((0, 0), (1, 0))))  # the ROC starts at (0, 0)
    gap = 1 - rates[0] - rates[1]
    rows, after = np.arange(len(gap)), np.argmax(gap <= 0, 1)
    before = after - 1
    weight = gap[rows, before] / (gap[rows, before] - gap[rows, after])
    low, high = rates[1][rows, before], rates[1][rows, after]
    return low + weight * (high - low)
