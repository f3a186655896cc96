"""A fold of a run in the folder of all outputs: its files, its lock, what decides its numbers, and how far it is."""

import hashlib
import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from filelock import SoftFileLock, Timeout

from utils.errors import DataError
from utils.files import aside, file_digest, lock, write_atomic
from utils.options import TrainOptions, plain
from utils.results import read_metrics, read_scores
from utils.runs import NOT_DECIDING

log = logging.getLogger(__name__)

# Files are hashed by what they hold, as the same data may lie elsewhere on another machine.
FILES = {"data_root", "pretrained"}
DECIDING = [field.name for field in fields(TrainOptions) if field.name not in NOT_DECIDING]
# Written where a fold's lock is, for whoever meets it.
HOLDER = ".holder"
# The workers of a process that was killed hold its lock for a moment more, until they notice.
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Fold:
    """Where the files of a fold of a run (`--save_name`) lie in the folder of all outputs; its name is as train_2."""

    outputs: Path
    run: str
    name: str

    def __str__(self) -> str:
        return f"{self.run} {self.name}"

    @property
    def results(self) -> Path:
        return self.outputs / "results" / self.run / self.name

    @property
    def metrics(self) -> Path:
        return self.results / "metrics.json"  # written last

    @property
    def progress(self) -> Path:
        return self.results / "progress.json"  # how far training is; gone when the fold is done

    @property
    def best(self) -> Path:
        return self.outputs / "ckpts" / self.run / f"{self.run}_{self.name}.ckpt"  # of the best epoch

    @property
    def last(self) -> Path:
        return self.best.with_name(f"{self.best.stem}-last.ckpt")  # to go on from

    @property
    def log(self) -> Path:
        return self.outputs / "log" / self.run / f"{self.name}.log"  # what its process printed

    @property
    def lock(self) -> Path:
        return self.outputs / "locks" / f"{self.run}_{self.name}.lock"  # locked by whoever trains the fold


def fold_of(config: Mapping[str, Any], stem: str) -> str | None:
    """The fold on which a checkpoint was trained, such as train_2, from its configuration, else from its file's name.

    None where neither does. The name of a run comes before that of its fold, so of several in a file's name the last
    is meant.
    """
    named = re.findall(r"train_[1-9](?!\d)", config.get("fold") or stem)
    return named[-1] if named else None


@contextmanager
def held(fold: Fold) -> Iterator[None]:
    """Hold the lock of a fold, which the system lets go of when this process ends, however it does.

    `DataError` names the process that holds it already, as far as it is known.
    """
    own = lock(fold.lock)
    try:
        own.acquire(timeout=GRACE_SECONDS)
    except Timeout as error:
        ended = f" (if it has ended, delete {own.lock_file})" if isinstance(own, SoftFileLock) else ""
        raise DataError(
            f"{fold} is being trained by {holder_of(fold)}{ended}; wait for it, or give another --save_name"
        ) from error
    try:
        write_atomic(fold.lock.with_suffix(HOLDER), f"{socket.gethostname()}, process {os.getpid()}")
        yield
    finally:
        fold.lock.with_suffix(HOLDER).unlink(missing_ok=True)
        own.release()


def is_held(fold: Fold) -> bool:
    """Whether a process holds the lock of a fold."""
    try:
        with lock(fold.lock).acquire(timeout=0):
            return False
    except Timeout:
        return True


def holder_of(fold: Fold) -> str:
    """Who holds the lock of a fold, as far as it is known."""
    try:
        return fold.lock.with_suffix(HOLDER).read_text(encoding="utf-8")
    except OSError:
        return "another process"


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide the numbers of a run, of a resolved configuration; where data lie is left out."""
    chosen = {name: config.get(name) for name in DECIDING if name not in FILES}
    return chosen | {"world_size": config.get("gpus", 1), "pretrained": pretrained_digest(config)}


def pretrained_digest(config: Mapping[str, Any]) -> str | None:
    """SHA-256 of the file of `--pretrained`, its path where it cannot be read, None without it."""
    if config.get("pretrained") is None:
        return None
    path = Path(config["pretrained"])
    return _digest_at(path, path.stat().st_mtime_ns) if path.is_file() else str(path)


@cache
def _digest_at(path: Path, _changed: int) -> str:
    return file_digest(path)


def config_hash(config: Mapping[str, Any], clips: Mapping[str, str]) -> str:
    """SHA-256 of what decides the numbers of a fold, the same on every machine.

    It takes resolved options as `utils.options.plain` gives them, where more entries do no harm, and what `clip_lists`
    gives.
    """
    decides = {**deciding(config), "clips": dict(clips)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def metrics_of(fold: Fold, digest: str) -> dict[str, Any] | None:
    """What metrics.json holds if the fold is done in the configuration asked for, else None.

    Done is a fold whose metrics and scores can both be read and come from its own checkpoint: that of another fold was
    trained on the subjects that are tested here.
    """
    try:
        metrics, scores = read_metrics(fold.metrics), read_scores(fold.results / "scores.csv")
    except (OSError, ValueError):
        return None
    # By its name alone, as the outputs may have been moved.
    own = Path(str(metrics["config"].get("checkpoint"))).name == fold.best.name
    same = own and len(scores) == metrics["n"] and metrics["config"].get("config_hash") == digest
    return metrics if same else None


def progress_of(fold: Fold, digest: str) -> dict[str, Any] | None:
    """What progress.json says: epoch, max_epochs, seconds; None without one of this configuration."""
    try:
        progress = json.loads(fold.progress.read_bytes())
        return progress if progress["config_hash"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_options(options: TrainOptions) -> None:
    """Write the options of a run as results/NAME/config.yaml, which train.py repeats it from.

    Folds that were trained with the same options before, as `main.py reproduce` does in processes of their own, stay
    in it. The file of other options is set aside.
    """
    path = options.outputs / "results" / options.save_name / "config.yaml"
    config = plain(options)
    if options.resume == "auto":
        config["resume"] = None  # to go on from the end would repeat nothing
    with lock(options.outputs / "locks" / f"{options.save_name}.lock"):
        if path.exists():
            try:
                earlier = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (ValueError, yaml.YAMLError):
                earlier = None
            if isinstance(earlier, dict) and deciding(earlier) == deciding(config):
                config["folds"] = ",".join(sorted({*f"{earlier.get('folds')},{config['folds']}".split(",")}))
            else:
                (kept,) = aside([path])
                path.rename(kept)
                log.info("%s is of other options: kept as %s", path, kept.name)
        write_atomic(path, yaml.safe_dump(config, sort_keys=False))
