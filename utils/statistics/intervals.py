"""Intervals of the figures that `bootstrap` gives none of: F1, recall and precision, and the AUC of each head."""

from __future__ import annotations

import numpy as np
import pandas as pd

from utils.metrics import REAL_AUDIO, REAL_VIDEO
from utils.statistics.bootstrap import interval, no_intervals, subject_weights
from utils.statistics.groups import group_intervals

CLASSES = {"real": 1, "fake": 0}
# figure of one head: (its score, what it looks at, categories that are real there)
HEAD_FIGURES = {
    "audio_auc": ("audio_score", "sound", REAL_AUDIO),
    "video_auc": ("video_score", "picture", REAL_VIDEO),
}


def more_intervals(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, list[float] | None]:
    """Compute 95 % intervals by resampling subjects, in the same resamples as `bootstrap_intervals`.

    Parameters
    ----------
    table
        One row a clip, as ``scripts.evaluate.score_files.load_scores`` returns it.
    resamples, seed
        How many are drawn, and the seed.

    Returns
    -------
    dict
        [low, high] by the names of ``utils.metrics.evaluate``; None where a figure has no interval. A resample in
        which a figure is not defined is left out of that one.
    """
    if no_intervals(table, resamples):
        return {}
    return _of_classes(table, resamples, seed) | _of_heads(table, resamples, seed)


def _of_classes(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, list[float] | None]:
    label, decision = (table[name].to_numpy() for name in ("label", "decision"))
    found: dict[str, list[np.ndarray]] = {}
    for weights in subject_weights(table["subject"].to_numpy(), resamples, seed):  # (R, N)
        drawn = weights[weights[:, label == 1].any(1) & weights[:, label == 0].any(1)]
        for name, value in CLASSES.items():
            there, taken = drawn @ (label == value), drawn @ (decision == value)  # (R,)
            right = drawn @ ((label == value) & (decision == value))
            precision = np.divide(right, taken, out=np.full(len(taken), np.nan), where=taken > 0)
            figures = {"f1": 2 * right / (there + taken), "recall": right / there, "precision": precision}
            for figure, values in figures.items():
                found.setdefault(f"{figure}_{name}", []).append(values)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: interval(values[np.isfinite(values)]) for name, values in whole.items()}


def _of_heads(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, list[float] | None]:
    """AUCs of the sound and of the picture, whose own labels follow from the category."""
    found = {}
    for name, (score, _, real) in HEAD_FIGURES.items():
        if table[score].notna().all():
            own = table.assign(label=table["category"].isin(real).astype(int), score=table[score])
            found[name] = group_intervals(own, resamples, seed)["auc"]
    return found
