"""Curves of the folds of a run: ROC, DET, and precision against recall. Positive class: real, if nothing else is said.

Scores of each fold come as `utils.results.read_scores` gives them. A fold of one class cannot be drawn, and is named
under the figure; without any fold that can be, `DataError` says so.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.stats import norm
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, roc_curve

from utils.errors import DataError
from utils.figures.style import Look, caption, fold_looks, new_figure, tidy
from utils.metrics import equal_error_rate, evaluate
from utils.table import percent, with_deviation

log = logging.getLogger(__name__)

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
SLOPE_POINTS = 50
POOLED = Look("black", "o")


def draw_roc(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw the ROC of each fold, their mean and the pooled one.

    The mean is vertical: the mean true positive rate at each false positive rate.
    """
    metrics, left_out = _rankable(folds, "ROC")
    drawn, looks = {name: folds[name] for name in metrics}, fold_looks(folds)
    figure = new_figure(6.7, title)
    axes = figure.add_subplot()
    for name, table in drawn.items():
        label = f"{name}: AUC {percent(metrics[name]['auc'])}, n = {len(table)}"
        line = {"color": looks[name].colour, "linestyle": looks[name].dashes, "linewidth": 1.5, "label": label}
        RocCurveDisplay.from_predictions(table["label"], table["score"], ax=axes, curve_kwargs=line)
    if len(drawn) > 1:
        _draw_mean(axes, list(drawn.values()), np.array([values["auc"] for values in metrics.values()]))
        pooled = pd.concat(drawn.values(), ignore_index=True)
        label = f"pooled: AUC {percent(evaluate(pooled)['auc'])}, n = {len(pooled)}"
        line = {"color": "#0072B2", "linewidth": 2.2, "linestyle": "--", "label": label}
        RocCurveDisplay.from_predictions(pooled["label"], pooled["score"], ax=axes, curve_kwargs=line)
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


def _draw_mean(axes: Axes, tables: list[pd.DataFrame], aucs: np.ndarray) -> None:
    grid = np.linspace(0, 1, 1001)
    mean = np.mean([np.interp(grid, *roc_curve(table["label"], table["score"])[:2]) for table in tables], axis=0)
    label = f"mean of {len(tables)} folds: AUC {with_deviation(aucs.mean(), aucs.std(ddof=1))}"
    # np.interp takes the top of the step at 0, where every ROC starts from the origin
    axes.plot([0, *grid], [0, *mean], color="black", linewidth=2.2, label=label)


