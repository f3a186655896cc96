"""What is known of a fold of a run: its files, the hash of its configuration, how far it is, what it goes on from."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from dataset.corpora import read_corpus, table_digest
from model import read_checkpoint
from utils.files import file_digest, replacing
from utils.options import TestOptions, TrainOptions
from utils.results import read_fold, read_metrics

log = logging.getLogger(__name__)

# Options that do not decide the numbers: where things lie, and how fast they come. gpus is hashed as the world size.
NOT_DECIDING = {
    "outputs",
    "num_workers",
    "cache_dir",
    "log_steps",
    "logger",
    "resume",
    "folds",
    "save_name",
    "gpus",
    "lists",
}
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


def _differs(name: str, found: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a fold was tested otherwise than is asked for; no protocol asks for that of the corpus."""
    return found.get(name) != config[name] and not (name == "protocol" and config[name] is None)


@lru_cache
def _data_digest(root: str, dataset: str) -> str:
    try:
        return table_digest(read_corpus(root, dataset))
    except (OSError, ValueError):
        return str(Path(root).resolve())


@lru_cache
def _file_digest(path: Path, _changed: int) -> str:
    return file_digest(path)


def recorded_hash(config: Mapping[str, Any]) -> str:
    """The hash in a configuration; from before there was one, that of its options."""
    return config.get("config_hash") or config_hash(config)


def figures_of(fold: Fold, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What metrics.json holds if the fold is done in the configuration asked for, else None.

    Done is a fold whose figures and scores can both be read and come from its own checkpoint: that of another fold was
    trained on the subjects that are tested here.

    Parameters
    ----------
    fold
        The fold.
    config
        What is asked for, with its "config_hash".
    """
    try:
        metrics, _ = read_fold(fold.results)
    except (OSError, ValueError):
        return None
    found = metrics["config"]
    # By its name alone, as the outputs may have been moved.
    if recorded_hash(found) != config["config_hash"] or Path(str(found.get("checkpoint"))).name != fold.best.name:
        return None
    if "train_fold" in found:  # test.py wrote it, which may have been asked for other clips or frames
        roots = (_data_digest(str(one.get("data_root")), one.get("dataset", "fakeavceleb")) for one in (found, config))
        if len(set(roots)) > 1 or any(_differs(name, found, config) for name in OF_THE_TEST):
            return None
    return metrics


def progress_of(fold: Fold, digest: str) -> dict[str, Any] | None:
    """What progress.json says: epoch, max_epochs, seconds; None without one of this configuration."""
    try:
        progress = json.loads(fold.progress.read_bytes())
        return progress if progress["config_hash"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def set_aside_others(fold: Fold, digest: str) -> str | None:
    """Give files that the fold cannot go on from the next free number, so that nothing writes over them.

    If the best checkpoint is of this configuration, it is only the last one, where that is damaged. Otherwise it is
    all there is of the fold.

    Parameters
    ----------
    fold
        The fold; its files become RUN_train_2.1.ckpt, RUN_train_2-last.1.ckpt and the folder train_2.1.
    digest
        Hash of the configuration asked for.

    Returns
    -------
    str or None
        What the log says of it; None if nothing was in the way.
    """
    reason, moved = _in_the_way(fold, digest)
    if not moved:
        return None
    number = next(k for k in itertools.count(1) if not any(_numbered(path, k).exists() for path in moved))
    for path in moved:
        path.rename(_numbered(path, number))
    said = f"{fold}: {reason}. Kept: {', '.join(str(_numbered(path, number)) for path in moved)}"
    if fold.best in moved and fold.last in moved:
        said += " (--resume with that -last file goes on from it all the same, if it can be read)"
    log.warning("%s", said)
    return said


def resumable(fold: Fold, digest: str) -> Path | None:
    """The checkpoint to go on from: the last one, else the best, if they are there and of this configuration.

    Without the best one there is none, as the best epoch so far would be lost.
    """
    if not _is_ours(fold.best, read_checkpoint, digest):
        return None
    return fold.last if _is_ours(fold.last, read_checkpoint, digest) else fold.best


def bring_best(fold: Fold, resumed: Path) -> None:
    """Copy the best epoch that belongs to a checkpoint from elsewhere to its place, as a later one need not be better.

    Parameters
    ----------
    fold
        The fold.
    resumed
        Checkpoint of train.py, the best epoch or the last one, such as RUN_train_2-last.1.ckpt.
    """
    best = resumed.with_name(re.sub(r"-last((?:\.\d+)?\.ckpt)$", r"\1", resumed.name))
    if best.is_file():
        with replacing(fold.best) as temporary:
            shutil.copyfile(best, temporary)


def _in_the_way(fold: Fold, digest: str) -> tuple[str, list[Path]]:
    """Why the fold's files do not serve, and which these are; none if they do."""
    last = _fault(fold.last, read_checkpoint, digest)
    best = _fault(fold.best, read_checkpoint, digest)
    if fold.best.exists() and best is None:
        return (f"{last}, so the fold goes on from {fold.best.name}", [fold.last]) if last else ("", [])
    missing = None
    if not fold.best.exists() and fold.last.exists():
        missing = f"{fold.best}, the best epoch, is missing beside {fold.last.name}"
    reason = last or best or missing or _fault(fold.metrics, read_metrics, digest)
    # The last checkpoint goes last: a process that dies before finds it again, and moves what is left.
    files = [path for path in (fold.results, fold.best, fold.last) if path.exists()]
    return (f"{reason}, so training does not go on from there", files) if reason else ("", [])


def _fault(path: Path, read: Callable[[Path], dict[str, Any]], digest: str) -> str | None:
    """What is wrong with a file; None if it is of this configuration or missing."""
    if not path.exists():
        return None
    try:
        known = _hash_in(read(path)) == digest
    except (OSError, ValueError) as error:
        return str(error)
    return None if known else f"{path} is of another configuration"


def _is_ours(path: Path, read: Callable[[Path], dict[str, Any]], digest: str) -> bool:
    """Whether a file is there and of this configuration."""
    return path.exists() and _fault(path, read, digest) is None


def _hash_in(contents: Mapping[str, Any]) -> str:
    """The hash of the configuration that a checkpoint or metrics.json holds."""
    config = contents.get("config")
    return recorded_hash(config if isinstance(config, Mapping) else {})


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
