"""Metrics of a test fold, always over the whole fold and never averaged over batches.

Label and decision: 1 = real, 0 = fake; a label of -1 is unknown, and its clip is left out of what needs it. Score:
probability that the clip is real.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from utils.errors import DataError

LISTED = 5  # names in a message at most
UNKNOWN = -1  # a label that the corpus does not tell
# (video is real, audio is real) -> category of FakeAVCeleb; of any other labels there is none
CATEGORY_OF_LABELS = {(1, 1): "A", (1, 0): "B", (0, 1): "C", (0, 0): "D"}
REAL_IN = {"audio_score": ("A", "C"), "video_score": ("A", "B")}  # the categories whose stream is real


class FoldScores(Metric):
    """Collect every clip's scores and labels over a fold, on all devices.

    ``compute()`` gives a table that ``evaluate`` takes as it is. Update it once a batch and compute it once a fold.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    rows: list[Tensor]
    columns = ("id", "score", "video_score", "audio_score", "decision", "label", "v_label", "a_label")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(
        self,
        id: Tensor,
        score: Tensor,
        video_score: Tensor | None,
        audio_score: Tensor | None,
        decision: Tensor,
        m_label: Tensor,
        v_label: Tensor,
        a_label: Tensor,
    ) -> None:
        """Add a batch, (B,) each: the row of each clip in its fold, probabilities of real, decision and labels.

        A score of a stream is None where the detector has no such head.
        """
        absent = torch.full_like(score, torch.nan)
        heads = (absent if head is None else head for head in (video_score, audio_score))
        values = (id, score, *heads, decision, m_label, v_label, a_label)
        # float32 holds the numbers of 16 million clips exactly.
        self.rows.append(torch.stack([value.detach().float() for value in values], dim=1))

    def compute(self) -> pd.DataFrame:
        """Return one row a clip, sorted by id: id, score, video_score, audio_score, decision, label, category.

        The category is "" where a stream's label is unknown. A distributed sampler repeats a few clips so that every
        device gets the same number; of a clip that is there twice the first row stays.
        """
        table = pd.DataFrame(dim_zero_cat(self.rows).cpu().numpy(), columns=self.columns)
        table = table.astype({name: int for name in self.columns if "score" not in name})
        table = table.drop_duplicates("id").sort_values("id", ignore_index=True)
        labels = zip(table.pop("v_label"), table.pop("a_label"), strict=True)
        return table.assign(category=[CATEGORY_OF_LABELS.get(pair, "") for pair in labels])


def evaluate(table: pd.DataFrame) -> dict[str, Any]:
    """Compute every metric of a fold, under the names of metrics.json, as fractions from 0 to 1.

    ``auc`` is computed from the scores; ``auc_hard`` from the decisions, as the authors' release does, which makes it
    equal to the balanced accuracy. A metric that is not defined, such as an AUC with one class only, is None. So is
    every metric that ranks clips by a score that is not a finite number.

    Parameters
    ----------
    table
        One row a clip, with columns label, decision, score, video_score, audio_score (empty where the detector has
        no such head) and category (A real, B fake audio, C fake video, D both fake, "" unknown). Clips of an unknown
        label count nowhere, those of an unknown category in no category and in the AUC of neither stream.
    """
    table = table[table["label"] != UNKNOWN]
    label, decision, score = table["label"].to_numpy(int), table["decision"].to_numpy(), _numbers(table, "score")
    ranked, category = _can_rank(label, score), table["category"]
    return {
        "n": len(table),
        "acc": _accuracy(label, decision),
        "balanced_acc": float(balanced_accuracy_score(label, decision)) if _has_both(label) else None,
        "auc": _auc(label, score),
        "auc_hard": _auc(label, decision),
        "ap_real": float(average_precision_score(label, score)) if ranked else None,
        # -score rather than 1 - score, which would make ties of small scores
        "ap_fake": float(average_precision_score(1 - label, -score)) if ranked else None,
        "eer": equal_error_rate(label, score),
        **_class_metrics(label, decision),
        "audio_auc": _auc(*stream_labels(table, "audio_score")),
        "video_auc": _auc(*stream_labels(table, "video_score")),
        "per_category": {
            name: _of_group(table, category == name, None if name == "A" else category == "A") for name in "ABCD"
        },
    }


