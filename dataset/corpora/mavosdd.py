"""MAVOS-DD: a Hugging Face data set on disk, an Arrow stream beside the clips."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dataset.corpora.table import Corpus, Notes, clip_table, methods, need_columns, need_folder, read_json, with_slashes
from utils.errors import DataError

COUNTS = {"train": 19_770, "val": 3_295, "test": 37_299}
COLUMNS = ("video_path", "label", "split", "generative_method", "audio_generative_method")
OPEN_SET = {"open_set_language": "language", "open_set_model": "model"}
# Of a data set that was saved split by split.
OF_SPLITS = tuple(f"{split}/[!.]*.arrow" for split in ("train", "validation", "test"))
YOUTUBE = r"([\w-]{11})(?:_\d+p)?_\d+_\d+(?:_\d+fps)?(?:\.\w+)*$"


def read(root: Path) -> pd.DataFrame:
    """Read the Arrow files that ``state.json`` names, or all in the root.

    Raises
    ------
    DataError
        If there is none, one cannot be read, or a column is missing.
    """
    notes = Notes()
    table = _read_all(root, notes)
    need_columns(table, COLUMNS, root / "data-*.arrow")
    nameless = ~table["video_path"].map(lambda name: isinstance(name, str) and name != "")
    if nameless.any():
        raise DataError(f"{root / 'data-*.arrow'}: row {nameless.idxmax() + 1} has no video_path")
    label = table["label"].astype(str).str.lower().map({"real": 1, "fake": 0}).astype("Int64")
    generator, voice = (table[name].fillna("real").astype(str) for name in COLUMNS[3:])
    video = (generator.str.lower() == "real").astype("Int64")
    audio = (voice.str.lower() == "real").astype("Int64")
    for name, of_method in (("video_fake", video), ("audio_fake", audio)):  # told in newer releases only
        if name in table:
            told = table[name].map({True: 0, False: 1}).astype("Int64")
            notes.add(told != of_method, f"clips have {name} against their method; {name} counts")
            of_method.update(told)
    odd = ((video & audio) != label).fillna(False)
    notes.add(odd, "clips have a label against their methods: their streams are not labelled")
    method = generator.where(generator.str.lower() != "real", "")
    voice = voice.where(voice.str.lower() != "real", "")
    file = with_slashes(table["video_path"])
    clips = pd.DataFrame(
        {
            "file": file,
            "subject": _sources(file),
            "v_label": video.mask(odd),
            "a_label": audio.mask(odd),
            "m_label": label,
            "method": methods(method, voice).replace("", "real"),
            "split": table["split"].fillna("").astype(str),
        }
    )
    return clip_table(clips, root, notes, COUNTS)


def open_set(root: Path) -> pd.DataFrame | None:
    """Whether language and method of each clip are in the test alone, as the owners say: `language`, `model` a file.

    None where the Arrow files, or these columns of theirs, are not there.
    """
    is_there = any(next(root.glob(pattern), None) for pattern in ("[!.]*.arrow", *OF_SPLITS))
    table = _read_all(root, Notes()) if is_there else pd.DataFrame()
    if not {"video_path", *OPEN_SET} <= set(table):
        return None
    told = table[[*OPEN_SET]].fillna(False).astype(bool).rename(columns=OPEN_SET)
    told = told.set_index(with_slashes(table["video_path"].astype(str)))
    return told[~told.index.duplicated()]


def _read_all(root: Path, notes: Notes) -> pd.DataFrame:
    """The rows of all Arrow files."""
    need_folder(root, "data-*.arrow", "[!.]*.arrow", *OF_SPLITS)
    state = root / "state.json"
    content = read_json(state) if state.is_file() else {}
    listed = content.get("_data_files") if isinstance(content, dict) else None
    entries = listed if isinstance(listed, list) else []
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)]
    named = [root / name for name in names if isinstance(name, str)]
    files = [path for path in named if path.is_file()]
    if named and len(files) < len(named):
        notes.append(f"{len(named) - len(files)} of the {len(named)} Arrow files that state.json names are not there")
    files = (
        files
        or sorted(root.glob("[!.]*.arrow"))
        or sorted(path for pattern in OF_SPLITS for path in root.glob(pattern))
    )
    table = pd.concat([_read_arrow(path) for path in files], ignore_index=True)
    if table.empty:
        raise DataError(f"{files[0]}: holds no row")
    return table


def _read_arrow(path: Path) -> pd.DataFrame:
    try:
        with pa.memory_map(str(path)) as source:
            try:
                return pa.ipc.open_stream(source).read_all().to_pandas()
            except pa.ArrowInvalid:  # `datasets` writes streams; other tools write files
                return pa.ipc.open_file(source).read_all().to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not an Arrow file that can be read ({str(error).splitlines()[0]})") from error


def _sources(file: pd.Series) -> pd.Series:
    """The video of YouTube that drives each clip, which names end with; where they do not, the clip itself."""
    found = file.str.rpartition("/")[2].map(lambda name: re.search(YOUTUBE, name))
    return pd.Series([match[1] if match else "" for match in found], file.index, dtype=object)


CORPUS = Corpus(
    "MAVOS-DD",
    read,
    "the driving video of each clip where its name tells one, else the clip itself; people are not named, so one may "
    "be on both sides of the split",
    COUNTS,
)
