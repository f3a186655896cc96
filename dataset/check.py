"""Find clips that are missing or do not decode, before training rather than an hour into it."""

from __future__ import annotations

import os
from typing import NamedTuple

import pandas as pd

from dataset.media import probe, read_audio, read_video, wav_beside
from utils.errors import DataError
from utils.parallel import in_threads

Stamp = tuple[int, ...]


class BadClip(NamedTuple):
    """A clip that cannot be used, and why."""

    file: str
    reason: str


def stamp(path: str) -> Stamp | None:
    """Sizes and times of the files that a clip is read from, which change when they do; None if there is no clip."""
    wav = str(wav_beside(path))
    try:
        stats = [os.stat(file) for file in (path, wav) if file == path or os.path.isfile(file)]
    except OSError:
        return None
    return tuple(number for stat in stats for number in (stat.st_size, stat.st_mtime_ns))


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
        self._reasons: dict[tuple[str, Stamp], str] = {}

    def learn(self, path: str, seen: Stamp, reason: str) -> None:
        """Take over what an earlier check found in files with this stamp; an empty reason means that all is well."""
        self._reasons[path, seen] = reason

    def __call__(self, clips: pd.DataFrame) -> list[BadClip]:
        """Return the bad ones among `clips`, in their order."""
        reasons = in_threads(self._reason, list(clips["path"]), "Checking clips", progress=self.progress)
        return [BadClip(file, reason) for file, reason in zip(clips["file"], reasons, strict=True) if reason]

    def _reason(self, path: str) -> str:
        seen = stamp(path)
        if seen is None:
            return "no such file"
        if (path, seen) not in self._reasons:
            self._reasons[path, seen] = _why_unreadable(path)
        return self._reasons[path, seen]


def _why_unreadable(path: str) -> str:
    try:
        probe(path)
        read_video(path)
        read_audio(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""
