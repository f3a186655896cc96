"""The clip table of FakeAVCeleb v1.2, read from ``meta_data.csv`` in either of its two layouts."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

import pandas as pd

from utils.errors import DataError


class Layout(str, Enum):
    """How the corpus lies on disk, told from the columns of its csv."""

    ORIGINAL = "original"  # as received: `path` is the file name, a nameless column the folder
    PREPARED = "prepared"  # by the authors' scripts: `vid` is the file name, `path` the folder
    TABLE = "table"  # another corpus, described by a csv of its own: see `dataset.corpora.table`


# type: (category, v_label, a_label, c_label, m_label, mm_label); 1 = real
TYPES = {
    "RealVideo-RealAudio": ("A", 1, 1, 1, 1, 0),
    "RealVideo-FakeAudio": ("B", 1, 0, 0, 0, 2),
    "FakeVideo-RealAudio": ("C", 0, 1, 0, 0, 1),
    "FakeVideo-FakeAudio": ("D", 0, 0, 0, 0, 3),
}
LABELS = ("v_label", "a_label", "c_label", "m_label", "mm_label")

TEXT_COLUMNS = (
    "file", "path", "subject", "target1", "target2", "category", "method", "race", "gender", "split", "layout"
)  # fmt: skip

MARKER = "miniature.json"  # lies in a corpus that main.py synthesize drew
CSV_NAME = "meta_data.csv"
ORIGINAL_PREFIX = "FakeAVCeleb/"
NEEDED = ("source", "method", "category", "type", "race", "gender", "path")


def read_metadata(root: str | Path) -> pd.DataFrame:
    """Read the clip table of a corpus.

    Parameters
    ----------
    root
        Folder that holds ``meta_data.csv``.

    Returns
    -------
    One row a clip, in csv order: ``line`` (of the csv), ``file`` (folder/name in the csv's spelling, relative to the
    root), ``path`` (where it lies on disk), ``subject``, ``target1``, ``target2`` (other identities in the clip;
    empty where there is none), ``category`` (A-D), ``method``, ``race``, ``gender``, ``split`` (empty: see
    :mod:`dataset.corpora.table`), ``layout``, labels ``v_label``, ``a_label``, ``c_label``, ``m_label`` (1 = real) and
    ``mm_label`` (0 RVRA, 1 FVRA, 2 RVFA, 3 FVFA). Whether the clips exist is not looked at here: see
    :mod:`dataset.check`.

    Raises
    ------
    DataError
        If the csv is absent or lacks a column, or a row contradicts itself or points outside the root.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data_root must be the folder that holds {CSV_NAME}")
    if not (root / CSV_NAME).is_file():
        deeper = next(root.glob(f"*/{CSV_NAME}"), None)  # unpacking makes a folder in a folder now and then
        hint = f"there is one in {deeper.parent}" if deeper else "--data_root must be the folder as received"
        raise DataError(f"{root}: no {CSV_NAME} in it; {hint}")
    table = read_csv(root / CSV_NAME)
    layout = _layout_of(table)
    _check_categories(table)
    if layout is Layout.PREPARED:
        file = table["path"].str.rstrip("/") + "/" + table["vid"]
    else:
        file = (table[""].str.rstrip("/") + "/" + table["path"]).str.removeprefix(ORIGINAL_PREFIX)
    check_inside(file, CSV_NAME)
    columns = {"subject": table["source"], "split": "", "layout": layout.value}
    for name in ("target1", "target2"):
        columns[name] = table[name].replace("-", "") if name in table else ""
    table = table.assign(file=file, path=_paths_on_disk(root, file, layout), **columns)
    return clip_table(table, table["type"])


def clip_table(table: pd.DataFrame, kind: pd.Series) -> pd.DataFrame:
    """Bring a checked csv, indexed by its lines, into the form that :func:`read_metadata` describes.

    Parameters
    ----------
    table
        Has all of ``TEXT_COLUMNS``.
    kind
        A key of ``TYPES`` for each row, which gives the labels.
    """
    clips = pd.DataFrame({"line": table.index, **{name: table[name].to_numpy() for name in TEXT_COLUMNS}})
    for position, label in enumerate(LABELS, start=1):
        clips[label] = kind.map({name: values[position] for name, values in TYPES.items()}).to_numpy()
    return clips


def read_csv(path: Path) -> pd.DataFrame:
    """Read a csv as stripped strings, indexed by line number; any line ends, with or without a byte order mark.

    Raises
    ------
    DataError
        If it is not a csv file, or holds no row.
    """
    try:
        # Blank lines are kept at first, so that the index can be turned into line numbers.
        table = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a csv file that can be read ({str(error).strip()})") from error
    table = table.fillna("").apply(lambda column: column.str.strip())
    table.index += 1
    table.columns = table.iloc[0].rename(None)
    table = table.loc[:, ~table.columns.duplicated()].iloc[1:]
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DataError(f"{path}: holds no row")
    return table


def _layout_of(table: pd.DataFrame) -> Layout:
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise DataError(f"{CSV_NAME}: column {', '.join(missing)} is missing")
    if "vid" in table.columns:
        return Layout.PREPARED
    if "" in table.columns:
        return Layout.ORIGINAL
    raise DataError(
        f"{CSV_NAME}: the column that says where a clip lies is missing: "
        "either `vid` (prepared layout) or a last one without a name (original layout)"
    )


def _check_categories(table: pd.DataFrame) -> None:
    expected = table["type"].map({name: values[0] for name, values in TYPES.items()})
    wrong = table[expected != table["category"]]
    if len(wrong):
        row = wrong.iloc[0]
        raise DataError(
            f"{CSV_NAME} line {wrong.index[0]}: category {row['category']!r} and type {row['type']!r} do not belong "
            f"together; known are {', '.join(f'{values[0]} = {name}' for name, values in TYPES.items())}"
        )


def check_inside(file: pd.Series, csv: str) -> None:
    """Refuse paths, indexed by line of the csv, that leave the data folder.

    Raises
    ------
    DataError
        If one does.
    """
    outside = file.str.startswith("/") | file.str.contains(r"(?:^|/)\.\.(?:/|$)", regex=True)
    if outside.any():
        line = outside.idxmax()
        raise DataError(f"{csv} line {line}: the path {file[line]!r} leaves the data folder")


def _paths_on_disk(root: Path, file: pd.Series, layout: Layout) -> list[str]:
    """Where each clip lies: the authors' preparation renames ` (` to `-` and drops `)`, but leaves the csv alone."""
    names = [f"{root}{os.sep}{name}" for name in file]
    if layout is Layout.ORIGINAL:
        return names
    renamed = [f"{root}{os.sep}{name}" for name in file.str.replace(" (", "-").str.replace(")", "")]
    # Only a name that the preparation would have changed costs a look at the disk.
    return [
        old if old != new and not os.path.exists(new) and os.path.exists(old) else new
        for old, new in zip(names, renamed, strict=True)
    ]
