"""leave-one-out: each manipulation of FakeAVCeleb is tested by a detector that never saw it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dataset.corpora.table import BOTH
from dataset.protocols import subjects_70_10_20
from dataset.protocols.base import Protocol, Setting, Sides
from utils.errors import DataError

MANIPULATIONS = {
    "RVFA": ("B", "rtvc"),
    "FVRA-WL": ("C", "wav2lip"),
    "FVRA-FS": ("C", "faceswap"),
    "FVRA-GAN": ("C", "fsgan"),
    "FVFA-WL": ("D", "wav2lip"),
    "FVFA-FS": ("D", "faceswap-wav2lip"),
    "FVFA-GAN": ("D", "fsgan-wav2lip"),
}


def folds(_setting: Setting) -> Mapping[str, str]:
    """One a manipulation."""
    return {f"train_{number}": f"{name} left out" for number, name in enumerate(MANIPULATIONS, start=1)}


def sides(setting: Setting, fold: str) -> Sides:
    """Train and validate without one manipulation, on subjects that are not tested; test it against real clips.

    Raises
    ------
    DataError
        If no test subject has a clip of it.
    """
    name = folds(setting)[fold].removesuffix(" left out")
    train, val, test = subjects_70_10_20.sides(setting, fold)
    assert val is not None  # that protocol has one
    of_it, real = is_made_by(test, name), test["m_label"] == 1
    if not of_it.any():
        raise DataError(f"--protocol leave-one-out, {fold}: no test subject has a clip of {name}")
    return Sides(train[~is_made_by(train, name)], val[~is_made_by(val, name)], test[of_it | real])


def is_made_by(clips: pd.DataFrame, name: str) -> pd.Series:
    """Whether each clip is of a manipulation; a clip of which two are told is of both."""
    category, method = MANIPULATIONS[name]
    return (clips["category"] == category) & clips["method"].str.split(BOTH).map(lambda told: method in told)


PROTOCOL = Protocol(
    definition="Seven folds, one a manipulation: it is left out of training and validation, and tested against real "
    "clips. Subjects are parted as in subjects-70-10-20.",
    source="AVFF names the manipulations; DiMoDif and ICS publish code, which parts clips and not subjects",
    not_controlled="Manipulations of one kind share the voice cloner, so only the visual generator is unseen; the face "
    "or the voice of a fake may be of somebody on another side. 22 clips that the csv gives two methods count to both.",
    folds=folds,
    sides=sides,
    corpora=("fakeavceleb",),
)
