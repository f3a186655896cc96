"""mrdf-5fold: the folds of the paper."""

from __future__ import annotations

from collections.abc import Mapping

from dataset.folds import FOLD_NAMES, fold_sides
from dataset.protocols.base import Protocol, Setting, Sides


def folds(_setting: Setting) -> Mapping[str, str]:
    """Five."""
    return dict.fromkeys((name.removesuffix(".txt") for name in FOLD_NAMES), "")


def sides(setting: Setting, fold: str) -> Sides:
    """Everyone in the fold file is trained on, everyone else tested; without fold files they are made."""
    train, test = fold_sides(setting.clips, f"{fold}.txt", setting.root, setting.seed, setting.fold_dir)
    return Sides(train, None, test)


PROTOCOL = Protocol(
    definition="Five folds by subject over 500 clips of each category, one a subject; in a fold the first 400 and 100 "
    "clips of each category, in csv order, are trained on and tested.",
    source="MRDF (arXiv 2401.05746) and the reader of its release",
    not_controlled="Disjoint by source only: the face or the voice of a fake may be of somebody on the other side. "
    "There are no validation clips: recipe released picks the epoch on the test fold.",
    folds=folds,
    sides=sides,
    corpora=("fakeavceleb",),
)
