"""What the figures share: colours, dashes, markers and hatches, words in place of curves, files."""

import io
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from utils.files import write_atomic

WIDTH = 6.4  # inches
DPI = 150
# Okabe and Ito's colours for every kind of colour vision; each has its own dashes, for black and white.
FOLD_STYLES = [
    ("#E69F00", (0, (6, 1.5))),
    ("#56B4E9", (0, (2, 1.2))),
    ("#009E73", (0, (6, 1.5, 1.2, 1.5))),
    ("#CC79A7", (0, (1, 1))),
    ("#D55E00", (0, (4, 1.2, 1, 1.2, 1, 1.2))),
]
FOLD_MARKERS = "osD^vP"  # one more than the colours, so that a sixth fold differs from the first
# Text stays text in the SVG, and its ids are the same each time.
SVG_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "mrdf"}


class Look(NamedTuple):
    """How a fold or a category is drawn, told apart without its colour too."""

    colour: str
    marker: str
    dashes: tuple = (0, ())
    hatch: str = ""

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.colour, "linestyle": self.dashes}


CATEGORY_LOOKS = {
    "A": Look("#009E73", "o", hatch="////"),
    "B": Look("#E69F00", "^", hatch=r"\\\\"),
    "C": Look("#56B4E9", "s", hatch="xxxx"),
    "D": Look("#D55E00", "X", hatch="...."),
}


def fold_looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each fold its look, which goes by its number: the same in every figure, whatever other folds there are."""
    looks = {}
    for place, name in enumerate(names):
        number = re.search(r"\d+$", name)
        k = int(number[0]) - 1 if number else place
        (colour, dashes), marker = FOLD_STYLES[k % len(FOLD_STYLES)], FOLD_MARKERS[k % len(FOLD_MARKERS)]
        looks[name] = Look(colour, marker, dashes)
    return looks


def new_figure(height: float, title: str) -> Figure:
    """Make an empty figure of the width of a page of text; `height` is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.07))  # inches
    figure.suptitle(textwrap.fill(title, 68), fontsize=11, parse_math=False)
    return figure


def caption(figure: Figure, *sentences: str) -> None:
    """Write sentences under the panels; empty ones are left out."""
    text = " ".join(sentence for sentence in sentences if sentence)
    figure.supxlabel(textwrap.fill(text, 108), fontsize=8, x=0.02, ha="left", parse_math=False)


def tidy(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Label a panel in small letters, and lay a light grid behind its curves."""
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def say(axes: Axes, words: str) -> None:
    """Write into a panel why nothing is drawn there."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 3}
    text = textwrap.fill(words, 36)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=9, bbox=box)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and SVG; the suffix of `path` is replaced. The same figure gives the same bytes."""
    path = Path(path)
    FigureCanvasAgg(figure)
    with matplotlib.rc_context(SVG_SETTINGS):
        for suffix, options in ((".png", {"dpi": DPI}), (".svg", {"metadata": {"Date": None}})):
            content = io.BytesIO()
            figure.savefig(content, format=suffix[1:], **options)
            write_atomic(path.with_suffix(suffix), content.getvalue())