def per_method(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Compute n, acc and, among all real clips, auc of each method of fake clips; None without a real clip."""
    table = table[table["label"] != UNKNOWN]
    real = table["label"] == 1
    return {
        name: _of_group(table, ~real & (table["method"] == name), real) for name in sorted(set(table["method"][~real]))
    }


def stream_labels(table: pd.DataFrame, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of one stream, "audio_score" or "video_score", (K,) each, where these are known."""
    known = table[table["category"] != ""]
    return known["category"].isin(REAL_IN[head]).to_numpy(int), _numbers(known, head)


def release_criterion(label: ArrayLike, decision: ArrayLike, batch_size: int) -> float:
    """Return the authors' `val_re`, from 0 to 2, by which their release picks the epoch of a validation.

    It is not a metric of the whole fold: accuracy + AUC of the decisions is computed for each batch, and averaged over
    the batches by their size. A batch of one class has AUC 0, as torchmetrics says. Labels and decisions are (N,) in
    the order of the table, 1 = real, 0 = fake; a label of -1 is unknown, and without any that is known there is NaN.
    """
    label, decision = np.asarray(label, int), np.asarray(decision, int)
    total, clips = 0.0, 0
    for start in range(0, label.size, batch_size):
        known = label[start : start + batch_size] != UNKNOWN
        batch = label[start : start + batch_size][known], decision[start : start + batch_size][known]
        total += known.sum() * (_accuracy(*batch) or 0.0) + known.sum() * (_auc(*batch) or 0.0)
        clips += int(known.sum())
    return float(total / clips) if clips else math.nan


def require_scores(table: pd.DataFrame) -> None:
    """See that every clip of a table has a score that is a number; `DataError` names those that have not."""
    bad = table.loc[~np.isfinite(_numbers(table, "score")), "file"].astype(str).tolist()
    if bad:
        raise DataError(
            f"the score of {listed(bad)} is not a number, so that nothing can be said of "
            f"{'it' if len(bad) == 1 else 'them'}: the detector's weights or the clips are damaged, or half precision "
            "overflows (try --precision 32)"
        )


def listed(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def equal_error_rate(label: np.ndarray, score: np.ndarray) -> float | None:
    """Return the rate at which as many fakes pass for real as real clips for fake.

    The two rates seldom meet at a threshold of the data; the ROC is linear between thresholds, so they are
    interpolated to where they do.
    """
    if not _can_rank(label, score):
        return None
    false_positive, true_positive, _ = roc_curve(label, score, drop_intermediate=False)
    gap = 1 - true_positive - false_positive  # falls from 1 to -1 and strictly at each threshold
    after = int(np.argmax(gap <= 0))
    before = after - 1
    weight = gap[before] / (gap[before] - gap[after])
    return float(false_positive[before] + weight * (false_positive[after] - false_positive[before]))


def equal_error_threshold(label: np.ndarray, score: np.ndarray) -> float | None:
    """Return the score from which on clips are called real so that both error rates are as close as they get.

    It lies in the middle between the two scores that it parts. None where there is one class only, or a score is not
    finite.
    """
    if not _can_rank(label, score):
        return None
    false_positive, true_positive, thresholds = roc_curve(label, score, drop_intermediate=False)
    at = int(np.argmin(np.abs(1 - true_positive - false_positive)[1:])) + 1  # the first threshold calls nothing real
    below = thresholds[at + 1] if at + 1 < len(thresholds) else thresholds[at]
    middle = (thresholds[at] + below) / 2
    return float(middle if middle > below else thresholds[at])  # neighbours have nothing between them


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as floats, NaN where a cell is empty."""
    return pd.to_numeric(table[column]).to_numpy(dtype=float)


def _has_both(label: np.ndarray) -> bool:
    return np.unique(label).size == 2


def _can_rank(label: np.ndarray, score: np.ndarray) -> bool:
    return _has_both(label) and bool(np.isfinite(score).all())


def _accuracy(label: np.ndarray, decision: np.ndarray) -> float | None:
    return float(np.mean(label == decision)) if label.size else None


def _auc(label: np.ndarray, score: np.ndarray) -> float | None:
    return float(roc_auc_score(label, score)) if _can_rank(label, score) else None


def _class_metrics(label: np.ndarray, decision: np.ndarray) -> dict[str, float | None]:
    """F1, recall and precision of each class; None if the class is absent, or for precision never decided for."""
    found: dict[str, float | None] = {}
    for name, positive in (("real", 1), ("fake", 0)):
        values: list[float | None] = [None] * 3
        if np.any(label == positive):
            precision, recall, f1, _ = precision_recall_fscore_support(
                label == positive, decision == positive, average="binary", zero_division=np.nan
            )
            values = [float(f1), float(recall), None if np.isnan(precision) else float(precision)]
        found |= dict(zip((f"f1_{name}", f"recall_{name}", f"precision_{name}"), values, strict=True))
    return found


def _of_group(table: pd.DataFrame, rows: pd.Series, real: pd.Series | None) -> dict[str, float | None]:
    """Clips and accuracy of some rows, and of fakes the AUC among the real clips and these only."""
    label, decision = table["label"].to_numpy(int), table["decision"].to_numpy()
    found = {"n": int(rows.sum()), "acc": _accuracy(label[rows], decision[rows])}
    if real is not None:
        found["auc"] = _auc(label[rows | real], _numbers(table, "score")[rows | real])
    return found
