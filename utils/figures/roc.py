"""ROC of the folds of a run. Positive class: real."""

from __future__ import annotations

import logging
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from utils.figures.style import FOLD_STYLES, save_figure
from utils.metrics import evaluate
from utils.results import percent

log = logging.getLogger(__name__)


def roc_figure(folds: dict[str, pd.DataFrame], path: Path, title: str) -> None:
    """Draw the ROC of each fold, their mean and the pooled one, as PNG and SVG.

    The mean is vertical: the mean true positive rate at each false positive rate.

    Parameters
    ----------
    folds
        Scores of each fold, as scores.csv has them. A fold without an AUC (one class only) is left out.
    path
        Where to write; the suffix is replaced by .png and .svg.
    title
        Title of the figure.

    Raises
    ------
    ValueError
        If no fold has an AUC.
    """
    save_figure(draw_roc(folds, title), path)


def draw_roc(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw what `roc_figure` writes."""
    aucs = {name: evaluate(table)["auc"] for name, table in folds.items()}
    drawn = {name: folds[name] for name, auc in aucs.items() if auc is not None}
    if left_out := sorted(folds.keys() - drawn.keys()):
        log.warning("Left out of the ROC figure, as they have no AUC: %s", ", ".join(left_out))
    if not drawn:
        raise ValueError("no fold has clips of both classes with scores: there is no ROC to draw")

    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    axes = figure.add_subplot()
    for (name, table), (colour, dashes) in zip(drawn.items(), cycle(FOLD_STYLES), strict=False):
        label = f"{name}: AUC {percent(aucs[name])}, n = {len(table)}"
        axes.plot(*_roc(table), color=colour, linestyle=dashes, linewidth=1.5, label=label)
    if len(drawn) > 1:
        _draw_mean(axes, list(drawn.values()), np.array([aucs[name] for name in drawn]))
        pooled = pd.concat(drawn.values(), ignore_index=True)
        label = f"pooled: AUC {percent(evaluate(pooled)['auc'])}, n = {len(pooled)}"
        axes.plot(*_roc(pooled), color="#0072B2", linewidth=2.2, linestyle="--", label=label)
    axes.plot([0, 1], [0, 1], color="0.55", linewidth=1, linestyle=":", label="chance: AUC 50.00")
    _label(axes, title)
    return figure


def _roc(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates."""
    false_positive, true_positive, _ = roc_curve(table["label"], table["score"])
    return false_positive, true_positive


def _draw_mean(axes: Axes, tables: list[pd.DataFrame], aucs: np.ndarray) -> None:
    grid = np.linspace(0, 1, 1001)
    mean = np.mean([np.interp(grid, *_roc(table)) for table in tables], axis=0)
    label = f"mean of {len(tables)} folds: AUC {percent(aucs.mean())} ± {percent(aucs.std(ddof=1))}"
    # np.interp takes the top of the step at 0, where every ROC starts from the origin
    axes.plot([0, *grid], [0, *mean], color="black", linewidth=2.2, label=label)


def _label(axes: Axes, title: str) -> None:
    axes.set_title(title, wrap=True)
    axes.set(
        xlabel="False positive rate (fake clips taken for real)",
        ylabel="True positive rate (real clips taken for real)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", title="Positive class: real (AUC in %)", fontsize=9, handlelength=4)
