"""Scores of other detectors, from a csv with a clip a row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from dataset.protocols.base import name_key
from scripts.suite.plan import Detector
from utils.errors import DataError
from utils.files import read_csv


def read_others(detector: Detector, files: Iterable[str]) -> tuple[dict[str, float], float]:
    """The scores of these clips, the higher the likelier real, and the threshold of the same.

    Clips are found by their path in the corpus, else by the end of it, else by their name where that is the only one.

    Parameters
    ----------
    detector
        Its file, column, polarity and threshold.
    files
        Paths of clips as the corpus has them. Those that it does not name are left out.

    Returns
    -------
    tuple of dict and float
        As in the file, with the other sign where a high score means fake; NaN where it is no finite number. A clip is
        real from the threshold on.

    Raises
    ------
    DataError
        If the file cannot be read, a score is no number, a clip is there twice, or it has none of the clips.
    """
    path = Path(detector.scores or "")
    table = read_csv(path)
    for name in ("file", detector.column):
        if name not in table:
            raise DataError(f"{path}: column {name} is missing")
    value = pd.to_numeric(table[detector.column], errors="coerce")
    wrong = value.isna() & ~table[detector.column].str.lower().isin(["", "nan"])
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(f"{path} line {line}: {detector.column} is {table.at[line, detector.column]!r}, not a number")
    again = table["file"].duplicated()
    if again.any():
        raise DataError(f"{path} line {again.idxmax()}: {table.at[again.idxmax(), 'file']!r} is there twice")
    sign = 1 if _polarity(detector, table) == "real" else -1
    real = sign * value.where(np.isfinite(value)).to_numpy(float)
    found = _match(list(files), table["file"].tolist())
    if not found:
        raise DataError(f"{path}: has none of the clips of this test (its first is {table['file'].iloc[0]!r})")
    # From its threshold on a clip is of the class of high scores: at the very threshold it is fake if that is fake.
    threshold = detector.threshold if sign == 1 else float(np.nextafter(-detector.threshold, np.inf))
    return {file: real[row] for file, row in found.items()}, threshold


def _polarity(detector: Detector, table: pd.DataFrame) -> str:
    """What a high score means: as asked for, else as the csv says."""
    told = sorted(set(table["polarity"].str.lower())) if "polarity" in table else []
    polarity = detector.polarity or (told[0] if len(told) == 1 else None)
    if polarity not in ("real", "fake"):
        found = f"its column polarity holds {', '.join(told)}" if told else "it has no column polarity"
        raise DataError(f"{detector.scores}: {found}; say which class has the higher scores, real or fake")
    return polarity


def _match(files: list[str], names: list[str]) -> dict[str, int]:
    """File of the corpus → row of the csv."""
    for key in (str, name_key, lambda file: file.rpartition("/")[2]):
        ours, theirs = pd.Series([key(file) for file in files]), pd.Series([key(name) for name in names])
        rows = {name: row for row, name in theirs.items()}
        hit = ours.isin(rows)
        clear = not ours[hit].duplicated().any() and not theirs.duplicated().any()
        if hit.any() and (key is str or clear):
            return {file: rows[name] for file, name in zip(files, ours, strict=True) if name in rows}
    return {}
