"""Scores of other detectors, from a csv with a clip a row, put onto the clips of a protocol."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset import FakeAVCelebDataModule
from dataset.protocols import folds_of_corpus
from dataset.protocols.lists import name_key
from utils.errors import DataError
from utils.files import read_csv
from utils.options import clips_of_each

log = logging.getLogger(__name__)

TEXTS = ["file", "subject", "category", "method", "race", "gender"]


class Others(NamedTuple):
    """A csv with the column file and one of scores.

    The polarity says whether a high score means "real" or "fake"; without it, its column polarity does. From the
    threshold on a clip is what a high score means.
    """

    path: Path
    column: str = "score"
    polarity: str | None = None
    threshold: float = 0.5


def read_others(others: Others, files: Iterable[str]) -> tuple[dict[str, float], float]:
    """Read the scores of these clips, the higher the likelier real, and the score from which on a clip is real.

    Clips are found by their path in the corpus, else by the end of it, else by their name where that is the only one;
    those that the file does not name are left out. Scores where a high one means fake get the other sign; what is no
    finite number is NaN. `DataError` says so if the file cannot be read, a score is no number, a clip is there twice,
    or it has none of the clips.
    """
    path, column = others.path, others.column
    table = read_csv(path)
    for name in ("file", column):
        if name not in table:
            raise DataError(f"{path}: column {name} is missing")
    value = pd.to_numeric(table[column], errors="coerce")
    wrong = value.isna() & ~table[column].str.lower().isin(["", "nan"])
    if wrong.any():
        line = wrong.idxmax()
        raise DataError(f"{path} line {line}: {column} is {table.at[line, column]!r}, not a number")
    again = table["file"].duplicated()
    if again.any():
        raise DataError(f"{path} line {again.idxmax()}: {table.at[again.idxmax(), 'file']!r} is there twice")
    sign = 1 if _polarity(others, table) == "real" else -1
    real = sign * value.where(np.isfinite(value)).to_numpy(float)
    found = _match(list(files), table["file"].tolist())
    if not found:
        raise DataError(f"{path}: has none of the clips of this test (its first is {table['file'].iloc[0]!r})")
    # From its threshold on a clip is of the class of high scores: at the very threshold it is fake if that is fake.
    threshold = others.threshold if sign == 1 else float(np.nextafter(-others.threshold, np.inf))
    return {file: real[row] for file, row in found.items()}, threshold


def _polarity(others: Others, table: pd.DataFrame) -> str:
    told = sorted(set(table["polarity"].str.lower())) if "polarity" in table else []
    polarity = others.polarity or (told[0] if len(told) == 1 else None)
    if polarity not in ("real", "fake"):
        found = f"its column polarity holds {', '.join(told)}" if told else "it has no column polarity"
        raise DataError(f"{others.path}: {found}; say which class has the higher scores, real or fake")
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


def folds_of_others(
    others: Others,
    data_root: Path,
    dataset: str,
    protocol: str | None,
    lists: Path | None,
    fold: str | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Put another detector's scores onto the test clips of a protocol, a table a fold; all folds, if they are alike.

    A table is what `utils.results.read_scores` would give of the clips that have a score and a label; how many have
    no score is in the log. Scores that are no probabilities are brought between 0 and 1 in their order.

    Raises
    ------
    DataError
        If the file or the corpus cannot be read, a fold has none of the clips, or folds are different tests and none
        was chosen.
    """
    known = folds_of_corpus(data_root, dataset, protocol, lists)
    if fold is not None and fold not in known:
        raise DataError(f"--fold {fold}: there is {', '.join(known)}")
    if fold is None and any(known.values()):
        listed = ", ".join(f"{name} ({meaning})" for name, meaning in known.items())
        raise DataError(f"the folds of --protocol {protocol} are different tests: choose one with --fold: {listed}")
    tables = {}
    for name in known if fold is None else [fold]:
        data = FakeAVCelebDataModule(
            data_root,
            f"{name}.txt",
            dataset=dataset,
            protocol=protocol,
            lists=lists,
            seed=seed,
            check=False,
            num_val=clips_of_each(dataset, protocol)["num_val"],
        )
        clips = data.test_clips()
        tables[name] = _scored(others, clips[clips["m_label"].notna()].reset_index(drop=True), name)
    return tables


def _scored(others: Others, clips: pd.DataFrame, fold: str) -> pd.DataFrame:
    scores, threshold = read_others(others, clips["file"])
    raw = clips["file"].map(scores).astype(float)
    absent = raw.isna()
    if absent.any():
        log.warning(
            "%s: %d of %d clips of %s have no score and are left out (such as %s)",
            others.path, absent.sum(), len(clips), fold, clips["file"][absent].iloc[0],
        )  # fmt: skip
    table = clips.loc[~absent, TEXTS].assign(label=clips.loc[~absent, "m_label"].astype(int))
    table["score"] = _between_0_and_1(raw[~absent])
    table["decision"] = (raw[~absent] >= threshold).astype(int)
    return table.assign(video_score=np.nan, audio_score=np.nan)


def _between_0_and_1(real: pd.Series) -> pd.Series:
    """Scores, the higher the likelier real, as they are if they can be probabilities, else their ranks.

    A probability p of fake is -p here, and 1 - p would make ties of small ones.
    """
    if real.between(0, 1).all():
        return real
    turned = real + 1
    ranks = real.rank(method="dense")
    return turned if turned.between(0, 1).all() and turned.nunique() == real.nunique() else ranks / (ranks.max() + 1)
