"""Platt's map against scikit-learn's, Bayes' shift of the prior, and what it does to ranks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, roc_auc_score

from utils.errors import DataError
from utils.statistics.calibration import Platt, calibration, fit_platt


class LogOdds(ClassifierMixin, BaseEstimator):
    """A detector whose decision function is the log odds of its score."""

    def __init__(self) -> None:
        self.classes_ = np.array([0, 1])

    def fit(self, *_: object) -> LogOdds:
        return self

    def predict(self, score: np.ndarray) -> np.ndarray:
        return (score[:, 0] >= 0.5).astype(int)

    def decision_function(self, score: np.ndarray) -> np.ndarray:
        return logit(score[:, 0])


def overconfident(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores whose odds are the cube of what they should be, and too high."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1.5, n)
    return (rng.random(n) < expit(odds)).astype(int), expit(3 * odds + 2)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learns(seed: int) -> None:
    label, score = overconfident(seed)
    theirs = CalibratedClassifierCV(FrozenEstimator(LogOdds()), method="sigmoid").fit(score[:, None], label)
    platt = fit_platt(label, score)
    assert_allclose(platt.probability(score), theirs.predict_proba(score[:, None])[:, 1], atol=1e-3)
    assert (platt.prior, platt.clips) == (np.mean(label == 0), 400)


def test_it_mends_what_is_overconfident_on_clips_that_it_has_not_seen() -> None:
    platt = fit_platt(*overconfident(0, 2000))
    assert platt.slope == pytest.approx(1 / 3, rel=0.1)
    label, score = overconfident(1, 2000)
    after = platt.probability(score)
    assert calibration(label, after)["ece"] < 0.4 * calibration(label, score)["ece"]
    assert brier_score_loss(label, after) < 0.9 * brier_score_loss(label, score)
    assert roc_auc_score(label, after) == roc_auc_score(label, score)
    assert (np.argsort(after, kind="stable") == np.argsort(score, kind="stable")).all()


def test_the_prior_shifts_the_odds_as_bayes_has_it() -> None:
    platt = Platt(slope=2.0, intercept=0.5, prior=0.75, clips=100)
    score = np.array([0.01, 0.4, 0.99])
    for prior in (0.01, 0.5, 0.9):
        there = platt.probability(score)
        likelihood_ratio = there / (1 - there) * 0.75 / 0.25
        assert_allclose(platt.probability(score, prior), 1 / (1 + prior / (1 - prior) / likelihood_ratio), rtol=1e-12)
    assert_allclose(platt.probability(score, 0.75), platt.probability(score))
    assert platt.probability(0.4, 0.01) > platt.probability(0.4, 0.5) > platt.probability(0.4, 0.9)
    for wrong in (0.0, 1.0, -1.0, 2.0):
        with pytest.raises(DataError, match="the share of fakes must lie between 0 and 1"):
            platt.probability(score, wrong)


def test_the_threshold_is_at_one_half() -> None:
    platt = fit_platt(*overconfident(2))
    for threshold in (0.026, 0.5, 0.9):
        assert platt.probability(threshold, platt.prior_at(threshold)) == pytest.approx(0.5, abs=1e-12)


def test_clips_that_are_all_told_apart_give_a_finite_map() -> None:
    label, score = np.repeat([1, 0], 20), np.repeat([0.9, 0.1], 20)
    platt = fit_platt(label, score)
    assert_allclose(platt.probability([0.9, 0.1]), [21 / 22, 1 / 22], rtol=1e-5)  # Platt's targets
    ends = platt.probability(np.array([0.0, 1.0]))
    assert np.isfinite(platt.log_odds(np.array([0.0, 1.0]))).all()
    assert 0 <= ends[0] < 0.05
    assert ends[1] > 0.95


@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([1, 1], [0.1, 0.9]),
        ([0, 0], [0.1, 0.9]),
        ([1, 0], [0.1, np.nan]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),  # the wrong way round
        ([1, 0], [0.5, 0.5]),
    ],
)
def test_where_nothing_can_be_fitted(label: list[int], score: list[float]) -> None:
    assert fit_platt(np.array(label), np.array(score)) is None
