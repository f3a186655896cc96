"""What is known of a fold of a run: its files, the hash of its configuration, how far it is, and who works on it."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dataset.files import file_digest, write_atomic
from dataset.prepare.record import csv_digest
from model import read_checkpoint
from utils.options import TestOptions, TrainOptions
from utils.results import read_metrics

log = logging.getLogger(__name__)

# Options that do not decide the numbers: where things lie, and how fast they come. gpus is hashed as the world size.
NOT_DECIDING = {"outputs", "num_workers", "cache_dir", "log_steps", "logger", "resume", "folds", "save_name", "gpus"}
# Files are hashed by what they hold, as the same data may lie elsewhere on another machine.
FILES = {"data_root", "pretrained"}
DECIDING = [field.name for field in fields(TrainOptions) if field.name not in NOT_DECIDING]
# test.py may have tested with others than in training.
OF_THE_TEST = [field.name for field in fields(TestOptions) if field.name in {*DECIDING} - FILES]


@dataclass(frozen=True)
class Fold:
    """Where the files of a fold lie.

    Parameters
    ----------
    outputs
        Folder of all outputs.
    run
        Name of the run (``--save_name``).
    name
        Name of the fold, such as train_2.
    """

    outputs: Path
    run: str
    name: str

    def __str__(self) -> str:
        return f"{self.run} {self.name}"

    @property
    def results(self) -> Path:
        """Folder of metrics.json, scores.csv and, in training, progress.json."""
        return self.outputs / "results" / self.run / self.name

    @property
    def metrics(self) -> Path:
        """Figures of the fold; written last."""
        return self.results / "metrics.json"

    @property
    def progress(self) -> Path:
        """How far training is; gone when the fold is done."""
        return self.results / "progress.json"

    @property
    def best(self) -> Path:
        """Checkpoint of the best epoch."""
        return self.outputs / "ckpts" / self.run / f"{self.run}_{self.name}.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint to go on from."""
        return self.best.with_name(f"{self.best.stem}-last.ckpt")

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.outputs / "log" / self.run / f"{self.name}.log"

    @property
    def lock(self) -> Path:
        """File that whoever works on the fold has locked."""
        return self.outputs / "locks" / f"{self.run}_{self.name}.lock"

    @property
    def holder(self) -> Path:
        """Text that names who has locked it."""
        return self.lock.with_suffix(".holder")


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the options that decide the numbers of a run, the same on every machine.

    Parameters
    ----------
    config
        Resolved options as ``utils.options.plain`` gives them; more entries do no harm. Data and pretrained weights
        count by their content, of the data the csv, and by their path where they cannot be read.
    """
    deciding = {name: config.get(name) for name in DECIDING}
    deciding["world_size"] = config.get("gpus", 1)
    deciding["data_root"] = _data_digest(str(config.get("data_root")), config.get("dataset", "fakeavceleb"))
    if config.get("pretrained") is not None:
        path = Path(config["pretrained"])
        deciding["pretrained"] = _file_digest(path, path.stat().st_mtime_ns) if path.is_file() else str(path)
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _data_digest(root: str, dataset: str) -> str:
    try:
        return csv_digest(Path(root), dataset)
    except OSError:
        return str(Path(root).resolve())


@lru_cache
def _file_digest(path: Path, _changed: int) -> str:
    return file_digest(path)


def recorded_hash(config: Mapping[str, Any]) -> str:
    """The hash in a configuration; from before there was one, that of its options."""
    return config.get("config_hash") or config_hash(config)


def figures_of(fold: Fold, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What metrics.json holds if the fold is done in the configuration asked for, else None.

    Parameters
    ----------
    fold
        The fold.
    config
        What is asked for, with its "config_hash".
    """
    try:
        metrics = read_metrics(fold.metrics)
    except (OSError, ValueError):
        return None
    found = metrics["config"]
    if recorded_hash(found) != config["config_hash"]:
        return None
    if "train_fold" in found:  # test.py wrote it, which may have been asked for other clips or frames
        roots = (_data_digest(str(one["data_root"]), one["dataset"]) for one in (found, config))
        if len(set(roots)) > 1 or any(found[name] != config[name] for name in OF_THE_TEST):
            return None
    return metrics


def progress_of(fold: Fold, digest: str) -> dict[str, Any] | None:
    """What progress.json says: epoch, max_epochs, seconds; None without one of this configuration."""
    try:
        progress = json.loads(fold.progress.read_bytes())
        return progress if progress["config_hash"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def set_aside_others(fold: Fold, digest: str) -> None:
    """Give checkpoints and results of another configuration the next free number, so that the fold can start anew.

    Parameters
    ----------
    fold
        The fold; its files become RUN_train_2.1.ckpt, RUN_train_2-last.1.ckpt and the folder train_2.1.
    digest
        Hash of the configuration asked for.
    """
    # The last checkpoint goes last: a process that dies before finds it again, and moves what is left.
    files = [fold.results, fold.best, fold.last]
    reason = _other(fold, digest)
    if reason is None:
        return
    number = next(k for k in itertools.count(1) if not any(_numbered(path, k).exists() for path in files))
    moved = [path for path in files if path.exists()]
    for path in moved:
        path.rename(_numbered(path, number))
    log.warning(
        "%s: %s, so the fold starts anew. Kept: %s (--resume with that -last file goes on from it all the same)",
        fold,
        reason,
        ", ".join(str(_numbered(path, number)) for path in moved),
    )


def goes_on(fold: Fold, digest: str) -> bool:
    """Whether the fold's last checkpoint is there and of this configuration."""
    try:
        return recorded_hash(read_checkpoint(fold.last).get("config", {})) == digest
    except (OSError, ValueError):
        return False


def _other(fold: Fold, digest: str) -> str | None:
    """Say which file of the fold is not of this configuration, if one is."""
    for path, read in ((fold.last, read_checkpoint), (fold.best, read_checkpoint), (fold.metrics, read_metrics)):
        if path.exists():
            try:
                known = recorded_hash(read(path).get("config", {})) == digest
            except (OSError, ValueError) as error:
                return str(error)
            if not known:
                return f"{path} is of another configuration"
    return None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


class _InheritedLock(FileLock):
    """A lock whose file a child process can hold too."""

    def fileno(self) -> int:
        return self._context.lock_file_fd


@contextmanager
def held(fold: Fold) -> Iterator[int | None]:
    """Hold the lock of a fold, which the system lets go of when its processes end, however they do.

    Yields
    ------
    int or None
        Descriptor to hand on to the process that does the work (``pass_fds``), so that the fold stays locked for as
        long as that lives, even if this one is killed; None if someone else holds the lock.
    """
    fold.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = _InheritedLock(fold.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield None
        return
    try:
        write_atomic(fold.holder, f"{socket.gethostname()}, process {os.getpid()}")
        yield lock.fileno()
    finally:
        fold.holder.unlink(missing_ok=True)
        lock.release()


def holder_of(fold: Fold) -> str:
    """Who holds the lock of a fold, as far as it is known."""
    try:
        return fold.holder.read_text()
    except OSError:
        return "another process"
