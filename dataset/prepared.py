"""What main.py prepare has left behind, for those that read it: the subset, and which clips were found to be good."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dataset.cache import ClipCache
from dataset.check import ClipChecker
from dataset.corpora.csv import table_path
from dataset.corpora.fakeavceleb import CSV_NAME
from dataset.corpora.table import Layout
from dataset.prepared_state import STATE_NAME, State
from utils.errors import DataError
from utils.files import file_digest

log = logging.getLogger(__name__)

FOLDER = "prepare"
CACHE = "cache"
RECORD_NAME = "prepare.json"
SUBSET_NAME = "subset.csv"


class Prepared(NamedTuple):
    """A folder that main.py prepare wrote, and its record: dataset, csv, seed, strict_identities."""

    folder: Path
    record: dict[str, Any]

    def subset(self, clips: pd.DataFrame) -> pd.DataFrame | None:
        """The chosen ones among `clips`, in their order; None where every clip of the table is in use.

        Raises
        ------
        DataError
            If the subset is damaged.
        """
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

    def teach(self, checker: ClipChecker, clips: pd.DataFrame) -> None:
        """Tell a checker what prepare found, so that unchanged clips are not decoded once more."""
        findings = State(self.folder / STATE_NAME).findings
        for file, path in zip(clips["file"], clips["path"], strict=True):
            if file in findings:
                seen, facts = findings[file]
                checker.learn(path, seen, facts["reason"])


def find_prepared(root: Path, dataset: str, folders: list[Path]) -> Prepared | None:
    """The first of `folders` that main.py prepare wrote for this very csv, if any."""
    for folder in folders:
        record = read_record(folder)
        if record is None:
            continue
        if record.get("csv") == csv_digest(root, dataset):
            return Prepared(folder, record)
        log.warning("%s is of another table, or the csv has changed since: it is not used", folder)
    return None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a folder that main.py prepare wrote; None if it is not one."""
    try:
        return json.loads((folder / RECORD_NAME).read_bytes())
    except (OSError, ValueError):
        return None


def csv_digest(root: Path, dataset: str) -> str:
    """SHA-256 of the corpus' csv, by which a folder is known to belong to it."""
    path = table_path(root) if dataset == "csv" else Path(root) / CSV_NAME
    return file_digest(path)


def find_cache(root: Path, cache_dir: Path | None, outputs: Path) -> ClipCache | None:
    """The cache to read from: the one asked for, else one in the corpus or in the outputs, if there is any."""
    folders = [root / CACHE, outputs / CACHE] if cache_dir is None else [cache_dir]
    for folder in folders:
        if any(folder.glob("shard-*.bin")):
            log.info("decoded clips are taken from %s as far as they are there", folder)
            return ClipCache(folder)
    if cache_dir is not None:
        log.warning("%s holds no cache: clips are decoded as they come (main.py prepare --cache makes one)", cache_dir)
    return None
