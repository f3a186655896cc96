"""Scores of another detector, put onto the clips of a protocol."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dataset import FakeAVCelebDataModule
from dataset.protocols import folds_of_corpus
from scripts.suite.others import read_others
from scripts.suite.plan import Detector
from utils.errors import DataError
from utils.options import clips_of_each

log = logging.getLogger(__name__)

TEXTS = ["file", "subject", "category", "method", "race", "gender"]


def foreign_folds(
    path: Path,
    polarity: str | None,
    threshold: float | None,
    data_root: Path,
    dataset: str,
    protocol: str | None,
    lists: Path | None,
    fold: str | None,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """The test clips of a protocol with another detector's scores, a table a fold.

    Parameters
    ----------
    path
        A csv with the columns file and score, and perhaps polarity.
    polarity, threshold
        Which class has the higher scores, by default what the csv says, and from which one on, by default 0.5.
    data_root, dataset, protocol, lists, seed
        As in `dataset.datamodule.FakeAVCelebDataModule`.
    fold
        One fold; by default all, if they are alike.

    Returns
    -------
    dict
        Fold → what `utils.results.read_scores` would give of the clips that have a score and a label; how many have
        no score is in the log. Scores that are no probabilities are brought between 0 and 1 in their order.

    Raises
    ------
    DataError
        If the file or the corpus cannot be read, a fold has none of the clips, or folds are different tests and none
        was chosen.
    """
    detector = Detector(path.stem, {}, path, "score", polarity, 0.5 if threshold is None else threshold)
    known = folds_of_corpus(data_root, dataset, protocol, lists)
    if fold is not None and fold not in known:
        raise DataError(f"--fold {fold}: there is {', '.join(known)}")
    if fold is None and any(known.values()):
        listed = ", ".join(f"{name} ({meaning})" for name, meaning in known.items())
        raise DataError(f"the folds of --protocol {protocol} are different tests: choose one with --fold: {listed}")
    return {
        name: _fold(detector, data_root, dataset, protocol, lists, name, seed)
        for name in ([fold] if fold is not None else known)
    }


def _fold(
    detector: Detector, data_root: Path, dataset: str, protocol: str | None, lists: Path | None, fold: str, seed: int
) -> pd.DataFrame:
    data = FakeAVCelebDataModule(
        data_root,
        f"{fold}.txt",
        dataset=dataset,
        protocol=protocol,
        lists=lists,
        seed=seed,
        check=False,
        num_val=clips_of_each(dataset, protocol)["num_val"],
    )
    clips = data.sides(with_validation=False)[2]
    clips = clips[clips["m_label"].notna()].reset_index(drop=True)
    scores, threshold = read_others(detector, clips["file"])
    raw = clips["file"].map(scores).astype(float)
    absent = raw.isna()
    if absent.any():
        log.warning(
            "%s: %d of %d clips of %s have no score and are left out (such as %s)",
            detector.scores, absent.sum(), len(clips), fold, clips["file"][absent].iloc[0],
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
