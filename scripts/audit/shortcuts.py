"""Shortcuts of a corpus: how well a single fact of a clip, such as its leading silence, tells fake from real.

FakeAVCeleb is known for one: many of its fakes begin with silence (arXiv 2412.00175). For each fact a logistic
regression learns from some subjects and scores the others, fakes of each category against the real clips.

A shortcut is named if it lies above chance by more than the error of all the tests together allows, and tells something
at all: see `NAMED`, `ERROR_RATE` and `BIT_RATES`.
"""

import hashlib
import logging
import math
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

from dataset.check import inspect_clip, stamp
from dataset.media import SAMPLE_RATE, audio_chunks
from utils.files import write_atomic
from utils.parallel import in_threads
from utils.statistics.bootstrap import RESAMPLES, SEED, Resamples, chance_error, interval, spread, standard_errors

log = logging.getLogger(__name__)

MOST_CLIPS = 2000  # that are looked at; more would hardly narrow an interval
QUIETEST = -100.0  # dB, of audio that is nothing but zeros
FULL_SCALE = 32_768
# Facts by the names that people read.
SHORTCUTS = {
    "leading silence": "leading_silence",
    "duration": "duration",
    "loudness": "loudness",
    "length difference": "length_difference",
    "bit rate of the video": "video_rate",
    "bit rate of the audio": "audio_rate",
}
CATEGORIES = {"all": ("B", "C", "D", ""), "B": ("B",), "C": ("C",), "D": ("D",)}  # fakes against the clips of A
FOLDS = 5
NAMED = 0.6  # AUC from which on a shortcut is worth a name
ERROR_RATE = 0.02  # share of corpora without a shortcut in which any may be named
# Bit rates follow from what is seen and heard: a blurred mouth or a vocoder's voice takes fewer bits. A shortcut of the
# encoding is named only if it makes more of a difference than that: the ratio of fake to real.
BIT_RATES = ("bit rate of the video", "bit rate of the audio")
RATIO = 1.25
TOGETHER = 0.5  # rank correlation from which on two shortcuts may be one flaw


class Facts(NamedTuple):
    """Facts of one clip, rounded to what a detector could notice; NaN where there is none."""

    leading_silence: float  # seconds before the first sample above -60 dB of full scale
    duration: float  # seconds of the video
    loudness: float  # RMS of the audio behind its leading silence, dB of full scale
    length_difference: float  # seconds by which the audio is longer than the video
    video_rate: float  # kbit/s inside the clip, without the container
    audio_rate: float


def read_facts(clips: pd.DataFrame, cache: Path, seed: int = 42) -> pd.DataFrame:
    """Look at clips in threads, and keep what was found in a csv; a clip is looked at again only if its files change.

    `clips` are rows of :func:`dataset.corpora.read_corpus`; of more than ``MOST_CLIPS`` some subjects are drawn by the
    seed. Clips of other corpora may be in the csv too. Returns file, subject, category and the fields of `Facts` of
    each clip that decodes; the log names the others.
    """
    clips = _some(clips, seed)
    names = ["stamp", "reason", *Facts._fields]
    cached = _read_cache(cache, names)
    paths = {path: (str(Path(path).resolve()), str(stamp(path))) for path in clips["path"]}
    new = [path for path, (place, seen) in paths.items() if cached.get(place, [None])[0] != seen]
    try:
        for path, (reason, facts) in zip(new, in_threads(_look, new, "Looking at the clips"), strict=True):
            place, seen = paths[path]
            cached[place] = [seen, reason, *facts]
    finally:  # after an error or Ctrl-C too
        if new:
            table = pd.DataFrame.from_dict(cached, orient="index", columns=names).rename_axis("path")
            write_atomic(cache, table.to_csv(lineterminator="\n"))
    looked_at = pd.DataFrame([cached[paths[path][0]] for path in clips["path"]], columns=names)
    table = pd.concat([clips[["file", "subject", "category"]].reset_index(drop=True), looked_at], axis=1)
    for row in table[table["reason"] != ""].itertuples():
        log.warning("%s: left out of the shortcuts, %s", row.file, row.reason)
    return table[table["reason"] == ""].drop(columns=["stamp", "reason"]).reset_index(drop=True)


