"""The clip table: one form for every corpus."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import DataError


class Layout(str, Enum):
    """How FakeAVCeleb lies on disk, told from the columns of its csv; every other corpus is a table."""

    ORIGINAL = "original"  # as received: a nameless column, or none, holds the folder
    PREPARED = "prepared"  # by the authors' scripts: `vid` is the file name, `path` the folder
    TABLE = "table"


# type: (category, v_label, a_label, mm_label); 1 = real
TYPES = {
    "RealVideo-RealAudio": ("A", 1, 1, 0),
    "RealVideo-FakeAudio": ("B", 1, 0, 2),
    "FakeVideo-RealAudio": ("C", 0, 1, 1),
    "FakeVideo-FakeAudio": ("D", 0, 0, 3),
}
LABELS = ("v_label", "a_label", "c_label", "m_label", "mm_label")
TEXTS = (
    "file", "path", "subject", "target1", "target2", "category", "method", "race", "gender", "split", "layout"
)  # fmt: skip
MARKER = "miniature.json"  # lies in a corpus that main.py synthesize drew
SPLITS = ("train", "val", "test")
FOLD_NUMBERS = ("1", "2", "3", "4", "5")
SAME_SPLIT = {"dev": "val", "valid": "val", "validation": "val", "training": "train", "testing": "test"}
BOTH = "+"  # between the methods of a clip: of its two streams, or of two rows that name it


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus beside its clips."""

    read: Callable[[Path], pd.DataFrame]  # its top folder → the clip table
    # What the column `subject` holds, and, where that is not people, what folds by it cannot promise.
    subjects: str = "people"
    counts: Mapping[str, int] = field(default_factory=dict)  # published numbers of clips: see `count` for the keys
    full_frames: bool = False  # faces have still to be cropped


class Notes(list[str]):
    """What is odd about a corpus, in words."""

    def add(self, found: pd.Series | Sequence[str] | int, text: str, names: pd.Series | None = None) -> None:
        """Say of how many clips something holds, nothing if of none: of rows (True), of so many, or of these files.

        The first of the files, or the name of the first row, stands for {} in the text.
        """
        if isinstance(found, pd.Series):
            found = int(found.sum()) if names is None else list(names[found])
        number, first = (found, "") if isinstance(found, int) else (len(found), next(iter(found), ""))
        if number:
            self.append(f"{number:,} {text.replace('{}', str(first))}")


def clip_table(
    table: pd.DataFrame,
    root: Path,
    notes: Sequence[str] = (),
    published: Mapping[str, int] | None = None,
    source: str = "",
) -> pd.DataFrame:
    """Bring the rows of a corpus into the form that all of the software reads: one row a file.

    `table` has ``file`` (relative to the root), ``v_label`` and ``a_label`` (1 real, 0 fake, NA unknown); where known
    also ``m_label`` (else it follows from the two), ``subject`` (else each clip is one by itself), ``method`` (else
    "real" of real clips), ``path``, ``line`` (of its metadata, else counted) and the other ``TEXTS``.

    What comes out has ``line``, ``TEXTS`` (empty where nothing is known) and ``LABELS`` (``Int64``, NA where unknown:
    ``m_label`` 1 = real, ``mm_label`` 0 RVRA, 1 FVRA, 2 RVFA, 3 FVFA). A file with several rows keeps the first, with
    the methods of all. ``attrs["notes"]`` lists in words what is odd: the reader's `notes`, and what is seen here, such
    as numbers of clips that are not those `published`.

    A DataError if there is no row, or a path leaves the root; `source` is the file whose lines are counted, for
    messages.
    """
    if table.empty:
        raise DataError(f"{root}: holds no clip")
    table = table.copy()
    counted = pd.Series(np.arange(1, len(table) + 1), index=table.index)
    table["line"] = pd.to_numeric(table["line"]).fillna(counted).astype(int) if "line" in table else counted
    outside = table["file"].str.contains(r"^/|(?:^|/)\.\.(?:/|$)", regex=True)
    if outside.any():
        line, file = table.loc[outside.idxmax(), ["line", "file"]]
        raise DataError(f"{source or root} line {line}: the path {file!r} leaves the data folder")
    all_notes = Notes(notes)
    _add_labels(table)
    _add_texts(table, root, all_notes)
    table = _one_row_a_file(table, all_notes)
    unknown = table["m_label"].isna()
    all_notes.add(unknown, "clips are not labelled (such as {}): they can be scored, not evaluated", table["file"])
    partly = (table["m_label"] == 0).fillna(False) & (table["v_label"].isna() | table["a_label"].isna())
    all_notes.add(partly, "fake clips do not tell which of their streams are fake")
    counts = {key: (count(table, key), number) for key, number in (published or {}).items()}
    differing = [f"{key} {here:,} of {number:,}" for key, (here, number) in counts.items() if here != number]
    if differing:
        all_notes.append(f"clips here, of those published: {', '.join(differing)}")
    table = table[["line", *TEXTS, *LABELS]].reset_index(drop=True)
    table.attrs["notes"] = list(all_notes)
    return table


