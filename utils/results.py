"""Results on disk, a folder a fold with its figures and scores, and how figures are called and printed."""

from __future__ import annotations

import itertools
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from utils.files import to_json, write_arrays, write_atomic

log = logging.getLogger(__name__)

TEXT_COLUMNS = ["file", "subject", "category", "method"]
FLOAT_COLUMNS = ["score", "video_score", "audio_score"]
SCORE_COLUMNS = [*TEXT_COLUMNS, "label", *FLOAT_COLUMNS, "decision"]
GROUP_COLUMNS = ["race", "gender"]  # where the corpus gives them
# What a result stands for: results of another checkpoint, data root or configuration are not written over.
IDENTITY_PATHS = ("checkpoint", "data_root")
IDENTITY = ("config_hash", "num_val", "max_frames", "seed", "batch_size", "precision")
# What train.py alone knows of a checkpoint, in the record of its environment.
OF_TRAINING = ("hours", "epochs")
FILES = ("metrics.json", "scores.csv", "embeddings.npz")
FOLDS = [f"train_{k}" for k in range(1, 6)]

# Mean of the five folds of FakeAVCeleb in the paper; its AUC is that of the hard decisions.
PUBLISHED_CORPUS = "FakeAVCeleb"
PUBLISHED = {"MRDF_CE": {"acc": 0.9405, "auc_hard": 0.9243}}

HEADINGS = {
    "acc": "ACC",
    "auc": "AUC",
    "auc_hard": "hard AUC",
    "eer": "EER",
    "ap_real": "AP, real",
    "ap_fake": "AP, fake",
    "audio_auc": "sound AUC",
    "video_auc": "picture AUC",
}
AUC_EXPLAINED = "AUC: of the scores, the probability of real; hard AUC: of the 0/1 decisions, which the paper reports"
CATEGORIES = {
    "A": "real picture, real sound",
    "B": "real picture, fake sound",
    "C": "fake picture, real sound",
    "D": "fake picture, fake sound",
}


def write_fold(
    folder: Path,
    table: pd.DataFrame,
    metrics: dict[str, Any],
    config: dict[str, Any],
    embeddings: dict[str, np.ndarray] | None = None,
) -> None:
    """Write scores.csv, embeddings.npz and metrics.json of a fold.

    Parameters
    ----------
    folder
        Folder of the fold, such as outputs/results/MRDF_CE/train_2; made if need be.
    table
        One row a clip, with the columns ``SCORE_COLUMNS`` and, as far as known, ``GROUP_COLUMNS``.
    metrics
        What ``utils.metrics.evaluate`` returns.
    config
        The resolved configuration, written under "config". If the folder holds results of another checkpoint, data
        root or configuration, these are kept as metrics.1.json, scores.1.csv and embeddings.1.npz (or the next free
        number).
    embeddings
        What ``model.training.trainer.score_fold`` returns; without it no embeddings.npz is written.
    """
    folder = Path(folder)
    # A float32 column would be shortened on writing; as float64, reading gives back the very same numbers.
    columns = [*SCORE_COLUMNS, *(name for name in GROUP_COLUMNS if name in table)]
    scores = table[columns].astype(dict.fromkeys(FLOAT_COLUMNS, float)).to_csv(index=False, lineterminator="\n")
    figures = to_json({**metrics, "config": config})
    _keep_other_results(folder, config)
    write_atomic(folder / "scores.csv", scores)
    if embeddings is not None:
        write_arrays(folder / "embeddings.npz", embeddings)
    write_atomic(folder / "metrics.json", figures)


def read_scores(path: Path) -> pd.DataFrame:
    """Read a scores.csv, every score exactly as it was written."""
    # Python's float is exact; the parsers of pandas are not in every version.
    floats = dict.fromkeys(FLOAT_COLUMNS, lambda cell: float(cell or "nan"))
    return pd.read_csv(path, converters=dict.fromkeys(TEXT_COLUMNS + GROUP_COLUMNS, str) | floats)


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a metrics.json.

    Raises
    ------
    ValueError
        If the file is not one.
    """
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it and test the fold again") from error
    kinds = {"config": dict, "per_category": dict, "n": int}
    if not isinstance(metrics, dict) or not all(isinstance(metrics.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"{path} does not hold the figures of a fold: delete it and test the fold again")
    return metrics


def read_fold(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read metrics.json and scores.csv of a fold.

    Raises
    ------
    OSError
        If one of them is missing.
    ValueError
        If one of them is damaged, or they do not belong together; the message names the file.
    """
    metrics, path = read_metrics(folder / "metrics.json"), folder / "scores.csv"
    try:
        scores = read_scores(path)
        fold_figures({folder.name: metrics})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} or metrics.json beside it is damaged ({error}): test the fold again") from error
    if missing := [name for name in SCORE_COLUMNS if name not in scores]:
        raise ValueError(f"{path} has no column {', '.join(missing)}: test the fold again")
    if len(scores) != metrics["n"]:
        raise ValueError(f"{path} has {len(scores)} clips, but metrics.json {metrics['n']}: test the fold again")
    return metrics, scores


