"""Precision against recall of the folds of a run, with each class in turn as the positive one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from utils.figures.style import Look, caption, fold_looks, new_figure, save_figure, tidy
from utils.figures.tables import mean_and_spread, rankable_folds
from utils.results import percent

POOLED = Look("black", "")


def precision_recall_figure(folds: dict[str, pd.DataFrame], path: Path, title: str) -> None:
    """Draw precision against recall of each fold and of all pooled as PNG and SVG.

    The left panel takes real for the positive class, the right one fake. Average precision is the area under the
    steps, and its chance level the share of the positive class.

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
    save_figure(draw_precision_recall(folds, title), path)


def draw_precision_recall(folds: dict[str, pd.DataFrame], title: str) -> Figure:
    """Draw what `precision_recall_figure` writes."""
    figures, left_out = rankable_folds(folds, "precision-recall curve")
    drawn = {name: folds[name] for name in figures}
    looks = fold_looks(folds)
    if len(drawn) > 1:
        pooled = pd.concat(drawn.values(), ignore_index=True)
        drawn["pooled"], looks["pooled"] = pooled, POOLED
        figures |= rankable_folds({"pooled": pooled}, "precision-recall curve")[0]

    figure = new_figure(5.2, title)
    # Apart, so that the last tick label of one panel is not read with the next one's first.
    figure.get_layout_engine().set(wspace=0.05)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, positive in zip(panels, ("real", "fake"), strict=True):
        values = {name: figures[name][f"ap_{positive}"] for name in drawn}
        for name, table in drawn.items():
            recall, precision = recall_and_precision(table, positive)
            label = f"{name}: AP {percent(values[name])}, n = {len(table)}"
            width = 2 if name == "pooled" else 1.4
            axes.plot(
                recall,
                precision,
                color=looks[name].colour,
                linestyle=looks[name].dashes,
                linewidth=width,
                drawstyle="steps-post",
                label=label,
            )
        _draw_chance(axes, list(drawn.values())[-1], positive)
        folds_alone = [value for name, value in values.items() if name != "pooled"]
        _label(axes, positive, folds_alone)
    panels[0].set_ylabel("Precision", fontsize=9)
    caption(figure, "AP: average precision in %; chance: the share of the positive class.", left_out)
    return figure


def recall_and_precision(table: pd.DataFrame, positive: str) -> tuple[np.ndarray, np.ndarray]:
    """Return recall and precision at each threshold, (K,) each, from all recalled to none."""
    label, score = table["label"].to_numpy(), table["score"].to_numpy()
    if positive == "fake":
        label, score = 1 - label, -score  # 1 - score would make ties of small scores
    precision, recall, _ = precision_recall_curve(label, score)
    return recall, precision


def _draw_chance(axes: Axes, table: pd.DataFrame, positive: str) -> None:
    count = int((table["label"] == (positive == "real")).sum())
    share = count / len(table)
    label = f"chance: AP {percent(share)} ({count} {positive})"
    axes.axhline(share, color="0.45", linewidth=1, linestyle=":", label=label)


def _label(axes: Axes, positive: str, values: list[float]) -> None:
    title = f"Positive class: {positive}"
    if len(values) > 1:
        title += f"\nmean of {len(values)} folds: AP {mean_and_spread(values)}"
    tidy(axes, title, f"Recall ({positive} clips found)")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8, handlelength=4, frameon=False)
