"""The folds of several detectors as they come along: a live table on a terminal, else a line for each change."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scripts.reproduce.fold_state import Fold, progress_of
from utils.results import percent

log = logging.getLogger(__name__)


class State(str, Enum):
    """What a fold is at; the value is what is shown."""

    WAITING = "waiting"
    RUNNING = "running"
    LOCKED = "locked elsewhere"
    DONE = "done"
    FAILED = "failed"


STYLES = {State.WAITING: "dim", State.RUNNING: "cyan", State.LOCKED: "yellow", State.DONE: "green", State.FAILED: "red"}


@dataclass
class Status:
    """What is known of a fold in the overview.

    Parameters
    ----------
    digest
        Hash of the configuration asked for.
    max_epochs
        Epochs at most.
    state, detail
        What it is at, and what belongs with that: who has locked it, why it failed.
    epochs, seconds
        Epochs trained so far, by whomever, and how long they took.
    """

    digest: str
    max_epochs: int
    state: State = State.WAITING
    detail: str = ""
    epochs: int = 0
    seconds: float = 0.0

    def brief(self) -> str:
        """As a cell of the table shows it."""
        if self.state in (State.RUNNING, State.LOCKED):
            return f"{self.state.value}, epoch {self.epochs}/{self.max_epochs}"
        return f"{self.state.value} {self.detail}" if self.state is State.DONE else self.state.value

    def __str__(self) -> str:
        shown_anyway = self.state is State.DONE or not self.detail
        return self.brief() if shown_anyway else f"{self.brief()}: {self.detail}"


class Overview:
    """Shows the folds while it is entered.

    Parameters
    ----------
    folds
        The folds with their hash and their epochs at most.
    console
        Where to show them; by default the screen.
    """

    def __init__(self, folds: dict[Fold, Status], console: Console | None = None) -> None:
        self.folds = folds
        self._shown: dict[Fold, str] = {}
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=1)

    def __enter__(self) -> Overview:
        self.refresh()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def set(self, fold: Fold, state: State, detail: str = "") -> None:
        """Say what a fold is at now."""
        self.folds[fold].state, self.folds[fold].detail = state, detail
        self.refresh()

    def done(self, fold: Fold, metrics: dict[str, Any]) -> None:
        """Show the figures of a fold that is done."""
        status = self.folds[fold]
        record = metrics["config"].get("environment") or {}
        status.epochs, status.seconds = record.get("epochs", 0), 3600 * record.get("hours", 0.0)
        self.set(fold, State.DONE, f"{percent(metrics.get('acc'))}/{percent(metrics.get('auc'))}")

    def failed(self) -> list[str]:
        """A line for each fold that failed."""
        return [f"{fold}: {status.detail}" for fold, status in self.folds.items() if status.state is State.FAILED]

    def refresh(self) -> None:
        """Look how far the folds are; without a terminal, log what has changed."""
        for fold, status in self.folds.items():
            if status.state in (State.DONE, State.FAILED):
                continue
            if progress := progress_of(fold, status.digest):
                status.epochs, status.seconds = progress["epoch"], progress["seconds"]
        if self._live:
            return
        for fold, status in self.folds.items():
            text = str(status)
            if text != self._shown.get(fold, State.WAITING.value):
                log.info("%s: %s%s", fold, text, self._left() if status.state is State.RUNNING else "")
            self._shown[fold] = text

    def seconds_left(self) -> float | None:
        """Estimate from the epochs so far, of the same detector where there are any; None before the first one."""
        left = 0.0
        for fold, status in self.folds.items():
            if status.state in (State.DONE, State.FAILED):
                continue
            pace = self._pace([other for key, other in self.folds.items() if key.run == fold.run])
            pace = pace or self._pace(list(self.folds.values()))
            if pace is None:
                return None
            left += pace * max(0, status.max_epochs - status.epochs)
        return left

    @staticmethod
    def _pace(several: Sequence[Status]) -> float | None:
        """Seconds an epoch."""
        epochs = sum(status.epochs for status in several)
        return sum(status.seconds for status in several) / epochs if epochs else None

    def _left(self) -> str:
        seconds = self.seconds_left()
        return f"; {duration(seconds)} left" if seconds else ""

    def render(self) -> Group:
        """The table of detectors and folds."""
        names = sorted({fold.name for fold in self.folds})
        table = Table("detector", *names, box=box.SIMPLE_HEAD)
        for run in dict.fromkeys(fold.run for fold in self.folds):
            cells = {fold.name: status for fold, status in self.folds.items() if fold.run == run}
            table.add_row(run, *(self._cell(cells.get(name)) for name in names))
        done = sum(status.state is State.DONE for status in self.folds.values())
        foot = Text(f"{done} of {len(self.folds)} folds done (ACC/AUC of the scores){self._left()}")
        return Group(table, foot, *(Text(line, style="red") for line in self.failed()))

    @staticmethod
    def _cell(status: Status | None) -> Text:
        if status is None:  # another shard's
            return Text("")
        return Text(status.brief(), style=STYLES[status.state])


def duration(seconds: float) -> str:
    """A duration as one says it, such as "about 3 h 20 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"