def read_whole_folds(results_dir: Path) -> dict[str, tuple[dict[str, Any], pd.DataFrame]]:
    """What `read_fold` gives of each fold of a run; the log names the files that cannot be read.

    Raises
    ------
    FileNotFoundError
        If there is no fold whose files can be read.
    """
    folds = {}
    for folder in fold_folders(results_dir):
        try:
            folds[folder.name] = read_fold(folder)
        except (OSError, ValueError) as error:
            log.warning("%s is left out of the summary: %s", folder.name, error)
    if not folds:
        raise FileNotFoundError(f"{results_dir} has no train_*/metrics.json to read: train or test a fold first")
    return folds


def record_of_training(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """How long the checkpoint of a configuration was trained, from the results in a folder if they are of the same."""
    try:
        earlier = read_metrics(folder / "metrics.json")["config"]
    except (OSError, ValueError):
        return {}
    record = earlier.get("environment") or {}
    names = [Path(str(one.get("checkpoint"))).name for one in (earlier, config)]
    same = names[0] == names[1] and earlier.get("config_hash") == config.get("config_hash")
    return {name: record[name] for name in OF_TRAINING if name in record} if same else {}


def _identity(config: dict[str, Any]) -> list[Any]:
    paths = (config.get(name) for name in IDENTITY_PATHS)
    return [*(path and Path(path).resolve() for path in paths), *(config.get(name) for name in IDENTITY)]


def _keep_other_results(folder: Path, config: dict[str, Any]) -> None:
    """Copy results that stand for something else to the next free number, so that they are not lost."""
    earlier = folder / "metrics.json"
    if not earlier.exists():
        return
    try:
        if _identity(read_metrics(earlier)["config"]) == _identity(config):
            return
    except ValueError as error:
        log.warning("%s", error)
    number = next(k for k in itertools.count(1) if not (folder / f"metrics.{k}.json").exists())
    kept = [Path(name) for name in FILES if (folder / name).exists()]
    targets = [f"{name.stem}.{number}{name.suffix}" for name in kept]
    for source, target in zip(kept, targets, strict=True):
        shutil.copy2(folder / source, folder / target)
    log.warning("%s holds results of another configuration: kept beside as %s", folder, ", ".join(targets))


def fold_folders(results_dir: Path) -> list[Path]:
    """Folders of a run's folds that have results; not those set aside, such as train_1.1."""
    folders = [path.parent for path in results_dir.glob("train_*/metrics.json") if not path.parent.suffix]
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))


def read_run(results_dir: Path) -> dict[str, dict[str, Any]]:
    """What metrics.json holds, of each fold of a run that has one."""
    if not (folders := fold_folders(results_dir)):
        raise FileNotFoundError(f"{results_dir} has no train_*/metrics.json: train or test a fold first")
    return {folder.name: read_metrics(folder / "metrics.json") for folder in folders}


def fold_figures(folds: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Figures of folds, one row a fold; ``acc_A`` is ``acc`` of category A, and so on."""
    rows = {}
    for fold, metrics in folds.items():
        rows[fold] = {name: value for name, value in metrics.items() if value is None or isinstance(value, int | float)}
        for category, figures in metrics["per_category"].items():
            rows[fold] |= {f"{name}_{category}": value for name, value in figures.items()}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("fold")


def read_folds(results_dir: Path) -> pd.DataFrame:
    """Return the figures of the folds that have any, one row a fold; ``acc_A`` is ``acc`` of category A, and so on.

    Raises
    ------
    FileNotFoundError
        If no fold has been tested yet.
    """
    return fold_figures(read_run(Path(results_dir)))


def percent(value: float | None) -> str:
    """Return a fraction as the paper prints it, in percent with two decimals; empty where there is none."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def fold_table(metrics: dict[str, Any], title: str) -> Group:
    """Return the figures of a fold as tables to print: the whole fold, then its categories."""
    whole = Table(box=box.SIMPLE_HEAD)
    whole.add_column(f"{metrics['n']} clips")
    whole.add_column("%", justify="right")
    for name, heading in HEADINGS.items():
        if metrics.get(name) is not None:
            whole.add_row(heading, percent(metrics[name]))

    by_category = Table(box=box.SIMPLE_HEAD)
    by_category.add_column("Category")
    for heading in ("n", "ACC", "AUC"):
        by_category.add_column(heading, justify="right")
    for name, figures in metrics["per_category"].items():
        by_category.add_row(
            f"{name}  {CATEGORIES[name]}", str(figures["n"]), percent(figures["acc"]), percent(figures.get("auc"))
        )
    notes = f"1 = real, 0 = fake. {AUC_EXPLAINED}; of a category: against the clips of A."
    return Group(Text(title, style="bold"), whole, by_category, Text(notes))


def common(configs: dict[str, dict[str, Any]], name: str) -> Any:
    """Return the value of a setting that all folds share, None if they differ."""
    values = [config.get(name) for config in configs.values()]
    return values[0] if all(value == values[0] for value in values) else None
