"""AV-Deepfake1M: a JSON list a split, ``modify_type`` a clip; the test has no labels."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataset.corpora.metadata import media_files, need_folder, read_json, read_rows
from dataset.corpora.table import Corpus, Notes, clip_table, methods
from utils.errors import DataError

FIELDS = ("file", "modify_type", "audio_model", "video_model")
VIDEO = {"real": 1, "audio_modified": 1, "visual_modified": 0, "both_modified": 0}
AUDIO = {"real": 1, "audio_modified": 0, "visual_modified": 1, "both_modified": 0}
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
    """Read every split whose metadata, or whose clips, are there; a DataError if there is neither.

    `splits` are the folders, and the split that each holds, whose clips are labelled unless it is a test.
    `default_video` is how the video was faked where no ``video_model`` is named.
    """
    need_folder(root, "train_metadata.json", "*_metadata.json", "*_files.txt", *splits)
    notes = Notes()
    parts = [
        (_test_clips if split == "test" else _labelled)(root, folder, notes).assign(split=split)
        for folder, split in splits.items()
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise DataError(f"{root}: holds neither metadata nor clips of {', '.join(splits)}")
    table = pd.concat(parts, ignore_index=True)
    table["subject"] = table["name"].map(_subject)
    types = table["modify_type"]
    kind = types.where(types.isna(), types.astype(str)).str.lower().str.replace("-", "_")
    notes.add(kind.notna() & ~kind.isin(list(VIDEO)), "clips have an unknown modify_type ({}): not labelled", kind)
    table["v_label"], table["a_label"] = (kind.map(labels).astype("Int64") for labels in (VIDEO, AUDIO))
    video = table["video_model"].fillna(default_video).astype(str)
    audio = table["audio_model"].fillna("").astype(str)
    is_fake = [(table[label] == 0).fillna(False) for label in ("v_label", "a_label")]
    table["method"] = methods(video.where(is_fake[0], ""), audio.where(is_fake[1], ""))
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
    rows = []
    for path in singles:
        row = read_json(path, FIELDS)
        if not isinstance(row, tuple) or not isinstance(row[0], str):
            raise DataError(f"{path}: has no file")
        rows.append(row)
    described = {f"{folder}/{row[0].removeprefix(f'{folder}/')}" for row in rows}
    others = [file for file in media_files(root / folder, root) if file not in described]
    missing = f"{folder}_metadata.json is missing"
    if singles:
        notes.append(f"{missing}: {len(singles):,} JSON files of single clips are read instead")
    if others:
        notes.append(f"{missing}: {len(others):,} clips are labelled by their names")
    rows += [(file, OF_NAME.get(re.sub(r"_p\d+$", "", Path(file).stem)), None, None) for file in others]
    return pd.DataFrame(rows, columns=list(FIELDS), dtype=object)


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
    folder, *rest = name.split("/")
    if not rest:
        return ""
    if folder == "silent_videos":
        return re.sub(r"^(subject_\d+)_.*", r"\1", rest[0])
    return rest[0] if folder in ("vox_celeb_2", "lrs3") else folder


CORPUS = Corpus(read, "people, by their id in VoxCeleb2; train and val share most of them", COUNTS)
