"""The figures of a run: PNG and SVG in its folder, with what they show and what they rest on."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from matplotlib.figure import Figure

from scripts.report.page import embedded
from utils.errors import DataError
from utils.figures.clips import draw_confusion, draw_reliability, draw_score_histogram
from utils.figures.curves import draw_det, draw_precision_recall, draw_roc
from utils.figures.embedding import draw_embedding
from utils.figures.style import save_figure
from utils.figures.training import chosen_epoch, draw_training_curves, read_training_log
from utils.runs import Run, fold_folders
from utils.table import counted

log = logging.getLogger(__name__)

FOLDER = "figures"
LOGS = "version_*/metrics.csv"  # in the folder of a fold
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

OF_FOLDS = {"roc": draw_roc, "det": draw_det, "precision_recall": draw_precision_recall}
OF_CLIPS = {"confusion": draw_confusion, "scores": draw_score_histogram, "reliability": draw_reliability}


class Shown(NamedTuple):
    """A figure on the page: its PNG in base64, what it is called, what it shows and what it rests on."""

    png: str
    title: str
    shows: str
    rests_on: str


def figures(run: Run, log_dir: Path | None) -> tuple[list[Shown], list[str]]:
    """Draw what a run has data for, into figures/ of its folder; also return a sentence for each that is not there."""
    drawn, reasons = all_figures(run, log_dir, run.folder / FOLDER, run.name)
    absent = [f"{CAPTIONS.get(name, (name,))[0]}: {why}." for name, why in reasons.items()]
    return [_shown(run, path, log_dir) for path in drawn], absent


def all_figures(run: Run, log_dir: Path | None, out: Path, title: str) -> tuple[list[Path], dict[str, str]]:
    """Draw every figure of a run for which there is data, as PNG and SVG in the folder `out`.

    Training curves need the folder of its logs, such as outputs/log/MRDF_CE, embeddings the train_*/embeddings.npz of
    its results. Returned are the PNG files written, and by the names of the other figures why they are not.
    """
    pooled = f"{title}, {len(run.scores)} folds pooled" if len(run.scores) > 1 else title
    reasons: dict[str, str] = {}
    jobs: dict[str, Callable[[], Figure]] = {name: partial(draw, run.scores, title) for name, draw in OF_FOLDS.items()}
    jobs |= {name: partial(draw, run.clips, pooled) for name, draw in OF_CLIPS.items()}
    if not run.scores or run.mixture:
        why = "no fold has a scores.csv" if not run.scores else "its folds are of several corpora or protocols"
        reasons |= dict.fromkeys(jobs, why)
        jobs = {}
    if log_dir is None:
        reasons["training_curves"] = "no folder of logs is given"
    else:
        jobs["training_curves"] = partial(_training_curves, run, log_dir, title)
    archives = fold_folders(run.folder, ["embeddings.npz"])
    for folder in archives:
        jobs[f"embedding_{folder.name}"] = partial(_embedding, folder / "embeddings.npz", f"{title}, {folder.name}")
    if not archives:
        reasons["embedding"] = f"{run.folder} has no train_*/embeddings.npz"
    written = []
    for name, draw in jobs.items():
        try:
            save_figure(draw(), out / f"{name}.png")
            written.append(out / f"{name}.png")
        except (DataError, OSError) as error:
            reasons[name] = str(error)
    for name, why in reasons.items():
        log.info("%s: not drawn, %s", name, why)
    return written, reasons


def _training_curves(run: Run, log_dir: Path, title: str) -> Figure:
    logs, chosen = {}, {}
    for folder in fold_folders(log_dir, [LOGS]):
        try:
            logs[folder.name] = read_training_log(folder)
        except (DataError, OSError) as error:
            log.warning("left out of the training curves: %s", error)
            continue
        config = run.configs.get(folder.name)
        epoch = chosen_epoch(logs[folder.name], config.get("selection", "acc_auc") if config else None)
        if epoch is not None:
            chosen[folder.name] = epoch
    if not logs:
        raise DataError(f"{log_dir} has no train_*/version_*/metrics.csv")
    return draw_training_curves(logs, chosen, title)


def _embedding(archive: Path, title: str) -> Figure:
    try:
        with np.load(archive, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (BadZipFile, EOFError, ValueError) as error:
        raise DataError(f"{archive} does not read: {error}") from error
    if "category" not in arrays:
        raise DataError(f"{archive} has no array category")
    return draw_embedding(arrays, arrays["category"], title)


def _shown(run: Run, path: Path, log_dir: Path | None) -> Shown:
    kind, _, fold = path.stem.partition("_") if path.stem.startswith("embedding") else (path.stem, "", "")
    title, shows = CAPTIONS[kind]
    tables = [table for name, table in run.scores.items() if not fold or name == fold]
    rests_on = "n is in the figure"
    if kind == "training_curves":
        rests_on = f"n = {counted(len(fold_folders(log_dir, [LOGS])), 'fold')}"
    elif tables:
        rests_on = f"n = {counted(sum(map(len, tables)), 'clip')} of {counted(len(tables), 'fold')}"
    return Shown(embedded(path), f"{title}, {fold}" if fold else title, shows, rests_on)
