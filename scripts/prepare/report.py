"""Every row of a clip table against the disk: what a clip is, and whether it can be used."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.cache import CachedClip
from dataset.check import BadClip, ClipFacts, inspect_clip, stamp
from dataset.media import wav_beside
from dataset.prepared import CACHE, FOLDER, STATE_NAME, State
from utils.files import write_atomic
from utils.parallel import in_threads

log = logging.getLogger(__name__)

MEDIA = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".wav"}
FROM_TABLE = [
    "line", "file", "subject", "category", "v_label", "a_label", "m_label", "method", "race", "gender", "split",
]  # fmt: skip
COLUMNS = [
    *FROM_TABLE[:2], "state", "reason", "notes", "same_file_as", *FROM_TABLE[2:], "faces", "framing",
    "frames", "fps", "constant_rate", "width", "height", "video_codec", "video_seconds", "audio", "sample_rate",
    "channels", "audio_codec", "audio_seconds", "seconds_apart", "leading_silence", "frames_25", "bytes",
]  # fmt: skip
SECONDS = ["video_seconds", "audio_seconds", "leading_silence"]
WHOLE_NUMBERS = ["faces", "frames", "width", "height", "sample_rate", "channels", "frames_25", "bytes", "same_file_as"]


def inspect_all(clips: pd.DataFrame, folder: Path, workers: int | None = None) -> pd.DataFrame:
    """Inspect the clips that are new or changed, in threads, and write ``report.csv``.

    The report has a row for each row of `clips`, in their order, with its index, and the columns ``COLUMNS``: those of
    the clip table and of :class:`dataset.check.ClipFacts`, ``seconds_apart`` (audio less video) and ``same_file_as``
    (the line that names the same file before this one).
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
    first = clips["path"].map(once.set_index("path")["file"])  # that names the same path
    report = _table(clips, [facts[file] for file in first])
    _write(report, folder)
    return report


def _table(clips: pd.DataFrame, facts: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(facts, index=clips.index).reindex(columns=COLUMNS)  # a missing clip has few of them
    table[SECONDS] = table[SECONDS].astype(float).round(3)
    table["seconds_apart"] = (table["audio_seconds"] - table["video_seconds"]).round(3)
    table["notes"] = ["; ".join(row["notes"]) for row in facts]
    first_line = clips.groupby("path")["line"].transform("min")
    table["same_file_as"] = first_line.where(first_line != clips["line"])
    table[FROM_TABLE] = clips[FROM_TABLE]
    return table.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))


def _write(report: pd.DataFrame, folder: Path) -> None:
    write_atomic(folder / "report.csv", report.to_csv(index=False, lineterminator="\n"))


def add_faces(
    report: pd.DataFrame, folder: Path, cached: Mapping[str, CachedClip], bad: Sequence[BadClip]
) -> pd.DataFrame:
    """Add what the face finder said to a report, to ``report.csv`` and to the state.

    `cached` are the clips whose face was cut out, by file; `bad` those out of which none could be cut, which count as
    broken. Returns the report with ``faces`` (people to be seen; 0: none) and ``framing`` ("face" or "crop").
    """
    state = State(folder / STATE_NAME)
    people = {file: 0 if "face" in reason else None for file, reason in bad}  # none, or unknown
    for file, reason in bad:
        seen, facts = state.findings[file]
        state.add(file, seen, facts | {"state": "broken", "reason": reason, "faces": people[file]})
    report = report.copy()
    reasons = report["file"].map(dict(bad))
    report.loc[reasons.notna(), "state"] = "broken"
    report["reason"] = reasons.fillna(report["reason"])
    found = {file: clip.entry.faces for file, clip in cached.items()}
    people |= {file: faces.people for file, faces in found.items()}
    report["faces"] = report["file"].map(people).astype("Int64").fillna(report["faces"])
    report["framing"] = report["file"].map({f: "crop" if faces.is_crop else "face" for f, faces in found.items()})
    report["notes"] = [
        "; ".join(filter(None, [notes, *(found[file].notes if file in found else [])]))
        for file, notes in zip(report["file"], report["notes"], strict=True)
    ]
    _write(report, folder)
    return report


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
