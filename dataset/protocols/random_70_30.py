"""random-70-30: the usual split by clip, which tests on trained subjects."""

from __future__ import annotations

from dataset.folds import draw
from dataset.protocols.base import Protocol, Setting, Sides, labelled, one_fold


def sides(setting: Setting, _fold: str) -> Sides:
    """Of all labelled clips, 70 % drawn from the seed are trained on."""
    clips = labelled(setting.clips)
    order = sorted(clips.index, key=lambda row: draw(setting.seed, clips.at[row, "file"]))
    is_train = clips.index.isin(order[: round(0.7 * len(order))])
    return Sides(clips[is_train], None, clips[~is_train])


PROTOCOL = Protocol(
    definition="70 % of the clips, drawn at random, are trained on, and 30 % tested.",
    source="AVFF, HAVIC, DiMoDif, Referee and others, each with a draw of its own",
    not_controlled="Subjects: nearly every tested person is trained on, with the same face, background and clip, so "
    "the figures say little of unseen people; subjects-70-10-20 is the form to use.",
    folds=one_fold,
    sides=sides,
)
