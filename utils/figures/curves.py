"""Curves of the folds of a run: ROC, DET, and precision against recall. Positive class: real, if nothing else is said.

Scores of each fold come as `utils.results.read_scores` gives them. A fold of one class cannot be drawn, and is named
under the figure; without any fold that can be, `DataError` says so.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.stats import norm
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, roc_curve

from utils.errors import DataError
from utils.figures.style import Look, caption, fold_looks, new_figure, tidy
from utils.metrics import evaluate
from utils.table import percent, with_deviation

log = logging.getLogger(__name__)

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
SLOPE_POINTS = 50
POOLED = Look("black", "o")


class Curve(NamedTuple):
    """A fold, or all that are drawn pooled."""

    name: str
    table: pd.DataFrame
    metrics: dict[str, Any]
    look: Look

    def label(self, metric: str, name: str) -> str:
        return f"{self.name}: {name} {percent(self.metrics[metric])}, n = {len(self.table)}"

    def line(self, wide: float, narrow: float) -> dict[str, Any]:
        return self.look.line | {"linewidth": wide if self.look is POOLED else narrow}


def draw_roc(folds: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw the ROC of each fold, their mean and the pooled one.

    The mean is vertical: the mean true positive rate at each false positive rate.
    """
    own, pooled, left_out = _curves(folds, "ROC")
    figure = new_figure(6.7, title)
    axes = figure.add_subplot()
    for curve in own:
        line = curve.line(2.2, 1.5) | {"label": curve.label("auc", "AUC")}
        RocCurveDisplay.from_predictions(curve.table["label"], curve.table["score"], ax=axes, curve_kwargs=line)
    if len(own) > 1:
        grid, tables = np.linspace(0, 1, 1001), [curve.table for curve in own]
        mean = np.mean([np.interp(grid, *roc_curve(table["label"], table["score"])[:2]) for table in tables], axis=0)
        # np.interp takes the top of the step at 0, where every ROC starts from the origin
        label = f"mean of {len(own)} folds: AUC {_mean(own, 'auc')}"
        axes.plot([0, *grid], [0, *mean], color="black", linewidth=2.2, label=label)
        line = {"color": "#0072B2", "linewidth": 2.2, "linestyle": "--", "label": pooled.label("auc", "AUC")}
        RocCurveDisplay.from_predictions(pooled.table["label"], pooled.table["score"], ax=axes, curve_kwargs=line)
    axes.plot([0, 1], [0, 1], color="0.55", linewidth=1, linestyle=":", label="chance: AUC 50.00")
    tidy(
        axes,
        xlabel="False positive rate (fake clips taken for real)",
        ylabel="True positive rate (real clips taken for real)",
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower right", title="Positive class: real (AUC in %)", fontsize=9, handlelength=4)
    caption(figure, left_out)
    return figure


def draw_det(folds: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw the DET curve of each fold and the pooled one, the equal error rate marked on each.

    Both axes are scaled as normal deviates (Martin et al., 1997), on which scores of two normal distributions give a
    straight line. Unlike `sklearn.metrics.DetCurveDisplay` it draws tied scores as what they are, and rates of 0.
    """
    own, pooled, left_out = _curves(folds, "DET curve")
    figure = new_figure(7.4, title)
    axes = figure.add_subplot()
    # Both axes go from what one clip in all weighs to well above the highest equal error rate.
    smallest, worst = 1 / pooled.table["label"].value_counts().max(), max(x.metrics["eer"] for x in (*own, pooled))
    low = max(tick for tick in TICKS if tick <= max(smallest, TICKS[0]))
    high = min(tick for tick in TICKS if tick >= min(max(0.6, 1.3 * worst), TICKS[-1]))
    for curve in (*own, pooled) if len(own) > 1 else own:
        _draw_det_curve(axes, curve, low, high)
    edges = norm.ppf([low, high])
    axes.plot(edges, edges, color="0.55", linewidth=1, linestyle=":", label="equal error rates")
    tidy(
        axes,
        xlabel="False positive rate in % (fake clips taken for real)",
        ylabel="False negative rate in % (real clips taken for fake)",
    )
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_xticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
    axes.set_yticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
    axes.tick_params(pad=8)  # leaves room for a mark in the corner
    axes.set(xlim=edges, ylim=edges, aspect="equal")
    legend = {"title": "Positive class: real (EER in %)", "fontsize": 8, "title_fontsize": 8, "handlelength": 5}
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False, **legend)
    caption(
        figure,
        f"Marks: equal error rate; mean of {len(own)} folds {_mean(own, 'eer')} %." if len(own) > 1 else "",
        "Mark: equal error rate." if len(own) == 1 else "",
        f"Rates below {100 * low:g} % are drawn at the edge.",
        f"So are marks above {100 * high:g} %." if worst > high else "",
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


def _draw_det_curve(axes: Axes, curve: Curve, low: float, high: float) -> None:
    # The deviate of a rate of 0 or 1 is infinite. Rates above the axis run out of the figure.
    x, y = (norm.ppf(np.clip(rates, low, 1 - 1e-6)) for rates in error_rates(curve.table))
    line, is_pooled = curve.line(2.2, 1.5), curve.look is POOLED
    # A ring for all, so that the marks of the folds are seen within.
    face, size = ("none", 14) if is_pooled else (curve.look.colour, 6)
    shape: dict[str, Any] = {"marker": curve.look.marker, "markerfacecolor": face, "markeredgecolor": "black"}
    axes.plot(x, y, **line)
    mark = norm.ppf(np.clip(curve.metrics["eer"], low, high))
    width = 1.5 if is_pooled else 1
    axes.plot(mark, mark, linestyle="", markersize=size, markeredgewidth=width, clip_on=False, zorder=3, **shape)
    axes.plot([], [], label=curve.label("eer", "EER"), markersize=8 if is_pooled else 6, **line, **shape)


def draw_precision_recall(folds: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw precision against recall of each fold and of all pooled.

    The left panel takes real for the positive class, the right one fake. Average precision is the area under the
    steps, and its chance level the share of the positive class.
    """
    own, pooled, left_out = _curves(folds, "precision-recall curve")
    figure = new_figure(5.2, title)
    # Apart, so that the last tick label of one panel is not read with the next one's first.
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.07, wspace=0.05))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, positive in zip(panels, ("real", "fake"), strict=True):
        metric = f"ap_{positive}"
        for curve in (*own, pooled) if len(own) > 1 else own:
            label, score = curve.table["label"], curve.table["score"]
            # -score rather than 1 - score, which would make ties of small scores
            sides = (label, score) if positive == "real" else (1 - label, -score)
            line = curve.line(2, 1.4)
            PrecisionRecallDisplay.from_predictions(*sides, ax=axes, label=curve.label(metric, "AP"), **line)
        count = int((pooled.table["label"] == (positive == "real")).sum())
        share = count / len(pooled.table)
        chance = f"chance: AP {percent(share)} ({count} {positive})"
        axes.axhline(share, color="0.45", linewidth=1, linestyle=":", label=chance)
        mean = f"\nmean of {len(own)} folds: AP {_mean(own, metric)}" if len(own) > 1 else ""
        tidy(axes, f"Positive class: {positive}{mean}", f"Recall ({positive} clips found)")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="auto")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8, handlelength=4, frameon=False)
    panels[0].set_ylabel("Precision", fontsize=9)
    caption(figure, "AP: average precision in %; chance: the share of the positive class.", left_out)
    return figure


