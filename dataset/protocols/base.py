"""What a named protocol is: who is trained on, validated on and tested, said so that a reader can judge it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataset.corpora.fakeavceleb import RACE, SPELLINGS
from utils.errors import DataError

KIND = re.compile(r"^.*?(?=(?:Real|Fake)Video-)")  # what comes before the folder that tells it


class Sides(NamedTuple):
    """Clips of one fold."""

    train: pd.DataFrame  # empty where the protocol only tests
    val: pd.DataFrame | None  # None where the protocol names none: a recipe then takes it from the others
    test: pd.DataFrame


@dataclass(frozen=True)
class Setting:
    """What folds are made from."""

    clips: pd.DataFrame  # the whole clip table (of `mrdf-5fold`, the paper's subset)
    dataset: str = "fakeavceleb"
    root: Path = Path(".")  # where fold files lie
    seed: int = 42  # of everything that is drawn
    fold_dir: Path | None = None  # where fold files go if the root cannot be written to
    lists: Path | None = None  # the user's clone of the repository whose lists the protocol uses
    notes: list[str] = field(default_factory=list)  # collects what does not fit, in words


@dataclass(frozen=True)
class Protocol:
    """A named protocol, said in words for people who read its figures."""

    definition: str
    source: str
    not_controlled: str
    folds: Callable[[Setting], Mapping[str, str]]  # name of each fold (train_1, …) → what is particular to it, or empty
    sides: Callable[[Setting, str], Sides]  # the clips of a fold
    corpora: tuple[str, ...] = ()  # for which it is defined; empty for any


def one_fold(_setting: Setting) -> dict[str, str]:
    """The folds of a protocol that has one."""
    return {"train_1": ""}


def nothing(clips: pd.DataFrame) -> pd.DataFrame:
    """No clip, as a table."""
    return clips.iloc[:0]


def labelled(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips of which it is known whether they are real."""
    return clips[clips["m_label"].notna()]


def name_key(file: str) -> str:
    """A clip of FakeAVCeleb in one spelling, whatever folder a list begins with and however it spells races."""
    return RACE.sub(SPELLINGS[0], KIND.sub("", file, count=1))


def pick(setting: Setting, files: Iterable[str], what: str, key: Callable[[str], str] = name_key) -> pd.DataFrame:
    """The clips that a list (`what`, in messages) names, in its order; names that the table lacks get a note.

    `key` brings names of the list, and files of the table, into one spelling.

    Raises
    ------
    DataError
        If there are none, or the table has none of them.
    """
    wanted = pd.Index([key(file) for file in files]).drop_duplicates()
    if wanted.empty:
        raise DataError(f"{what}: names no clip")
    known = pd.Series(np.arange(len(setting.clips)), index=[key(file) for file in setting.clips["file"]])
    rows = known[~known.index.duplicated()].reindex(wanted)
    absent = rows.index[rows.isna()]
    if len(absent) == len(wanted):
        raise DataError(f"{what}: none of its {len(wanted):,} clips is in the corpus (its first is {wanted[0]})")
    if len(absent):
        setting.notes.append(f"{what}: {len(absent):,} of {len(wanted):,} clips are not in the corpus ({absent[0]}, …)")
    return setting.clips.iloc[rows.dropna().astype(int)]


def compare_labels(setting: Setting, clips: pd.DataFrame, real: Iterable[bool], what: str) -> None:
    """Take a note if a list calls clips real that the corpus calls fake, or the other way round."""
    differing = (clips["m_label"] != np.asarray(list(real), int)).fillna(False)
    if differing.any():
        setting.notes.append(f"{what}: {differing.sum():,} clips have another label than in the corpus, which counts")


def find_list(setting: Setting, protocol: str, *names: str) -> Path:
    """A file of the lists, anywhere below their folder: the first of `names` that is there; a DataError if none is."""
    if setting.lists is None:
        raise DataError(f"--protocol {protocol} needs --lists DIR, your clone of the repository that has {names[0]}")
    for name in names:
        found = sorted(setting.lists.rglob(name))
        if found:
            return found[0]
    raise DataError(f"{setting.lists}: no {' or '.join(names)} in it; --lists must be the clone that has it")
