"""AUCs over the same resamples of subjects, many of them and fast.

A resample is how often each subject was drawn (`utils.statistics.bootstrap`). The pairs of a real and a fake clip that
are in the right order are counted once for each pair of subjects, (S, S); the AUC of a resample is then a ratio of two
quadratic forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from utils.statistics.bootstrap import PERCENTILES, subject_weights


class Resamples:
    """Resamples of the subjects of some clips.

    Parameters
    ----------
    subject
        Subject of each clip, (N,).
    resamples, seed
        How many, and of which draw.

    Attributes
    ----------
    index
        Number of each clip's subject, from 0 to S - 1, (N,).
    counts
        How often each subject is drawn, (R, S).
    """

    def __init__(self, subject: Sequence[str], resamples: int, seed: int) -> None:
        names, self.index = np.unique(np.asarray(subject, str), return_inverse=True)
        drawn = list(subject_weights(names, resamples, seed))
        self.counts = np.concatenate(drawn) if drawn else np.empty((0, len(names)))

    @property
    def subjects(self) -> int:
        """How many there are, S."""
        return self.counts.shape[1]

    def pairs(self, score: np.ndarray, label: np.ndarray, group: np.ndarray | None = None) -> Pairs:
        """Count pairs of a real and a fake clip by their subjects.

        Parameters
        ----------
        score
            The higher, the more real, (N,).
        label
            1 = real, (N,).
        group
            If given, only clips of the same group are compared, (N,).
        """
        real, fake = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
        compared = np.ones((len(real), len(fake))) if group is None else group[real, None] == group[fake]
        apart = score[real, None] - score[fake]  # (reals, fakes)
        won = compared * ((apart > 0) + (apart == 0) / 2)
        cell = (self.index[real, None] * self.subjects + self.index[fake]).ravel()
        sums = [np.bincount(cell, values.ravel(), self.subjects**2) for values in (won, compared)]
        return Pairs(*(values.reshape(self.subjects, self.subjects) for values in sums))

    def auc(self, pairs: Pairs) -> np.ndarray:
        """AUC in each resample, (R,); NaN where it has no pair."""
        won, compared = (np.sum(self.counts @ table * self.counts, 1) for table in pairs)
        return np.divide(won, compared, out=np.full(len(won), np.nan), where=compared > 0)

    def mean(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Mean of the chosen clips' values in each resample, (R,); NaN where none is drawn."""
        sums = np.bincount(self.index[chosen], values[chosen], self.subjects)
        clips = np.bincount(self.index[chosen], minlength=self.subjects)
        total, drawn = self.counts @ sums, self.counts @ clips
        return np.divide(total, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)


class Pairs(NamedTuple):
    """Pairs of a real and a fake clip by their subjects, both (S, S): won ones, of which a tie is half, and all."""

    won: np.ndarray
    compared: np.ndarray

    @property
    def auc(self) -> float:
        """Share of won pairs; NaN if there is no pair."""
        compared = self.compared.sum()
        return float(self.won.sum() / compared) if compared else float("nan")


def ends(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values; NaN, NaN without any."""
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, PERCENTILES) if values.size else (np.nan, np.nan)
    return float(low), float(high)


def spread(values: np.ndarray) -> float:
    """Standard error from resampled values; NaN with fewer than two."""
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def chance_error(label: np.ndarray, group: np.ndarray | None = None) -> float:
    """Standard error of an AUC by chance (Mann and Whitney), which resamples of few clips understate.

    NaN if there is no pair.

    Parameters
    ----------
    label
        1 = real, (N,).
    group
        If given, numbers from 0; only clips of the same group are compared, (N,).
    """
    group = np.zeros(len(label), int) if group is None else group
    reals, fakes = np.bincount(group, label), np.bincount(group, 1 - label)
    pairs = reals * fakes
    return float(np.sqrt(np.sum(pairs * (reals + fakes + 1) / 12)) / pairs.sum()) if pairs.any() else float("nan")


def standard_errors(error_rate: float, tests: int, subjects: int | None = None) -> float:
    """How many standard errors a figure must lie off, so that all tests together err no more often (Bonferroni).

    One-sided; extreme percentiles of a bootstrap would need far more resamples than its standard error. With the number
    of subjects Student's distribution is taken, which means need and AUCs do not: they have no outliers.
    """
    each = error_rate / max(tests, 1)
    return float(norm.isf(each) if subjects is None else t.isf(each, max(subjects - 1, 1)))
