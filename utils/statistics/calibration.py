"""Whether a score says how often it is right, and a map of scores that makes it do so.

Of the score as the probability of real, against the label (1 = real); not of the confidence in the decision.
"""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from utils.errors import DataError

BINS = 15
# Scores of exactly 0 or 1 have no odds.
LOWEST, HIGHEST = np.finfo(float).tiny, 1 - np.finfo(float).epsneg


class Platt(NamedTuple):
    """A map from scores to probabilities: log odds of real = slope · log odds of the score + intercept.

    It rises (slope > 0), so that no clip changes its rank and no AUC moves. The prior is the share of fakes among the
    clips that it was fitted on, for which its probabilities hold, `clips` how many these were.
    """

    slope: float
    intercept: float
    prior: float
    clips: int

    def log_odds(self, score: np.ndarray | float, prior: float | None = None) -> np.ndarray:
        """Compute the log odds of real of raw scores, from 0 to 1.

        `prior` is the share of fakes among the clips that are judged, for which Bayes' rule shifts the odds; by default
        that of the fit. `DataError` says so if it is not between 0 and 1.
        """
        prior = self.prior if prior is None else prior
        if not 0 < prior < 1:
            raise DataError(f"--prior {prior:g}: the share of fakes must lie between 0 and 1")
        return self.slope * _log_odds(score) + self.intercept + float(logit(self.prior) - logit(prior))

    def probability(self, score: np.ndarray | float, prior: float | None = None) -> np.ndarray:
        """Compute the probability that a clip is real; see `log_odds`."""
        return expit(self.log_odds(score, prior))

    def prior_at(self, threshold: float) -> float:
        """Return the prior of fakes for which the probability at this score is 1/2: what a threshold takes for granted.

        It is kept off 0 and 1, where no odds are.
        """
        return float(np.clip(expit(self.log_odds(threshold) + logit(self.prior)), LOWEST, HIGHEST))


def fit_platt(label: np.ndarray, score: np.ndarray) -> Platt | None:
    """Fit a map from scores to probabilities (Platt, Advances in Large Margin Classifiers, 1999).

    A logistic regression on the log odds of the score. As Platt has it, the targets are not 1 and 0 but
    (M + 1) / (M + 2) of M real clips and 1 / (N + 2) of N fakes, so that clips that are all told apart give no
    infinite slope. Label: 1 = real; score: probability of real, (N,) each.

    None without clips of both classes, where a score is not finite, or where real clips have the lower scores, so that
    a rising map does not fit.
    """
    label, score = np.asarray(label), np.asarray(score, float)
    real, fake = int((label == 1).sum()), int((label == 0).sum())
    if not real or not fake or not np.isfinite(score).all() or np.ptp(score) == 0:
        return None
    target = np.where(label == 1, (real + 1) / (real + 2), 1 / (fake + 2))
    odds = np.tile(_log_odds(score), 2)[:, None]
    classes = np.repeat([1, 0], len(label))
    # A clip counts as real by its target, and as fake by the rest.
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=1000).fit(
        odds, classes, sample_weight=np.concatenate([target, 1 - target])
    )
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if not slope > 0 or not math.isfinite(slope + intercept):
        return None
    return Platt(slope, intercept, fake / (real + fake), real + fake)


def calibration(label: np.ndarray, score: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Compute how far scores, (N,), are from how often clips are real (label 1, (N,)).

    The error is the mean over all clips of how far the mean score of a clip's bin lies from the share of real clips
    in it (Naeini et al., AAAI 2015; Guo et al., ICML 2017, with the probability of real for the confidence).

    Returns
    -------
    dict
        ``ece`` and ``ece_equal_mass`` (0 to 1; bins of equal width, or of as many clips each), ``brier`` (mean squared
        difference of score and label) and the bins of the reliability diagram, ``bins`` and ``bins_equal_mass``: low,
        high, n, mean_score, share_real. A bin takes the scores above its low end up to its high end; the first takes
        its low end too. All are None or empty without clips.
    """
    if not label.size:
        return {"ece": None, "ece_equal_mass": None, "brier": None, "bins": [], "bins_equal_mass": []}
    shares = np.linspace(0, 1, bins + 1)
    equal_width = reliability_bins(label, score, shares)
    # Clips of one score are never separated, so that the order of the rows does not matter.
    equal_mass = reliability_bins(label, score, np.quantile(score, shares))
    return {
        "ece": calibration_error(equal_width),
        "ece_equal_mass": calibration_error(equal_mass),
        "brier": float(np.mean((score - label) ** 2)),
        "bins": equal_width,
        "bins_equal_mass": equal_mass,
    }


def reliability_bins(label: np.ndarray, score: np.ndarray, edges: np.ndarray) -> list[dict[str, Any]]:
    """Sort clips, (N,), by score into bins of rising edges, (bins + 1,); an empty one has neither mean nor share."""
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


def _log_odds(score: np.ndarray | float) -> np.ndarray:
    return logit(np.clip(np.asarray(score, float), LOWEST, HIGHEST))