def _add_labels(table: pd.DataFrame) -> None:
    """Bring the labels into one form, and fill in those that follow from the two streams, and the category."""
    video, audio = (pd.array(table[name], dtype="Int64") for name in ("v_label", "a_label"))
    table["v_label"], table["a_label"] = video, audio
    # As booleans, since there one fake stream is enough, whatever the other is.
    both_real = pd.Series((video.astype("boolean") & audio.astype("boolean")).astype("Int64"), index=table.index)
    given = pd.Series(pd.array(table["m_label"], dtype="Int64") if "m_label" in table else pd.NA, index=table.index)
    table["m_label"] = real = given.astype("Int64").fillna(both_real)
    table["c_label"] = both_real.fillna(real.where(real == 0))
    table["category"], table["mm_label"] = "", pd.array([pd.NA] * len(table), dtype="Int64")
    for category, v_label, a_label, mm_label in TYPES.values():
        rows = ((video == v_label) & (audio == a_label)).fillna(False).to_numpy(bool)
        table.loc[rows, "category"] = category
        table.loc[rows, "mm_label"] = mm_label


def _add_texts(table: pd.DataFrame, root: Path, notes: Notes) -> None:
    """Fill in texts that are not given, and bring the splits into one spelling, empty where they are none."""
    is_real = (table["m_label"] == 1).fillna(False)
    method = table["method"] if "method" in table else pd.Series(None, table.index, dtype=object)
    table["method"] = method.fillna(is_real.map({True: "real", False: ""}))
    for name in TEXTS:
        table[name] = table[name].fillna("") if name in table else ""
    table["layout"] = table["layout"].where(table["layout"] != "", Layout.TABLE.value)
    table["subject"] = table["subject"].where(table["subject"] != "", table["file"])
    if not table["path"].any():
        table["path"] = f"{root}{os.sep}" + table["file"]
    split = table["split"].astype(str).str.lower().replace(SAME_SPLIT)
    odd = ~split.isin([*SPLITS, *FOLD_NUMBERS, ""])
    notes.add(odd, "clips are of no known split (such as {}): of none here", split.map(repr))
    table["split"] = split.mask(odd, "")


def _one_row_a_file(table: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """Keep the first row of each file, with the methods of all its rows; notes get a word about the others."""
    again = table["file"].duplicated()
    if not again.any():
        return table
    rows = table[table["file"].isin(set(table.loc[again, "file"]))].groupby("file", sort=False)
    of_all = rows["method"].agg(lambda names: BOTH.join(filter(None, dict.fromkeys(names))))
    more = f"{len(of_all):,} files have" if len(of_all) > 1 else "a file has"
    example = f"such as {of_all.index[0]}"
    notes.append(f"{more} more than one row ({example}); each counts once, with the methods of all its rows")
    what = {"m_label": "real in one row and fake in another", "category": "of two categories", "split": "of two splits"}
    differing = {column: rows[column].nunique(dropna=False) > 1 for column in what}
    for column, is_so in differing.items():
        notes.add(sorted(is_so.index[is_so]), f"of them are {what[column]} (such as {{}}); the first row counts")
    kept = table[~again].copy()
    kept["method"] = kept["file"].map(of_all[~differing["m_label"]]).fillna(kept["method"])
    return kept


def count(clips: pd.DataFrame, key: str) -> int:
    """Count the clips that a key names: ``all``, or words such as ``train``, ``real``, ``C`` that must all hold."""
    for word in key.split():
        if word in ("real", "fake"):
            clips = clips[(clips["m_label"] == int(word == "real")).fillna(False)]
        elif word != "all":
            clips = clips[clips["split" if word in SPLITS else "category"] == word]
    return len(clips)


def table_digest(clips: pd.DataFrame) -> str:
    """SHA-256 of what a clip table says, whatever files it was read from; where it lies makes no difference."""
    rows = pd.util.hash_pandas_object(clips.drop(columns=["path", "line"]).astype(str), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


def clips_digest(clips: pd.DataFrame) -> str:
    """SHA-256 of the names, labels and sizes of clips in their order.

    Another fold file, subset or version of the corpus gives another.
    """
    sizes = [Path(path).stat().st_size if Path(path).is_file() else None for path in clips["path"]]
    table = clips[["file", "v_label", "a_label", "m_label"]].assign(size=pd.array(sizes, "Int64"))
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def clip_lists(sides: Iterable[pd.DataFrame]) -> dict[str, str]:
    """`clips_digest` of the "train", "val" and "test" clips of a fold, of which some may not decode."""
    return {side: clips_digest(clips) for side, clips in zip(("train", "val", "test"), sides, strict=True)}


def methods(video: pd.Series, audio: pd.Series) -> pd.Series:
    """How clips were made, from what made either stream; NA where nothing did."""
    both = (video + BOTH + audio).str.strip(BOTH)
    return both.mask(both == "")