def _some(clips: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Clips of as many subjects as make ``MOST_CLIPS`` at most, in csv order."""
    if len(clips) <= MOST_CLIPS:
        return clips
    rank = {
        name: hashlib.sha256(f"{seed} {name}".encode()).digest() for name in clips["subject"].unique()
    }  # a subject's place does not depend on who else is there
    sizes = clips["subject"].value_counts()
    total = sizes[sorted(sizes.index, key=rank.get)].cumsum()
    drawn = total.index[total <= MOST_CLIPS]
    log.info("shortcuts are looked for in the clips of %d of %d subjects", len(drawn), len(sizes))
    return clips[clips["subject"].isin(set(drawn))]


def _look(path: str) -> tuple[str, Facts]:
    """Why a clip does not decode, or "", and its facts."""
    seen = inspect_clip(path)
    if seen.state != "ok":
        return seen.reason, Facts(*[math.nan] * len(Facts._fields))
    return "", Facts(
        round(seen.leading_silence, 3),
        round(seen.video_seconds, 3),
        round(_loudness(path, round(seen.leading_silence * SAMPLE_RATE)), 1),
        round(seen.audio_seconds - seen.video_seconds, 3),
        _rate(seen.video_bytes, seen.video_seconds),
        _rate(seen.audio_bytes, seen.audio_seconds),
    )


def _rate(count: int | None, seconds: float) -> float:
    """Bytes to kbit/s."""
    return math.nan if count is None else round(8 * count / seconds / 1000, 1)


def _loudness(path: str, start: int) -> float:
    """RMS of the samples from `start` on, dB of full scale; the silence before is a fact of its own."""
    samples = np.concatenate(list(audio_chunks(path)))[start:].astype(float)
    power = np.mean(samples**2) / FULL_SCALE**2 if len(samples) else 0.0
    return max(10 * math.log10(power), QUIETEST) if power else QUIETEST


def _read_cache(cache: Path, names: list[str]) -> dict[str, list]:
    """What is known of clips, by their places; nothing if the csv is of another form."""
    if not cache.is_file():
        return {}
    try:
        table = pd.read_csv(cache, converters=dict.fromkeys(("path", "stamp", "reason"), str))
        return dict(zip(table["path"], table[names].values.tolist(), strict=True))
    except (ValueError, KeyError) as error:
        log.warning("%s does not read (%s): the clips are looked at again", cache, error)
        return {}


def find_shortcuts(facts: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> pd.DataFrame:
    """Judge each shortcut for each category of fakes.

    `facts` has a row a clip: subject, category, and the columns that ``SHORTCUTS`` names; those that are absent are
    left out. Subjects are resampled for the intervals; the folds depend on the seed too.

    Returns
    -------
    pandas.DataFrame
        shortcut, category ("all", "B", "C", "D"), auc, low, high (95 % by subject), bound (the AUC lies above it by
        ``ERROR_RATE`` over all rows), n (clips), named, note (why it is not judged or not named, where that needs a
        word). Categories that are not there are left out.
    """
    names = [name for name, column in SHORTCUTS.items() if column in facts]
    sides = {name: against_real(facts, name) for name in categories_in(facts)}
    drawn = {name: Resamples(clips["subject"], resamples, seed) for name, clips in sides.items()}
    errors = standard_errors(ERROR_RATE, len(names) * len(sides))
    return pd.DataFrame([
        {"shortcut": name, "category": category, **_judge(name, clips, drawn[category], errors, seed)}
        for name in names
        for category, clips in sides.items()
    ])  # fmt: skip


def categories_in(clips: pd.DataFrame) -> list[str]:
    """Names of `CATEGORIES` of which there are fakes."""
    return [name for name, fakes in CATEGORIES.items() if clips["category"].isin(fakes).any()]


def against_real(clips: pd.DataFrame, category: str) -> pd.DataFrame:
    """The fakes of a category and the real clips."""
    return clips[clips["category"].isin(("A", *CATEGORIES[category]))]


def go_together(facts: pd.DataFrame, shortcuts: pd.DataFrame) -> pd.DataFrame:
    """Correlate shortcuts that `find_shortcuts` named, as one flaw may show in several facts: silence takes few bits.

    Two flaws that both tell the fakes go together by that alone: what goes together may be one flaw, and what does not
    is two.

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
        correlations = {}
        for category in (name for name in named[one] if name in named[other]):
            both = against_real(facts, category)[[SHORTCUTS[one], SHORTCUTS[other]]]
            correlations[category] = float(both.corr("spearman").iat[0, 1])
        if correlations:
            strongest = max(correlations, key=lambda category: abs(correlations[category]))
            chosen = next((category for category in correlations if abs(correlations[category]) >= TOGETHER), strongest)
            rows.append((one, other, chosen, correlations[chosen]))
    return pd.DataFrame(rows, columns=["shortcut", "other", "category", "correlation"])


def _judge(name: str, clips: pd.DataFrame, drawn: Resamples, errors: float, seed: int) -> dict[str, object]:
    """One row of the table, without what it is called."""
    fact, label = clips[SHORTCUTS[name]].to_numpy(float), (clips["category"] == "A").to_numpy(int)
    row = dict.fromkeys(("auc", "low", "high", "bound"), np.nan) | {"n": len(label), "named": False, "note": ""}
    if label.all() or not label.any() or drawn.subjects < 2:
        return row | {"note": "needs real and fake clips of two subjects"}
    if np.isnan(fact).all():
        return row | {"note": "not known"}
    fact = np.nan_to_num(fact, nan=np.nanmedian(fact))
    if fact.min() == fact.max():
        return row | dict.fromkeys(("auc", "low", "high", "bound"), 0.5) | {"note": "the same in all clips"}
    score, fold = held_out(fact, label, drawn.index, seed)
    auc, values = drawn.auc(score, label, fold)
    bound = auc - errors * np.fmax(spread(values), chance_error(label, fold))
    low, high = ends(values)
    row |= {"auc": auc, "low": low, "high": high, "bound": bound, "named": bool(bound > 0.5 and auc >= NAMED)}
    if row["named"] and name in BIT_RATES and (ratio := _ratio(fact, label)) < RATIO:
        note = f"it differs by {100 * (ratio - 1):.0f} %, no more than what is seen and heard can bring"
        row |= {"named": False, "note": note}
    return row


def ends(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values; NaN, NaN without any."""
    low, high = interval(values) or (np.nan, np.nan)
    return float(low), float(high)


def held_out(fact: np.ndarray, label: np.ndarray, subject: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Score each clip by a regression on the clips of other subjects; fact, label (1 = real) and subject are (N,).

    Returns the log odds of being real and the fold of each clip, (N,) each. Scores of different folds come from
    different regressions and must not be ranked together: where there is nothing to learn, a fold with more real clips
    leaves fewer to learn from, and the pooled AUC falls below 1/2.
    """
    score, fold = np.zeros(len(fact)), np.zeros(len(fact), int)
    column = fact[:, None]  # (N, 1)
    splits = GroupKFold(min(FOLDS, len(np.unique(subject))), shuffle=True, random_state=seed)
    both = [pair for pair in splits.split(label, groups=subject) if len(np.unique(label[pair[0]])) == 2]
    for number, (train, test) in enumerate(both):
        # Ranks, since a clip of eight seconds' silence would otherwise hide a difference of a tenth of a second; with
        # their squares, which find what is too small and too large in fakes.
        regression = make_pipeline(
            QuantileTransformer(n_quantiles=min(100, len(train)), random_state=0),
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", solver="newton-cholesky"),
        )
        score[test] = regression.fit(column[train], label[train]).decision_function(column[test])
        fold[test] = number
    return score, fold


def _ratio(fact: np.ndarray, label: np.ndarray) -> float:
    """Factor by which positive facts of fakes and reals lie apart, as a mean over their quantiles."""
    known = np.log(np.maximum(fact, 1e-6))
    return float(np.exp(wasserstein_distance(known[label == 1], known[label == 0])))
