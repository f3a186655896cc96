"""The figures of a run: PNG and SVG in its folder, and whichever is smaller embedded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from scripts.report.markup import Html, bullets, counted, element, join, paragraph, picture, readable
from scripts.report.runs import Run
from utils.figure import all_figures
from utils.figures.style import DPI

FOLDER = "figures"
SHOWN_DPI = 110
DRAWER = "utils.figures.run"  # whose log says what is not drawn
# Name of a figure: what it is called, what it shows, and what n counts.
CAPTIONS = {
    "roc": ("ROC", "share of real clips taken for real against that of fake clips, at every threshold"),
    "det": ("DET", "the two error rates against each other, at every threshold; low and left is good"),
    "precision_recall": ("Precision and recall", "of real clips and of fake clips, at every threshold"),
    "confusion": ("Confusion", "what the clips of each category were decided to be"),
    "scores": ("Scores", "the score, which is the probability of real, of the clips of each category"),
    "reliability": ("Reliability", "share of real clips against the score: on the diagonal, a score is a probability"),
    "training_curves": ("Training", "losses and validation figures over the epochs, with the epoch that was kept"),
    "embedding": ("Embeddings", "t-SNE of what the detector makes of picture and sound; near clips look alike to it"),
}


class _Reasons(logging.Handler):
    """Collects why figures are not drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name, separator, why = record.getMessage().partition(": not drawn, ")
        if separator:
            self.found[name] = why


def figures(run: Run, log_dir: Path | None) -> Html:
    """Draw what a run has data for, into figures/ of its folder; a line says why the others are not there.

    Parameters
    ----------
    run
        The run.
    log_dir
        Folder of its logs, such as outputs/log/MRDF_CE; None leaves out the training curves.
    """
    with _reasons() as reasons:
        paths = all_figures(run.folder, log_dir, run.folder / FOLDER, readable(run.name))
    drawn = [_figure(run, path, log_dir) for path in paths if path.suffix == ".png"]
    there = {_kind(path.stem) for path in paths}
    absent = [f"{CAPTIONS[name][0]}: {reasons.found.get(name, 'no data')}." for name in CAPTIONS if name not in there]
    # An embedding is of one fold, so others may be there.
    absent += [f"{name}: {why}." for name, why in reasons.found.items() if name not in CAPTIONS]
    parts = [element("div", *drawn, class_="figures")] if drawn else []
    if absent:
        parts += [paragraph("Not drawn:"), bullets(absent)]
    return join(parts)


@contextmanager
def _reasons() -> Iterator[_Reasons]:
    reasons = _Reasons()
    drawer = logging.getLogger(DRAWER)
    level = drawer.level
    drawer.addHandler(reasons)
    drawer.setLevel(logging.INFO)
    try:
        yield reasons
    finally:
        drawer.removeHandler(reasons)
        drawer.setLevel(level)


def _kind(name: str) -> str:
    return "embedding" if name.startswith("embedding") else name


def _figure(run: Run, path: Path, log_dir: Path | None) -> Html:
    heading, shows = CAPTIONS[_kind(path.stem)]
    name = ", ".join([heading, *_fold(path.stem)])
    content, kind = smaller(path)
    caption = paragraph(element("strong", f"{name}: "), f"{shows} ({_count(run, path.stem, log_dir)}).")
    return element("figure", picture(content, kind, f"{name} of {run.name}: {shows}"), element("figcaption", caption))


def _fold(name: str) -> list[str]:
    """The fold that a figure is of, where it is of one."""
    return [name.removeprefix("embedding_")] if name.startswith("embedding_") else []


def _count(run: Run, name: str, log_dir: Path | None) -> str:
    """What a figure rests on."""
    if name == "training_curves" and log_dir is not None:
        folds = {path.parents[1] for path in log_dir.glob("train_*/version_*/metrics.csv")}
        return f"n = {counted(sum(not fold.suffix for fold in folds), 'fold')}"
    tables = [table for fold, table in run.scores.items() if fold in (_fold(name) or run.scores)]
    if not tables:
        return "n is in the figure"
    return f"n = {counted(sum(map(len, tables)), 'clip')} of {counted(len(tables), 'fold')}"


def smaller(path: Path) -> tuple[bytes, str]:
    """Return a figure as PNG of `SHOWN_DPI` or as SVG, whichever is smaller, and its media type."""
    drawing = path.with_suffix(".svg").read_bytes()
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    scale = SHOWN_DPI / DPI
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pixels = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return (pixels, "image/png") if len(pixels) <= len(drawing) else (drawing, "image/svg+xml")
