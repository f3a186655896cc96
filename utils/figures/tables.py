"""Scores as the figures take them: which folds rank clips of both classes, and what is wrong with the others."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from utils.metrics import evaluate
from utils.results import percent

log = logging.getLogger(__name__)


def rankable_folds(folds: dict[str, pd.DataFrame], curve: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Compute the figures of the folds that have clips of both classes and a score for each.

    Parameters
    ----------
    folds
        Scores of each fold, with the columns label, score, decision and category.
    curve
        What is to be drawn, for the messages.

    Returns
    -------
    tuple
        `utils.metrics.evaluate` of these folds, and a sentence that names the others; empty if there are none.

    Raises
    ------
    ValueError
        If there is no such fold.
    """
    figures = {}
    # The scores of picture and sound play no part here, and not every table has them.
    for name, table in folds.items():
        figures[name] = evaluate(table.assign(video_score=np.nan, audio_score=np.nan))
    drawn = {name: values for name, values in figures.items() if values["auc"] is not None}
    if not drawn:
        raise ValueError(f"no fold has clips of both classes with scores: there is no {curve} to draw")
    left_out = [f"{name} ({why_not(folds[name])})" for name in folds if name not in drawn]
    sentence = f"Not drawn: {', '.join(left_out)}." if left_out else ""
    if sentence:
        log.warning("%s: %s", curve, sentence)
    return drawn, sentence


def why_not(table: pd.DataFrame) -> str:
    """Say what a table lacks for its clips to be ranked."""
    if table.empty:
        return "no clip"
    for label, name in ((1, "real"), (0, "fake")):
        if not (table["label"] == label).any():
            return f"no {name} clip"
    return "a score is not a finite number"


def mean_and_spread(values: list[float]) -> str:
    """Return the mean of the folds and their standard deviation in percent; with one fold the first alone."""
    if len(values) == 1:
        return percent(values[0])
    return f"{percent(np.mean(values))} ± {percent(np.std(values, ddof=1))}"


def scored(table: pd.DataFrame, figure: str) -> tuple[pd.DataFrame, str]:
    """Keep the clips whose score is a finite number.

    Returns
    -------
    tuple
        The clips, and a sentence that counts the others; empty if there are none.

    Raises
    ------
    ValueError
        If no clip is left, or a score is no probability.
    """
    score = pd.to_numeric(table["score"]).to_numpy(float)
    finite = np.isfinite(score)
    if not finite.any():
        raise ValueError(f"no clip has a score: there is no {figure} to draw")
    beyond = finite & ((score < 0) | (score > 1))
    if beyond.any():
        row = int(np.argmax(beyond))
        raise ValueError(f"row {row + 1} of the scores has {score[row]:g}, which is no probability from 0 to 1")
    missing = int((~finite).sum())
    return table[finite], f"Left out: {missing} without a score." if missing else ""
