"""What is done before a fold is trained: its files make way for new ones, and the options of the run are written."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from scripts.reproduce.fold_state import Fold, bring_best, config_hash, resumable, set_aside_others
from utils.files import write_atomic
from utils.options import TrainOptions, plain

log = logging.getLogger(__name__)


def make_room(options: TrainOptions, fold: Fold, digest: str) -> None:
    """See that training writes over no file of another configuration, and over none at all without a line in the log.

    Parameters
    ----------
    options
        Options of the run.
    fold
        The fold to train.
    digest
        Hash of the configuration.
    """
    resumed = None if options.resume in (None, "auto") else Path(options.resume)
    if resumed and resumed.resolve() in (fold.last.resolve(), fold.best.resolve()):
        return
    if options.resume != "auto" and resumable(fold, digest):
        log.info("%s was trained with these options before: its checkpoints and results are replaced", fold)
    else:
        set_aside_others(fold, digest)
    if resumed:
        bring_best(fold, resumed)


def write_options(options: TrainOptions) -> None:
    """Write the options of a run as results/NAME/config.yaml, which train.py repeats it from.

    Folds that were trained with the same options before, as `main.py reproduce` does in processes of their own, stay
    in it. The file of other options is kept as config.1.yaml, or the next free number.
    """
    path = options.outputs / "results" / options.save_name / "config.yaml"
    lock = options.outputs / "locks" / f"{options.save_name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    config = plain(options)
    if options.resume == "auto":
        config["resume"] = None  # to go on from the end would repeat nothing
    with FileLock(lock):
        if path.exists():
            earlier = _read(path)
            if config_hash(earlier) == config_hash(config):
                config["folds"] = ",".join(sorted({*f"{earlier.get('folds')},{config['folds']}".split(",")}))
            else:
                kept = next(p for k in itertools.count(1) if not (p := path.with_name(f"config.{k}.yaml")).exists())
                path.rename(kept)
                log.info("%s is of other options: kept as %s", path, kept.name)
        write_atomic(path, yaml.safe_dump(config, sort_keys=False))


def _read(path: Path) -> dict[str, Any]:
    """The options in a file; none if it holds no such thing."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}
