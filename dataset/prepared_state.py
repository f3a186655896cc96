"""What is known of each clip, kept on disk while a prepare is at work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.check import Stamp
from utils.files import write_atomic

STATE_NAME = "state.jsonl"
FORMAT = 1  # goes up whenever an inspection says something else about the same file


class State:
    """Findings by clip, in a file to which each is added at once.

    A prepare that is killed loses the clips that were being decoded, no more. A last line that was cut short, or a
    file of another format, is not an error: those clips are looked at again.

    Parameters
    ----------
    path
        The file; made by the first finding.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        if not path.is_file():
            return
        header, *lines = path.read_bytes().split(b"\n")
        if header != self._header():
            return
        for line in lines:
            try:
                file, seen, facts = json.loads(line)
            except ValueError:
                continue
            self.findings[file] = (tuple(seen), facts)

    def of(self, file: str, seen: Stamp) -> dict[str, Any] | None:
        """What was found of a clip whose files had this stamp."""
        known, facts = self.findings.get(file, (None, None))
        return facts if known == seen else None

    def open(self) -> None:
        """Begin the file anew with what is known, whole lines only, so that findings can be added to it."""
        lines = [self._header(), *(self._line(file) for file in self.findings)]
        write_atomic(self.path, b"\n".join([*lines, b""]))

    def add(self, file: str, seen: Stamp, facts: dict[str, Any]) -> None:
        """Add a finding: the fields of :class:`dataset.inspection.ClipFacts`."""
        self.findings[file] = (seen, facts)
        with self.path.open("ab") as out:
            out.write(self._line(file) + b"\n")

    def close(self, files: pd.Series) -> None:
        """Write the file once more, in the order of the table and without clips that are no longer in it."""
        self.findings = {file: self.findings[file] for file in dict.fromkeys(files) if file in self.findings}
        self.open()

    def _line(self, file: str) -> bytes:
        return json.dumps([file, *self.findings[file]], ensure_ascii=False).encode()

    @staticmethod
    def _header() -> bytes:
        return json.dumps({"format": FORMAT}).encode()
