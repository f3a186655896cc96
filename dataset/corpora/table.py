"""The clip table: one form for every corpus, and what the readers share to bring their metadata into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import DataError


class Layout(str, Enum):
    """How FakeAVCeleb lies on disk, told from the columns of its csv; every other corpus is a table."""

    ORIGINAL = "original"  # as received: a nameless column, or none, holds the folder
    PREPARED = "prepared"  # by the authors' scripts: `vid` is the file name, `path` the folder
    TABLE = "table"


# type: (category, v_label, a_label, c_label, m_label, mm_label); 1 = real
TYPES = {
    "RealVideo-RealAudio": ("A", 1, 1, 1, 1, 0),
    "RealVideo-FakeAudio": ("B", 1, 0, 0, 0, 2),
    "FakeVideo-RealAudio": ("C", 0, 1, 0, 0, 1),
    "FakeVideo-FakeAudio": ("D", 0, 0, 0, 0, 3),
}
OF_STREAMS = {(values[1], values[2]): values for values in TYPES.values()}
LABELS = ("v_label", "a_label", "c_label", "m_label", "mm_label")
TEXTS = (
    "file", "path", "subject", "target1", "target2", "category", "method", "race", "gender", "split", "layout"
)  # fmt: skip
MARKER = "miniature.json"  # lies in a corpus that main.py synthesize drew
MEDIA = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
SPLITS = ("train", "val", "test")
FOLD_NUMBERS = ("1", "2", "3", "4", "5")
SAME_SPLIT = {"dev": "val", "valid": "val", "validation": "val", "training": "train", "testing": "test"}
BOTH = "+"  # between the methods of a clip: of its two streams, or of two rows that name it


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus beside its clips.

    Attributes
    ----------
    title
        Its name.
    read
        Reads the clip table from its top folder.
    subjects
        What the column ``subject`` holds, and, where that is not people, what folds by it cannot promise.
    counts
        Published numbers of clips: see :func:`count` for the keys.
    full_frames
        Whether faces have still to be cropped.
    """

    title: str
    read: Callable[[Path], pd.DataFrame]
    subjects: str = "people"
    counts: Mapping[str, int] = field(default_factory=dict)
    full_frames: bool = False


def clip_table(
    table: pd.DataFrame,
    root: Path,
    notes: Sequence[str] = (),
    published: Mapping[str, int] | None = None,
    source: str = "",
) -> pd.DataFrame:
    """Bring the rows of a corpus into the form that all of the software reads.

    Parameters
    ----------
    table
        Has ``file`` (relative to the root), ``v_label`` and ``a_label`` (1 real, 0 fake, NA unknown); where known
        also ``m_label`` (else it follows from the two), ``subject`` (else each clip is one by itself), ``path``,
        ``line`` (of its metadata, else counted) and the other columns of ``TEXTS``.
    root
        The top folder.
    notes
        What the reader noticed.
    published
        Numbers of clips that the corpus should have: see :func:`count`.
    source
        The file whose lines are counted, for messages; by default the root.

    Returns
    -------
    pandas.DataFrame
        One row a file: ``line``, the columns ``TEXTS`` (empty where nothing is known) and ``LABELS`` (``Int64``, NA
        where unknown: ``m_label`` 1 = real, ``mm_label`` 0 RVRA, 1 FVRA, 2 RVFA, 3 FVFA). A file with several rows
        keeps the first, with the methods of all. ``attrs["notes"]`` lists what is odd, in words.

    Raises
    ------
    DataError
        If there is no row, or a path leaves the root.
    """
    if table.empty:
        raise DataError(f"{root}: holds no clip")
    table = table.copy()
    counted = pd.Series(np.arange(1, len(table) + 1), index=table.index)
    table["line"] = pd.to_numeric(table["line"]).fillna(counted).astype(int) if "line" in table else counted
    check_inside(table["file"].set_axis(table["line"]), source or root)
    for name in TEXTS:
        if name not in table:
            table[name] = ""
    table["layout"] = table["layout"].where(table["layout"] != "", Layout.TABLE.value)
    table["subject"] = table["subject"].where(table["subject"] != "", table["file"])
    if not table["path"].any():
        table["path"] = f"{root}{os.sep}" + table["file"]
    _add_labels(table)
    told = list(notes)
    table["split"] = _splits(table["split"], told)
    table = _one_row_a_file(table, told)
    told += [*_unlabelled(table), *count_notes(table, published or {})]
    table = table[["line", *TEXTS, *LABELS]].reset_index(drop=True)
    table.attrs["notes"] = told
    return table


