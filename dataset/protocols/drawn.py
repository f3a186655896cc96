"""Protocols whose folds are drawn here: by subject, by clip, and with one manipulation left out."""

from collections.abc import Mapping

import pandas as pd

from dataset.corpora.table import BOTH
from dataset.folds import FOLD_NAMES, deal_subjects, draw, fold_sides
from dataset.protocols.base import Protocol, Setting, Sides, labelled
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


def five_folds(_setting: Setting) -> Mapping[str, str]:
    """Those of the five fold files."""
    return dict.fromkeys((name.removesuffix(".txt") for name in FOLD_NAMES), "")


def by_fold_file(setting: Setting, fold: str) -> Sides:
    """Everyone in the fold file is trained on, everyone else tested; without fold files they are made."""
    train, test = fold_sides(setting.clips, f"{fold}.txt", setting.root, setting.seed, setting.fold_dir)
    return Sides(train, None, test)


def subjects_70_10_20(setting: Setting, _fold: str) -> Sides:
    """Of ten equal parts of the subjects two are tested and one is validated on."""
    clips = labelled(setting.clips)
    part = clips["subject"].map(deal_subjects(clips, 10, setting.seed))
    train, val, test = clips[part > 2], clips[part == 2], clips[part < 2]
    if train.empty or val.empty or test.empty:
        raise DataError(f"{clips['subject'].nunique()} subjects are too few for --protocol subjects-70-10-20")
    return Sides(train, val, test)


def random_70_30(setting: Setting, _fold: str) -> Sides:
    """Of all labelled clips, 70 % drawn from the seed are trained on."""
    clips = labelled(setting.clips)
    order = sorted(clips.index, key=lambda row: draw(setting.seed, clips.at[row, "file"]))
    is_train = clips.index.isin(order[: round(0.7 * len(order))])
    return Sides(clips[is_train], None, clips[~is_train])


def one_a_manipulation(_setting: Setting) -> Mapping[str, str]:
    """The folds of leave-one-out."""
    return {f"train_{number}": f"{name} left out" for number, name in enumerate(MANIPULATIONS, start=1)}


def leave_one_out(setting: Setting, fold: str) -> Sides:
    """Train and validate without one manipulation, on subjects that are not tested; test it against real clips."""
    name = one_a_manipulation(setting)[fold].removesuffix(" left out")
    train, val, test = subjects_70_10_20(setting, fold)
    of_it, real = is_made_by(test, name), test["m_label"] == 1
    if not of_it.any():
        raise DataError(f"--protocol leave-one-out, {fold}: no test subject has a clip of {name}")
    return Sides(train[~is_made_by(train, name)], val[~is_made_by(val, name)], test[of_it | real])


def is_made_by(clips: pd.DataFrame, name: str) -> pd.Series:
    """Whether each clip is of a manipulation; a clip that has two is of both."""
    category, method = MANIPULATIONS[name]
    return (clips["category"] == category) & clips["method"].str.split(BOTH).map(lambda methods: method in methods)


PROTOCOLS = {
    "mrdf-5fold": Protocol(
        definition="Five folds by subject over 500 clips of each category, one a subject; in a fold the first 400 and "
        "100 clips of each category, in csv order, are trained on and tested.",
        source="MRDF (arXiv 2401.05746) and the reader of its release",
        not_controlled="Faces and voices of fakes: folds are disjoint by source only, so either may be of somebody on "
        "the other side. There are no validation clips: recipe released picks the epoch on the test fold.",
        folds=five_folds,
        sides=by_fold_file,
        corpora=("fakeavceleb",),
    ),
    "leave-one-out": Protocol(
        definition="Seven folds, one a manipulation: it is left out of training and validation, and tested against "
        "real clips. Subjects are divided as in subjects-70-10-20.",
        source="AVFF names the manipulations; DiMoDif and ICS publish code, which parts clips and not subjects",
        not_controlled="The voice cloner, which manipulations of one kind share, so only the visual generator is "
        "unseen; the face or the voice of a fake may be of somebody on another side. 22 clips that the csv gives two "
        "methods count to both.",
        folds=one_a_manipulation,
        sides=leave_one_out,
        corpora=("fakeavceleb",),
    ),
    "subjects-70-10-20": Protocol(
        definition="70 % of the subjects are trained on, 10 % validated on, 20 % tested, with all their clips; drawn "
        "from the seed, balanced over race and gender.",
        source="this software, in place of the 70/30 split by clip of AVFF and others (random-70-30)",
        not_controlled="Faces and voices of fakes: sides are disjoint by source only, so either may be of somebody on "
        "another side. Fakes outnumber real clips as in the corpus.",
        sides=subjects_70_10_20,
    ),
    "subjects-5fold": Protocol(
        definition="Five folds by subject over all clips, balanced over race and gender where they are told.",
        source="this software",
        not_controlled="People beyond the column subject, which in some corpora is no person (see dataset/corpora).",
        folds=five_folds,
        sides=by_fold_file,
    ),
    "random-70-30": Protocol(
        definition="70 % of the clips, drawn at random, are trained on, and 30 % tested.",
        source="AVFF, HAVIC, DiMoDif, Referee and others, each with a draw of its own",
        not_controlled="Subjects: nearly every tested person is trained on, with the same face, background and clip, "
        "so the metrics say little of unseen people; subjects-70-10-20 is the form to use.",
        sides=random_70_30,
    ),
}
