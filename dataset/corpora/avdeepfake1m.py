"""AV-Deepfake1M: a JSON list a split, ``modify_type`` a clip; the test has no labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataset.corpora.table import (
    Corpus,
    Notes,
    clip_table,
    media_files,
    methods,
    need_folder,
    read_json,
    read_rows,
)
from utils.errors import DataError

FIELDS = ("file", "modify_type", "audio_model", "video_model")
STREAMS = {"real": (1, 1), "audio_modified": (1, 0), "visual_modified": (0, 1), "both_modified": (0, 0)}
OF_NAME = {
    "real": "real",
    "real_video_fake_audio": "audio_modified",
    "fake_video_real_audio": "visual_modified",
    "fake_video_fake_audio": "both_modified",
    "fake": "visual_modified",  # of the silent videos
}
COUNTS = {
    "all": 1_146_760, "train real": 186_666, "train fake": 559_514, "val real": 14_235, "val fake": 43_105,
    "test": 343_240,
}  # fmt: skip


def read(root: Path) -> pd.DataFrame:
    """Read the metadata of AV-Deepfake1M; see :func:`read_splits`."""
    return read_splits(root, {"train": "train", "val": "val", "test": "test"}, COUNTS, default_video="TalkLip")


def read_splits(
    root: Path, splits: Mapping[str, str], published: Mapping[str, int], default_video: str
) -> pd.DataFrame:
    """Read every split whose metadata, or whose clips, are there.

    Parameters
    ----------
    root
        The folder that holds ``train_metadata.json``.
    splits
        Folder → split, whose clips are labelled unless it is a test.
    published
        Numbers of clips.
    default_video
        How the video was faked where no ``video_model`` is named.

    Raises
    ------
    DataError
        If there is neither metadata nor a clip.
    """
    need_folder(root, "train_metadata.json", "*_metadata.json", "*_files.txt", *splits)
    notes = Notes()
    parts = []
    for folder, split in splits.items():
        part = _test_clips(root, folder, notes) if split == "test" else _labelled(root, folder, notes)
        if len(part):
            parts.append(part.assign(split=split))
    if not parts:
        raise DataError(f"{root}: holds neither metadata nor clips of {', '.join(splits)}")
    table = pd.concat(parts, ignore_index=True)
    table["subject"] = table["name"].map(_subject)
    kind = table["modify_type"].where(table["modify_type"].isna(), table["modify_type"].astype(str))
    kind = kind.str.lower().str.replace("-", "_")
    unknown = kind.notna() & ~kind.isin(list(STREAMS))
    example = next(iter(kind[unknown]), "")
    notes.add(unknown, f"clips have an unknown modify_type ({example}): not labelled")
    for position, label in enumerate(("v_label", "a_label")):
        table[label] = kind.map({name: streams[position] for name, streams in STREAMS.items()}).astype("Int64")
    is_fake = {label: (table[label] == 0).fillna(False) for label in ("v_label", "a_label")}
    video = table["video_model"].fillna(default_video).astype(str).where(is_fake["v_label"], "")
    audio = table["audio_model"].fillna("").astype(str).where(is_fake["a_label"], "")
    is_real = ((table["v_label"] == 1) & (table["a_label"] == 1)).fillna(False)
    table["method"] = methods(video, audio).where(~is_real, "real")
    return clip_table(table, root, notes, published)


def _labelled(root: Path, folder: str, notes: Notes) -> pd.DataFrame:
    """Rows of a split with labels: from its list, else from the JSON of each clip, and the names of those without."""
    path = root / f"{folder}_metadata.json"
    table = read_rows(path, FIELDS) if path.is_file() else _single_files(root, folder, notes)
    table["name"] = table["file"].str.removeprefix(f"{folder}/")
    table["file"] = f"{folder}/" + table["name"]
    return table


def _single_files(root: Path, folder: str, notes: Notes) -> pd.DataFrame:
    singles = sorted((root / f"{folder}_metadata").rglob("[!.]*.json")) or sorted((root / folder).rglob("[!.]*.json"))
    rows = [read_json(path, FIELDS) for path in singles]
    for path, row in zip(singles, rows, strict=True):
        if not isinstance(row, tuple) or not isinstance(row[0], str):
            raise DataError(f"{path}: has no file")
    if singles:
        notes.append(f"{folder}_metadata.json is missing: {len(singles):,} JSON files of single clips are read instead")
    known = pd.DataFrame(rows, columns=list(FIELDS), dtype=object)
    described = set(known["file"].str.removeprefix(f"{folder}/"))
    files = [name.removeprefix(f"{folder}/") for name in media_files(root / folder, root)]
    files = [name for name in files if name not in described]
    if files:
        notes.append(f"{folder}_metadata.json is missing: {len(files):,} clips are labelled by their names")
    stems = [re.sub(r"_p\d+$", "", Path(name).stem) for name in files]
    kinds = [OF_NAME.get(stem) for stem in stems]
    named = {"file": files, "modify_type": kinds, "audio_model": None, "video_model": None}
    return pd.concat([known, pd.DataFrame(named, dtype=object)], ignore_index=True)


def _test_clips(root: Path, folder: str, notes: Notes) -> pd.DataFrame:
    path, present = root / f"{folder}_files.txt", media_files(root / folder, root)
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if path.is_file() else present
    files = [f"{folder}/{line.strip().removeprefix(f'{folder}/')}" for line in lines if line.strip()]
    if files:
        notes.append(f"the labels of {folder} are withheld: its {len(files):,} clips can be scored, not evaluated")
    notes.add(len(set(files) - set(present)), f"clips that {path.name} names are not on disk")
    rows = {"file": files, "name": "", "line": range(1, len(files) + 1)}
    return pd.DataFrame(rows | dict.fromkeys(FIELDS[1:]), dtype=object)


def _subject(name: str) -> str:
    """The person of a clip, or what stands for one: a VoxCeleb2 id, a talk of LRS3, a subject of the silent videos."""
    parts = name.split("/")
    if parts[0] == "silent_videos" and len(parts) > 1:
        return re.sub(r"^(subject_\d+)_.*", r"\1", parts[1])
    return (parts[1] if parts[0] in ("vox_celeb_2", "lrs3") and len(parts) > 1 else parts[0]) if len(parts) > 1 else ""


CORPUS = Corpus("AV-Deepfake1M", read, "people, by their id in VoxCeleb2; train and val share most of them", COUNTS)