def _add_labels(table: pd.DataFrame) -> None:
    """Fill in what follows from the labels of the two streams."""
    video, audio = (pd.array(table[name], dtype="Int64") for name in ("v_label", "a_label"))
    table["v_label"], table["a_label"] = video, audio
    # As booleans, since there one fake stream is enough, whatever the other is.
    both_real = pd.Series((video.astype("boolean") & audio.astype("boolean")).astype("Int64"), index=table.index)
    given = pd.Series(pd.array(table["m_label"], dtype="Int64") if "m_label" in table else pd.NA, index=table.index)
    real = given.astype("Int64").fillna(both_real)
    table["m_label"] = real
    table["c_label"] = both_real.fillna(real.where(real == 0))
    table["mm_label"] = pd.array([pd.NA] * len(table), dtype="Int64")
    for (v_label, a_label), values in OF_STREAMS.items():
        rows = ((video == v_label) & (audio == a_label)).fillna(False).to_numpy(bool)
        table.loc[rows, "category"] = values[0]
        table.loc[rows, "mm_label"] = values[5]


def _splits(split: pd.Series, notes: list[str]) -> pd.Series:
    """Splits in one spelling, empty where they are none; notes get a word about these."""
    split = split.fillna("").str.lower().replace(SAME_SPLIT)
    odd = ~split.isin([*SPLITS, *FOLD_NUMBERS, ""])
    if odd.any():
        notes.append(f"{odd.sum():,} clips are of no known split (such as {split[odd].iloc[0]!r}): of none here")
    return split.mask(odd, "")


def _unlabelled(table: pd.DataFrame) -> Iterator[str]:
    """Say which clips lack labels."""
    unknown = table["m_label"].isna()
    if unknown.any():
        example = table["file"][unknown].iloc[0]
        yield f"{unknown.sum():,} clips are not labelled (such as {example}): they can be scored, not evaluated"
    partly = (table["m_label"] == 0).fillna(False) & (table["v_label"].isna() | table["a_label"].isna())
    if partly.any():
        yield f"{partly.sum():,} fake clips do not tell which of their streams are fake"


