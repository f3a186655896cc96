"""DET curves of the folds of a run: both rates of error against each other. Positive class: real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import roc_curve

from utils.figures.style import Look, caption, fold_looks, new_figure, save_figure, tidy
from utils.figures.tables import mean_and_spread, rankable_folds
from utils.metrics import equal_error_rate
from utils.results import percent

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
SLOPE_POINTS = 50
POOLED = Look("black", "o")


def det_figure(folds: dict[str, pd.DataFrame], path: Path, title: str) -> None:
    """Draw the DET curve of each fold and the pooled one as PNG and SVG, the equal error rate marked on each.

    Both axes are scaled as normal deviates (Martin et al., 1997), on which scores of two normal distributions give a
    straight line.

    Parameters
    ----------
    folds
        Scores of each fold, as scores.csv has them. A fold that cannot be drawn is named under the figure.
    path
        Where to write; the suffix is replaced by .png and .svg.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If no fold has clips of both classes with scores.
    """
    save_figure(draw_det(folds, title), path)


def draw_det(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw what `det_figure` writes."""
    figures, left_out = rankable_folds(folds, "DET curve")
    figure = new_figure(7.4, title)
    axes = figure.add_subplot()
    drawn = {name: folds[name] for name in figures}
    pooled = pd.concat(drawn.values(), ignore_index=True)
    rates = [values["eer"] for values in figures.values()]
    pooled_rate = equal_error_rate(pooled["label"].to_numpy(), pooled["score"].to_numpy())
    low, high = _limits(pooled, max(*rates, pooled_rate))

    looks = fold_looks(folds)
    for (name, table), rate in zip(drawn.items(), rates, strict=True):
        label = f"{name}: EER {percent(rate)}, n = {len(table)}"
        _draw_curve(axes, table, rate, looks[name], label, (low, high))
    if len(drawn) > 1:
        label = f"pooled: EER {percent(pooled_rate)}, n = {len(pooled)}"
        _draw_curve(axes, pooled, pooled_rate, POOLED, label, (low, high))
    edges = norm.ppf([low, high])
    axes.plot(edges, edges, color="0.55", linewidth=1, linestyle=":", label="equal error rates")
    _label(axes, low, high)
    caption(
        figure,
        f"Marks: equal error rate; mean of {len(rates)} folds {mean_and_spread(rates)} %." if len(rates) > 1 else "",
        "Mark: equal error rate." if len(rates) == 1 else "",
        f"Rates below {100 * low:g} % are drawn at the edge.",
        f"So are marks above {100 * high:g} %." if max(*rates, pooled_rate) > high else "",
        left_out,
    )
    return figure


def error_rates(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of fakes taken for real and of real clips taken for fake along the curve, (K,) each.

    Real and fake clips of one score make a slope between two thresholds. It is straight in rates, as for the equal
    error rate, and so bent in their deviates.
    """
    false_positive, true_positive, _ = roc_curve(table["label"], table["score"], drop_intermediate=False)
    slopes = np.flatnonzero((np.diff(false_positive) > 0) & (np.diff(true_positive) > 0))
    corners = np.arange(len(false_positive))
    along = np.unique(np.append(corners, slopes[:, None] + np.linspace(0, 1, SLOPE_POINTS)))
    return np.interp(along, corners, false_positive), np.interp(along, corners, 1 - true_positive)


def _limits(pooled: pd.DataFrame, worst: float) -> tuple[float, float]:
    """Return the ends of both axes: from what one clip in all weighs to well above the highest equal error rate."""
    smallest = 1 / pooled["label"].value_counts().max()
    low = max(tick for tick in TICKS if tick <= max(smallest, TICKS[0]))
    high = min(tick for tick in TICKS if tick >= min(max(0.6, 1.3 * worst), TICKS[-1]))
    return low, high


def _draw_curve(
    axes: Axes, table: pd.DataFrame, rate: float, look: Look, label: str, limits: tuple[float, float]
) -> None:
    low, high = limits
    # The deviate of a rate of 0 or 1 is infinite. Rates above the axis run out of the figure.
    x, y = (norm.ppf(np.clip(rates, low, 1 - 1e-6)) for rates in error_rates(table))
    pooled = look is POOLED
    line = {"color": look.colour, "linestyle": look.dashes, "linewidth": 2.2 if pooled else 1.5}
    # A ring for all, so that the marks of the folds are seen within.
    face, size = ("none", 14) if pooled else (look.colour, 6)
    shape = {"marker": look.marker, "markersize": size, "markerfacecolor": face, "markeredgecolor": "black"}
    axes.plot(x, y, **line)
    mark = norm.ppf(np.clip(rate, low, high))
    axes.plot(mark, mark, linestyle="", markeredgewidth=1.5 if pooled else 1, clip_on=False, zorder=3, **shape)
    axes.plot([], [], label=label, **line, **(shape | {"markersize": 8 if pooled else 6}))


def _label(axes: Axes, low: float, high: float) -> None:
    tidy(
        axes,
        xlabel="False positive rate in % (fake clips taken for real)",
        ylabel="False negative rate in % (real clips taken for fake)",
    )
    ticks = [tick for tick in TICKS if low <= tick <= high]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(norm.ppf(ticks), labels)
    axes.set_yticks(norm.ppf(ticks), labels)
    axes.tick_params(pad=8)  # leaves room for a mark in the corner
    axes.set(xlim=norm.ppf([low, high]), ylim=norm.ppf([low, high]), aspect="equal")
    legend = {"title": "Positive class: real (EER in %)", "fontsize": 8, "title_fontsize": 8, "handlelength": 5}
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, **legend)
