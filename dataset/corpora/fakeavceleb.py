"""FakeAVCeleb v1.2, read from ``meta_data.csv`` in each of the forms in which it goes round."""

import os
import re
from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import need, need_folder, with_slashes
from dataset.corpora.table import MARKER, TYPES, Corpus, Layout, clip_table
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
    """Read the csv, in its order; a DataError if a row contradicts itself or points outside the root.

    In the clip table ``file`` is folder/name in the csv's spelling, relative to the root, ``path`` where that lies on
    disk, and ``target1`` and ``target2`` are the other identities in the clip.
    """
    need_folder(root, CSV_NAME, CSV_NAME)
    table = need(read_csv(root / CSV_NAME), Path(CSV_NAME), NEEDED)
    _check_categories(table)
    name = next((column for column in ("vid", "filename") if column in table), "path")
    need(table, Path(CSV_NAME), (), filled=("source", name))
    layout = Layout.PREPARED if "vid" in table else Layout.ORIGINAL
    file = with_slashes(_files(table, name)).str.replace(PREFIX, "", regex=True)
    table = table.assign(
        line=table.index,
        file=file,
        path=_paths_on_disk(root, file, layout),
        subject=table["source"],
        layout=layout.value,
        v_label=table["type"].str.startswith("RealVideo").astype(int),
        a_label=table["type"].str.endswith("RealAudio").astype(int),
        race=table["race"].map({race: RACE.sub(SPELLINGS[0], race) for race in table["race"].unique()}),
    )
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
    letters = {name: values[0] for name, values in TYPES.items()}
    wrong = table.loc[table["type"].map(letters) != table["category"], ["category", "type"]]
    for line, category, kind in wrong.itertuples(name=None):
        pairs = ", ".join(f"{letter} = {name}" for name, letter in letters.items())
        raise DataError(
            f"{CSV_NAME} line {line}: category {category!r} and type {kind!r} do not belong together; known are {pairs}"
        )


def _paths_on_disk(root: Path, file: pd.Series, layout: Layout) -> pd.Series:
    """Where each clip lies: folders of races are spelt in three ways, and the authors' scripts rename files too.

    They turn ` (` into `-` and drop `)` on disk, but leave the csv alone.
    """
    if layout is Layout.ORIGINAL:
        parts = file.str.rpartition("/")  # folder, slash, name
        places = {folder: _spelt_on_disk(root, folder) for folder in parts[0].unique()}
        return f"{root}{os.sep}" + parts[0].map(places) + parts[1] + parts[2]
    as_in_csv = f"{root}{os.sep}" + file
    renamed = f"{root}{os.sep}" + file.str.replace(" (", "-").str.replace(")", "")
    # Only a name that the preparation would have changed costs a look at the disk.
    kept = [
        old != new and not os.path.exists(new) and os.path.exists(old)
        for old, new in zip(as_in_csv, renamed, strict=True)
    ]
    return as_in_csv.where(kept, renamed)


def _spelt_on_disk(root: Path, folder: str) -> str:
    """A folder in the spelling that is there; as it is, if none is."""
    if RACE.search(folder) is None:
        return folder
    spellings = [folder, *(RACE.sub(form, folder) for form in SPELLINGS)]
    return next((name for name in spellings if os.path.isdir(f"{root}{os.sep}{name}")), folder)


CORPUS = Corpus(read, counts=COUNTS)
