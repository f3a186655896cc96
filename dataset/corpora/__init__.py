"""Corpora as their owners receive them, each read into the same clip table: see README.md beside this file."""

import logging
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

import pandas as pd

from dataset.corpora.csv import table_path
from dataset.corpora.table import FOLD_NUMBERS, SPLITS, Corpus, clip_lists, clips_digest, table_digest
from utils import options
from utils.errors import DataError

__all__ = [
    "NAMES", "Corpus", "clip_lists", "clips_digest", "corpus", "corpus_folder", "fold_numbers", "read_corpus",
    "table_digest",
]  # fmt: skip

log = logging.getLogger(__name__)

NAMES = get_args(options.Dataset)  # each is a file here
PEOPLE = ("people", "whoever")  # how the meaning of the column subject begins where it is a person


def corpus(dataset: str) -> Corpus:
    """What is known of a corpus, by its name on the command line; a DataError if there is no such name."""
    if dataset not in NAMES:
        raise DataError(f"unknown dataset {dataset!r}; known are {', '.join(NAMES)}")
    return import_module(f"dataset.corpora.{dataset}").CORPUS  # so that one corpus' needs are not everybody's


def read_corpus(root: str | Path, dataset: str = "fakeavceleb") -> pd.DataFrame:
    """Read a corpus, one of ``NAMES``, from the folder that its owner receives; "csv" from a table or its folder.

    What the clip table holds, :func:`dataset.corpora.table.clip_table` says; what is odd is in ``attrs["notes"]``, and
    in the log. If the folder is not such a corpus, a DataError says what is missing.
    """
    entry = corpus(dataset)
    clips = entry.read(Path(root))
    if not entry.subjects.startswith(PEOPLE):
        clips.attrs["notes"].append(f"subject is {entry.subjects}")
    for note in clips.attrs["notes"]:
        _say_once(str(root), note)
    return clips


@cache
def _say_once(root: str, note: str) -> None:
    """A corpus is read many times in a run: for every fold, and by several parts of the program."""
    log.info("%s: %s", root, note)


def corpus_folder(root: str | Path, dataset: str = "fakeavceleb") -> Path:
    """The folder that holds the clips: folds, reports and caches go there."""
    return table_path(Path(root)).parent if dataset == "csv" else Path(root)


def fold_numbers(clips: pd.DataFrame) -> tuple[int, ...]:
    """The folds that a clip table has: one for a fixed split, else those it names, else five."""
    splits = set(clips["split"]) - {""}
    if splits & set(SPLITS):
        return (1,)
    return tuple(sorted(map(int, splits))) or tuple(map(int, FOLD_NUMBERS))
