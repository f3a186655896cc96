"""DFDC, whole, its Kaggle sample and its preview: a clip is real or fake; nothing tells which stream, how or who."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.corpora.lavdf import sources
from dataset.corpora.table import (
    SAME_SPLIT,
    SPLITS,
    Corpus,
    Notes,
    by_name,
    clip_table,
    media_files,
    name_of,
    need_columns,
    need_folder,
    need_values,
    read_json,
    walk,
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
    notes = Notes()
    files = media_files(root, root)
    metadata = [root / file for file in walk(root, root) if file.rpartition("/")[2] in METADATA]
    metadata.sort(key=lambda path: (path.parent.parts, METADATA.index(path.name)))
    labelled = pd.concat([_read_one(path, root) for path in metadata], ignore_index=True)
    labelled["file"] = _place(labelled, files, notes)
    table = _agree(labelled, notes)
    without = sorted(set(files) - set(table["file"]))
    folders = ", ".join(sorted({file.rpartition("/")[0] or "." for file in without})[:5])
    notes.add(len(without), f"clips have no label ({folders}): no metadata file names them")
    unlabelled = pd.DataFrame({"file": without, "method": "", "set": ""}, dtype=object)
    table = pd.concat([table, unlabelled], ignore_index=True)
    real = table["real"].astype("Int64")
    stream = real.where(real == 1)  # of a fake clip's streams, nothing is known
    table = table.assign(v_label=stream, a_label=stream, m_label=real)
    splits = zip(table["file"], table["set"].fillna(""), strict=True)
    table["split"] = [_split(file, str(told), root.name) for file, told in splits]
    table["method"] = table["method"].where(table["method"] != "", (real == 1).map({True: "real"}).fillna(""))
    table["subject"] = _sources(table)
    is_preview = (root / "dataset.json").is_file()
    return clip_table(table, root, notes, {"real": 1_131, "fake": 4_119} if is_preview else COUNTS)


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


def _place(table: pd.DataFrame, files: list[str], notes: Notes) -> pd.Series:
    """Where each clip lies: beside its metadata, in a folder below, or not at all."""
    beside = table["folder"] + table["name"]
    found = beside.where(beside.isin(set(files)))
    for folder, rows in table[found.isna()].groupby("folder"):
        below = by_name([file for file in files if file.startswith(folder)], Notes())
        found.update(rows["name"].map(name_of).map(below))
    notes.add(found.isna(), "clips that the metadata names are not on disk")
    return found.fillna(beside)


def _agree(table: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """One row for clips that metadata.json and labels.csv both name, as in the test."""
    labels = table.dropna(subset="real").groupby("file")["real"]
    conflict = labels.nunique() > 1
    example = next(iter(conflict[conflict].index), "")
    notes.add(conflict, f"clips are real in one file and fake in another (such as {example}): not labelled")
    in_two = table.groupby("file")["source"].transform("nunique") > 1
    once = table[~table["file"].duplicated() | ~in_two]
    return once.assign(real=once["file"].map(labels.first().where(~conflict)).astype("Int64"))


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
