"""DeepSpeak v1.1 and v2: three csv files; the clips are found by their names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from dataset.corpora.table import (
    Corpus,
    Notes,
    by_name,
    clip_table,
    media_files,
    methods,
    need_columns,
    need_folder,
    need_values,
    place,
)
from utils.files import read_csv

FAKE, REAL, SPLIT = "annotations-fake.csv", "annotations-real.csv", "annotations-split-def.csv"
# The column of the fakes that tells a version, and how many real and fake clips were published with it.
VERSIONS = {
    "recording-target-ai-generated": {"real": 6_667, "fake": 6_796},
    "audio-config": {"real": 9_376, "fake": 7_209},
}


def read(root: Path) -> pd.DataFrame:
    """Read a version, or all those in folders of the root.

    Raises
    ------
    DataError
        If there is no annotation, or one lacks a column.
    """
    need_folder(root, FAKE, FAKE, REAL, f"*/{FAKE}", f"*/{REAL}")
    here = [root] if (root / FAKE).is_file() or (root / REAL).is_file() else []
    versions = here or sorted({path.parent for name in (FAKE, REAL) for path in root.glob(f"*/{name}")})
    notes, published = Notes(), Counter[str]()
    parts = [_read_version(folder, root, notes, published) for folder in versions]
    return clip_table(pd.concat(parts, ignore_index=True), root, notes, published)


def _read_version(folder: Path, root: Path, notes: Notes, published: Counter[str]) -> pd.DataFrame:
    places = by_name(media_files(folder, root), notes)
    parts = []
    if (folder / FAKE).is_file():
        parts.append(_fakes(folder / FAKE, notes, published))
    if (folder / REAL).is_file():
        reals = read_csv(folder / REAL)
        need_columns(reals, ("video-file", "identity"), folder / REAL)
        need_values(reals, ("video-file", "identity"), folder / REAL)
        rows = {"name": reals["video-file"], "subject": reals["identity"], "v_label": 1, "a_label": 1, "method": "real"}
        parts.append(pd.DataFrame(rows).assign(target1="").rename_axis("line").reset_index())
    table = pd.concat(parts, ignore_index=True)
    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    table["file"] = place(table["name"], places, "the annotations", notes, prefix)
    unnamed = _unnamed(sorted(set(places.values()) - set(table["file"])), notes)
    table = pd.concat([table, unnamed], ignore_index=True).fillna({"target1": "", "subject": ""})
    table["split"] = _splits(table, folder, notes)
    for people in ("subject", "target1"):  # numbered anew in each version
        table[people] = (prefix + table[people]).where(table[people] != "", "")
    return table


def _fakes(path: Path, notes: Notes, published: Counter[str]) -> pd.DataFrame:
    fakes = read_csv(path)
    version = next((column for column in VERSIONS if column in fakes), "audio-config")
    need_columns(fakes, ("video-file", "engine", "identity-source", "identity-target", version), path)
    need_values(fakes, ("video-file", "identity-target"), path)
    published.update(VERSIONS[version])
    name, told = fakes["video-file"], fakes[version]
    if version == "audio-config":
        voice = told.where(told.str.lower() != "real", "")
        # The csv calls the voice of every hellomeme clip real; the names of 826 say otherwise.
        spoken = name.str.extract(r"-([A-Za-z]+)\.\w+$")[0].fillna("")
        doubtful = (fakes["engine"] == "hellomeme") & (told.str.lower() == "real") & ~spoken.isin(["", "real"])
        said = "hellomeme clips have a real voice by the csv and a made one by their names: their audio is not labelled"
        notes.add(doubtful, said)
        audio = (voice == "").astype("Int64").mask(doubtful)
    else:
        voice = pd.Series("", fakes.index)
        audio = (told.str.lower() != "true").astype("Int64")
    audio = audio.mask(told == "")
    source, target = fakes["identity-source"], fakes["identity-target"]
    rows = {"name": name, "subject": target, "target1": source.where(source != target, ""), "v_label": 0}
    rows |= {"a_label": audio, "method": methods(fakes["engine"], voice)}
    return pd.DataFrame(rows).rename_axis("line").reset_index()


def _unnamed(files: list[str], notes: Notes) -> pd.DataFrame:
    """Clips that no annotation names: real or fake by their folder; names of real ones begin with their identity."""
    notes.add(len(files), f"clips are in no annotation (such as {''.join(files[:1])}); their folder labels them")
    folders = [f"/{file.lower()}".split("/")[:-1] for file in files]
    real = pd.Series([1 if "real" in names else 0 if "fake" in names else None for names in folders], dtype="Int64")
    is_real = (real == 1).fillna(False)
    subject = pd.Series(files, dtype=str).str.extract(r"(?:^|/)(\d+)-\d+\.\w+$")[0].fillna("")
    rows = {"file": files, "subject": subject, "v_label": real, "a_label": real.where(is_real)}
    return pd.DataFrame(rows).assign(method=is_real.map({True: "real", False: ""}))


def _splits(table: pd.DataFrame, folder: Path, notes: Notes) -> pd.Series:
    """By identity, as the owners say; where they do not, by folder."""
    by_folder = table["file"].str.extract(r"(?:^|/)(train|test)/")[0].fillna("")
    if not (folder / SPLIT).is_file():
        notes.append(f"{SPLIT} is missing: clips are split by their folders")
        return by_folder
    given = read_csv(folder / SPLIT)
    need_columns(given, ("identity", "split"), folder / SPLIT)
    of = dict(zip(given["identity"], given["split"].str.lower(), strict=True))
    split = table["subject"].map(of)
    across = (table["target1"].map(of).fillna(split) != split) & split.notna()
    notes.add(across, "fakes have their source on the other side of the split")
    return split.fillna(by_folder)


CORPUS = Corpus("DeepSpeak", read, "people (the one on screen)", full_frames=True)
