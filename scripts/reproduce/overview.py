"""The folds of several detectors as they come along: a line in the log for each change, and a bar on a terminal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from scripts.reproduce.folds import Fold, progress_of
from utils.table import percent

log = logging.getLogger(__name__)

RUNNING, LOCKED = "running", "locked elsewhere"


class Overview:
    """Shows how far folds are, of which it takes the hashes of their configurations, until it is closed."""

    def __init__(self, digests: Mapping[Fold, str], max_epochs: int) -> None:
        self.failed: list[str] = []
        self._digests, self._max_epochs = digests, max_epochs
        self._epochs = dict.fromkeys(digests, 0)
        self._working: dict[Fold, tuple[str, str]] = {}
        self._shown: dict[Fold, str] = {}
        # Without a terminal there is no bar, and the log alone tells.
        total = max_epochs * len(digests)
        self._bar = tqdm(total=total, desc="epochs", unit="epoch", disable=None, leave=False, dynamic_ncols=True)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def working(self, fold: Fold, state: str, detail: str = "") -> None:
        """Say that a fold is trained, here or elsewhere."""
        self._working[fold] = state, detail
        self.refresh()

    def done(self, fold: Fold, metrics: Mapping[str, Any]) -> None:
        """Show the metrics of a fold that is done."""
        self._settle(fold, f"done {percent(metrics.get('acc'))}/{percent(metrics.get('auc'))}")

    def fail(self, fold: Fold, why: str) -> None:
        """Say that a fold failed."""
        self.failed.append(f"{fold}: {why}")
        self._settle(fold, f"failed {why}")

    def refresh(self) -> None:
        """Look how far the folds are, and say what has changed."""
        for fold, (state, detail) in self._working.items():
            if progress := progress_of(fold, self._digests[fold]):
                self._epochs[fold] = progress["epoch"]
            shown = f"{state}, epoch {self._epochs[fold]}/{self._max_epochs}"
            self._say(fold, f"{shown}: {detail}" if detail else shown)
        self._bar.n = sum(self._epochs.values())
        self._bar.refresh()

    def _settle(self, fold: Fold, text: str) -> None:
        self._working.pop(fold, None)
        self._epochs[fold] = self._max_epochs
        self._say(fold, text)
        self.refresh()

    def _say(self, fold: Fold, text: str) -> None:
        if self._shown.get(fold) != text:
            log.info("%s: %s", fold, text)
            self._shown[fold] = text
