"""The folds of several detectors as they come along: a line in the log for each change, and a bar on a terminal."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tqdm import tqdm

from scripts.reproduce.folds import Fold, progress_of
from utils.table import percent

log = logging.getLogger(__name__)


class State(str, Enum):
    """What a fold is at; the value is what is shown."""

    WAITING = "waiting"
    RUNNING = "running"
    LOCKED = "locked elsewhere"
    DONE = "done"
    FAILED = "failed"


@dataclass
class Status:
    """What is known of a fold.

    Parameters
    ----------
    digest
        Hash of the configuration asked for.
    max_epochs
        Epochs at most.
    state, detail
        What it is at, and what belongs with that: its metrics, who has locked it, why it failed.
    epochs
        Epochs trained so far, by whomever.
    """

    digest: str
    max_epochs: int
    state: State = State.WAITING
    detail: str = ""
    epochs: int = 0

    def __str__(self) -> str:
        if self.state in (State.RUNNING, State.LOCKED):
            shown = f"{self.state.value}, epoch {self.epochs}/{self.max_epochs}"
            return f"{shown}: {self.detail}" if self.detail else shown
        return f"{self.state.value} {self.detail}".rstrip()


class Overview:
    """Shows the folds while it is entered.

    Parameters
    ----------
    folds
        The folds with what is known of them.
    """

    def __init__(self, folds: dict[Fold, Status]) -> None:
        self.folds = folds
        self._shown = dict.fromkeys(folds, State.WAITING.value)
        total = sum(status.max_epochs for status in folds.values())
        # Without a terminal there is no bar, and the log alone tells.
        self._bar = tqdm(total=total, desc="epochs", unit="epoch", disable=None, leave=False, dynamic_ncols=True)

    def __enter__(self) -> Overview:
        self.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def set(self, fold: Fold, state: State, detail: str = "") -> None:
        """Say what a fold is at now."""
        self.folds[fold].state, self.folds[fold].detail = state, detail
        self.refresh()

    def done(self, fold: Fold, metrics: dict[str, Any]) -> None:
        """Show the metrics of a fold that is done."""
        self.set(fold, State.DONE, f"{percent(metrics.get('acc'))}/{percent(metrics.get('auc'))}")

    def failed(self) -> list[str]:
        """A line for each fold that failed."""
        return [f"{fold}: {status.detail}" for fold, status in self.folds.items() if status.state is State.FAILED]

    def refresh(self) -> None:
        """Look how far the folds are, and say what has changed."""
        for fold, status in self.folds.items():
            if status.state not in (State.DONE, State.FAILED) and (progress := progress_of(fold, status.digest)):
                status.epochs = progress["epoch"]
            shown = str(status)
            if shown != self._shown[fold]:
                log.info("%s: %s", fold, shown)
                self._shown[fold] = shown
        settled = (State.DONE, State.FAILED)
        self._bar.n = sum(one.max_epochs if one.state in settled else one.epochs for one in self.folds.values())
        self._bar.refresh()
