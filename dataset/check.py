"""Find clips that are missing or do not decode, before training rather than an hour into it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pandas as pd
from rich.progress import track

from dataset.media import probe, read_audio, read_video
from dataset.metadata import DataError


class BadClip(NamedTuple):
    """A clip that cannot be used, and why."""

    file: str
    reason: str


class ClipChecker:
    """Read clips exactly as training will, and remember the result.

    What passes here cannot fail later. Decoding is cheap beside training (a clip of 200 frames takes less than a
    tenth of a second of one core), and one checker shared by several folds reads each clip once.

    Parameters
    ----------
    progress
        Show a progress bar.
    """

    def __init__(self, progress: bool = True) -> None:
        self.progress = progress
        self._reasons: dict[tuple[str, int, int], str | None] = {}

    def __call__(self, clips: pd.DataFrame) -> list[BadClip]:
        """Return the bad ones among `clips`, in their order."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let go of the interpreter lock
            reasons = pool.map(self._reason, clips["path"])
            shown = track(reasons, "Checking clips", total=len(clips), disable=not self.progress, transient=True)
            return [BadClip(file, reason) for file, reason in zip(clips["file"], shown, strict=True) if reason]

    def _reason(self, path: str) -> str | None:
        try:
            stat = os.stat(path)
        except OSError:
            return "no such file"
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self._reasons:
            self._reasons[key] = _why_unreadable(path)
        return self._reasons[key]


def _why_unreadable(path: str) -> str | None:
    try:
        probe(path)
        read_video(path)
        read_audio(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
