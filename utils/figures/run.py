"""All figures of a run from what it has left on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from utils.figures.confusion import confusion_figure
from utils.figures.det import det_figure
from utils.figures.embedding import embedding_figure
from utils.figures.histogram import score_histogram_figure
from utils.figures.precision_recall import precision_recall_figure
from utils.figures.reliability import reliability_figure
from utils.figures.roc import roc_figure
from utils.figures.training import training_curves_figure
from utils.figures.training_log import by_epoch, read_training_log
from utils.results import SCORE_COLUMNS, read_metrics, read_scores

log = logging.getLogger(__name__)

OF_FOLDS = {"roc": roc_figure, "det": det_figure, "precision_recall": precision_recall_figure}
OF_CLIPS = {"confusion": confusion_figure, "scores": score_histogram_figure, "reliability": reliability_figure}


def all_figures(results_dir: Path, log_dir: Path | None, out: Path, title: str) -> list[Path]:
    """Draw every figure of a run for which there is data; the log says why the others are not drawn.

    Parameters
    ----------
    results_dir
        Folder of a run, such as outputs/results/MRDF_CE, with train_*/scores.csv, metrics.json and embeddings.npz.
    log_dir
        Folder of its logs, such as outputs/log/MRDF_CE; None leaves out the training curves.
    out
        Where to write; made if need be.
    title
        Title of the figures.

    Returns
    -------
    list
        The files written, PNG and SVG of each figure.
    """
    results_dir, out = Path(results_dir), Path(out)
    folds = _read_folds(results_dir)
    jobs: dict[str, Callable[[Path], None]] = {}
    for name, draw in OF_FOLDS.items():
        jobs[name] = lambda path, draw=draw: draw(folds, path, title)
    for name, draw in OF_CLIPS.items():
        jobs[name] = lambda path, draw=draw: draw(_pool(folds), path, _pooled_title(title, len(folds)))
    if log_dir is None:
        log.info("training_curves: not drawn, no folder of logs is given")
    else:
        jobs["training_curves"] = lambda path: _training_curves(Path(log_dir), results_dir, path, title)
    archives = _of_folds(results_dir, "embeddings.npz")
    for fold, archive in archives.items():
        jobs[f"embedding_{fold}"] = lambda path, fold=fold, archive=archive: _embedding(
            archive, path, f"{title}, {fold}"
        )
    if not archives:
        log.info("embedding: not drawn, %s has no train_*/embeddings.npz", results_dir)
    return [path for name, draw in jobs.items() for path in _attempt(name, draw, out / f"{name}.png")]


def chosen_epoch(table: pd.DataFrame, selection: str | None) -> int | None:
    """Return the epoch that training kept: the first with the highest validation figure; None if none was logged."""
    epochs = by_epoch(table)
    column = f"val_{selection}"
    if column not in epochs or epochs[column].isna().all():
        return None
    return int(epochs[column].idxmax())


def _attempt(name: str, draw: Callable[[Path], None], path: Path) -> list[Path]:
    """Draw one figure; where its data do not let us, say so and go on with the next."""
    try:
        draw(path)
    except (ValueError, OSError) as error:
        log.warning("%s: not drawn, %s", name, error)
        return []
    return [path, path.with_suffix(".svg")]


def _in_order(folders: Iterable[Path]) -> list[Path]:
    """Sort folders of folds by number; those that were set aside, such as train_1.1, are left out."""
    return sorted((folder for folder in folders if not folder.suffix), key=lambda folder: (len(folder.name), folder))


def _of_folds(folder: Path, name: str) -> dict[str, Path]:
    """Find a file of each fold."""
    return {fold.name: fold / name for fold in _in_order(path.parent for path in folder.glob(f"train_*/{name}"))}


def _read_folds(results_dir: Path) -> dict[str, pd.DataFrame]:
    """Read the scores of each fold; a file that is none is named in the log and left out."""
    folds = {}
    for fold, path in _of_folds(results_dir, "scores.csv").items():
        try:
            table = read_scores(path)
        except ValueError as error:
            log.warning("%s is left out, it does not read: %s", path, error)
            continue
        if missing := [column for column in SCORE_COLUMNS if column not in table]:
            log.warning("%s is left out, it lacks the column %s", path, missing[0])
            continue
        folds[fold] = table
    return folds


def _pool(folds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    if not folds:
        raise ValueError("no fold has a scores.csv: test a fold first")
    return pd.concat(folds.values(), ignore_index=True)


def _pooled_title(title: str, count: int) -> str:
    return f"{title}, {count} folds pooled" if count > 1 else title


def _training_curves(log_dir: Path, results_dir: Path, path: Path, title: str) -> None:
    logs, chosen = {}, {}
    for folder in _in_order(path for path in log_dir.glob("train_*") if path.is_dir()):
        try:
            logs[folder.name] = read_training_log(folder)
        except (ValueError, OSError) as error:
            log.warning("left out of the training curves: %s", error)
            continue
        epoch = chosen_epoch(logs[folder.name], _selection(results_dir / folder.name / "metrics.json"))
        if epoch is not None:
            chosen[folder.name] = epoch
    if not logs:
        raise FileNotFoundError(f"{log_dir} has no train_*/version_*/metrics.csv")
    training_curves_figure(logs, chosen, path, title)


def _selection(path: Path) -> str | None:
    """Return what the epoch of a fold was picked by; None where its figures are not there."""
    if not path.is_file():
        return None
    try:
        return read_metrics(path)["config"].get("selection", "acc_auc")
    except ValueError as error:
        log.warning("%s", error)
        return None


def _embedding(archive: Path, path: Path, title: str) -> None:
    try:
        with np.load(archive, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (BadZipFile, EOFError, ValueError) as error:
        raise ValueError(f"{archive} does not read: {error}") from error
    if "category" not in arrays:
        raise ValueError(f"{archive} has no array category")
    embedding_figure(arrays, arrays["category"], path, title)
