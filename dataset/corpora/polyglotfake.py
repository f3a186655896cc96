"""PolyGlotFake: names tell all but the speaker; JSON files say who is in the real clips."""

from pathlib import Path
from typing import Any

import pandas as pd

from dataset.corpora.metadata import by_name, media_files, need_folder, read_json, real_by_folder, stems
from dataset.corpora.table import Corpus, Notes, clip_table
from utils.errors import DataError

COUNTS = {"real": 766, "fake": 14_472}
NAME = r"^(?P<source>[a-z]{2,3}_\d+)(?:_to_[a-z]{2,3}_(?P<tts>.+))?$"  # the first half alone is a real clip's
GENDERS = {"male": "men", "female": "women"}


def read(root: Path) -> pd.DataFrame:
    """Read the clips below the root by their names, and the real ones' JSON files.

    Every fake has a made voice in another language and lips made for it.
    """
    need_folder(root, "clips", "**/*.mp4", "**/*.json")
    notes = Notes()
    files = pd.Series(sorted(by_name(media_files(root, root), notes).values()), dtype=object)
    names = stems(files).str.extract(NAME)  # source, tts
    is_odd = names["source"].isna()
    notes.add(is_odd, "clips have names of no known form (such as {}); their folder labels them", files)
    real = names["tts"].isna().astype("Int64").mask(is_odd, real_by_folder(files))
    table = pd.DataFrame({"file": files, "v_label": real, "method": names["tts"], "subject": names["source"]})
    genders = _genders(root)
    absent = sorted(genders.keys() - set(stems(files)))
    notes.add(absent, "clips that real_json_files names are not on disk")
    missing = pd.DataFrame({"file": [f"{stem}.mp4" for stem in absent], "v_label": 1, "subject": absent})
    table = pd.concat([table, missing], ignore_index=True)
    table = table.assign(a_label=table["v_label"], gender=table["subject"].map(genders))
    return clip_table(table, root, notes, COUNTS)


def _genders(root: Path) -> dict[str, str]:
    """Real clip, without its extension → the gender of the one person in it, or empty."""
    genders = {}
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
            genders[Path(str(video["filename"])).stem.lower()] = GENDERS.get(str(gender).lower(), "")
    return genders


CORPUS = Corpus(
    read,
    "the real clip that each one comes from; its speakers are not named, so one may be on both sides of folds by it",
    COUNTS,
    full_frames=True,
)
