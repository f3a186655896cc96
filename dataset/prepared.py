"""What main.py prepare leaves on disk, for itself and for those that read it: findings, the subset, the cache."""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dataset.cache import ClipCache
from dataset.check import Stamp
from dataset.corpora import table_digest
from dataset.corpora.table import Layout
from dataset.media import DECODING
from utils.errors import DataError
from utils.files import write_atomic

log = logging.getLogger(__name__)

FOLDER = "prepare"
CACHE = "cache"
RECORD_NAME = "prepare.json"
SUBSET_NAME = "subset.csv"
STATE_NAME = "state.jsonl"
FORMAT = 3  # of the state; goes up whenever an inspection says something else about the same file
HEADER = json.dumps({"format": FORMAT, "decoding": DECODING}).encode()


class State:
    """Findings by clip, in a file to which each is added at once.

    A prepare that is killed loses the clips that were being decoded, no more. A last line that was cut short, or a
    file of another format, is not an error: those clips are looked at again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        header, *lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        for line in lines if header == HEADER else ():
            with suppress(ValueError):
                file, seen, facts = json.loads(line)
                self.findings[file] = (tuple(seen), facts)

    def of(self, file: str, seen: Stamp) -> dict[str, Any] | None:
        """What was found of a clip whose files had this stamp."""
        known, facts = self.findings.get(file, (None, None))
        return facts if known == seen else None

    def open(self) -> None:
        """Begin the file anew with what is known, whole lines only, so that findings can be added to it."""
        lines = [HEADER, *(self._line(file) for file in self.findings)]
        write_atomic(self.path, b"\n".join([*lines, b""]))

    def add(self, file: str, seen: Stamp, facts: dict[str, Any]) -> None:
        """Add a finding: the fields of `dataset.check.ClipFacts`."""
        self.findings[file] = (seen, facts)
        with self.path.open("ab") as out:
            out.write(self._line(file) + b"\n")

    def close(self, files: pd.Series) -> None:
        """Write the file once more, in the order of the table and without clips that are no longer in it."""
        self.findings = {file: self.findings[file] for file in dict.fromkeys(files) if file in self.findings}
        self.open()

    def _line(self, file: str) -> bytes:
        return json.dumps([file, *self.findings[file]], ensure_ascii=False).encode()


class Prepared(NamedTuple):
    """A folder that main.py prepare wrote, and its record: dataset, table, seed, strict_identities."""

    folder: Path
    record: dict[str, Any]

    def subset(self, clips: pd.DataFrame) -> pd.DataFrame | None:
        """The chosen ones among `clips`, in their order; None where every clip of the table is in use."""
        if clips["layout"].iloc[0] != Layout.ORIGINAL and not self.record["strict_identities"]:
            return None
        path = self.folder / SUBSET_NAME
        try:
            files = pd.read_csv(path, dtype=str, keep_default_na=False)["file"]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}); main.py prepare writes it again") from error
        chosen = clips[clips["file"].isin(set(files))].drop_duplicates("file")
        if len(chosen) != len(files):
            raise DataError(f"{path}: names clips that the table does not have; main.py prepare writes it again")
        return chosen

    def findings(self) -> dict[str, tuple[Stamp, dict[str, Any]]]:
        """What is known of each clip, by its file: when, and the fields of `dataset.check.ClipFacts`."""
        return State(self.folder / STATE_NAME).findings


def find_prepared(clips: pd.DataFrame, folders: list[Path]) -> Prepared | None:
    """The first of `folders` that main.py prepare wrote for this very table, if any."""
    digest = table_digest(clips)
    for folder in folders:
        record = read_record(folder)
        if record is not None and record.get("table") == digest:
            return Prepared(folder, record)
        if record is not None:
            log.warning("%s is of another corpus, or its metadata have changed since: it is not used", folder)
    return None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a folder that main.py prepare wrote; None if it is not one."""
    try:
        return json.loads((folder / RECORD_NAME).read_bytes())
    except (OSError, ValueError):
        return None


def find_cache(root: Path, cache_dir: Path | None, outputs: Path) -> ClipCache | None:
    """The cache to read from: the one asked for, else one in the corpus or in the outputs, if there is any."""
    folders = [root / CACHE, outputs / CACHE] if cache_dir is None else [cache_dir]
    for folder in folders:
        if any(folder.glob("??/*.safetensors")):
            log.info("decoded clips are taken from %s as far as they are there", folder)
            return ClipCache(folder)
    if cache_dir is not None:
        log.warning("%s holds no cache: clips are decoded as they come (main.py prepare --cache makes one)", cache_dir)
    return None
