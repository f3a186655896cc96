"""LAV-DF: one JSON list, two booleans a clip; nobody is named, so clips are grouped by the real one they come from."""

from pathlib import Path
from typing import Any

import pandas as pd

from dataset.corpora.metadata import need_folder, read_rows
from dataset.corpora.table import Corpus, clip_table
from utils.errors import DataError

FIELDS = ("file", "original", "modify_video", "modify_audio", "split", "duration", "fake_periods")
COUNTS = {
    "all": 136_304, "real": 36_431, "fake": 99_873, "B": 33_170, "C": 33_543, "D": 33_160,
    "train real": 20_728, "train fake": 57_975, "val real": 8_436, "val fake": 23_065, "test real": 7_267,
    "test fake": 18_833,
}  # fmt: skip
REAL = {"false": 1, "0": 1, "true": 0, "1": 0}  # by whether a stream was modified


def read(root: Path) -> pd.DataFrame:
    """Read ``metadata.min.json``, or ``metadata.json`` where it is missing."""
    need_folder(root, "metadata.min.json", "metadata.min.json", "metadata.json")
    path = root / "metadata.min.json"
    table = read_rows(path if path.is_file() else root / "metadata.json", FIELDS)
    for label, field in (("v_label", "modify_video"), ("a_label", "modify_audio")):
        if table[field].isna().all():
            raise DataError(f"{path}: no entry has {field}")
        table[label] = table[field].astype(str).str.lower().map(REAL).astype("Int64")
    table["split"] = table["split"].fillna(table["file"].str.partition("/")[0])
    table["subject"] = sources(table["file"], table["original"])
    late = sum(map(_ends_late, table["duration"], table["fake_periods"]))
    notes = [f"clips whose fake periods go past their end: {late:,}"] if late else []
    return clip_table(table, root, notes, COUNTS)


def sources(file: pd.Series, original: pd.Series) -> pd.Series:
    """Follow ``original`` to the clip at the root of each chain, which may be a clip that the corpus lacks."""
    parents = {
        name: parent
        for name, parent in zip(file, original, strict=True)
        if isinstance(parent, str) and parent and parent != name
    }
    roots: dict[str, str] = {}
    for name in file:
        chain = [name]
        while chain[-1] not in roots and chain[-1] in parents and parents[chain[-1]] not in chain:
            chain.append(parents[chain[-1]])
        roots |= dict.fromkeys(chain, roots.get(chain[-1], chain[-1]))
    return file.map(roots)


def _ends_late(duration: Any, periods: Any) -> bool:
    """Whether one of a clip's fake periods, lists that end with a time, goes past its end."""
    periods = periods if isinstance(periods, list) else []
    ends = [period[-1] for period in periods if isinstance(period, list) and period]
    return any(end > duration for end in ends if isinstance(end, int | float) and isinstance(duration, int | float))


CORPUS = Corpus(
    read,
    "the real clip that each one comes from; people are not named, so one person may be on both sides of folds by it",
    COUNTS,
)
