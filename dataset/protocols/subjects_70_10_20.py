"""subjects-70-10-20: the subject-disjoint form of the usual random split."""

from __future__ import annotations

from dataset.folds import deal_subjects
from dataset.protocols.base import Protocol, Setting, Sides, labelled, one_fold
from utils.errors import DataError


def sides(setting: Setting, _fold: str) -> Sides:
    """Of ten equal parts of the subjects two are tested and one is validated on.

    Raises
    ------
    DataError
        If there are too few subjects.
    """
    clips = labelled(setting.clips)
    part = clips["subject"].map(deal_subjects(clips, 10, setting.seed))
    train, val, test = clips[part > 2], clips[part == 2], clips[part < 2]
    if train.empty or val.empty or test.empty:
        raise DataError(f"{clips['subject'].nunique()} subjects are too few for --protocol subjects-70-10-20")
    return Sides(train, val, test)


PROTOCOL = Protocol(
    definition="70 % of the subjects are trained on, 10 % validated on, 20 % tested, with all their clips; drawn from "
    "the seed, balanced over race and gender.",
    source="this software, in place of the 70/30 split by clip of AVFF and others (random-70-30)",
    not_controlled="Disjoint by source only: the face or the voice of a fake may be of somebody on another side. "
    "Fakes outnumber real clips as in the corpus.",
    folds=one_fold,
    sides=sides,
)
