"""Named evaluation protocols: who is trained on, validated on and tested, with what each does not control."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pandas as pd

from dataset.corpora import read_corpus
from dataset.folds import first_of_each
from dataset.protocols import drawn, lists, official
from dataset.protocols.base import Protocol, Setting, Sides
from utils import options
from utils.errors import DataError

log = logging.getLogger(__name__)

__all__ = [
    "NAMES", "NOT_CONTROLLED", "Protocol", "Setting", "Sides",
    "default_protocol", "folds", "folds_of_corpus", "protocol", "sides",
]  # fmt: skip

PROTOCOLS = {**drawn.PROTOCOLS, **lists.PROTOCOLS, **official.PROTOCOLS}
NAMES = get_args(options.Protocol)
NOT_CONTROLLED = {name: chosen.not_controlled for name, chosen in PROTOCOLS.items()}  # to be said beside its results


def protocol(name: str) -> Protocol:
    """The protocol of a name; a DataError if there is none."""
    if name not in PROTOCOLS:
        raise DataError(f"unknown protocol {name!r}; known are {', '.join(NAMES)}")
    return PROTOCOLS[name]


def default_protocol(dataset: str, clips: pd.DataFrame) -> str:
    """The protocol of a corpus for which none is asked: the paper's, the owners' split, or folds by subject."""
    if dataset == "fakeavceleb":
        return "mrdf-5fold"
    return "official" if (clips["split"] != "").any() else "subjects-5fold"


def folds(name: str, setting: Setting) -> Mapping[str, str]:
    """Name of each fold of a protocol → what is particular to it.

    A DataError if the protocol is unknown, or not defined for the corpus.
    """
    chosen = protocol(name)
    if chosen.corpora and setting.dataset not in chosen.corpora:
        raise DataError(f"--protocol {name} is of {', '.join(chosen.corpora)}, not of {setting.dataset}")
    return chosen.folds(setting)


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

    The first `num_train` clips of each category are trained on, and the first `num_val` validated on and tested; None
    takes all. Notes of the setting are logged. A DataError if there is no such protocol or fold, it cannot be made of
    these clips, or is not defined for the corpus.
    """
    names = folds(name, setting)
    if fold not in names:
        raise DataError(f"--protocol {name} has no fold {fold}; it has {', '.join(names)}")
    train, val, test = protocol(name).sides(setting, fold)
    for note in setting.notes:
        log.warning("%s, %s: %s", name, fold, note)
    held = None if val is None else first_of_each(val, num_val)
    return Sides(first_of_each(train, num_train), held, first_of_each(test, num_val))
