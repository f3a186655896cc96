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

from pathlib import Path

import pandas as pd

from dataset.corpora.table import (
    FOLD_NUMBERS,
    SAME_SPLIT,
    SPLITS,
    TYPES,
    Corpus,
    clip_table,
    need_columns,
    need_values,
    with_slashes,
)
from utils.errors import DataError
from utils.files import read_csv

TABLE_NAME = "clips.csv"
REQUIRED = ("file", "subject", "category")
OPTIONAL = ("method", "split", "race", "gender", "target1", "target2")


def read(source: Path) -> pd.DataFrame:
    """Read the clip table of a corpus that comes with a csv in this project's own form.

    Parameters
    ----------
    source
        The csv, or the folder that holds it as ``clips.csv``.

    Returns
    -------
    pandas.DataFrame
        As :func:`dataset.corpora.table.clip_table` says.

    Raises
    ------
    DataError
        If the csv is absent, lacks a column, or has a row with an unknown category or split.
    """
    path = table_path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file; --dataset csv needs a table with the columns {', '.join(REQUIRED)}")
    table = read_csv(path)
    table.columns = table.columns.str.lower()
    need_columns(table, REQUIRED, path)
    need_values(table, ("file", "subject"), path)
    table["file"] = with_slashes(table["file"])
    kind = _kinds(table["category"], path)
    given = {name: table[name] for name in ("file", "subject", *OPTIONAL) if name in table}
    clips = pd.DataFrame({"line": table.index, **given, "split": _splits(table, path)}, index=table.index)
    clips["v_label"], clips["a_label"] = (kind.map(lambda name, at=at: TYPES[name][at]) for at in (1, 2))
    return clip_table(clips, path.parent, source=path.name)


def table_path(source: Path) -> Path:
    """The csv that a ``--data_root`` means: itself, or the one in the folder."""
    return source if source.suffix.lower() == ".csv" and not source.is_dir() else source / TABLE_NAME


def _kinds(category: pd.Series, path: Path) -> pd.Series:
    """The key of ``TYPES`` that each row means."""
    known = {name.lower(): name for name in TYPES} | {values[0].lower(): name for name, values in TYPES.items()}
    kind = category.str.lower().map(known)
    if kind.isna().any():
        line = kind.isna().idxmax()
        listed = ", ".join(f"{values[0]} = {name}" for name, values in TYPES.items())
        raise DataError(f"{path} line {line}: unknown category {category[line]!r}; known are {listed}")
    return kind


def _splits(table: pd.DataFrame, path: Path) -> pd.Series | str:
    """Splits in one spelling: all of them words, all of them fold numbers, or all of them empty."""
    if "split" not in table:
        return ""
    split = table["split"].str.lower().replace(SAME_SPLIT)
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


CORPUS = Corpus("a table of your own", read, "whoever its column subject names")
