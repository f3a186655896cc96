"""DFDC, whole, its Kaggle sample and its preview: a clip is real or fake; nothing tells which stream, how or who."""

import re
from pathlib import Path

import pandas as pd

from dataset.corpora.lavdf import sources
from dataset.corpora.metadata import by_name, media_files, name_of, need, need_folder, read_json, walk
from dataset.corpora.table import SAME_SPLIT, SPLITS, Corpus, Notes, clip_table
from utils.errors import DataError
from utils.files import read_csv

COUNTS = {
    "all": 128_154, "real": 23_654, "fake": 104_500, "train real": 19_154, "train fake": 100_000, "val": 4_000,
    "test real": 2_500, "test fake": 2_500,
}  # fmt: skip
PREVIEW = {"real": 1_131, "fake": 4_119}
METADATA = ("metadata.json", "labels.csv", "dataset.json")
# In all of its files 1 is fake.
REAL = {"real": 1, "fake": 0, "0": 1, "1": 0, "false": 1, "true": 0, "0.0": 1, "1.0": 0}


def read(root: Path) -> pd.DataFrame:
    """Read every ``metadata.json``, ``labels.csv`` and ``dataset.json`` below the root, and what lies there unlabelled.

    A real clip is real in both streams. Of a fake one neither stream is known.
    """
    need_folder(root, "metadata.json or labels.csv", *(f"**/{name}" for name in METADATA))
    notes = Notes()
    files = media_files(root, root)
    metadata = [root / file for file in walk(root, root) if file.rpartition("/")[2] in METADATA]
    metadata.sort(key=lambda path: (path.parent.parts, METADATA.index(path.name)))
    table = pd.concat([_read_one(path, root) for path in metadata], ignore_index=True)
    table["file"] = _place(table, files, notes)
    table = _agree(table, notes)
    without = sorted(set(files) - set(table["file"]))
    folders = ", ".join(sorted({file.rpartition("/")[0] or "." for file in without})[:5])
    notes.add(without, f"clips have no label ({folders}): no metadata file names them")
    table = pd.concat([table, pd.DataFrame({"file": without}, dtype=object)], ignore_index=True)
    table["m_label"] = table["real"].astype("Int64")
    table["v_label"] = table["a_label"] = table["m_label"].where(table["m_label"] == 1)
    sets = table["set"].fillna("").astype(str)
    table["split"] = [_split(file, name, root.name) for file, name in zip(table["file"], sets, strict=True)]
    folder = table["file"].str.rpartition("/")[0]
    original = (folder + "/" + table["original"].astype(str)).where(table["original"].notna(), None)
    table["subject"] = sources(table["file"], original.str.removeprefix("/"))
    return clip_table(table, root, notes, PREVIEW if (root / "dataset.json").is_file() else COUNTS)


def _read_one(path: Path, root: Path) -> pd.DataFrame:
    """Rows of one file: ``folder`` of the file, ``name``, ``real``, ``original``, ``set``, ``method``."""
    if path.suffix == ".csv":
        labels = need(read_csv(path), path, ("filename", "label"), filled=("filename",))
        rows = [(name, label, None, None) for name, label in zip(labels["filename"], labels["label"], strict=True)]
    else:
        entries = read_json(path)
        if not entries or not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
            raise DataError(f"{path}: not an object with an entry for each file")
        rows = [
            (name, one.get("label", one.get("is_fake")), one.get("original"), one.get("set") or one.get("split"))
            for name, one in entries.items()
        ]
    table = pd.DataFrame(rows, columns=["name", "label", "original", "set"], dtype=object)
    table["name"] = table["name"].where(table["name"].str.contains(r"\.\w+$"), table["name"] + ".mp4")
    table["real"] = table["label"].astype(str).str.strip().str.lower().map(REAL).astype("Int64")
    # Only the preview's paths tell a method; the parts of the whole are no methods.
    table["method"] = table["name"].str.extract(r"^(method_\w+)/")[0]
    folder = "" if path.parent == root else f"{path.parent.relative_to(root).as_posix()}/"
    return table.assign(folder=folder, source=path.relative_to(root).as_posix())


def _place(table: pd.DataFrame, files: list[str], notes: Notes) -> pd.Series:
    """Where each clip lies: beside its metadata, in a folder below, or not at all."""
    beside = table["folder"] + table["name"]
    places = beside.where(beside.isin(set(files)))
    for folder, rows in table[places.isna()].groupby("folder"):
        below = by_name([file for file in files if file.startswith(folder)], Notes())
        places.update(rows["name"].map(name_of).map(below))
    notes.add(places.isna(), "clips that the metadata names are not on disk")
    return places.fillna(beside)


def _agree(table: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """One row for clips that metadata.json and labels.csv both name, as in the test."""
    labels = table.dropna(subset="real").groupby("file")["real"]
    conflict = labels.nunique() > 1
    text = "clips are real in one file and fake in another (such as {}): not labelled"
    notes.add(list(conflict.index[conflict]), text)
    in_two = table.groupby("file")["source"].transform("nunique") > 1
    once = table[~table["file"].duplicated() | ~in_two]
    return once.assign(real=once["file"].map(labels.first().where(~conflict)).astype("Int64"))


def _split(file: str, given: str, root: str) -> str:
    """The split of a clip: by its folder, else, as in the preview, by its entry, else by the root, if it is a split."""
    if folder := re.search(r"(?:^|/)(?:dfdc_)?(train|val|test)[^/]*/", file.lower()):
        return folder[1]
    return given or (root if root in SAME_SPLIT or root in SPLITS else "")


CORPUS = Corpus(
    read,
    "the real clip that each one comes from (in the tests, each clip by itself); its 960 people are not named, so one "
    "person may be on both sides of folds by it",
    COUNTS,
    full_frames=True,
)
