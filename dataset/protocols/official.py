"""official: the split that the corpus comes with."""

from __future__ import annotations

from collections.abc import Mapping

from dataset.corpora import fold_numbers
from dataset.protocols.base import Protocol, Setting, Sides, labelled
from utils.errors import DataError

WORDS = {"train", "val", "test", ""}


def folds(setting: Setting) -> Mapping[str, str]:
    """One, or those that the table numbers."""
    return {f"train_{number}": "" for number in fold_numbers(setting.clips)}


def sides(setting: Setting, fold: str) -> Sides:
    """Clips by their column split; where the labels of the test are withheld, or there is none, val is tested.

    Raises
    ------
    DataError
        If the corpus has no split, or no clip to test on.
    """
    clips = setting.clips
    if not (clips["split"] != "").any():
        raise DataError("--protocol official: this corpus comes without a split; subjects-5fold makes one")
    if not set(clips["split"]) <= WORDS:
        is_test = clips["split"] == fold.removeprefix("train_")
        return Sides(clips[~is_test], None, clips[is_test])
    train, val, test = (clips[clips["split"] == side] for side in ("train", "val", "test"))
    unknown = sum(side["m_label"].isna().sum() for side in (train, val))
    if unknown:
        setting.notes.append(f"{unknown:,} clips of train and val have no label and are left out")
    train, val = labelled(train), labelled(val)
    if labelled(test).empty and len(val):
        setting.notes.append("the test has no labels: val is tested, as papers do, and nothing is validated on it")
        return Sides(train, None, val)
    if test.empty:
        raise DataError("--protocol official: the split has no clip to test on")
    return Sides(train, val if len(val) else None, test)


PROTOCOL = Protocol(
    definition="The split that the corpus comes with. Where the labels of its test are withheld (AV-Deepfake1M), or it "
    "has none (KoDF's download), val is tested and nothing is validated on it.",
    source="the owners of the corpus",
    not_controlled="Whatever the owners do not: AV-Deepfake1M's train and val share most subjects; DFDC, LAV-DF and "
    "MAVOS-DD do not name people.",
    folds=folds,
    sides=sides,
)
