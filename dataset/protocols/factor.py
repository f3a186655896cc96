"""factor: the lists of FACTOR, one a manipulation, each against the same hundred real clips; it only tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dataset.protocols.base import Protocol, Setting, Sides, find_list, nothing, pick
from utils.errors import DataError

FAKES = {"rvfa": "RVFA", "fvra_wl": "FVRA-WL", "fvfa_fs": "FVFA-FS", "fvfa_gan": "FVFA-GAN", "fvfa_wl": "FVFA-WL"}


def folds(_setting: Setting) -> Mapping[str, str]:
    """One a list of fakes."""
    return {f"train_{number}": f"{name} against RVRA" for number, name in enumerate(FAKES.values(), start=1)}


def sides(setting: Setting, fold: str) -> Sides:
    """Test clips only.

    Raises
    ------
    DataError
        If a list is not there, is no plain array of names, or names no clip of the corpus.
    """
    name = list(FAKES)[int(fold.removeprefix("train_")) - 1]
    test = pd.concat([_clips(setting, "rvra"), _clips(setting, name)])
    return Sides(nothing(setting.clips), None, test)


def _clips(setting: Setting, name: str) -> pd.DataFrame:
    path = find_list(setting, "factor", f"{name}.npy")
    try:
        files = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a plain array of names ({error})") from error
    return pick(setting, map(str, files.ravel()), path.name)


PROTOCOL = Protocol(
    definition="Lists of 100 RVFA, 100 FVRA-WL, 100 FVFA-WL, 32 FVFA-FS and 41 FVFA-GAN clips, each against the same "
    "100 real ones. Nothing is trained: the detector comes from elsewhere.",
    source="talreiss/FACTOR, audio-visual/data",
    not_controlled="Whom the detector was trained on; where that is told, the count of tested subjects among them is "
    "given. FVFA-FS and FVFA-GAN have 10 and 39 subjects: five points of AUC are noise.",
    folds=folds,
    sides=sides,
    corpora=("fakeavceleb",),
)
