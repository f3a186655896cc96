"""Any other corpus, described by a csv of its own: ``--dataset csv --data_root FOLDER_OR_CSV``.

The columns are in dataset/README.md, "A corpus of your own".
"""

from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import need, with_slashes
from dataset.corpora.table import FOLD_NUMBERS, SAME_SPLIT, SPLITS, TYPES, Corpus, clip_table
from utils.errors import DataError
from utils.files import read_csv

TABLE_NAME = "clips.csv"
REQUIRED = ("file", "subject", "category")
OPTIONAL = ("race", "gender", "target1", "target2")
# What a category may be called: its letter, or the name that FakeAVCeleb gives it.
KINDS = {values[0].lower(): name for name, values in TYPES.items()} | {name.lower(): name for name in TYPES}


def read(source: Path) -> pd.DataFrame:
    """Read the csv, or ``clips.csv`` in a folder; a DataError names a row with an unknown category or split."""
    path = table_path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file; --dataset csv needs a table with the columns {', '.join(REQUIRED)}")
    table = need(read_csv(path).rename(columns=str.lower), path, REQUIRED, filled=("file", "subject"))
    kind = table["category"].str.lower().map(KINDS)
    if kind.isna().any():
        line = kind.isna().idxmax()
        listed = ", ".join(f"{values[0]} = {name}" for name, values in TYPES.items())
        raise DataError(f"{path} line {line}: unknown category {table.at[line, 'category']!r}; known are {listed}")
    clips = table[[name for name in ("subject", *OPTIONAL) if name in table]].assign(
        line=table.index,
        file=with_slashes(table["file"]),
        v_label=kind.str.startswith("RealVideo").astype(int),
        a_label=kind.str.endswith("RealAudio").astype(int),
        method=table.get("method", ""),
        split=_splits(table, path),
    )
    return clip_table(clips, path.parent, source=path.name)


def table_path(source: Path) -> Path:
    """The csv that a ``--data_root`` means: itself, or the one in the folder."""
    return source if source.suffix.lower() == ".csv" and not source.is_dir() else source / TABLE_NAME


def _splits(table: pd.DataFrame, path: Path) -> pd.Series | str:
    """Splits in one spelling: all of them words, all of them fold numbers, or all of them empty."""
    if "split" not in table:
        return ""
    split = table["split"].str.lower().replace(SAME_SPLIT)
    first = split.iloc[0]
    allowed = next((names for names in (SPLITS, FOLD_NUMBERS, ("",)) if first in names), None)
    if allowed is None:
        raise DataError(f"{path} line {split.index[0]}: unknown split {first!r}; known are train, val, test and 1 to 5")
    wrong = ~split.isin(allowed)
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(
            f"{path} line {line}: split {split[line]!r} does not go with {first!r} of the first row; "
            "a table has train, val and test, or the numbers 1 to 5, or no split at all"
        )
    return split


CORPUS = Corpus(read, "whoever its column subject names")
