"""A fold of a run: its files, its lock, the hash of what decides its numbers, how far it is, what it goes on from."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml
from filelock import SoftFileLock, Timeout

from dataset import FakeAVCelebDataModule
from model import read_checkpoint
from utils.errors import DataError
from utils.files import aside, file_digest, lock, replacing, write_atomic
from utils.options import TrainOptions, plain
from utils.results import read_metrics, read_scores
from utils.runs import NOT_DECIDING

log = logging.getLogger(__name__)

# Files are hashed by what they hold, as the same data may lie elsewhere on another machine.
FILES = {"data_root", "pretrained"}
DECIDING = [field.name for field in fields(TrainOptions) if field.name not in NOT_DECIDING]
# A checkpoint whose weights are read only when they are asked for.
READ_LIGHTLY = partial(read_checkpoint, mmap=True)
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


def clip_lists(data: FakeAVCelebDataModule) -> dict[str, str]:
    """SHA-256 of the lists of "train", "val" and "test" clips of a fold, of which some may not decode."""
    return {side: clips_digest(clips) for side, clips in zip(("train", "val", "test"), data.sides(), strict=True)}


def clips_digest(clips: pd.DataFrame) -> str:
    """SHA-256 of the names, labels and sizes of clips in their order.

    Another fold file, subset or version of the corpus gives another.
    """
    sizes = [Path(path).stat().st_size if Path(path).is_file() else None for path in clips["path"]]
    table = clips[["file", "v_label", "a_label", "m_label"]].assign(size=pd.array(sizes, "Int64"))
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


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


class Start(NamedTuple):
    """What a fold starts from, and what has to be done before."""

    path: Path | None = None  # the checkpoint to go on from; None for a fold that starts anew
    checkpoint: dict[str, Any] | None = None  # what it holds
    aside: tuple[Path, ...] = ()  # files that it cannot go on from and would write over
    said: str = ""  # by the log of that


def start_of(fold: Fold, config: Mapping[str, Any], resume: str | None, requeued: bool = False) -> Start:
    """Decide what a fold starts from; the checkpoint is read once, and nothing is moved yet.

    The configuration that is asked for has its "config_hash" and "clips"; resume is as `--resume`: None, auto or a
    file, of which `DataError` says so if it cannot be resumed. If requeued, the same command was stopped and started
    again (by Slurm): it goes on where it was.
    """
    digest = config["config_hash"]
    ours = fold.best.exists() and _looked_at(fold.best, digest, READ_LIGHTLY)[1] is None
    if resume is None and ours and not requeued:
        return Start(said=f"{fold} was trained with these options before: its checkpoints and results are replaced")
    if resume in (None, "auto") or (requeued and ours):
        return _own_start(fold, digest)
    path = Path(resume)
    checkpoint = read_checkpoint(path)
    _check_resumable(path, checkpoint.get("config"), config)
    if path.resolve() in (fold.last.resolve(), fold.best.resolve()):
        return Start(path, checkpoint)
    others = Start() if ours else _own_start(fold, digest)
    return others._replace(path=path, checkpoint=checkpoint)


def make_way(fold: Fold, start: Start) -> None:
    """Set what is in the way of a fold aside, and bring the best epoch that belongs to a checkpoint from elsewhere."""
    if start.aside:
        kept = aside(start.aside)
        for path, name in zip(start.aside, kept, strict=True):
            path.rename(name)
        log.warning("%s: %s. Kept: %s", fold, start.said, ", ".join(map(str, kept)))
    elif start.said:
        log.info("%s", start.said)
    if start.path is not None and start.path.resolve() not in (fold.last.resolve(), fold.best.resolve()):
        # A later epoch need not be better.
        best = start.path.with_name(re.sub(r"-last((?:\.\d+)?\.ckpt)$", r"\1", start.path.name))
        if best.is_file():
            with replacing(fold.best) as temporary:
                shutil.copyfile(best, temporary)


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


def _own_start(fold: Fold, digest: str) -> Start:
    """Go on from the fold's last checkpoint, else from its best, if they are there and of this configuration.

    Without the best one there is no going on, as the best epoch so far would be lost.
    """
    checkpoint, last = _looked_at(fold.last, digest, read_checkpoint)
    _, best = _looked_at(fold.best, digest, READ_LIGHTLY)
    if fold.best.exists() and best is None:
        if fold.last.exists() and last is None:
            return Start(fold.last, checkpoint)
        aside: tuple[Path, ...] = (fold.last,) if fold.last.exists() else ()
        said = f"{last}, so the fold goes on from {fold.best.name}" if aside else ""
        return Start(fold.best, read_checkpoint(fold.best), aside, said)
    missing = None
    if not fold.best.exists() and fold.last.exists():
        missing = f"{fold.best}, the best epoch, is missing beside {fold.last.name}"
    reason = last or best or missing or _looked_at(fold.metrics, digest, read_metrics)[1]
    if reason is None:
        return Start()
    # The last checkpoint goes last: a process that dies before finds it again, and moves what is left.
    aside = tuple(path for path in (fold.results, fold.best, fold.last) if path.exists())
    said = f"{reason}, so training does not go on from there"
    if fold.best in aside and fold.last in aside:
        said += " (--resume with its -last file goes on from it all the same, if it can be read)"
    return Start(aside=aside, said=said)


def _check_resumable(path: Path, config: Any, asked: Mapping[str, Any]) -> None:
    if not isinstance(config, dict):
        raise DataError(f"{path}: not written by train.py of this project, so it cannot be resumed")
    # The optimiser's state is kept by group, and a backbone without a rate of its own is in the group of the heads.
    optimizer, rate = config.get("optimizer", "adam"), config.get("backbone_learning_rate")
    advice = f"with --backbone_learning_rate {rate}; give one"
    if rate is None:
        advice = "without --backbone_learning_rate; leave it out"
    wrong = [f"its {k} is {config[k]}, not {asked[k]}" for k in ("model_type", "fold") if config[k] != asked[k]]
    if config.get("clips", asked["clips"])["train"] != asked["clips"]["train"]:
        wrong.append(
            "it was trained on other clips (another fold file, subset, corpus or --num_train), so what is tested now "
            "need not be unseen; train anew without --resume"
        )
    if optimizer != asked["optimizer"]:
        wrong.append(f"it was trained with --optimizer {optimizer}; give that")
    if (rate is None) != (asked["backbone_learning_rate"] is None):
        wrong.append(f"its backbone was trained {advice}")
    if wrong:
        raise DataError(f"--resume {path}: {wrong[0]}")


def _looked_at(
    path: Path, digest: str, read: Callable[[Path], dict[str, Any]]
) -> tuple[dict[str, Any] | None, str | None]:
    """What a file holds, and what is wrong with it: nothing if it is of this configuration or missing."""
    if not path.exists():
        return None, None
    try:
        contents = read(path)
    except (OSError, ValueError) as error:
        return None, str(error)
    config = contents.get("config")
    known = isinstance(config, Mapping) and config.get("config_hash") == digest
    return contents, None if known else f"{path} is of another configuration"
