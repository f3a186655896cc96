"""Results of a fold on disk, metrics.json and scores.csv: written whole or not at all, and read strictly."""

import json
import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.files import aside, read_csv, to_json, write_arrays, write_atomic
from utils.metrics import UNKNOWN, listed, require_scores

log = logging.getLogger(__name__)

TEXT_COLUMNS = ["file", "subject", "category", "method"]
HEADS = ["video_score", "audio_score"]  # empty, or not there at all, where the detector has no such head
FLOAT_COLUMNS = ["score", *HEADS]
SCORE_COLUMNS = [*TEXT_COLUMNS, "label", *FLOAT_COLUMNS, "decision"]
GROUP_COLUMNS = ["race", "gender"]  # where the corpus gives them
OPTIONAL_COLUMNS = [*GROUP_COLUMNS, "probability"]  # see `model.threshold.with_calibration`
SAME_CLIP = ("subject", "category", "label")  # what two detectors' rows of one clip must agree in
METRICS_FILE, SCORES_FILE, EMBEDDINGS_FILE = FILES = ("metrics.json", "scores.csv", "embeddings.npz")
# What a result stands for: results of another checkpoint, data root or configuration are not written over.
IDENTITY_PATHS = ("checkpoint", "data_root")
IDENTITY = ("config_hash", "num_val", "max_frames", "seed", "batch_size", "precision")
# What train.py alone knows of a checkpoint, in the record of its environment.
OF_TRAINING = ("hours", "epochs")
CATEGORIES = {
    "A": "real video, real audio",
    "B": "real video, fake audio",
    "C": "fake video, real audio",
    "D": "fake video, fake audio",
}


def write_fold(
    folder: Path,
    table: pd.DataFrame,
    metrics: dict[str, Any],
    config: dict[str, Any],
    embeddings: dict[str, np.ndarray] | None = None,
) -> None:
    """Write scores.csv, embeddings.npz and metrics.json of a fold; results that stand for something else are kept.

    Parameters
    ----------
    folder
        Folder of the fold, such as outputs/results/MRDF_CE/train_2; made if need be.
    table
        One row a clip, with the columns `SCORE_COLUMNS` and, as far as known, `OPTIONAL_COLUMNS`; a label of -1 is
        unknown, and its cell is left empty. If a score is not a number, `DataError` says so and nothing is written.
    metrics, config
        What `utils.metrics.evaluate` returns, and the resolved configuration, which is written under "config".
    embeddings
        What `model.training.scoring.score_fold` returns.
    """
    require_scores(table)
    # A float32 column would be shortened on writing; as float64, reading gives back the very same numbers.
    columns = [*SCORE_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in table)]
    scores = table[columns].astype(dict.fromkeys(FLOAT_COLUMNS, float))
    scores["label"] = scores["label"].astype("Int64").replace(UNKNOWN, pd.NA)
    text, content = scores.to_csv(index=False, lineterminator="\n"), to_json({**metrics, "config": config})
    _keep_other_results(folder, config)
    write_atomic(folder / SCORES_FILE, text)
    if embeddings is not None:
        write_arrays(folder / EMBEDDINGS_FILE, embeddings)
    write_atomic(folder / METRICS_FILE, content)


def _keep_other_results(folder: Path, config: dict[str, Any]) -> None:
    """Copy results of another checkpoint, data root or configuration to metrics.1.json and so on."""
    earlier = folder / METRICS_FILE
    if not earlier.exists():
        return
    try:
        if _identity(read_metrics(earlier)["config"]) == _identity(config):
            return
    except ValueError as error:
        log.warning("%s", error)
    there = [folder / name for name in FILES if (folder / name).exists()]
    copies = aside(there)
    for path, copy in zip(there, copies, strict=True):
        shutil.copy2(path, copy)
    kept = ", ".join(copy.name for copy in copies)
    log.warning("%s holds results of another configuration: kept beside as %s", folder, kept)


def _identity(config: dict[str, Any]) -> list[Any]:
    paths = (config.get(name) for name in IDENTITY_PATHS)
    return [*(path and Path(path).resolve() for path in paths), *(config.get(name) for name in IDENTITY)]


