"""Figures of the clips of a table: decisions by category, scores by category, and whether a score is a probability."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest

from utils.errors import DataError
from utils.figures.style import CATEGORY_LOOKS, caption, new_figure, say, tidy
from utils.metrics import CATEGORY_OF_LABELS
from utils.results import CATEGORIES
from utils.statistics.calibration import calibration
from utils.table import percent

THRESHOLD = 0.5
DARKEST = 1.7  # the share that would be the darkest blue; up to 1, black is read on all of them
BINS = np.linspace(0, 1, 21)
# Where a bin has so many times the clips of the emptiest one, the latter could not be seen on a linear axis.
LOG_FROM = 25
# The scores before and after calibration.
SCORE_LOOK = {"color": "#0072B2", "marker": "o", "linewidth": 1.5, "elinewidth": 1, "capsize": 3}
CALIBRATED_LOOK = SCORE_LOOK | {"color": "#D55E00", "marker": "s", "linestyle": "--"}


def draw_confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw how many clips of each category were taken for real and for fake.

    Where video and audio have scores of their own, a second matrix shows the category that these two say: a stream
    counts as real from 0.5 on. Clips of an unknown category are left out; `DataError` says so if there are no others.
    """
    table = table[table["category"].isin(list(CATEGORIES))]
    if table.empty:
        raise DataError("no clip of the categories A to D: there is no confusion to draw")
    modal = table.iloc[:0]  # the clips that have scores of video and audio
    if {"video_score", "audio_score"} <= set(table.columns):
        heads = table[["video_score", "audio_score"]].apply(pd.to_numeric)
        modal = table[np.isfinite(heads.to_numpy(float)).all(axis=1)]
    figure = new_figure(3.9, title)
    decided = decision_counts(table)
    right = decided[0, 0] + decided[1:, 1].sum()
    words = [f"Decision right: {right} of n = {decided.sum()} clips ({percent(right / decided.sum())} %)."]
    if modal.empty:
        first = figure.add_subplot()
        words.append("Video and audio have no scores of their own here.")
    else:
        first, second = figure.subplots(1, 2, width_ratios=[2, 4])
        counts = category_counts(modal)
        _draw_matrix(second, counts, np.eye(4, dtype=bool), list(CATEGORIES), counts.sum(axis=1))
        second.set_yticks(range(4), list(CATEGORIES))
        _label(second, f"Category from video and audio (real: ≥ {THRESHOLD:g})")
        right = int(np.trace(counts))
        words.append(f"Category right: {right} of n = {counts.sum()} ({percent(right / counts.sum())} %).")
        if len(modal) < len(table):
            words.append(f"Not in the right matrix: {len(table) - len(modal)} without both scores.")
    expected = np.array([[True, False]] + [[False, True]] * 3)
    _draw_matrix(first, decided, expected, ["real", "fake"], decided.sum(axis=1))
    names = [f"{key}: {name}".replace(", ", ",\n") for key, name in CATEGORIES.items()]
    first.set_yticks(range(4), [f"{name}\nn = {size}" for name, size in zip(names, decided.sum(axis=1), strict=True)])
    _label(first, "Decision on the clip")
    caption(figure, *words, "Framed cells are right; percentages are of the row.")
    return figure


def decision_counts(table: pd.DataFrame) -> np.ndarray:
    """Count the clips of each category that are taken for real and for fake, (4, 2)."""
    counts = pd.crosstab(table["category"], table["decision"])
    return counts.reindex(index=[*CATEGORIES], columns=[1, 0], fill_value=0).to_numpy()


def category_counts(table: pd.DataFrame) -> np.ndarray:
    """Count the clips of each category (rows) by the one that the scores of video and audio say, (4, 4)."""
    pairs = zip(table["video_score"] >= THRESHOLD, table["audio_score"] >= THRESHOLD, strict=True)
    said = [CATEGORY_OF_LABELS[int(video), int(audio)] for video, audio in pairs]
    counts = pd.crosstab(table["category"].to_numpy(), np.array(said))
    return counts.reindex(index=[*CATEGORIES], columns=[*CATEGORIES], fill_value=0).to_numpy()


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


