"""What the training of a fold starts from: its own checkpoints, those of another run, or nothing."""

import logging
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from model.checkpoint import read_checkpoint
from utils.errors import DataError
from utils.files import aside, replacing
from utils.outputs import Fold
from utils.results import read_metrics

log = logging.getLogger(__name__)

# A checkpoint whose weights are read only when they are asked for.
READ_LIGHTLY = partial(read_checkpoint, mmap=True)


class Start(NamedTuple):
    """What a fold starts from, and what has to be done before."""

    path: Path | None = None  # the checkpoint to go on from; None for a fold that starts anew
    checkpoint: dict[str, Any] | None = None  # what it holds
    in_the_way: tuple[Path, ...] = ()  # files that it cannot go on from and would write over
    said: str = ""  # what the log says of them


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
    if start.in_the_way:
        kept = aside(start.in_the_way)
        for path, name in zip(start.in_the_way, kept, strict=True):
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


def _own_start(fold: Fold, digest: str) -> Start:
    """Go on from the fold's last checkpoint, else from its best, if they are there and of this configuration.

    Without the best one there is no going on, as the best epoch so far would be lost.
    """
    checkpoint, last = _looked_at(fold.last, digest, read_checkpoint)
    _, best = _looked_at(fold.best, digest, READ_LIGHTLY)
    if fold.best.exists() and best is None:
        if fold.last.exists() and last is None:
            return Start(fold.last, checkpoint)
        in_the_way = tuple(path for path in (fold.last,) if path.exists())
        said = f"{last}, so the fold goes on from {fold.best.name}" if in_the_way else ""
        return Start(fold.best, read_checkpoint(fold.best), in_the_way, said)
    missing = None
    if not fold.best.exists() and fold.last.exists():
        missing = f"{fold.best}, the best epoch, is missing beside {fold.last.name}"
    reason = last or best or missing or _looked_at(fold.metrics, digest, read_metrics)[1]
    if reason is None:
        return Start()
    # The last checkpoint goes last: a process that dies before finds it again, and moves what is left.
    in_the_way = tuple(path for path in (fold.results, fold.best, fold.last) if path.exists())
    said = f"{reason}, so training does not go on from there"
    if fold.best in in_the_way and fold.last in in_the_way:
        said += " (--resume with its -last file goes on from it all the same, if it can be read)"
    return Start(in_the_way=in_the_way, said=said)


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
