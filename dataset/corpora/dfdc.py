"""DFDC, whole, its Kaggle sample and its preview: a clip is real or fake; nothing tells which stream, how or who."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.corpora.lavdf import sources
from dataset.corpora.table import (
    SAME_SPLIT,
    SPLITS,
    Corpus,
    by_name,
    clip_table,
    media_files,
    missing_note,
    name_of,
    need_columns,
    need_folder,
    need_values,
    read_json,
)
from utils.errors import DataError
from utils.files import read_csv

COUNTS = {
    "all": 128_154, "real": 23_654, "fake": 104_500, "train real": 19_154, "train fake": 100_000, "val": 4_000,
    "test real": 2_500, "test fake": 2_500,
}  # fmt: skip
METADATA = ("metadata.json", "labels.csv", "dataset.json")
# In all of its files 1 is fake.
REAL = {"real": 1, "fake": 0, "0": 1, "1": 0, "false": 1, "true": 0, "0.0": 1, "1.0": 0}


def read(root: Path) -> pd.DataFrame:
    """Read every ``metadata.json``, ``labels.csv`` and ``dataset.json`` below the root, and what lies there unlabelled.

    A real clip is real in both streams. Of a fake one neither stream is known.

    Raises
    ------
    DataError
        If there is no such file, or one of them cannot be read.
    """
    need_folder(root, "metadata.json or labels.csv", *(f"**/{name}" for name in METADATA))
    notes: list[str] = []
    files = media_files(root, root)
    tables = [_read_one(path, root) for path in _metadata(root)]
    labelled = pd.concat(tables, ignore_index=True)
    found = _place(labelled, files, notes)
    table = _agree(labelled.assign(file=found), notes)
    without = sorted(set(files) - set(table["file"]))
    if without:
        folders = sorted({file.rpartition("/")[0] or "." for file in without})
        notes.append(f"{len(without):,} clips have no label ({', '.join(folders[:5])}): no metadata file names them")
        table = pd.concat([table, pd.DataFrame({"file": without, "method": ""})])
    table = table.reset_index(drop=True)
    real = table["real"].astype("Int64")
    stream = real.where(real == 1)  # of a fake clip's streams, nothing is known
    given = table["set"].fillna("") if "set" in table else ""
    table = table.assign(v_label=stream, a_label=stream, m_label=real, given=given)
    splits = zip(table["file"], table["given"], strict=True)
    table["split"] = [_split(file, str(told), root.name) for file, told in splits]
    table["method"] = table["method"].where(table["method"] != "", (real == 1).map({True: "real"}).fillna(""))
    table["subject"] = _sources(table)
    is_preview = (root / "dataset.json").is_file()
    return clip_table(table, root, notes, {"real": 1_131, "fake": 4_119} if is_preview else COUNTS)


def _metadata(root: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent) / name for name in METADATA if name in names]
    return found


def _read_one(path: Path, root: Path) -> pd.DataFrame:
    """Rows of one file: ``folder`` of the file, ``name``, ``real``, ``original``, ``set``, ``method``."""
    rows: list[tuple[str, Any, Any, Any]] = []
    if path.suffix == ".csv":
        table = read_csv(path)
        need_columns(table, ("filename", "label"), path)
        need_values(table, ("filename",), path)
        rows = [(name, label, None, None) for name, label in zip(table["filename"], table["label"], strict=True)]
    else:
        entries = read_json(path)
        if not entries or not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
            raise DataError(f"{path}: not an object with an entry for each file")
        for name, entry in entries.items():
            label = entry.get("label", entry.get("is_fake"))
            rows.append((name, label, entry.get("original"), entry.get("set") or entry.get("split")))
    table = pd.DataFrame(rows, columns=["name", "label", "original", "set"], dtype=object)
    table["name"] = table["name"].where(table["name"].str.contains(r"\.\w+$"), table["name"] + ".mp4")
    table["real"] = table["label"].astype(str).str.strip().str.lower().map(REAL).astype("Int64")
    folder = "" if path.parent == root else f"{path.parent.relative_to(root).as_posix()}/"
    # Only the preview's paths tell a method; the parts of the whole are no methods.
    method = table["name"].str.extract(r"^(method_\w+)/")[0].fillna("")
    return table.assign(folder=folder, method=method, source=path.relative_to(root).as_posix())


def _place(table: pd.DataFrame, files: list[str], notes: list[str]) -> list[str]:
    """Where each clip lies: beside its metadata, in a folder below, or not at all."""
    present = set(files)
    places: dict[str, dict[str, str]] = {}
    for folder in table["folder"].unique():
        places[folder] = by_name([file for file in files if file.startswith(folder)], [])
    found, absent = [], 0
    for folder, name in zip(table["folder"], table["name"], strict=True):
        file = f"{folder}{name}"
        if file not in present:
            file = places[folder].get(name_of(name), file)
            absent += file not in present
        found.append(file)
    missing_note(absent, "the metadata", notes)
    return found


def _agree(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row for clips that metadata.json and labels.csv both name, as in the test."""
    labels = table.dropna(subset="real").groupby("file")["real"]
    conflict = labels.nunique() > 1
    if conflict.any():
        files = conflict[conflict].index
        notes.append(
            f"{len(files):,} clips are real in one file and fake in another (such as {files[0]}): not labelled"
        )
    known = labels.first().where(~conflict)
    sources_of = table.groupby("file")["source"].nunique()
    once = table[~table.duplicated(["file"]) | ~table["file"].map(sources_of > 1)]
    return once.assign(real=once["file"].map(known).astype("Int64"))


def _split(file: str, given: str, root: str) -> str:
    """The split of a clip: by its folder, else, as in the preview, by its entry, else by the root, if it is a split."""
    if folder := re.search(r"(?:^|/)(?:dfdc_)?(train|val|test)[^/]*/", file.lower()):
        return folder[1]
    return given or (root if root in SAME_SPLIT or root in SPLITS else "")


def _sources(table: pd.DataFrame) -> pd.Series:
    """The real clip that each one comes from, in its own folder."""
    folder = table["file"].str.rpartition("/")[0]
    original = (folder + "/" + table["original"].astype(str)).where(table["original"].notna(), None)
    return sources(table["file"], original.str.removeprefix("/"))


CORPUS = Corpus(
    "DFDC",
    read,
    "the real clip that each one comes from (in the tests, each clip by itself); its 960 people are not named, so one "
    "person may be on both sides of folds by it",
    COUNTS,
    full_frames=True,
)
