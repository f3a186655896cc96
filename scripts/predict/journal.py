"""What earlier runs have left of the clips that they finished."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dataset.check import stamp
from model import weights_file
from scripts.predict.arguments import FoundClip
from scripts.predict.prediction import ClipResult
from utils.files import file_digest

log = logging.getLogger(__name__)

FORMAT = 3  # raised when scores of earlier versions are not to be used any more


def journal_path(outputs: Path, checkpoint: Path, settings: Mapping[str, Any]) -> Path:
    """Where the results of a checkpoint's bytes under these settings lie, whatever the clips are."""
    key = [FORMAT, settings, file_digest(weights_file(checkpoint))]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
    return outputs / "predict" / f"{checkpoint.stem}-{digest.hexdigest()[:12]}.jsonl"


class Journal:
    """Results of clips, appended to a file as they come and read when the next run starts, unless that begins `fresh`.

    A clip is done if its file has not changed since, its figure, if there is to be one, is there as it was drawn at
    this threshold, and so is its preview, if there are to be any. A line that is cut, or damaged otherwise, is
    as if it were not there. Several runs may write at the same time.
    """

    def __init__(self, path: Path, threshold: float, with_previews: bool = False, fresh: bool = False) -> None:
        self.path, self.threshold, self.with_previews = path, threshold, with_previews
        self._entries: dict[str, dict[str, Any]] = {}
        self._stamps: dict[Path, list[int]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._read()
        path.parent.mkdir(parents=True, exist_ok=True)

    def find(self, clip: FoundClip) -> ClipResult | None:
        """The result of a clip that is done."""
        self._stamps[clip.path] = _stamp(clip.path)  # as it is before it is read, since files change meanwhile
        entry = self._entries.get(os.path.abspath(clip.path))
        if entry is None or entry["stamp"] != self._stamps[clip.path]:
            return None
        result = ClipResult(**entry["result"])
        drawn = clip.figure is None or entry["figure"] == self._drawn(clip)
        previewed = not self.with_previews or self.preview_path(clip).is_file()
        return result if not result.scored or (drawn and previewed) else None

    def add(self, clip: FoundClip, result: ClipResult) -> None:
        """Append the result of a clip that was looked for, if the same would come again."""
        if not result.lasting:
            return
        entry = {
            "file": os.path.abspath(clip.path),
            "stamp": self._stamps[clip.path],
            "figure": self._drawn(clip),
            "result": asdict(result),
        }
        # In front, too, a line break: a process that was killed may have left a part of a line.
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{json.dumps(entry)}\n".encode())

    def preview_path(self, clip: FoundClip) -> Path:
        """Where the preview of a clip that was looked for is kept for the page."""
        key = json.dumps([os.path.abspath(clip.path), self._stamps[clip.path]])
        return self.path.with_suffix("") / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def _read(self) -> None:
        for line in filter(None, self.path.read_bytes().splitlines()):
            try:
                entry = json.loads(line)
                ClipResult(**entry["result"])
                self._entries[entry["file"]] = {name: entry[name] for name in ("stamp", "figure", "result")}
            except (ValueError, KeyError, TypeError):
                log.debug("%s: a line is damaged; its clip is done again", self.path)

    def _drawn(self, clip: FoundClip) -> list[Any] | None:
        return [os.path.abspath(clip.figure), _stamp(clip.figure), self.threshold] if clip.figure else None


def _stamp(path: Path) -> list[int]:
    """Sizes and times of change of a file and of the wav beside it, which has its audio; none if there is no file."""
    return list(stamp(str(path)) or ())
