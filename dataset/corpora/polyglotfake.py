"""PolyGlotFake: names tell all but the speaker; JSON files say who is in the real clips."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.corpora.table import Corpus, Notes, by_name, clip_table, media_files, need_folder, read_json
from utils.errors import DataError

COUNTS = {"real": 766, "fake": 14_472}
REAL = re.compile(r"[a-z]{2,3}_\d+$")
FAKE = re.compile(r"(?P<source>[a-z]{2,3}_\d+)_to_[a-z]{2,3}_(?P<tts>.+)$")
GENDERS = {"male": "men", "female": "women"}


def read(root: Path) -> pd.DataFrame:
    """Read the clips below the root by their names, and the real ones' JSON files.

    Every fake has a made voice in another language and lips made for it.

    Raises
    ------
    DataError
        If there is no clip, or a JSON file cannot be read.
    """
    need_folder(root, "clips", "**/*.mp4", "**/*.json")
    notes = Notes()
    files = sorted(by_name(media_files(root, root), notes).values())
    genders = _genders(root)
    rows: list[tuple[str, int | None, str | None, str]] = []
    odd = []
    for file in files:
        stem, folders = Path(file).stem.lower(), file.lower().split("/")
        if match := FAKE.fullmatch(stem):
            rows.append((file, 0, match["tts"], match["source"]))
        elif REAL.fullmatch(stem):
            rows.append((file, 1, None, stem))
        else:
            odd.append(file)
            rows.append((file, 1 if "real" in folders else 0 if "fake" in folders else None, None, ""))
    notes.add(odd, "clips have names of no known form (such as {}); their folder labels them")
    absent = sorted(genders.keys() - {Path(file).stem.lower() for file in files})
    notes.add(absent, "clips that real_json_files names are not on disk")
    rows += [(f"{stem}.mp4", 1, None, stem) for stem in absent]
    table = pd.DataFrame(rows, columns=["file", "v_label", "method", "subject"])
    return clip_table(table.assign(a_label=table["v_label"], gender=table["subject"].map(genders)), root, notes, COUNTS)


def _genders(root: Path) -> dict[str, str]:
    """Real clip, without its extension → the gender of the one person in it, or empty."""
    known = {}
    for path in sorted(root.glob("**/real_json_files/[!.]*.json")):
        content = read_json(path)
        videos: Any = content.get("videos") if isinstance(content, dict) else content
        if not isinstance(videos, list) or not all(isinstance(video, dict) for video in videos):
            raise DataError(f"{path}: has no list `videos`")
        for number, video in enumerate(videos, start=1):
            if not video.get("filename"):
                raise DataError(f"{path}: video {number} has no filename")
            people = video.get("characters")
            alone = people[0] if isinstance(people, list) and len(people) == 1 else {}
            gender = alone.get("sex") if isinstance(alone, dict) else ""
            known[Path(str(video["filename"])).stem.lower()] = GENDERS.get(str(gender).lower(), "")
    return known


CORPUS = Corpus(
    "PolyGlotFake",
    read,
    "the real clip that each one comes from; its speakers are not named, so one may be on both sides of folds by it",
    COUNTS,
    full_frames=True,
)
