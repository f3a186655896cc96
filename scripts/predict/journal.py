"""What is done already, a line a clip, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset.media import wav_beside
from scripts.predict.results import ClipResult
from utils.files import file_digest

log = logging.getLogger(__name__)

FORMAT = 1  # raised when scores of earlier versions are not to be used any more


def journal_path(outputs: Path, checkpoint: Path, settings: Mapping[str, Any]) -> Path:
    """Where the results of a checkpoint's bytes under these settings lie, whatever the clips are."""
    key = [FORMAT, settings, file_digest(checkpoint)]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
    return outputs / "predict" / f"{checkpoint.stem}-{digest.hexdigest()[:12]}.jsonl"


class Journal:
    """Results of clips, appended as they come and read when the next run starts.

    A line that is cut, or damaged otherwise, is as if it were not there. Several runs may write at the same time.

    Parameters
    ----------
    path
        The file, which need not exist.
    fresh
        Forget what an earlier run has left.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self._entries: dict[str, dict[str, Any]] = {}
        self._stamps: dict[Path, list[list[int]]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._read()
        path.parent.mkdir(parents=True, exist_ok=True)

    def find(self, clip: Path, picture: Path | None, threshold: float) -> ClipResult | None:
        """The result of a clip whose file has not changed since.

        Parameters
        ----------
        clip
            The file.
        picture
            Its picture, if there is to be one: None is returned unless it is there as it was drawn.
        threshold
            That the picture is to show.
        """
        self._stamps[clip] = stamp(clip)  # as it is before it is read, since files change meanwhile
        entry = self._entries.get(os.path.abspath(clip))
        if entry is None or entry["stamp"] != self._stamps[clip]:
            return None
        result = ClipResult(**entry["result"])
        if picture is not None and result.scored and entry["picture"] != _drawn(picture, threshold):
            return None
        return result

    def add(self, clip: Path, picture: Path | None, result: ClipResult, threshold: float) -> None:
        """Append the result of a clip that was looked for, if the same would come again."""
        if not result.lasting:
            return
        entry = {
            "file": os.path.abspath(clip),
            "stamp": self._stamps[clip],
            "picture": None if picture is None else _drawn(picture, threshold),
            "result": result.plain(),
        }
        # In front, too, a line break: a process that was killed may have left a part of a line.
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{json.dumps(entry)}\n".encode())

    def _read(self) -> None:
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                ClipResult(**entry["result"])
                self._entries[entry["file"]] = {name: entry[name] for name in ("stamp", "picture", "result")}
            except (ValueError, KeyError, TypeError):
                if line:
                    log.debug("%s: a line is damaged; its clip is done again", self.path)


def stamp(clip: Path) -> list[list[int]]:
    """Size and time of change of a file and of the wav beside it, which has its sound; those that exist."""
    stamps = []
    for path in (clip, wav_beside(clip)):
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            continue
        stamps.append([found.st_size, found.st_mtime_ns])
    return stamps


def _drawn(picture: Path, threshold: float) -> list[Any]:
    return [os.path.abspath(picture), stamp(picture), threshold]
