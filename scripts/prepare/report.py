"""Every row of a clip table against the disk: what a clip is, and whether it can be used."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.check import stamp
from dataset.inspection import ClipFacts, inspect_clip
from dataset.media import wav_beside
from dataset.prepared import CACHE, FOLDER, STATE_NAME, State
from utils.files import write_atomic
from utils.parallel import in_threads

log = logging.getLogger(__name__)

MEDIA = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".wav"}
FROM_TABLE = ["line", "file", "subject", "category", "method", "race", "gender"]
COLUMNS = [
    "line", "file", "state", "reason", "notes", "same_file_as", "subject", "category", "method", "race", "gender",
    "frames", "fps", "constant_rate", "width", "height", "video_codec", "video_seconds", "sound", "sample_rate",
    "channels", "audio_codec", "audio_seconds", "seconds_apart", "leading_silence", "frames_25", "bytes",
]  # fmt: skip
SECONDS = ["video_seconds", "audio_seconds", "leading_silence"]
WHOLE_NUMBERS = ["frames", "width", "height", "sample_rate", "channels", "frames_25", "bytes", "same_file_as"]


def inspect_all(clips: pd.DataFrame, folder: Path, workers: int | None = None) -> pd.DataFrame:
    """Inspect the clips that are new or changed, in parallel, and write ``report.csv``.

    Parameters
    ----------
    clips
        The clip table.
    folder
        Where the report and the state are kept.
    workers
        Threads; by default one a core.

    Returns
    -------
    pandas.DataFrame
        A row for each row of `clips`, in their order, with its index, and the columns ``COLUMNS``: those of the
        clip table and of :class:`dataset.inspection.ClipFacts`, ``seconds_apart`` (sound less picture) and
        ``same_file_as`` (the line that names the same file before this one).
    """
    state = State(folder / STATE_NAME)
    once = clips.drop_duplicates("path")
    stamps = dict(zip(once["file"], map(stamp, once["path"]), strict=True))
    facts = {file: state.of(file, seen) if seen else asdict(ClipFacts.missing()) for file, seen in stamps.items()}
    left = once[[facts[file] is None for file in once["file"]]]
    log.info("%d clips, of which %d are known from an earlier check", len(once), len(once) - len(left))
    if len(left):
        state.open()
        found = in_threads(inspect_clip, list(left["path"]), "Checking clips", workers)
        for file, finding in zip(left["file"], found, strict=True):
            facts[file] = asdict(finding)
            state.add(file, stamps[file], facts[file])
    state.close(once["file"])
    report = _table(clips, dict(zip(once["path"], once["file"], strict=True)), facts)
    write_atomic(folder / "report.csv", report.to_csv(index=False, lineterminator="\n"))
    return report


def _table(clips: pd.DataFrame, first_name: dict[str, str], facts: dict[str, dict[str, Any]]) -> pd.DataFrame:
    rows = [facts[first_name[path]] for path in clips["path"]]
    table = pd.DataFrame(rows, index=clips.index).reindex(columns=COLUMNS)  # a missing clip has few of them
    table[SECONDS] = table[SECONDS].astype(float).round(3)
    table["seconds_apart"] = (table["audio_seconds"] - table["video_seconds"]).round(3)
    table["notes"] = ["; ".join(row["notes"]) for row in rows]
    first_line = clips.groupby("path")["line"].transform("min")
    table["same_file_as"] = first_line.where(first_line != clips["line"])
    table[FROM_TABLE] = clips[FROM_TABLE]
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def unnamed_files(root: Path, clips: pd.DataFrame) -> list[str]:
    """Media files in the data folder that no row names, relative to it; wav files beside clips are none."""
    named = {os.path.normpath(path) for path in clips["path"]}
    named |= {str(wav_beside(path)) for path in named}
    found = []
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in (FOLDER, CACHE)]
        folders.sort()
        paths = (os.path.join(folder, name) for name in sorted(files) if Path(name).suffix.lower() in MEDIA)
        found += [os.path.relpath(path, root) for path in paths if os.path.normpath(path) not in named]
    return found