def _mean(curves: list[Curve], metric: str) -> str:
    """Mean of the folds and their standard deviation in percent."""
    values = [curve.metrics[metric] for curve in curves]
    return with_deviation(float(np.mean(values)), float(np.std(values, ddof=1)))


def _curves(folds: Mapping[str, pd.DataFrame], kind: str) -> tuple[list[Curve], Curve, str]:
    """Curves of the folds that have clips of both classes, and of these pooled; a sentence on why others have none."""
    # The scores of the streams play no part here, and not every table has them.
    tables = {name: table.assign(video_score=np.nan, audio_score=np.nan) for name, table in folds.items()}
    looks = fold_looks(folds)
    every = [Curve(name, table, evaluate(table), looks[name]) for name, table in tables.items()]
    own = [curve for curve in every if curve.metrics["auc"] is not None]
    if not own:
        raise DataError(f"no fold has clips of both classes with scores: there is no {kind} to draw")
    absent = []
    for name, table in tables.items():
        if name not in {curve.name for curve in own}:
            labels = set(table["label"])
            absent.append(f"{name} (no {'clip' if not labels else 'fake clip' if 1 in labels else 'real clip'})")
    left_out = f"Not drawn: {', '.join(absent)}." if absent else ""
    if left_out:
        log.warning("%s: %s", kind, left_out)
    pooled = pd.concat([curve.table for curve in own], ignore_index=True)
    return own, Curve("pooled", pooled, evaluate(pooled), POOLED), left_out