def draw_det(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw the DET curve of each fold and the pooled one, the equal error rate marked on each.

    Both axes are scaled as normal deviates (Martin et al., 1997), on which scores of two normal distributions give a
    straight line. Unlike `sklearn.metrics.DetCurveDisplay` it draws tied scores as what they are, and rates of 0.
    """
    metrics, left_out = _rankable(folds, "DET curve")
    figure = new_figure(7.4, title)
    axes = figure.add_subplot()
    drawn = {name: folds[name] for name in metrics}
    pooled = pd.concat(drawn.values(), ignore_index=True)
    rates = [values["eer"] for values in metrics.values()]
    pooled_rate = equal_error_rate(pooled["label"].to_numpy(), pooled["score"].to_numpy())
    low, high = _limits(pooled, max(*rates, pooled_rate))

    looks = fold_looks(folds)
    curves = [(name, drawn[name], rate, looks[name]) for name, rate in zip(drawn, rates, strict=True)]
    if len(drawn) > 1:
        curves.append(("pooled", pooled, pooled_rate, POOLED))
    for name, table, rate, look in curves:
        label = f"{name}: EER {percent(rate)}, n = {len(table)}"
        _draw_det_curve(axes, table, rate, look, label, (low, high))
    edges = norm.ppf([low, high])
    axes.plot(edges, edges, color="0.55", linewidth=1, linestyle=":", label="equal error rates")
    _label_det(axes, low, high)
    caption(
        figure,
        f"Marks: equal error rate; mean of {len(rates)} folds {mean_of(rates)} %." if len(rates) > 1 else "",
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


def _draw_det_curve(
    axes: Axes, table: pd.DataFrame, rate: float, look: Look, label: str, limits: tuple[float, float]
) -> None:
    low, high = limits
    # The deviate of a rate of 0 or 1 is infinite. Rates above the axis run out of the figure.
    x, y = (norm.ppf(np.clip(rates, low, 1 - 1e-6)) for rates in error_rates(table))
    pooled = look is POOLED
    line: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes, "linewidth": 2.2 if pooled else 1.5}
    # A ring for all, so that the marks of the folds are seen within.
    face, size = ("none", 14) if pooled else (look.colour, 6)
    shape: dict[str, Any] = {
        "marker": look.marker,
        "markersize": size,
        "markerfacecolor": face,
        "markeredgecolor": "black",
    }
    axes.plot(x, y, **line)
    mark = norm.ppf(np.clip(rate, low, high))
    axes.plot(mark, mark, linestyle="", markeredgewidth=1.5 if pooled else 1, clip_on=False, zorder=3, **shape)
    axes.plot([], [], label=label, **line, **(shape | {"markersize": 8 if pooled else 6}))


def _label_det(axes: Axes, low: float, high: float) -> None:
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


def draw_precision_recall(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw precision against recall of each fold and of all pooled.

    The left panel takes real for the positive class, the right one fake. Average precision is the area under the
    steps, and its chance level the share of the positive class.
    """
    metrics, left_out = _rankable(folds, "precision-recall curve")
    drawn = {name: folds[name] for name in metrics}
    looks = fold_looks(folds)
    if len(drawn) > 1:
        pooled = pd.concat(drawn.values(), ignore_index=True)
        drawn["pooled"], looks["pooled"] = pooled, POOLED
        metrics["pooled"] = evaluate(pooled)

    figure = new_figure(5.2, title)
    # Apart, so that the last tick label of one panel is not read with the next one's first.
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.07, wspace=0.05))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, positive in zip(panels, ("real", "fake"), strict=True):
        values = {name: metrics[name][f"ap_{positive}"] for name in drawn}
        for name, table in drawn.items():
            look, width = looks[name], 2 if name == "pooled" else 1.4
            # -score rather than 1 - score, which would make ties of small scores
            sides = (table["label"], table["score"]) if positive == "real" else (1 - table["label"], -table["score"])
            line: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes, "linewidth": width}
            label = f"{name}: AP {percent(values[name])}, n = {len(table)}"
            PrecisionRecallDisplay.from_predictions(*sides, ax=axes, label=label, **line)
        _draw_chance(axes, list(drawn.values())[-1], positive)
        folds_alone = [value for name, value in values.items() if name != "pooled"]
        _label_precision_recall(axes, positive, folds_alone)
    panels[0].set_ylabel("Precision", fontsize=9)
    caption(figure, "AP: average precision in %; chance: the share of the positive class.", left_out)
    return figure


def _draw_chance(axes: Axes, table: pd.DataFrame, positive: str) -> None:
    count = int((table["label"] == (positive == "real")).sum())
    share = count / len(table)
    label = f"chance: AP {percent(share)} ({count} {positive})"
    axes.axhline(share, color="0.45", linewidth=1, linestyle=":", label=label)


def _label_precision_recall(axes: Axes, positive: str, values: list[float]) -> None:
    title = f"Positive class: {positive}"
    if len(values) > 1:
        title += f"\nmean of {len(values)} folds: AP {mean_of(values)}"
    tidy(axes, title, f"Recall ({positive} clips found)")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="auto")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8, handlelength=4, frameon=False)


def mean_of(values: list[float]) -> str:
    """Return the mean of the folds and their standard deviation in percent."""
    return with_deviation(float(np.mean(values)), float(np.std(values, ddof=1)))


def _rankable(folds: dict[str, pd.DataFrame], curve: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Compute the metrics of the folds that have clips of both classes, and say in a sentence why others have not.

    Raises
    ------
    DataError
        If there is no such fold.
    """
    # The scores of the streams play no part here, and not every table has them.
    metrics = {name: evaluate(table.assign(video_score=np.nan, audio_score=np.nan)) for name, table in folds.items()}
    drawn = {name: values for name, values in metrics.items() if values["auc"] is not None}
    if not drawn:
        raise DataError(f"no fold has clips of both classes with scores: there is no {curve} to draw")
    left_out = [f"{name} ({_why_not(folds[name])})" for name in folds if name not in drawn]
    sentence = f"Not drawn: {', '.join(left_out)}." if left_out else ""
    if sentence:
        log.warning("%s: %s", curve, sentence)
    return drawn, sentence


def _why_not(table: pd.DataFrame) -> str:
    for label, name in ((1, "real"), (0, "fake")):
        if len(table) and not (table["label"] == label).any():
            return f"no {name} clip"
    return "no clip"
