"""Metrics of a test fold, always over the whole fold and never averaged over batches.

Label and decision: 1 = real, 0 = fake; a label of -1 is unknown, and its clip is left out of what needs it. Score:
probability that the clip is real.
"""

from __future__ import annotations

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
REAL_AUDIO = ("A", "C")
REAL_VIDEO = ("A", "B")


class FoldScores(Metric):
    """Collect every clip's scores and labels over a fold, on all devices.

    ``compute()`` gives a table that ``evaluate`` takes as it is. Update it once a batch and compute it once a fold.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    id: list[Tensor]
    score: list[Tensor]
    video_score: list[Tensor]
    audio_score: list[Tensor]
    decision: list[Tensor]
    label: list[Tensor]
    v_label: list[Tensor]
    a_label: list[Tensor]

    columns = ("id", "score", "video_score", "audio_score", "decision", "label", "v_label", "a_label")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")

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
        """Add a batch, (B,) each.

        Parameters
        ----------
        id
            Row of each clip in its fold.
        score, video_score, audio_score
            Probability that the clip, its video, its audio is real; None where the detector has no such head.
        decision
            1 where the detector takes the clip for real.
        m_label, v_label, a_label
            1 where the clip, its video, its audio is real, 0 where it is fake, -1 where that is unknown.
        """
        score = score.detach().float()
        absent = torch.full_like(score, torch.nan)
        self.id.append(id)
        self.score.append(score)
        self.video_score.append(absent if video_score is None else video_score.detach().float())
        self.audio_score.append(absent if audio_score is None else audio_score.detach().float())
        self.decision.append(decision.long())
        self.label.append(m_label)
        self.v_label.append(v_label)
        self.a_label.append(a_label)

    def compute(self) -> pd.DataFrame:
        """Return one row a clip, sorted by id: id, score, video_score, audio_score, decision, label, category.

        The category is "" where a stream's label is unknown.

        A distributed sampler repeats a few clips so that every device gets the same number; the first row of a clip
        is its own, later ones are such repeats and are left out.
        """
        table = pd.DataFrame({name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in self.columns})
        table = table.drop_duplicates("id").sort_values("id", ignore_index=True)
        labels = zip(table.pop("v_label"), table.pop("a_label"), strict=True)
        table["category"] = [CATEGORY_OF_LABELS.get(pair, "") for pair in labels]
        return table


def evaluate(table: pd.DataFrame) -> dict[str, Any]:
    """Compute every metric of a fold.

    Parameters
    ----------
    table
        One row a clip, with columns label, decision, score, video_score, audio_score (empty where the detector has
        no such head) and category (A real, B fake audio, C fake video, D both fake, "" unknown). Clips of an unknown
        label count nowhere, those of an unknown category in no category and in the AUC of neither stream.

    Returns
    -------
    dict
        The names of metrics.json; fractions from 0 to 1 as plain floats. ``auc`` is computed from the scores;
        ``auc_hard`` from the decisions, as the authors' release does, which makes it equal to the balanced accuracy.
        A metric that is not defined, such as an AUC with one class only, is None. So is every metric that ranks clips
        by a score that is not a finite number.
    """
    table = table[table["label"] != UNKNOWN]
    label, decision, score = table["label"].to_numpy(int), table["decision"].to_numpy(), _numbers(table, "score")
    both = _has_both(label)
    return {
        "n": len(table),
        "acc": _accuracy(label, decision),
        "balanced_acc": float(balanced_accuracy_score(label, decision)) if both else None,
        "auc": _auc(label, score),
        "auc_hard": _auc(label, decision),
        **_average_precision(label, score),
        "eer": equal_error_rate(label, score),
        **_class_metrics(label, decision),
        "audio_auc": _auc(*stream_labels(table, "audio_score")),
        "video_auc": _auc(*stream_labels(table, "video_score")),
        "per_category": _per_category(table["category"].to_numpy(), label, decision, score),
    }


def stream_labels(table: pd.DataFrame, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores of one stream, "audio_score" or "video_score", (K,) each, where these are known."""
    known = table[table["category"] != ""]
    real = REAL_AUDIO if head == "audio_score" else REAL_VIDEO
    return known["category"].isin(real).to_numpy(int), _numbers(known, head)


def release_criterion(label: ArrayLike, decision: ArrayLike, batch_size: int) -> float:
    """Return the authors' `val_re`, by which their release picks the epoch of a validation.

    It is not a metric of the whole fold: accuracy + AUC of the decisions is computed for each batch, and averaged over
    the batches by their size. A batch of one class has AUC 0, as torchmetrics says.

    Parameters
    ----------
    label, decision
        1 = real, 0 = fake, (N,), in the order of the table. A clip whose label is unknown (-1) counts for nothing.
    batch_size
        Clips of a batch; the last one may have fewer.

    Returns
    -------
    float
        From 0 to 2; NaN without any known label.
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
    """See that every clip of a table has a score that is a number.

    Raises
    ------
    DataError
        If a score is NaN or infinite; the message names the clips.
    """
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


def per_method(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Compute n, acc and, among all real clips, auc of each method of fake clips; None without a real clip."""
    table = table[table["label"] != UNKNOWN]
    label, decision, method = (table[name].to_numpy() for name in ("label", "decision", "method"))
    score = _numbers(table, "score")
    found: dict[str, dict[str, float | None]] = {}
    for name in sorted(set(method[label == 0])):
        rows = (label == 0) & (method == name)
        against_real = rows | (label == 1)
        found[name] = {
            "n": int(rows.sum()),
            "acc": _accuracy(label[rows], decision[rows]),
            "auc": _auc(label[against_real], score[against_real]),
        }
    return found


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


def _average_precision(label: np.ndarray, score: np.ndarray) -> dict[str, float | None]:
    if not _can_rank(label, score):
        return {"ap_real": None, "ap_fake": None}
    return {
        "ap_real": float(average_precision_score(label, score)),
        # -score rather than 1 - score, which would make ties of small scores
        "ap_fake": float(average_precision_score(1 - label, -score)),
    }


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


def _per_category(
    category: np.ndarray, label: np.ndarray, decision: np.ndarray, score: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Clips and accuracy of each category, and for the fake ones the AUC among the real clips and these only."""
    found: dict[str, dict[str, float | None]] = {}
    for name in "ABCD":
        rows = category == name
        found[name] = {"n": int(rows.sum()), "acc": _accuracy(label[rows], decision[rows])}
        if name != "A":
            against_real = rows | (category == "A")
            found[name]["auc"] = _auc(label[against_real], score[against_real])
    return found
