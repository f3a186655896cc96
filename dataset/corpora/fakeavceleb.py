"""FakeAVCeleb v1.2, read from ``meta_data.csv`` in each of the forms in which it goes round."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from dataset.corpora.table import (
    MARKER,
    TYPES,
    Corpus,
    Layout,
    clip_table,
    need_columns,
    need_folder,
    need_values,
    with_slashes,
)
from utils.errors import DataError
from utils.files import read_csv

CSV_NAME = "meta_data.csv"
PREFIX = r"^FakeAVCeleb[^/]*/"
NEEDED = ("source", "method", "category", "type", "race", "gender", "path")
COUNTS = {"all": 21_544, "A": 500, "B": 500, "C": 9_709, "D": 10_835}
IDENTITY = r"id\d{5}"
RACE = re.compile(r"\b(Asian|Caucasian)(?: \(|-|_)(East|South|American|European)\)?(?=/|$)")
SPELLINGS = (r"\1 (\2)", r"\1-\2", r"\1_\2")  # as received, by the authors' scripts, in other copies


def read(root: Path) -> pd.DataFrame:
    """Read the clip table of FakeAVCeleb.

    Returns
    -------
    pandas.DataFrame
        As :func:`dataset.corpora.table.clip_table` says, in csv order: ``file`` is folder/name in the csv's spelling,
        relative to the root, and ``path`` where that lies on disk; ``target1`` and ``target2`` are the other
        identities in the clip. Whether the clips exist is not looked at here: see :mod:`dataset.check`.

    Raises
    ------
    DataError
        If the csv is absent or lacks a column, or a row contradicts itself or points outside the root.
    """
    need_folder(root, CSV_NAME, CSV_NAME)
    table = read_csv(root / CSV_NAME)
    need_columns(table, NEEDED, Path(CSV_NAME))
    _check_categories(table)
    name = next((column for column in ("vid", "filename") if column in table), "path")
    need_values(table, ("source", name), Path(CSV_NAME))
    layout = Layout.PREPARED if "vid" in table else Layout.ORIGINAL
    file = with_slashes(_files(table, name)).str.replace(PREFIX, "", regex=True)
    paths = _paths_on_disk(root, file, layout)
    kind = table["type"].map(TYPES)
    table = table.assign(line=table.index, file=file, path=paths, subject=table["source"], layout=layout.value)
    table["v_label"], table["a_label"] = (kind.map(lambda values, at=at: values[at]) for at in (1, 2))
    table["race"] = table["race"].map({race: RACE.sub(SPELLINGS[0], race) for race in table["race"].unique()})
    table = _with_targets(table)
    is_part = layout is Layout.PREPARED or (root / MARKER).exists()  # the prepared form may be any part
    return clip_table(table, root, published={} if is_part else COUNTS, source=CSV_NAME)


def _files(table: pd.DataFrame, name: str) -> pd.Series:
    """Folder/name of each clip, from whichever columns the copy has beside that of the name."""
    if name != "path":
        return table["path"].str.rstrip("/") + "/" + table[name]
    # A copy that pandas has saved has a nameless column of row numbers, and a name for this one.
    for folder in ("", "Unnamed: 9"):
        if folder in table and not table[folder].str.isdigit().all():
            return table[folder].str.rstrip("/") + "/" + table["path"]
    return table[["type", "race", "gender", "source", "path"]].agg("/".join, axis=1)


def _with_targets(table: pd.DataFrame) -> pd.DataFrame:
    """Keep what is an identity: the columns also hold tails of names; in D the name ends with the voice's identity."""
    given = [table[name] if name in table else pd.Series("", table.index) for name in ("target1", "target2")]
    first, second = (one.where(one.str.fullmatch(IDENTITY), "") for one in given)
    voice = table["file"].str.extract(rf"_({IDENTITY})_wavtolip\.\w+$")[0].fillna("")
    voice = voice.where((voice != first) & (voice != table["source"]), "")
    return table.assign(target1=first, target2=second.where(second != "", voice))


def _check_categories(table: pd.DataFrame) -> None:
    expected = table["type"].map({name: values[0] for name, values in TYPES.items()})
    wrong = table[expected != table["category"]]
    if len(wrong):
        row = wrong.iloc[0]
        raise DataError(
            f"{CSV_NAME} line {wrong.index[0]}: category {row['category']!r} and type {row['type']!r} do not belong "
            f"together; known are {', '.join(f'{values[0]} = {name}' for name, values in TYPES.items())}"
        )


def _paths_on_disk(root: Path, file: pd.Series, layout: Layout) -> list[str]:
    """Where each clip lies: folders of races are spelt in three ways, and the authors' scripts rename files too.

    They turn ` (` into `-` and drop `)` on disk, but leave the csv alone.
    """
    as_in_csv = [f"{root}{os.sep}{name}" for name in file]
    if layout is Layout.PREPARED:
        renamed = [f"{root}{os.sep}{name}" for name in file.str.replace(" (", "-").str.replace(")", "")]
        # Only a name that the preparation would have changed costs a look at the disk.
        return [
            old if old != new and not os.path.exists(new) and os.path.exists(old) else new
            for old, new in zip(as_in_csv, renamed, strict=True)
        ]
    folders = [name.rpartition("/")[0] for name in file]
    places = {folder: _spelt_on_disk(root, folder) for folder in set(folders)}
    return [
        path if places[folder] == folder else f"{root}{os.sep}{places[folder]}/{path.rpartition('/')[2]}"
        for path, folder in zip(as_in_csv, folders, strict=True)
    ]


def _spelt_on_disk(root: Path, folder: str) -> str:
    """A folder in the spelling that is there; as it is, if none is."""
    if RACE.search(folder) is None:
        return folder
    spellings = [folder, *(RACE.sub(form, folder) for form in SPELLINGS)]
    return next((name for name in spellings if os.path.isdir(f"{root}{os.sep}{name}")), folder)


CORPUS = Corpus("FakeAVCeleb", read, counts=COUNTS)
