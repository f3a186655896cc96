"""Scores of the clips of each category."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.figures.style import CATEGORY_LOOKS, caption, new_figure, save_figure, say, tidy
from utils.figures.tables import scored
from utils.results import CATEGORIES

BINS = np.linspace(0, 1, 21)
THRESHOLD = 0.5
# Where a bin has so many times the clips of the emptiest one, the latter could not be seen on a linear axis.
LOG_FROM = 25


def score_histogram_figure(table: pd.DataFrame, path: Path, title: str) -> None:
    """Draw how the scores of each category are spread, as PNG and SVG.

    Parameters
    ----------
    table
        One row a clip, with the columns category and score, the probability that the clip is real.
    path
        Where to write; the suffix is replaced by .png and .svg.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If no clip has a score, or a score is no probability.
    """
    save_figure(draw_score_histogram(table, title), path)


def draw_score_histogram(table: pd.DataFrame, title: str) -> Figure:
    """Draw what `score_histogram_figure` writes."""
    table, left_out = scored(table[table["category"].isin(list(CATEGORIES))], "histogram")
    scores = {key: table.loc[table["category"] == key, "score"].to_numpy(float) for key in CATEGORIES}
    counts = {key: np.histogram(values, BINS)[0] for key, values in scores.items()}
    log_axis = needs_log(np.concatenate(list(counts.values())))
    figure = new_figure(6.6, title)
    panels = figure.subplots(4, 1, sharex=True, sharey=True)
    for axes, (key, name) in zip(panels, CATEGORIES.items(), strict=True):
        values, look = scores[key], CATEGORY_LOOKS[key]
        tidy(axes)
        axes.set_title(f"{key}: {name}, {_share(values)}", fontsize=9, loc="left")
        axes.axvline(THRESHOLD, color="black", linewidth=1.2, linestyle="--")
        if not values.size:
            say(axes, "no clip of this category")
            continue
        axes.stairs(
            counts[key], BINS, fill=True, facecolor=look.colour, edgecolor="black", hatch=look.hatch, alpha=0.75
        )
        axes.stairs(counts[key], BINS, color="black", linewidth=1)
    scale_counts(panels[0], log_axis)
    panels[-1].set_xlabel("Score: probability that the clip is real", fontsize=9)
    panels[-1].set_xlim(-0.01, 1.01)
    figure.supylabel(f"Clips in a bin of {BINS[1]:g}" + (", logarithmic" if log_axis else ""), fontsize=9)
    caption(figure, f"n = {len(table)} clips. Dashed: the threshold of {THRESHOLD:g}.", left_out)
    return figure


def needs_log(counts: np.ndarray) -> bool:
    """Whether the fullest bin would hide the emptiest one that has a clip."""
    filled = counts[counts > 0]
    return bool(filled.max() >= LOG_FROM * filled.min())


def scale_counts(axes: Axes, log_axis: bool) -> None:
    """Make the vertical axis one of counts, linear or logarithmic."""
    if log_axis:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.6)  # so that a bin with one clip stands up
        axes.yaxis.set_major_formatter("{x:.0f}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_ylim(bottom=0)


def _share(values: np.ndarray) -> str:
    if not values.size:
        return "n = 0"
    above = int((values >= THRESHOLD).sum())
    return f"n = {values.size}, {above} ({100 * above / values.size:.1f} %) at {THRESHOLD:g} or above"
