"""What a named protocol is: who is trained on, validated on and tested, said so that a reader can judge it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd


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


def one_fold(_setting: Setting) -> dict[str, str]:
    """The folds of a protocol that has one."""
    return {"train_1": ""}


@dataclass(frozen=True)
class Protocol:
    """A named protocol, said in words for people who read its metrics."""

    definition: str
    source: str
    not_controlled: str
    sides: Callable[[Setting, str], Sides]  # the clips of a fold; a DataError if it cannot be made of them
    folds: Callable[[Setting], Mapping[str, str]] = one_fold  # names (train_1, …) → what is particular to each, or ""
    corpora: tuple[str, ...] = ()  # for which it is defined; empty for any


def labelled(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips of which it is known whether they are real."""
    return clips[clips["m_label"].notna()]
