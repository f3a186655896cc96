"""Any other corpus, described by a csv of its own: ``--dataset csv --data_root FOLDER_OR_CSV``.

====================  ====================================================================================
column                holds
====================  ====================================================================================
file                  path of the clip, relative to the csv's folder
subject               who is seen, any text; folds are made by it, so that nobody is on both sides
category              A, B, C or D, or its name: RealVideo-RealAudio, RealVideo-FakeAudio, …
method                how the clip was faked, any text (optional)
split                 ``train``, ``val`` or ``test`` for one fixed split, or 1 to 5 for the fold that tests the
                      clip; without it (optional) five folds are made by subject
race, gender          folds are balanced over them where they are given (optional)
target1, target2      other identities in the clip (optional)
====================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dataset.corpora.fakeavceleb import TYPES, Layout, check_inside, clip_table, read_csv, read_metadata
from utils.errors import DataError

TABLE_NAME = "clips.csv"
REQUIRED = ("file", "subject", "category")
OPTIONAL = ("method", "split", "race", "gender", "target1", "target2")
SPLITS = ("train", "val", "test")
FOLD_NUMBERS = ("1", "2", "3", "4", "5")
SAME_SPLIT = {"dev": "val", "valid": "val", "validation": "val", "training": "train", "testing": "test"}


def read_table(source: str | Path) -> pd.DataFrame:
    """Read the clip table of a corpus that comes with a csv in this project's own form.

    Parameters
    ----------
    source
        The csv, or the folder that holds it as ``clips.csv``.

    Returns
    -------
    One row a clip, with the columns of :func:`dataset.corpora.fakeavceleb.read_metadata`.

    Raises
    ------
    DataError
        If the csv is absent, lacks a column, or has a row with an unknown category or split.
    """
    path = table_path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file; --dataset csv needs a table with the columns {', '.join(REQUIRED)}")
    table = read_csv(path)
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing")
    table = table.assign(**{name: "" for name in OPTIONAL if name not in table.columns})
    for name in ("file", "subject"):
        if (table[name] == "").any():
            raise DataError(f"{path} line {(table[name] == '').idxmax()}: {name} is empty")
    check_inside(table["file"], path.name)
    kind = _kinds(table["category"], path)
    table = table.assign(
        path=[str(path.parent / file) for file in table["file"]],
        category=kind.map({name: values[0] for name, values in TYPES.items()}),
        split=_splits(table["split"], path),
        layout=Layout.TABLE.value,
    )
    return clip_table(table, kind)


def table_path(source: str | Path) -> Path:
    """The csv that a ``--data_root`` means: itself, or the one in the folder."""
    source = Path(source)
    return source if source.suffix.lower() == ".csv" and not source.is_dir() else source / TABLE_NAME


DATASETS: dict[str, Callable[[str | Path], pd.DataFrame]] = {"fakeavceleb": read_metadata, "csv": read_table}


def read_corpus(root: str | Path, dataset: str = "fakeavceleb") -> pd.DataFrame:
    """Read the clip table of a corpus of any kind in ``DATASETS``; see there for errors."""
    return DATASETS[dataset](root)


def corpus_folder(root: str | Path, dataset: str = "fakeavceleb") -> Path:
    """The folder that holds the clips: folds, reports and caches go there."""
    return table_path(root).parent if dataset == "csv" else Path(root)


def fold_numbers(clips: pd.DataFrame) -> tuple[int, ...]:
    """The folds that a clip table has: one for a fixed split, else those it names, else five."""
    splits = set(clips["split"]) - {""}
    if splits & set(SPLITS):
        return (1,)
    return tuple(sorted(map(int, splits))) or tuple(map(int, FOLD_NUMBERS))


def _kinds(category: pd.Series, path: Path) -> pd.Series:
    """The key of ``TYPES`` that each row means."""
    known = {name.lower(): name for name in TYPES} | {values[0].lower(): name for name, values in TYPES.items()}
    kind = category.str.lower().map(known)
    if kind.isna().any():
        line = kind.isna().idxmax()
        listed = ", ".join(f"{values[0]} = {name}" for name, values in TYPES.items())
        raise DataError(f"{path} line {line}: unknown category {category[line]!r}; known are {listed}")
    return kind


def _splits(split: pd.Series, path: Path) -> pd.Series:
    """Splits in one spelling: all of them words, all of them fold numbers, or all of them empty."""
    split = split.str.lower().replace(SAME_SPLIT)
    for known in (SPLITS, FOLD_NUMBERS, ("",)):
        if split.iloc[0] in known:
            wrong = ~split.isin(known)
            if wrong.any():
                line = wrong.idxmax()
                raise DataError(
                    f"{path} line {line}: split {split[line]!r} does not go with {split.iloc[0]!r} of the first row; "
                    "a table has train, val and test, or the numbers 1 to 5, or no split at all"
                )
            return split
    raise DataError(
        f"{path} line {split.index[0]}: unknown split {split.iloc[0]!r}; known are train, val, test and 1 to 5"
    )
