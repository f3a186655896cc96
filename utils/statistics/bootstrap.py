"""Intervals by resampling subjects: one engine for every table, report, card and audit.

The clips of a subject have a face and a voice in common, so they are no independent draws: a resample takes whole
subjects, as many as there are, with replacement, and all clips of each as often as it was drawn (Efron & Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 8 and 13). It is never built: drawing a clip twice is a weight of 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from utils.errors import DataError
from utils.metrics import stream_labels

RESAMPLES, SEED = 2000, 42  # of every command
PERCENTILES = (2.5, 97.5)  # ends of a 95 % interval
RATES = ("acc", "auc", "false_rejection", "false_acceptance")
METRICS = ("acc", "balanced_acc", "auc", "auc_hard", "ap_real", "ap_fake", "eer")
CLASS_METRICS = tuple(f"{name}_{side}" for name in ("f1", "recall", "precision") for side in ("real", "fake"))
HEADS = {"audio_auc": "audio_score", "video_auc": "video_score"}
BY_RANK = {"auc", "ap_real", "ap_fake", "eer"}
WEIGHTS_AT_ONCE = 1 << 20  # bounds the memory: about ten arrays of 8 MB
ROUNDING = 1e-9


def require_not_negative(**options: int) -> None:
    """See that resamples and seeds are 0 or more; `DataError` names the flag that is not."""
    for flag, value in options.items():
        if value < 0:
            raise DataError(f"--{flag} is {value}, but must be 0 or more")


def rule_of_three(subjects: int) -> float:
    """Return the share of all subjects below which something may stay unseen in so many of them, at 95 %.

    Where all resamples agree, they say nothing of other subjects: what touches fewer than 3 / n of all may be seen in
    none of n (Hanley & Lippman-Hand, JAMA 249, 1983, 1743-1745).
    """
    return min(1.0, 3 / subjects) if subjects else 1.0


class WeightedMetrics:
    """Metrics of one table of scores, for any weights of its clips; whole weights give what repeated rows give.

    Label and decision are 1 = real, the score is the finite probability of real, (N,) each.
    """

    def __init__(self, label: np.ndarray, decision: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ranked = score[self.order]
        # First clip of each level: clips of one score are ranked together.
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.real, self.right, self.said_real = label == 1, label == decision, decision == 1

    @classmethod
    def of(cls, table: pd.DataFrame) -> WeightedMetrics:
        """Metrics of a table with the columns label, decision and score."""
        return cls(*(table[name].to_numpy() for name in ("label", "decision", "score")))

    def __call__(self, weights: np.ndarray, names: Sequence[str] = METRICS) -> dict[str, np.ndarray]:
        """Compute any of `METRICS`, `CLASS_METRICS` and `RATES`, (R,) each; NaN where a resample lacks what one needs.

        Weights say how often each clip is there in each of R resamples, (R, N).
        """
        found: dict[str, np.ndarray] = {}
        there = {"real": weights @ self.real, "fake": weights @ ~self.real}  # (R,)
        found["acc"] = _ratio(weights @ self.right, weights.sum(1))
        for side, is_side in (("real", self.real), ("fake", ~self.real)):
            right = weights @ (is_side & self.right)
            taken = weights @ (self.said_real if side == "real" else ~self.said_real)
            found[f"recall_{side}"] = _ratio(right, there[side])
            found[f"precision_{side}"] = _ratio(right, np.where(there[side] > 0, taken, 0))
            found[f"f1_{side}"] = _ratio(2 * right, np.where(there[side] > 0, there[side] + taken, 0))
        found["false_rejection"], found["false_acceptance"] = 1 - found["recall_real"], 1 - found["recall_fake"]
        found["balanced_acc"] = (found["recall_real"] + found["recall_fake"]) / 2
        found["auc_hard"] = found["balanced_acc"]  # the area under a ROC of one threshold
        if BY_RANK & {*names}:
            # Weight of the real and of the fake clips at each score, the smallest first, (R, levels).
            reals, fakes = (self._by_level(weights, chosen) for chosen in (self.real, ~self.real))
            below, pairs = np.cumsum(fakes, 1) - fakes / 2, reals.sum(1) * fakes.sum(1)  # a tie is half a pair
            found["auc"] = _ratio(np.sum(reals * below, 1), pairs)
            reals_falling, fakes_falling = reals[:, ::-1], fakes[:, ::-1]
            if "ap_real" in names:
                found["ap_real"] = _average_precision(reals_falling, fakes_falling)
            if "ap_fake" in names:
                found["ap_fake"] = _average_precision(fakes, reals)
            if "eer" in names:
                found["eer"] = np.where(pairs > 0, _equal_error_rate(reals_falling, fakes_falling), np.nan)
        return {name: found[name] for name in names}

    def _by_level(self, weights: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.add.reduceat((weights * chosen)[:, self.order], self.starts, axis=1)


def subject_weights(subject: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each clip, of a subject (N,), is drawn, (R, N): a few resamples at a time, `resamples` in all.

    It depends on the seed and the set of subjects, not on the order of the rows or the number of clips of a subject.
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


def resampled(
    tables: Sequence[WeightedMetrics], subject: np.ndarray, resamples: int, seed: int, names: Sequence[str] = METRICS
) -> list[dict[str, np.ndarray]]:
    """Compute metrics of each table in every resample, (resamples,) each; NaN where one is not defined.

    The tables are scores of the same clips, of a subject (N,) each, by one detector or several; all are seen through
    the same resamples.
    """
    drawn = [[table(weights, names) for table in tables] for weights in subject_weights(subject, resamples, seed)]
    return [
        {name: np.concatenate([part[k][name] for part in drawn]) if drawn else np.empty(0) for name in names}
        for k in range(len(tables))
    ]


def interval(values: np.ndarray) -> list[float] | None:
    """Return the percentile interval of the values that are numbers, [low, high]; None without any."""
    values = values[np.isfinite(values)]
    return np.percentile(values, PERCENTILES).tolist() if values.size else None


def no_intervals(table: pd.DataFrame, resamples: int) -> str | None:
    """Say why a table has no intervals; None if it can have them."""
    for value, name in ((1, "real"), (0, "fake")):
        if not (table["label"] == value).any():
            return f"no {name} clip"
    if table["subject"].nunique() < 2:
        return "one subject only"
    return None if resamples else "no resamples"


def bootstrap_intervals(
    table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED, detailed: bool = False
) -> dict[str, Any]:
    """Compute 95 % intervals of the metrics of a table by resampling subjects.

    The table has one row a clip, with the columns subject, label, decision and score. In detail there are those of F1,
    recall and precision too, and of the AUC of each stream that has scores, which need the category as well.

    Returns
    -------
    dict
        ``intervals``: [low, high] of each metric, or None; ``rule_of_three``: names of those that resampling cannot
        see, whose ends are by `rule_of_three`; ``left_out``: how many resamples had one class only; ``why``: why there
        are no intervals, or None.
    """
    names = METRICS + CLASS_METRICS if detailed else METRICS
    if why := no_intervals(table, resamples):
        return {"intervals": dict.fromkeys(METRICS), "rule_of_three": [], "left_out": None, "why": why}
    (found,) = resampled([WeightedMetrics.of(table)], table["subject"].to_numpy(), resamples, seed, names)
    both = np.isfinite(found["balanced_acc"])
    ends, unseen = with_rule_of_three(table, {name: values[both] for name, values in found.items()})
    if detailed:
        for name, head in HEADS.items():
            if table[head].notna().all():
                label, score = stream_labels(table, head)
                own = table[table["category"] != ""].assign(label=label, score=score)
                stream, also = group_intervals(own, resamples, seed, ("auc",))
                ends[name] = stream["auc"]
                unseen += [name] * bool(also)
    return {
        "intervals": ends,
        "rule_of_three": unseen,
        "left_out": int((~both).sum()),
        "why": None if both.any() else "no resample has both classes",
    }


def group_intervals(
    table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED, names: Sequence[str] = RATES
) -> tuple[dict[str, list[float] | None], list[str]]:
    """Compute 95 % intervals by resampling subjects, also of clips of one class; None of fewer than two subjects.

    A resample that has no clip to count in a metric is left out of that one. The names of those whose ends are by
    `rule_of_three` are returned beside.
    """
    if table["subject"].nunique() < 2 or not resamples:
        return dict.fromkeys(names), []
    (found,) = resampled([WeightedMetrics.of(table)], table["subject"].to_numpy(), resamples, seed, names)
    return with_rule_of_three(table, found)


def with_rule_of_three(
    table: pd.DataFrame, found: Mapping[str, np.ndarray], lowest: float = 0.0
) -> tuple[dict[str, list[float] | None], list[str]]:
    """Turn resampled values of metrics, (R,) each, into intervals; one without width is made by `rule_of_three`.

    For that, the subjects count of the class that a metric is about, or of the class that has fewer. `lowest` is the
    least value that the metrics can have.
    """
    fake, real = (table.loc[table["label"] == value, "subject"].nunique() for value in (0, 1))
    counted = dict.fromkeys(("recall_real", "false_rejection"), real)
    counted |= dict.fromkeys(("recall_fake", "false_acceptance"), fake) | {"acc": table["subject"].nunique()}
    ends, unseen = {}, []
    for name, values in found.items():
        ends[name] = interval(values)
        if ends[name] and ends[name][1] - ends[name][0] < ROUNDING:
            low, high = ends[name]
            width = rule_of_three(counted.get(name, min(real, fake)))
            ends[name] = [max(lowest, low - width), min(1.0, high + width)]
            unseen.append(name)
    return ends, unseen


class Resamples:
    """Resamples of the subjects of some clips, (N,), through which several scores of these are seen.

    ``index`` is the number of each clip's subject, from 0 to S - 1, (N,); ``counts`` how often each subject is drawn in
    each resample, (R, S).
    """

    def __init__(self, subject: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED) -> None:
        names, self.index = np.unique(np.asarray(subject, str), return_inverse=True)
        drawn = list(subject_weights(names, resamples, seed))
        self.counts = np.concatenate(drawn) if drawn else np.empty((0, len(names)))

    @property
    def subjects(self) -> int:
        """The number of subjects, S."""
        return self.counts.shape[1]

    def auc(self, score: np.ndarray, label: np.ndarray, group: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Compute the AUC of all clips, and that of each resample, (R,); NaN where there is no pair.

        Clips have a score, a label (1 = real) and, if only those of the same are to be compared, a group, (N,) each.
        """
        real, fake = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
        compared = np.ones((len(real), len(fake))) if group is None else group[real, None] == group[fake]
        apart = score[real, None] - score[fake]  # (reals, fakes)
        won = compared * ((apart > 0) + (apart == 0) / 2)
        # By pairs of subjects, (S, S): the AUC of a resample is then a ratio of two quadratic forms.
        cell = (self.index[real, None] * self.subjects + self.index[fake]).ravel()
        tables = [
            np.bincount(cell, values.ravel(), self.subjects**2).reshape(self.subjects, -1) for values in (won, compared)
        ]
        drawn = [np.sum(self.counts @ table * self.counts, 1) for table in tables]
        whole = float(tables[0].sum() / tables[1].sum()) if tables[1].any() else float("nan")
        return whole, _ratio(*drawn)

    def mean(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Compute the mean of the chosen clips' values in each resample, (R,); NaN where none is drawn."""
        sums = np.bincount(self.index[chosen], values[chosen], self.subjects)
        clips = np.bincount(self.index[chosen], minlength=self.subjects)
        return _ratio(self.counts @ sums, self.counts @ clips)


def spread(values: np.ndarray) -> float:
    """Return the standard error from resampled values; NaN with fewer than two."""
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def chance_error(label: np.ndarray, group: np.ndarray | None = None) -> float:
    """Return the standard error of an AUC by chance (Mann and Whitney), which resamples of few clips understate.

    NaN if there is no pair. Label: 1 = real, (N,); if there are groups, numbers from 0, (N,), only clips of the same
    are compared.
    """
    group = np.zeros(len(label), int) if group is None else group
    reals, fakes = np.bincount(group, label), np.bincount(group, 1 - label)
    pairs = reals * fakes
    return float(np.sqrt(np.sum(pairs * (reals + fakes + 1) / 12)) / pairs.sum()) if pairs.any() else float("nan")


def standard_errors(error_rate: float, tests: int, subjects: int | None = None) -> float:
    """Return how many standard errors a metric must lie off, so that all tests together err no more (Bonferroni).

    One-sided; extreme percentiles of a bootstrap would need far more resamples than its standard error. With the number
    of subjects Student's distribution is taken, which means need and AUCs do not: they have no outliers.
    """
    each = error_rate / max(tests, 1)
    return float(norm.isf(each) if subjects is None else t.isf(each, max(subjects - 1, 1)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _average_precision(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Mean over positive clips of the precision at their score, (R,).

    The weights of both classes at each level are (R, levels), the level that looks most positive first.
    """
    found = np.cumsum(positive, 1)
    taken = found + np.cumsum(negative, 1)
    # Before the first drawn clip nothing is taken, nor is there a clip whose precision would count.
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    return _ratio(np.sum(positive * precision, 1), found[:, -1])


def _equal_error_rate(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """As `utils.metrics.equal_error_rate`, for each resample, (R,); the highest score first, (R, levels)."""
    rates = []
    for side in (real, fake):
        total = np.cumsum(side, 1)
        # The ROC starts at (0, 0). A resample of one class has none; what comes out here is not used.
        rates.append(np.pad(total / np.maximum(total[:, -1:], 1), ((0, 0), (1, 0))))
    gap = 1 - rates[0] - rates[1]
    rows, after = np.arange(len(gap)), np.argmax(gap <= 0, 1)
    before = after - 1
    weight = _ratio(gap[rows, before], gap[rows, before] - gap[rows, after])
    low, high = rates[1][rows, before], rates[1][rows, after]
    return low + weight * (high - low)
