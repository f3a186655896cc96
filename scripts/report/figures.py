"""The figures of a run: PNG and SVG in its folder, with what they show and what they rest on."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from utils.figures.run import all_figures
from utils.runs import FOLD_NAME, Run
from utils.table import counted

FOLDER = "figures"
# Name of a figure: what it is called, and what it shows.
CAPTIONS = {
    "roc": ("ROC", "share of real clips taken for real against that of fake clips, at every threshold"),
    "det": ("DET", "the two error rates against each other, at every threshold; low and left is good"),
    "precision_recall": ("Precision and recall", "of real clips and of fake clips, at every threshold"),
    "confusion": ("Confusion", "what the clips of each category were decided to be"),
    "scores": ("Scores", "the score, which is the probability of real, of the clips of each category"),
    "reliability": ("Reliability", "share of real clips against the score: on the diagonal, a score is a probability"),
    "training_curves": ("Training", "losses and validation metrics over the epochs, with the epoch that was kept"),
    "embedding": ("Embeddings", "t-SNE of the detector's embeddings of video and audio; near clips look alike to it"),
}


@dataclass
class Shown:
    """A figure on the page: its PNG in base64, what it is called, what it shows and what it rests on."""

    png: str
    title: str
    shows: str
    count: str


def figures(run: Run, log_dir: Path | None) -> tuple[list[Shown], list[str]]:
    """Draw what a run has data for, into figures/ of its folder.

    Parameters
    ----------
    run
        The run.
    log_dir
        Folder of its logs, such as outputs/log/MRDF_CE; None leaves out the training curves.

    Returns
    -------
    tuple
        The figures, and a sentence for each that is not there.
    """
    drawn, reasons = all_figures(run, log_dir, run.folder / FOLDER, run.name)
    absent = [f"{CAPTIONS.get(name, (name,))[0]}: {why}." for name, why in reasons.items()]
    return [_shown(run, path, log_dir) for path in drawn], absent


def _shown(run: Run, path: Path, log_dir: Path | None) -> Shown:
    kind, _, fold = path.stem.partition("_") if path.stem.startswith("embedding") else (path.stem, "", "")
    title, shows = CAPTIONS[kind]
    png = base64.b64encode(path.read_bytes()).decode("ascii")
    return Shown(png, f"{title}, {fold}" if fold else title, shows, _count(run, kind, fold, log_dir))


def _count(run: Run, kind: str, fold: str, log_dir: Path | None) -> str:
    """Say what a figure rests on."""
    if kind == "training_curves" and log_dir is not None:
        folders = {path.parents[1].name for path in log_dir.glob("train_*/version_*/metrics.csv")}
        return f"n = {counted(sum(bool(FOLD_NAME.fullmatch(name)) for name in folders), 'fold')}"
    tables = [table for name, table in run.scores.items() if not fold or name == fold]
    if not tables:
        return "n is in the figure"
    return f"n = {counted(sum(map(len, tables)), 'clip')} of {counted(len(tables), 'fold')}"