def draw_score_histogram(table: pd.DataFrame, title: str) -> Figure:
    """Draw how the scores of each category are spread; `DataError` if there is no clip of a known one."""
    table = table[table["category"].isin(list(CATEGORIES))]
    if table.empty:
        raise DataError("no clip of the categories A to D: there is no histogram to draw")
    scores = {key: table.loc[table["category"] == key, "score"].to_numpy(float) for key in CATEGORIES}
    counts = {key: np.histogram(values, BINS)[0] for key, values in scores.items()}
    log_axis = needs_log(np.concatenate(list(counts.values())))
    figure = new_figure(6.6, title)
    panels = figure.subplots(4, 1, sharex=True, sharey=True)
    for axes, (key, name) in zip(panels, CATEGORIES.items(), strict=True):
        values, look = scores[key], CATEGORY_LOOKS[key]
        tidy(axes)
        above, n = int((values >= THRESHOLD).sum()), values.size
        share = f", {above} ({100 * above / n:.1f} %) at {THRESHOLD:g} or above" if n else ""
        axes.set_title(f"{key}: {name}, n = {n}{share}", fontsize=9, loc="left")
        axes.axvline(THRESHOLD, color="black", linewidth=1.2, linestyle="--")
        if not n:
            say(axes, "no clip of this category")
            continue
        _bars(axes, counts[key], BINS, facecolor=look.colour, hatch=look.hatch, alpha=0.75)
    _scale_counts(panels[0], log_axis)
    panels[-1].set_xlabel("Score: probability that the clip is real", fontsize=9)
    panels[-1].set_xlim(-0.01, 1.01)
    figure.supylabel(f"Clips in a bin of {BINS[1]:g}" + (", logarithmic" if log_axis else ""), fontsize=9)
    caption(figure, f"n = {len(table)} clips. Dashed: the threshold of {THRESHOLD:g}.")
    return figure


def needs_log(counts: np.ndarray) -> bool:
    """Whether the fullest bin would hide the emptiest one that has a clip."""
    filled = counts[counts > 0]
    return bool(filled.max() >= LOG_FROM * filled.min())


def _bars(axes: Axes, counts: np.ndarray, edges: Any, **face: Any) -> None:
    axes.stairs(counts, edges, fill=True, edgecolor="black", **face)
    axes.stairs(counts, edges, color="black", linewidth=1)


def _scale_counts(axes: Axes, log_axis: bool) -> None:
    """Make the vertical axis one of counts, linear or logarithmic."""
    if log_axis:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.6)  # so that a bin with one clip stands up
        axes.yaxis.set_major_formatter("{x:.0f}")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.set_ylim(bottom=0)


def draw_reliability(table: pd.DataFrame, title: str) -> Figure:
    """Draw the share of real clips against the score, and the clips in each bin below.

    The expected calibration error (Guo et al., 2017) is the mean distance of the two over the clips, in bins of equal
    width. A column calibrated of the table, which is the calibrated score, is drawn beside. `DataError` says so if
    there is no clip.
    """
    if table.empty:
        raise DataError("no clip has a score: there is no reliability diagram to draw")
    label = table["label"].to_numpy()
    before = calibration(label, table["score"].to_numpy(float))
    bins = before["bins"]
    figure = new_figure(6.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    tidy(above, ylabel="Share of real clips")
    above.plot([0, 1], [0, 1], color="0.45", linewidth=1, linestyle=":", label="as often as said")
    _draw_shares(above, bins, "scores", SCORE_LOOK)
    error = f"{percent(before['ece'])} %"
    if "calibrated" in table and table["calibrated"].notna().all():
        after = calibration(label, table["calibrated"].to_numpy(float))
        _draw_shares(above, after["bins"], "calibrated scores", CALIBRATED_LOOK)
        error = f"{error} before and {percent(after['ece'])} % after calibration,"
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    above.legend(loc="upper left", fontsize=8)
    counts = np.array([row["n"] for row in bins])
    log_axis = needs_log(counts)
    axis = "Clips in a bin" + (",\nlogarithmic" if log_axis else "")
    tidy(below, xlabel="Score: probability that the clip is real", ylabel=axis)
    _bars(below, counts, [bins[0]["low"], *(row["high"] for row in bins)], facecolor="#56B4E9", hatch="////")
    _scale_counts(below, log_axis)
    absent = [name for value, name in ((1, "real"), (0, "fake")) if not (label == value).any()]
    caption(
        figure,
        f"Expected calibration error {error} in {len(bins)} bins of equal width.",
        f"n = {len(table)} clips, {int((label == 1).sum())} real.",
        "Points: mean score and share of real clips of a bin; bars: 95 % Wilson interval.",
        f"There is no {absent[0]} clip, so that the curve says little." if absent else "",
    )
    return figure


def _draw_shares(axes: Axes, bins: list[dict[str, Any]], label: str, look: dict[str, Any]) -> None:
    x, y, n = np.array([(row["mean_score"], row["share_real"], row["n"]) for row in bins if row["n"]]).T
    intervals = [binomtest(round(k), int(m)).proportion_ci(method="wilson") for k, m in zip(y * n, n, strict=True)]
    spread = np.abs(np.array([(interval.low, interval.high) for interval in intervals]).T - y)  # (2, bins)
    axes.errorbar(x, y, yerr=spread, label=label, **look)
