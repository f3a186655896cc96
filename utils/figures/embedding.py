"""Embeddings of the clips of a fold in the plane, as in the paper."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE

from utils.errors import DataError
from utils.figures.style import CATEGORY_LOOKS, caption, new_figure, say
from utils.results import CATEGORIES

PANELS = {
    "video_cross": "video, cross-modality",
    "audio_cross": "audio, cross-modality",
    "video_within": "video, within modality",
    "audio_within": "audio, within modality",
}
FEWEST = 8  # clips
FEW = 50  # clips below which groups in the plane may be chance
SEED = 42  # of t-SNE
PERPLEXITY = 30  # scikit-learn's own


def draw_embedding(embeddings: Mapping[str, np.ndarray], categories: np.ndarray, title: str) -> Figure:
    """Draw embeddings (N, D) of one trained detector by t-SNE (van der Maaten and Hinton, 2008), a panel each.

    They are any of video_cross, audio_cross, video_within and audio_within. Clips of an unknown category ("") are left
    out. `DataError` says so if there is no such embedding, its shape does not suit the categories, (N,), or there are
    fewer than 8 clips.
    """
    categories = np.asarray(categories).astype(str)
    names = _check(embeddings, categories)
    known = categories != ""
    categories = categories[known]
    # Panels two to a row, one alone over the whole width, and a strip below for the legend.
    rows = (len(names) + 1) // 2
    figure = new_figure(1.4 + 2.8 * rows, title)
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[2.8] * rows + [0.4])
    cells = [grid[0, :]] if len(names) == 1 else [grid[k // 2, k % 2] for k in range(len(names))]
    panels = [figure.add_subplot(cell) for cell in cells]
    legend = figure.add_subplot(grid[rows, :])
    legend.axis("off")
    for axes, name in zip(panels, names, strict=True):
        _draw_panel(axes, np.asarray(embeddings[name], float)[known], categories)
        axes.set_title(f"{name}: {PANELS[name]}", fontsize=9)
    counts = {key: int((categories == key).sum()) for key in CATEGORIES}
    handles = []
    for key, count in counts.items():
        look, label = CATEGORY_LOOKS[key], f"{key}: {CATEGORIES[key]}, n = {count}"
        point: dict[str, Any] = {
            "marker": look.marker,
            "color": look.colour,
            "linestyle": "",
            "markeredgecolor": "black",
        }
        handles.append(Line2D([], [], label=label, **point))
    legend.legend(handles=handles, loc="center", ncols=2, fontsize=8, frameon=False)
    absent = [key for key, count in counts.items() if not count]
    n = len(categories)
    caption(
        figure,
        f"t-SNE, perplexity {perplexity(n):g}, n = {n} clips; the axes have no unit.",
        "With so few clips, groups may be chance." if n < FEW else "",
        f"No clip of {', '.join(absent)}." if absent else "",
    )
    return figure


def project(embedding: np.ndarray, seed: int) -> np.ndarray:
    """Lay embeddings (N, D) into the plane, (N, 2)."""
    start = "pca" if embedding.shape[1] >= 2 else "random"
    return TSNE(perplexity=perplexity(len(embedding)), init=start, random_state=seed).fit_transform(embedding)


def perplexity(n: int) -> float:
    """Choose how many neighbours of n clips count: at most a third, as t-SNE's authors advise three times as many."""
    return min(PERPLEXITY, (n - 1) // 3)


def _check(embeddings: Mapping[str, np.ndarray], categories: np.ndarray) -> list[str]:
    """Return the names of the embeddings to draw."""
    names = [name for name in PANELS if name in embeddings]
    if not names:
        raise DataError(f"none of the embeddings {', '.join(PANELS)} is there: there is nothing to draw")
    for name in names:
        shape = np.shape(embeddings[name])
        if len(shape) != 2 or shape[0] != len(categories):
            raise DataError(f"{name} has the shape {shape}, where {len(categories)} clips need ({len(categories)}, D)")
    if (few := int((categories != "").sum())) < FEWEST:
        raise DataError(f"{few} clips are too few for t-SNE, which needs {FEWEST}")
    if unknown := sorted(set(categories) - CATEGORIES.keys() - {""}):
        raise DataError(f"category '{unknown[0]}' is unknown; use one of {', '.join(CATEGORIES)}")
    return names


def _draw_panel(axes: Axes, embedding: np.ndarray, categories: np.ndarray) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("t-SNE 1", fontsize=8)
    axes.set_ylabel("t-SNE 2", fontsize=8)
    if not np.isfinite(embedding).all():
        say(axes, "an embedding is not finite")
        return
    if np.ptp(embedding, axis=0).max() == 0:
        say(axes, "all embeddings are the same")
        return
    plane = project(embedding, SEED)
    size = 40 if len(plane) < FEW else 14
    for key, look in CATEGORY_LOOKS.items():
        shape: dict[str, Any] = {"s": size, "marker": look.marker, "color": look.colour, "alpha": 0.8}
        axes.scatter(*plane[categories == key].T, edgecolor="black", linewidth=0.4, **shape)
    axes.margins(0.08)
    axes.set_aspect("equal", adjustable="datalim")
