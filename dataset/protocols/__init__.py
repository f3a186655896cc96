"""Named evaluation protocols: who is trained on, validated on and tested, with what each does not control."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pandas as pd

from dataset.corpora import read_corpus
from dataset.folds import first_of_each
from dataset.protocols.base import Protocol, Setting, Sides
from utils.errors import DataError

log = logging.getLogger(__name__)

__all__ = ["NAMES", "Protocol", "Setting", "Sides", "default_protocol", "folds", "folds_of_corpus", "protocol", "sides"]

FILES = {
    "mrdf-5fold": "mrdf_5fold",
    "leave-one-out": "leave_one_out",
    "avh-align": "avh_align",
    "factor": "factor",
    "speechforensics": "speechforensics",
    "subjects-70-10-20": "subjects_70_10_20",
    "subjects-5fold": "subjects_5fold",
    "random-70-30": "random_70_30",
    "official": "official",
    **dict.fromkeys(("lavdf-full", "lavdf-visual", "lavdf-audio"), "lavdf"),
    **dict.fromkeys(("mavosdd-closed", "mavosdd-open-model", "mavosdd-open-language", "mavosdd-open-set"), "mavosdd"),
}
NAMES = tuple(FILES)


def protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises
    ------
    DataError
        If there is none.
    """
    if name not in FILES:
        raise DataError(f"unknown protocol {name!r}; known are {', '.join(NAMES)}")
    module = import_module(f"dataset.protocols.{FILES[name]}")
    return getattr(module, "PROTOCOLS", {}).get(name) or module.PROTOCOL


def default_protocol(dataset: str, clips: pd.DataFrame) -> str:
    """The protocol of a corpus for which none is asked: the paper's, the owners' split, or folds by subject."""
    if dataset == "fakeavceleb":
        return "mrdf-5fold"
    return "official" if (clips["split"] != "").any() else "subjects-5fold"


def folds(name: str, setting: Setting) -> Mapping[str, str]:
    """Name of each fold of a protocol → what is particular to it.

    Raises
    ------
    DataError
        If the protocol is unknown, or not defined for the corpus.
    """
    return _checked(name, setting).folds(setting)


def folds_of_corpus(
    root: str | Path, dataset: str, name: str | None = None, lists: Path | None = None
) -> Mapping[str, str]:
    """The folds of a corpus on disk: see :func:`folds`; by default of :func:`default_protocol`."""
    clips = read_corpus(root, dataset)
    return folds(name or default_protocol(dataset, clips), Setting(clips, dataset, Path(root), lists=lists))


def sides(
    name: str, setting: Setting, fold: str = "train_1", num_train: int | None = None, num_val: int | None = None
) -> Sides:
    """The clips of a fold, category by category, in the order of the table or list within each.

    Parameters
    ----------
    name
        Of the protocol.
    setting
        What the folds are made from; its notes are logged.
    fold
        One of :func:`folds`.
    num_train, num_val
        How many clips of each category to train on, and to validate on and test; None takes all.

    Raises
    ------
    DataError
        If there is no such protocol or fold, it cannot be made of these clips, or is not defined for the corpus.
    """
    chosen = _checked(name, setting)
    known = chosen.folds(setting)
    if fold not in known:
        raise DataError(f"--protocol {name} has no fold {fold}; it has {', '.join(known)}")
    train, val, test = chosen.sides(setting, fold)
    for note in setting.notes:
        log.warning("%s, %s: %s", name, fold, note)
    held = None if val is None else first_of_each(val, num_val)
    return Sides(first_of_each(train, num_train), held, first_of_each(test, num_val))


def _checked(name: str, setting: Setting) -> Protocol:
    chosen = protocol(name)
    if chosen.corpora and setting.dataset not in chosen.corpora:
        raise DataError(f"--protocol {name} is of {', '.join(chosen.corpora)}, not of {setting.dataset}")
    return chosen