def record_of_training(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return how long the checkpoint of a configuration was trained, if the folder holds results of the same."""
    try:
        earlier = read_metrics(folder / METRICS_FILE)["config"]
    except (OSError, ValueError):
        return {}
    record = earlier.get("environment") or {}
    names = [Path(str(one.get("checkpoint"))).name for one in (earlier, config)]
    same = names[0] == names[1] and earlier.get("config_hash") == config.get("config_hash")
    return {name: record[name] for name in OF_TRAINING if name in record} if same else {}


def read_scores(path: str | Path) -> pd.DataFrame:
    """Read a scores.csv, every score exactly as it was written, and check every cell that a metric depends on.

    The columns of the heads may be absent or empty as a whole, race, gender and category in any row. A row without a
    label is left out: of it nothing can be said.

    Returns
    -------
    pandas.DataFrame
        One row a clip, indexed by the line of the file: `SCORE_COLUMNS` and `GROUP_COLUMNS`; label and decision as int
        (1 = real), scores as float, NaN where the detector has no such head.

    Raises
    ------
    DataError
        If the file is absent or empty, lacks a column, names a clip twice, has a score outside 0 to 1, a label or
        decision that is neither 0 nor 1, an unknown category, or one that contradicts the label.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name the scores.csv in it")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    table = read_csv(path)
    missing = [name for name in SCORE_COLUMNS if name not in table and name not in HEADS]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing")
    table = table.assign(**{name: "" for name in [*HEADS, *GROUP_COLUMNS] if name not in table})
    table = table[[*SCORE_COLUMNS, *GROUP_COLUMNS]]
    for name in ("file", "subject"):
        _refuse(path, table[name], table[name] == "", f"{name} is {{}}")
    again = table["file"].duplicated()
    first = (table["file"] == table["file"][again.idxmax()]).idxmax()
    _refuse(path, table["file"], again, f"file {{}} is in line {first} already")
    _refuse(path, table["category"], ~table["category"].isin([*CATEGORIES, ""]), "category is {}, not A, B, C or D")
    unknown = table["label"] == ""
    if unknown.all():
        raise DataError(f"{path}: no clip has a label")
    if unknown.any():
        log.warning("%s: %d of %d clips have no label and are left out", path, unknown.sum(), len(table))
    table = table[~unknown].copy()
    for name in ("label", "decision"):
        values = _numbers(table[name])
        _refuse(path, table[name], ~values.isin([0, 1]), f"{name} is {{}}, not 0 or 1")
        table[name] = values.astype(int)
    for name in FLOAT_COLUMNS:
        values = _numbers(table[name])
        if name == "score" or (table[name] != "").any():  # NaN lies between nothing
            _refuse(path, table[name], ~values.between(0, 1), f"{name} is {{}}, not a number from 0 to 1")
        table[name] = values
    contradicting = (table["category"] != "") & ((table["category"] == "A") != (table["label"] == 1))
    if contradicting.any():
        line = contradicting.idxmax()
        category, label = table.loc[line, ["category", "label"]]
        raise DataError(f"{path} line {line}: label {label} does not go with category {category}; A alone is real (1)")
    return table


def _refuse(path: Path, cells: pd.Series, wrong: pd.Series, words: str) -> None:
    """Raise an error that names the first cell that is wrong, if there is one; words take it."""
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(f"{path} line {line}: {words.format(repr(cells[line]) if cells[line] else 'empty')}")


def _numbers(cells: pd.Series) -> pd.Series:
    """Read numbers exactly, as Python's own float does and the parsers of pandas in some versions do not."""

    def number(cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            return math.nan

    return pd.Series([number(cell) for cell in cells], index=cells.index, dtype=float)


def pool(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the clips of several files, by a name for messages, into one table.

    `DataError` says so if two files have the same clip: then they are not the folds of one run.
    """
    source: dict[str, str] = {}
    for name, table in tables.items():
        for line, file in table["file"].items():
            if file in source:
                raise DataError(f"{name} line {line}: file {file!r} is in {source[file]} already; folds share no clip")
        source |= dict.fromkeys(table["file"], name)
    return pd.concat(tables.values(), ignore_index=True) if tables else pd.DataFrame()


def match(table: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Bring the rows of another detector into the order of `table`, by their file; `names` of both are for messages.

    `DataError` says so if one has clips that the other lacks, or they disagree in subject, category or label of a clip.
    """
    sides = ((table, other, names[0]), (other, table, names[1]))
    alone = {name: sorted(set(one["file"]) - set(two["file"])) for one, two, name in sides}
    if any(alone.values()):
        parts = [f"only {name} has {listed(files)}" for name, files in alone.items() if files]
        raise DataError(f"a paired test needs the same clips on both sides: {'; '.join(parts)}")
    matched = other.set_index("file", drop=False).loc[table["file"]].reset_index(drop=True)
    for name in SAME_CLIP:
        differing = matched[name].to_numpy() != table[name].to_numpy()
        if differing.any():
            row = int(np.argmax(differing))
            ours, theirs = table[name].iloc[row], matched[name].iloc[row]
            raise DataError(
                f"{table['file'].iloc[row]}: {name} is {ours!s} in {names[0]}, but {theirs!s} in {names[1]}; "
                "they are not of one corpus"
            )
    return matched


def metric_frame(folds: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the metrics of folds, one row a fold; ``acc_A`` is ``acc`` of category A, and so on."""
    rows = {}
    for fold, metrics in folds.items():
        rows[fold] = {name: value for name, value in metrics.items() if isinstance(value, int | float | None)}
        for category, values in metrics["per_category"].items():
            rows[fold] |= {f"{name}_{category}": value for name, value in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("fold")


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a metrics.json; FileNotFoundError if there is none, `DataError` if the file is not one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): delete it and test the fold again") from error
    kinds = {"config": dict, "per_category": dict, "n": int}
    try:
        if all(isinstance(metrics[name], kind) for name, kind in kinds.items()):
            metric_frame({"fold": metrics})
            return metrics
    except (TypeError, AttributeError, ValueError, KeyError):
        pass
    raise DataError(f"{path} does not hold the metrics of a fold: delete it and test the fold again")
