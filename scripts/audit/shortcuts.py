"""Shortcuts of a corpus: how well a single fact of a clip, such as its leading silence, tells fake from real.

FakeAVCeleb is known for one: many of its fakes begin with silence (arXiv 2412.00175). For each fact a logistic
regression learns from some subjects and scores the others, fakes of each category against the real clips.

A shortcut is named if it lies above chance by more than the error of all the tests together allows, and tells something
at all: see ``NAMED``, ``ERROR_RATE`` and ``BIT_RATES``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

from utils.statistics.bootstrap import RESAMPLES, SEED, Resamples, chance_error, interval, spread, standard_errors

# Facts by the names that people read.
SHORTCUTS = {
    "leading silence": "leading_silence",
    "duration": "duration",
    "loudness": "loudness",
    "length difference": "length_difference",
    "bit rate of the picture": "picture_rate",
    "bit rate of the sound": "sound_rate",
}
CATEGORIES = {"all": ("B", "C", "D"), "B": ("B",), "C": ("C",), "D": ("D",)}  # fakes against the clips of A
FOLDS = 5
NAMED = 0.6  # AUC from which on a shortcut is worth a name
ERROR_RATE = 0.02  # share of corpora without a shortcut in which any may be named
# Bit rates follow from what is seen and heard: a blurred mouth or a vocoder's voice takes fewer bits. A shortcut of the
# encoding is named only if it makes more of a difference than that: the ratio of fake to real.
BIT_RATES = ("bit rate of the picture", "bit rate of the sound")
RATIO = 1.25
TOGETHER = 0.5  # rank correlation from which on two shortcuts may be one flaw


class Held(NamedTuple):
    """Log odds of being real for each clip, (N,), by a regression on other subjects, and its fold, (N,)."""

    score: np.ndarray
    fold: np.ndarray


def find_shortcuts(facts: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> pd.DataFrame:
    """Judge each shortcut for each category of fakes.

    Parameters
    ----------
    facts
        A row a clip: subject, category, and the columns that ``SHORTCUTS`` names; those that are absent are left out.
    resamples, seed
        Of the subjects, for the intervals; the folds depend on the seed too.

    Returns
    -------
    pandas.DataFrame
        shortcut, category ("all", "B", "C", "D"), auc, low, high (95 % by subject), bound (the AUC lies above it by
        ``ERROR_RATE`` over all rows), n (clips), named, note (why it is not judged or not named, where that needs a
        word). Categories that are not there are left out.
    """
    present = [name for name, fakes in CATEGORIES.items() if facts["category"].isin(fakes).any()]
    names = [name for name, column in SHORTCUTS.items() if column in facts]
    errors = standard_errors(ERROR_RATE, len(names) * len(present))
    rows = []
    for category in present:
        clips = facts[facts["category"].isin(("A", *CATEGORIES[category]))].reset_index(drop=True)
        label = (clips["category"] == "A").to_numpy(int)
        drawn = Resamples(clips["subject"], resamples, seed)
        for name in names:
            fact = clips[SHORTCUTS[name]].to_numpy(float)
            judged = _judge(name, fact, label, drawn, errors, seed)
            rows.append({"shortcut": name, "category": category, "n": len(clips)} | judged)
    columns = ["shortcut", "category", "auc", "low", "high", "bound", "n", "named", "note"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("shortcut", key=lambda column: column.map(names.index), kind="stable", ignore_index=True)


def go_together(facts: pd.DataFrame, shortcuts: pd.DataFrame) -> pd.DataFrame:
    """Correlate shortcuts that were named, as one flaw may show in several facts: silence takes few bits.

    Two flaws that both tell the fakes go together by that alone: what goes together may be one flaw, and what does not
    is two.

    Parameters
    ----------
    facts
        What `find_shortcuts` was given.
    shortcuts
        What it returned.

    Returns
    -------
    pandas.DataFrame
        shortcut, other, category, correlation (Spearman's, of both facts over the real clips and the fakes of that
        category): a row for each two shortcuts that were named for the same category, of the first such category where
        it is ``TOGETHER`` or more either way, of all fakes if it is there, else where it is strongest.
    """
    named = shortcuts[shortcuts["named"]].groupby("shortcut", sort=False)["category"].agg(list)
    rows = []
    for one, other in combinations(named.index, 2):
        found = {}
        for category in (name for name in named[one] if name in named[other]):
            clips = facts.loc[facts["category"].isin(("A", *CATEGORIES[category])), [SHORTCUTS[one], SHORTCUTS[other]]]
            found[category] = float(clips.corr("spearman").iat[0, 1])
        if found:
            strongest = max(found, key=lambda category: abs(found[category]))
            shown = next((category for category in found if abs(found[category]) >= TOGETHER), strongest)
            rows.append((one, other, shown, found[shown]))
    return pd.DataFrame(rows, columns=["shortcut", "other", "category", "correlation"])


def _judge(
    name: str, fact: np.ndarray, label: np.ndarray, drawn: Resamples, errors: float, seed: int
) -> dict[str, object]:
    """One row of the table, without what it is called."""
    unknown = {"auc": np.nan, "low": np.nan, "high": np.nan, "bound": np.nan, "named": False}
    if label.all() or not label.any() or drawn.subjects < 2:
        return unknown | {"note": "needs real and fake clips of two subjects"}
    if np.isnan(fact).all():
        return unknown | {"note": "not known"}
    fact = np.nan_to_num(fact, nan=np.nanmedian(fact))
    if fact.min() == fact.max():
        chance = dict.fromkeys(("auc", "low", "high", "bound"), 0.5)
        return chance | {"named": False, "note": "the same in all clips"}
    held = held_out(fact, label, drawn.index, seed)
    auc, values = drawn.auc(held.score, label, held.fold)
    error = np.fmax(spread(values), chance_error(label, held.fold))
    bound = auc - errors * error
    low, high = ends(values)
    tells = bool(bound > 0.5 and auc >= NAMED)
    note = ""
    if tells and name in BIT_RATES and (ratio := _ratio(fact, label)) < RATIO:
        tells, note = False, f"it differs by {100 * (ratio - 1):.0f} %, no more than what is seen and heard can bring"
    return {"auc": auc, "low": low, "high": high, "bound": bound, "named": tells, "note": note}


def ends(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values; NaN, NaN without any."""
    low, high = interval(values) or (np.nan, np.nan)
    return float(low), float(high)


