"""Whom training showed, in test clips: folds by subject do not part the faces and voices that fakes borrow."""

from typing import NamedTuple

import pandas as pd


class Leak(NamedTuple):
    """How many test clips of a fold show somebody who was seen in its training clips."""

    tested: int  # test clips
    as_target: int  # which show a face that training showed as a target
    at_all: int  # which show anybody whom training showed, as a subject or as a target


def targets_of(clips: pd.DataFrame) -> list[frozenset[str]]:
    """The other identities of each clip: ``target1`` and ``target2`` where they are given."""
    pairs = zip(clips["target1"], clips["target2"], strict=True)
    return [frozenset(pair) - {""} for pair in pairs]


def find_leak(train: pd.DataFrame, test: pd.DataFrame) -> Leak:
    """Count the test clips that show somebody whom the training clips show."""
    targets = frozenset().union(*targets_of(train))
    anybody = targets | set(train["subject"])
    people_of_each = [{subject, *others} for subject, others in zip(test["subject"], targets_of(test), strict=True)]
    return Leak(
        len(test),
        sum(not people.isdisjoint(targets) for people in people_of_each),
        sum(not people.isdisjoint(anybody) for people in people_of_each),
    )
