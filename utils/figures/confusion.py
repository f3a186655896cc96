"""Which category of clips is taken for what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.figures.style import caption, new_figure, save_figure
from utils.metrics import CATEGORY_OF_LABELS
from utils.results import CATEGORIES, percent

DECISIONS = (1, 0)  # columns of the first matrix
THRESHOLD = 0.5
DARKEST = 1.7  # the share that would be the darkest blue; up to 1, black is read on all of them


def confusion_figure(table: pd.DataFrame, path: Path, title: str) -> None:
    """Draw how many clips of each category were taken for real and for fake, as PNG and SVG.

    Where picture and sound have scores of their own, a second matrix shows the category that these two say: a
    modality counts as real from 0.5 on.

    Parameters
    ----------
    table
        One row a clip, with the columns category and decision, and perhaps video_score and audio_score.
    path
        Where to write; the suffix is replaced by .png and .svg.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If there is no clip.
    """
    save_figure(draw_confusion(table, title), path)


def draw_confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw what `confusion_figure` writes."""
    table = table[table["category"].isin(list(CATEGORIES))]
    if table.empty:
        raise ValueError("no clip of the categories A to D: there is no confusion to draw")
    modal = with_modalities(table)
    figure = new_figure(3.9, title)
    decided = decision_counts(table)
    right = decided[0, 0] + decided[1:, 1].sum()
    words = [f"Decision right: {right} of n = {decided.sum()} clips ({percent(right / decided.sum())} %)."]
    if modal.empty:
        first = figure.add_subplot()
        words.append("Picture and sound have no scores of their own here.")
    else:
        first, second = figure.subplots(1, 2, width_ratios=[2, 4])
        counts = category_counts(modal)
        _draw_matrix(second, counts, np.eye(4, dtype=bool), list(CATEGORIES), counts.sum(axis=1))
        second.set_yticks(range(4), list(CATEGORIES))
        _label(second, f"Category from picture and sound (real: ≥ {THRESHOLD:g})")
        right = int(np.trace(counts))
        words.append(f"Category right: {right} of n = {counts.sum()} ({percent(right / counts.sum())} %).")
        if len(modal) < len(table):
            words.append(f"Not in the right matrix: {len(table) - len(modal)} without both scores.")
    expected = np.array([[True, False]] + [[False, True]] * 3)
    _draw_matrix(first, decided, expected, ["real", "fake"], decided.sum(axis=1))
    first.set_yticks(range(4), _row_names(decided.sum(axis=1)))
    _label(first, "Decision on the clip")
    caption(figure, *words, "Framed cells are right; percentages are of the row.")
    return figure


def decision_counts(table: pd.DataFrame) -> np.ndarray:
    """Count the clips of each category that are taken for real and for fake, (4, 2)."""
    return np.array(
        [[((table["category"] == key) & (table["decision"] == value)).sum() for value in DECISIONS] for key in "ABCD"]
    )


def category_counts(table: pd.DataFrame) -> np.ndarray:
    """Count the clips of each category (rows) by the one that the scores of picture and sound say, (4, 4)."""
    pairs = zip(table["video_score"] >= THRESHOLD, table["audio_score"] >= THRESHOLD, strict=True)
    said = pd.Series([CATEGORY_OF_LABELS[int(video), int(audio)] for video, audio in pairs], index=table.index)
    return np.array([[((table["category"] == key) & (said == other)).sum() for other in "ABCD"] for key in "ABCD"])


def with_modalities(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the clips that have scores of picture and sound; none where the table lacks a column."""
    if not {"video_score", "audio_score"} <= set(table.columns):
        return table.iloc[:0]
    scores = table[["video_score", "audio_score"]].apply(pd.to_numeric)
    return table[np.isfinite(scores.to_numpy(float)).all(axis=1)]


def _row_names(sizes: np.ndarray) -> list[str]:
    two_lines = [f"{key}: {name}".replace(", ", ",\n") for key, name in CATEGORIES.items()]
    return [f"{name}\nn = {size}" for name, size in zip(two_lines, sizes, strict=True)]


def _draw_matrix(axes: Axes, counts: np.ndarray, right: np.ndarray, columns: list[str], sizes: np.ndarray) -> None:
    shares = counts / np.maximum(sizes, 1)[:, None]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=DARKEST, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if sizes[row] == 0:
            continue
        text = f"{count}\n{100 * shares[row, column]:.1f} %"
        axes.text(column, row, text, ha="center", va="center", fontsize=9)
        if right[row, column]:
            axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, linewidth=1.5))
    for row in np.flatnonzero(sizes == 0):
        axes.text(len(columns) / 2 - 0.5, row, "no clip", ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(columns)), columns)


def _label(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8, length=0)
    axes.xaxis.set_ticks_position("top")
    axes.spines[:].set_visible(False)
