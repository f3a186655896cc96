"""Reading scores.csv strictly: what is wrong is said with its file, line and column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.corpora.table import read_csv
from utils.errors import DataError

REQUIRED = ("file", "subject", "category", "method", "label", "score", "decision")
HEADS = ("video_score", "audio_score")  # empty, or not there at all, where the detector has no such head
GROUPS = ("race", "gender")  # empty, or not there at all, where the corpus does not say
CATEGORIES = ("A", "B", "C", "D")
SAME_CLIP = ("subject", "category", "label")  # what two detectors' rows of one clip must agree in
LISTED = 5  # names in a message at most


def load_scores(path: str | Path) -> pd.DataFrame:
    """Read a scores.csv and check every cell that a figure depends on.

    Parameters
    ----------
    path
        The file. ``video_score`` and ``audio_score`` may be absent or empty as a whole, ``race`` and ``gender`` in any
        row.

    Returns
    -------
    pandas.DataFrame
        One row a clip, indexed by the line of the file, with the columns ``REQUIRED``, ``HEADS`` and ``GROUPS``:
        label and decision as int (1 = real), scores as float, NaN where the detector has no such head.

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
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing")
    optional = (*HEADS, *GROUPS)
    table = table.assign(**{name: "" for name in optional if name not in table})[[*REQUIRED, *optional]]
    _check_text(table, path)
    for name in ("label", "decision"):
        table[name] = _numbers(table[name], path, binary=True).astype(int)
    table["score"] = _numbers(table["score"], path)
    for name in HEADS:
        absent = (table[name] == "").all()
        table[name] = np.nan if absent else _numbers(table[name], path)
    contradicting = (table["category"] == "A") != (table["label"] == 1)
    if contradicting.any():
        line = contradicting.idxmax()
        category, label = table.loc[line, ["category", "label"]]
        raise DataError(f"{path} line {line}: label {label} does not go with category {category}; A alone is real (1)")
    return table


def pool(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the clips of several files into one table.

    Parameters
    ----------
    tables
        What ``load_scores`` returns, by a name for messages, such as the path.

    Raises
    ------
    DataError
        If two files have the same clip: then they are not the folds of one run.
    """
    source: dict[str, str] = {}
    for name, table in tables.items():
        for line, file in table["file"].items():
            if file in source:
                raise DataError(f"{name} line {line}: file {file!r} is in {source[file]} already; folds share no clip")
        source |= dict.fromkeys(table["file"], name)
    return pd.concat(tables.values(), ignore_index=True)


def match(table: pd.DataFrame, other: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    """Bring the rows of another detector into the order of ``table``, by their ``file``.

    Parameters
    ----------
    table, other
        Scores of two detectors for the same clips, in any order.
    names
        What to call the two in messages.

    Returns
    -------
    pandas.DataFrame
        The rows of ``other``, row by row for the clips of ``table``.

    Raises
    ------
    DataError
        If one has clips that the other lacks, or they disagree in subject, category or label of a clip.
    """
    sides = ((table, other, names[0]), (other, table, names[1]))
    alone = {name: sorted(set(one["file"]) - set(two["file"])) for one, two, name in sides}
    if any(alone.values()):
        parts = [f"only {name} has {_listed(files)}" for name, files in alone.items() if files]
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


def fold_names(paths: Sequence[Path]) -> list[str]:
    """Short names of the folds: their folders, such as train_2, or the whole paths where these are not distinct."""
    folders = [path.parent.name for path in paths]
    return folders if len(set(folders)) == len(paths) and all(folders) else [str(path) for path in paths]


def _check_text(table: pd.DataFrame, path: Path) -> None:
    for name in ("file", "subject"):
        empty = table[name] == ""
        if empty.any():
            raise DataError(f"{path} line {empty.idxmax()}: {name} is empty")
    again = table["file"].duplicated()
    if again.any():
        line = again.idxmax()
        file = table.at[line, "file"]
        first = (table["file"] == file).idxmax()
        raise DataError(f"{path} line {line}: file {file!r} is in line {first} already")
    unknown = ~table["category"].isin(CATEGORIES)
    if unknown.any():
        line = unknown.idxmax()
        raise DataError(f"{path} line {line}: category is {table.at[line, 'category']!r}, not A, B, C or D")


def _numbers(cells: pd.Series, path: Path, binary: bool = False) -> pd.Series:
    """Turn cells into floats from 0 to 1, or into 0 and 1 only."""
    values = pd.Series([_number(cell) for cell in cells], index=cells.index, dtype=float)
    wrong = ~values.isin([0, 1]) if binary else ~values.between(0, 1)  # NaN lies between nothing
    if wrong.any():
        line = wrong.idxmax()
        found = f"{cells[line]!r}" if cells[line] else "empty"
        expected = "0 or 1" if binary else "a number from 0 to 1"
        raise DataError(f"{path} line {line}: {cells.name} is {found}, not {expected}")
    return values


def _number(cell: str) -> float:
    """Python's own float is exact, which the parsers of pandas are not in every version."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
