"""Whether a score is the probability that it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from utils.figures.histogram import needs_log, scale_counts
from utils.figures.style import caption, new_figure, save_figure, tidy
from utils.figures.tables import scored
from utils.results import percent
from utils.statistics.calibration import calibration


def reliability_figure(table: pd.DataFrame, path: Path, title: str) -> None:
    """Draw the share of real clips against the score, and the clips in each bin below, as PNG and SVG.

    The expected calibration error (Guo et al., 2017) is the mean distance of the two over the clips, in bins of equal
    width.

    Parameters
    ----------
    table
        One row a clip, with the columns label and score, the probability that the clip is real.
    path
        Where to write; the suffix is replaced by .png and .svg.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If no clip has a score, or a score is no probability.
    """
    save_figure(draw_reliability(table, title), path)


def draw_reliability(table: pd.DataFrame, title: str) -> Figure:
    """Draw what `reliability_figure` writes."""
    table, left_out = scored(table, "reliability diagram")
    label = table["label"].to_numpy()
    error = calibration(label, table["score"].to_numpy(float))
    bins = error["bins"]
    figure = new_figure(6.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_shares(above, bins)
    _draw_counts(below, bins)
    absent = [name for value, name in ((1, "real"), (0, "fake")) if not (label == value).any()]
    caption(
        figure,
        f"Expected calibration error {percent(error['ece'])} % in {len(bins)} bins of equal width.",
        f"n = {len(table)} clips, {int((label == 1).sum())} real.",
        "Points: mean score and share of real clips of a bin; bars: 95 % Wilson interval.",
        f"There is no {absent[0]} clip, so that the curve says little." if absent else "",
        left_out,
    )
    return figure


def _draw_shares(axes: Axes, bins: list[dict[str, Any]]) -> None:
    tidy(axes, ylabel="Share of real clips")
    axes.plot([0, 1], [0, 1], color="0.45", linewidth=1, linestyle=":", label="calibrated")
    x, y, n = np.array([(row["mean_score"], row["share_real"], row["n"]) for row in bins if row["n"]]).T
    intervals = [binomtest(round(k), int(m)).proportion_ci(method="wilson") for k, m in zip(y * n, n, strict=True)]
    spread = np.abs(np.array([(interval.low, interval.high) for interval in intervals]).T - y)  # (2, bins)
    look = {"color": "#0072B2", "marker": "o", "linewidth": 1.5, "elinewidth": 1, "capsize": 3}
    axes.errorbar(x, y, yerr=spread, label="scores", **look)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="upper left", fontsize=8)


def _draw_counts(axes: Axes, bins: list[dict[str, Any]]) -> None:
    counts = np.array([row["n"] for row in bins])
    edges = [bins[0]["low"], *(row["high"] for row in bins)]
    log_axis = needs_log(counts)
    label = "Clips in a bin" + (",\nlogarithmic" if log_axis else "")
    tidy(axes, xlabel="Score: probability that the clip is real", ylabel=label)
    axes.stairs(counts, edges, fill=True, facecolor="#56B4E9", edgecolor="black", hatch="////")
    axes.stairs(counts, edges, color="black", linewidth=1)
    scale_counts(axes, log_axis)
