"""DeepSpeak v1.1 and v2: three csv files; the clips are found by their names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dataset.corpora.table import (
    BOTH,
    Corpus,
    by_name,
    clip_table,
    media_files,
    missing_note,
    name_of,
    need_columns,
    need_folder,
    need_values,
)
from utils.files import read_csv

FAKE, REAL, SPLIT = "annotations-fake.csv", "annotations-real.csv", "annotations-split-def.csv"
FAKES = {"recording-target-ai-generated": 6_796, "audio-config": 7_209}  # the column that tells a version, its fakes
REALS = {"recording-target-ai-generated": 6_667, "audio-config": 9_376}


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
    notes: list[str] = []
    published: dict[str, int] = {"real": 0, "fake": 0}
    parts = [_read_version(folder, root, notes, published) for folder in versions]
    return clip_table(pd.concat(parts, ignore_index=True), root, notes, published if published["fake"] else {})


def _read_version(folder: Path, root: Path, notes: list[str], published: dict[str, int]) -> pd.DataFrame:
    places = by_name(media_files(folder, root), notes)
    parts = []
    if (folder / FAKE).is_file():
        parts.append(_fakes(folder / FAKE, notes, published))
    if (folder / REAL).is_file():
        reals = read_csv(folder / REAL)
        need_columns(reals, ("video-file", "identity"), folder / REAL)
        need_values(reals, ("video-file", "identity"), folder / REAL)
        rows = {"name": reals["video-file"], "subject": reals["identity"], "v_label": 1, "a_label": 1, "method": "real"}
        parts.append(pd.DataFrame(rows).rename_axis("line").reset_index())
    table = pd.concat(parts, ignore_index=True)
    table["file"] = table["name"].map(name_of).map(places)
    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    missing_note(int(table["file"].isna().sum()), "the annotations", notes)
    table["file"] = table["file"].fillna(prefix + table["name"])
    unnamed = _unnamed(sorted(set(places.values()) - set(table["file"])), notes)
    table = pd.concat([table, unnamed], ignore_index=True).fillna({"target1": "", "subject": ""})
    table["split"] = _splits(table, folder, notes)
    if prefix:  # identities are numbered anew in each version
        table["subject"] = (prefix + table["subject"]).where(table["subject"] != "", "")
        table["target1"] = (prefix + table["target1"]).where(table["target1"] != "", "")
    return table


def _fakes(path: Path, notes: list[str], published: dict[str, int]) -> pd.DataFrame:
    fakes = read_csv(path)
    version = next((column for column in FAKES if column in fakes), "audio-config")
    need_columns(fakes, ("video-file", "engine", "identity-source", "identity-target", version), path)
    need_values(fakes, ("video-file", "identity-target"), path)
    published["fake"] += FAKES[version]
    published["real"] += REALS[version]
    name, told = fakes["video-file"], fakes[version]
    if version == "audio-config":
        voice = told.where(told.str.lower() != "real", "")
        # The csv calls the voice of every hellomeme clip real; the names of 826 say otherwise.
        spoken = name.str.extract(r"-([A-Za-z]+)\.\w+$")[0].fillna("")
        doubtful = (fakes["engine"] == "hellomeme") & (told.str.lower() == "real") & ~spoken.isin(["", "real"])
        if doubtful.any():
            notes.append(
                f"{doubtful.sum():,} hellomeme clips have a real voice by the csv and a made one by their names: "
                "their audio is not labelled"
            )
        audio = (voice == "").astype("Int64").mask(doubtful)
    else:
        voice = pd.Series("", fakes.index)
        audio = (told.str.lower() != "true").astype("Int64")
    audio = audio.mask(told == "")
    source, target = fakes["identity-source"], fakes["identity-target"]
    rows = {
        "name": name,
        "subject": target,
        "target1": source.where(source != target, ""),
        "v_label": 0,
        "a_label": audio,
        "method": (fakes["engine"] + BOTH + voice).str.rstrip(BOTH),
    }
    return pd.DataFrame(rows).rename_axis("line").reset_index()


def _unnamed(files: list[str], notes: list[str]) -> pd.DataFrame:
    """Clips that no annotation names: real or fake by their folder; names of real ones begin with their identity."""
    folders = pd.Series([f"/{file.lower()}".split("/")[:-1] for file in files], dtype=object)
    kinds = [next((kind for kind in ("real", "fake") if kind in names), "") for names in folders]
    if files:
        notes.append(f"{len(files):,} clips are in no annotation (such as {files[0]}); their folder labels them")
    real = pd.array([{"real": 1, "fake": 0}.get(kind) for kind in kinds], dtype="Int64")
    subject = pd.Series(files, dtype=str).str.extract(r"(?:^|/)(\d+)-\d+\.\w+$")[0].fillna("")
    rows = {"file": files, "subject": subject, "v_label": real, "a_label": pd.Series(real).where(pd.Series(real) == 1)}
    return pd.DataFrame(rows).assign(method=["real" if kind == "real" else "" for kind in kinds])


def _splits(table: pd.DataFrame, folder: Path, notes: list[str]) -> pd.Series:
    """By identity, as the owners say; where they do not, by folder."""
    by_folder = table["file"].str.extract(r"(?:^|/)(train|test)/")[0].fillna("")
    if not (folder / SPLIT).is_file():
        notes.append(f"{SPLIT} is missing: clips are split by their folders")
        return by_folder
    given = read_csv(folder / SPLIT)
    need_columns(given, ("identity", "split"), folder / SPLIT)
    of = dict(zip(given["identity"], given["split"].str.lower(), strict=True))
    split = table["subject"].map(of)
    across = table["target1"].map(of).fillna(split) != split
    if (across & split.notna()).any():
        notes.append(f"{(across & split.notna()).sum():,} fakes have their source on the other side of the split")
    return split.fillna(by_folder)


CORPUS = Corpus("DeepSpeak", read, "people (the one on screen)", full_frames=True)