def _one_row_a_file(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep the first row of each file, with the methods of all its rows; notes get a word about the others."""
    again = table["file"].duplicated()
    if not again.any():
        return table
    rows = table[table["file"].isin(set(table.loc[again, "file"]))]
    methods = rows.groupby("file", sort=False)["method"].agg(
        lambda names: BOTH.join(filter(None, dict.fromkeys(names)))
    )
    kept = table[~again].copy()
    of_both = kept["file"].map(methods)
    example = rows["file"].iloc[0]
    more = f"{len(methods):,} files have" if len(methods) > 1 else "a file has"
    notes.append(f"{more} more than one row (such as {example}); each counts once, with the methods of all its rows")
    told = {"m_label": "real in one row and fake in another", "category": "of two categories", "split": "of two splits"}
    for column, what in told.items():
        differing = rows.groupby("file")[column].nunique(dropna=False) > 1
        if differing.any():
            files = list(differing.index[differing])
            notes.append(f"{len(files):,} of them are {what} (such as {files[0]}); the first row counts")
            of_both = of_both.mask(kept["file"].isin(files)) if column == "m_label" else of_both
    kept["method"] = of_both.where(of_both.notna(), kept["method"])
    return kept


def count(clips: pd.DataFrame, key: str) -> int:
    """Count the clips that a key names: ``all``, or words such as ``train``, ``real``, ``C`` that must all hold."""
    rows = np.ones(len(clips), dtype=bool)
    for word in key.split():
        if word in ("real", "fake"):
            rows &= (clips["m_label"] == int(word == "real")).fillna(False).to_numpy(bool)
        elif word in ("train", "val", "test"):
            rows &= (clips["split"] == word).to_numpy()
        elif word != "all":
            rows &= (clips["category"] == word).to_numpy()
    return int(rows.sum())


def count_notes(clips: pd.DataFrame, published: Mapping[str, int]) -> list[str]:
    """Say, in one line, where the numbers of clips are not the published ones."""
    found = {key: count(clips, key) for key in published}
    differing = [f"{key} {found[key]:,} of {number:,}" for key, number in published.items() if found[key] != number]
    return [f"clips here, of those published: {', '.join(differing)}"] if differing else []


def table_digest(clips: pd.DataFrame) -> str:
    """SHA-256 of what a clip table says, whatever files it was read from; where it lies makes no difference."""
    rows = pd.util.hash_pandas_object(clips.drop(columns=["path", "line"]).astype(str), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


def check_inside(file: pd.Series, source: Path | str) -> None:
    """Refuse paths, indexed by line of their source, that leave the data folder.

    Raises
    ------
    DataError
        If one does.
    """
    outside = file.str.startswith("/") | file.str.contains(r"(?:^|/)\.\.(?:/|$)", regex=True)
    if outside.any():
        line = outside.idxmax()
        raise DataError(f"{source} line {line}: the path {file[line]!r} leaves the data folder")


def need_columns(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Refuse a table that lacks a column.

    Raises
    ------
    DataError
        If it does.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing")


def need_values(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Refuse a table, indexed by line, in which one of these cells is empty.

    Raises
    ------
    DataError
        If one is.
    """
    for name in columns:
        empty = table[name] == ""
        if empty.any():
            raise DataError(f"{path} line {empty.idxmax()}: {name} is empty")


def with_slashes(names: pd.Series) -> pd.Series:
    """Paths with one `/` between folders, as a table may have been made on Windows."""
    return names.str.replace(r"[\\/]+(?:\.[\\/]+)*", "/", regex=True).str.removeprefix("./")


def read_json(path: Path, fields: Sequence[str] = ()) -> Any:
    """Read a JSON file, in whose text control characters may stand.

    Parameters
    ----------
    path
        The file.
    fields
        Keep these of each object, as a tuple; a list of a million objects then fits into memory.

    Raises
    ------
    DataError
        If it is not JSON.
    """
    hook = (lambda row: tuple(map(row.get, fields))) if fields else None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig", errors="replace"), strict=False, object_hook=hook)
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file that can be read ({error})") from error


def read_rows(path: Path, fields: Sequence[str]) -> pd.DataFrame:
    """Read a JSON list of objects as a table with these columns, NA where an object lacks one.

    Raises
    ------
    DataError
        If it is not such a list, is empty, or a row has no ``file``.
    """
    rows = read_json(path, fields)
    if not isinstance(rows, list) or not all(isinstance(row, tuple) for row in rows):
        raise DataError(f"{path}: not a list of objects, one a clip")
    if not rows:
        raise DataError(f"{path}: holds no entry")
    table = pd.DataFrame(rows, columns=list(fields), dtype=object)
    nameless = ~table["file"].map(lambda name: isinstance(name, str) and name != "")
    if nameless.any():
        raise DataError(f"{path}: entry {nameless.idxmax() + 1} has no file")
    return table.assign(file=with_slashes(table["file"]), line=np.arange(1, len(table) + 1))


def media_files(folder: Path, root: Path) -> list[str]:
    """Video files below a folder, sorted, relative to the root with ``/`` between folders; hidden ones are left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = PurePosixPath(Path(parent).relative_to(root))
        # AppleDouble files come with archives that were packed on a Mac.
        found += [str(relative / name) for name in names if name.lower().endswith(MEDIA) and not name.startswith("._")]
    return sorted(found)


def by_name(files: Sequence[str], notes: list[str]) -> dict[str, str]:
    """File name, in lower case → where it lies, for corpora whose metadata give names only: see `name_of`."""
    places: dict[str, str] = {}
    double = 0
    for file in files:
        name = name_of(file)
        double += name in places
        places.setdefault(name, file)
    if double:
        notes.append(f"{double:,} media files have the name of another; the first one, by its path, is taken")
    return places


def name_of(file: str) -> str:
    """The name of a file, in lower case, without its folders."""
    return file.replace("\\", "/").rpartition("/")[2].lower()


def missing_note(absent: int, where: str, notes: list[str]) -> None:
    """Say how many clips the metadata name that are not on disk."""
    if absent:
        notes.append(f"{absent:,} clips that {where} names are not on disk")


def need_folder(root: Path, what: str, *patterns: str) -> None:
    """Refuse a root that is not the top folder of a corpus.

    Parameters
    ----------
    root
        The folder.
    what
        What lies in the right one, for the message.
    patterns
        One of which has to match something in the root.

    Raises
    ------
    DataError
        If there is no such folder, or nothing in it matches.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data_root must be the folder that holds {what}")
    if not any(next(root.glob(pattern), None) for pattern in patterns):
        # Unpacking makes a folder in a folder now and then.
        deeper = next((found for pattern in patterns for found in root.glob(f"*/{pattern}")), None)
        hint = f"there is one in {deeper.parent}" if deeper else "--data_root must be the folder as received"
        raise DataError(f"{root}: no {what} in it; {hint}")