def held_out(fact: np.ndarray, label: np.ndarray, subject: np.ndarray, seed: int) -> Held:
    """Score each clip by a regression on the clips of other subjects.

    Scores of different folds come from different regressions and must not be ranked together: where there is nothing
    to learn, a fold with more real clips leaves fewer to learn from, and the pooled AUC falls below 1/2.

    Parameters
    ----------
    fact
        One number a clip, (N,).
    label
        1 = real, (N,).
    subject
        Number of the subject, (N,).
    seed
        Of the folds.
    """
    score, fold = np.zeros(len(fact)), np.zeros(len(fact), int)
    column = fact[:, None]  # (N, 1)
    for number, (train, test) in enumerate(_folds(label, subject, seed)):
        score[test] = _regression(len(train)).fit(column[train], label[train]).decision_function(column[test])
        fold[test] = number
    return Held(score, fold)


def _folds(label: np.ndarray, subject: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split clips by subject, as often as both classes are there to learn from."""
    splits = min(FOLDS, len(np.unique(subject)))
    for train, test in GroupKFold(splits, shuffle=True, random_state=seed).split(label, groups=subject):
        if 0 < label[train].sum() < len(train):
            yield train, test


def _regression(clips: int) -> Pipeline:
    """A regression on the rank of a fact and its square, which also finds what is too small and too large in fakes.

    Ranks, since a clip of eight seconds' silence would otherwise hide a difference of a tenth of a second.
    """
    return make_pipeline(
        QuantileTransformer(n_quantiles=min(100, clips), random_state=0),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", solver="newton-cholesky"),
    )


def _ratio(fact: np.ndarray, label: np.ndarray) -> float:
    """Factor by which positive facts of fakes and reals lie apart, as a mean over their quantiles."""
    known = np.log(np.maximum(fact, 1e-6))
    return float(np.exp(wasserstein_distance(known[label == 1], known[label == 0])))
