"""What readers of corpora share: the right folder, csv and JSON read leniently, files on disk found by their names."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataset.corpora.table import Notes
from utils.errors import DataError

MEDIA = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def need_folder(root: Path, what: str, *patterns: str) -> None:
    """Raise a DataError if a root is not the top folder of a corpus, in which one of `patterns` matches something.

    `what` says for the message what lies in the right one.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data_root must be the folder that holds {what}")
    if not any(next(root.glob(pattern), None) for pattern in patterns):
        # Unpacking makes a folder in a folder now and then.
        deeper = next((found for pattern in patterns for found in root.glob(f"*/{pattern}")), None)
        hint = f"there is one in {deeper.parent}" if deeper else "--data_root must be the folder as received"
        raise DataError(f"{root}: no {what} in it; {hint}")


def need(table: pd.DataFrame, path: Path, columns: Sequence[str], filled: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table of `path`, indexed by line; a DataError if it lacks a column, or a cell of those in `filled`."""
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing")
    for name in filled:
        empty = table[name] == ""
        if empty.any():
            raise DataError(f"{path} line {empty.idxmax()}: {name} is empty")
    return table


def read_json(path: Path, fields: Sequence[str] = ()) -> Any:
    """Read a JSON file, in whose text control characters may stand; a DataError if it is none.

    With `fields`, of each object these are kept, as a tuple: a list of a million objects then fits into memory.
    """
    hook = (lambda row: tuple(map(row.get, fields))) if fields else None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig", errors="replace"), strict=False, object_hook=hook)
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file that can be read ({error})") from error


def read_rows(path: Path, fields: Sequence[str]) -> pd.DataFrame:
    """Read a JSON list of objects, each with a ``file``, as a table with these columns; a DataError if it is none."""
    rows = read_json(path, fields)
    if not isinstance(rows, list):
        raise DataError(f"{path}: not a list of objects, one a clip")
    if not rows:
        raise DataError(f"{path}: holds no entry")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, tuple):
            raise DataError(f"{path}: entry {number} is not an object")
    table = pd.DataFrame(rows, columns=list(fields), dtype=object)
    nameless = ~is_name(table["file"])
    if nameless.any():
        raise DataError(f"{path}: entry {nameless.idxmax() + 1} has no file")
    return table.assign(file=with_slashes(table["file"]), line=np.arange(1, len(table) + 1))


def is_name(values: pd.Series) -> pd.Series:
    """Whether each of the values, of whatever type, is the name of a file."""
    return values.map(lambda value: isinstance(value, str) and value != "").astype(bool)


def with_slashes(names: pd.Series) -> pd.Series:
    """Paths with one `/` between folders, as a table may have been made on Windows."""
    return names.str.replace(r"[\\/]+(?:\.[\\/]+)*", "/", regex=True).str.removeprefix("./")


def walk(folder: Path, root: Path) -> Iterator[str]:
    """All files below a folder, relative to the root with ``/`` between folders; hidden folders are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = "" if Path(parent) == root else f"{Path(parent).relative_to(root).as_posix()}/"
        # AppleDouble files come with archives that were packed on a Mac.
        yield from (start + name for name in sorted(names) if not name.startswith("._"))


def media_files(folder: Path, root: Path) -> list[str]:
    """Video files below a folder, sorted, as :func:`walk` gives them."""
    return sorted(file for file in walk(folder, root) if file.lower().endswith(MEDIA))


def by_name(files: Sequence[str], notes: Notes) -> dict[str, str]:
    """File name, in lower case → where it lies, for corpora whose metadata give names only: see `name_of`."""
    places: dict[str, str] = {}
    for file in files:
        places.setdefault(name_of(file), file)
    notes.add(len(files) - len(places), "media files have the name of another; the first one, by its path, is taken")
    return places


def name_of(file: str) -> str:
    """The name of a file, in lower case, without its folders."""
    return file.replace("\\", "/").rpartition("/")[2].lower()


def place(names: pd.Series, places: Mapping[str, str], where: str, notes: Notes, prefix: str = "") -> pd.Series:
    """Where clips lie of which the metadata, `where`, give the names only; their names if they are not on disk."""
    paths = names.map(name_of).map(places)
    notes.add(paths.isna(), f"clips that {where} names are not on disk")
    return paths.fillna(prefix + names)


def stems(files: pd.Series) -> pd.Series:
    """Names of files in lower case, without folders and extension."""
    return files.str.lower().str.replace(r"^.*/|\.[^./]+$", "", regex=True)


def real_by_folder(files: pd.Series) -> pd.Series:
    """1 for a file below a folder called real, 0 for one below a folder called fake, else NA."""
    folders = files.str.lower().str.split("/")
    return folders.map(lambda names: 1 if "real" in names else 0 if "fake" in names else pd.NA).astype("Int64")
