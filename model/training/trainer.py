"""Lightning trainers, and a fold tested from its checkpoint: what train.py and test.py have in common."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from model import Detector
from utils.cli import log_to_file
from utils.results import GROUP_COLUMNS

log = logging.getLogger(__name__)

ACCELERATORS = ("auto", "cpu")


def make_trainer(
    gpus: int,
    precision: str,
    callbacks: list[Callback] | None = None,
    logger: list[Logger] | None = None,
    accelerator: str = "auto",
    **more: Any,
) -> Trainer:
    """A trainer on `gpus` GPUs, or on the CPU in float32 where there is none.

    Several processes train with DDP. On GPUs BatchNorm's statistics are those of all of them; on a CPU, for which
    PyTorch has no such BatchNorm, those of each process's own clips. The first trainer that fits or tests starts the
    others by running the program again, so all trainers of a program take as many.

    Parameters
    ----------
    gpus
        Number of GPUs, a process each.
    precision
        As in Lightning; 16 means 16-mixed, on the CPU 32.
    callbacks, logger, more
        Handed to the Trainer.
    accelerator
        "auto": GPUs, or where there is none the CPU, with one process whatever `gpus` is; "cpu": `gpus` processes on
        the CPU.

    Raises
    ------
    ValueError
        If there is no such accelerator, or several processes on the CPU shall compute in bfloat16.
    """
    if accelerator not in ACCELERATORS:
        raise ValueError(f"accelerator '{accelerator}' is unknown; use one of {', '.join(ACCELERATORS)}")
    if accelerator == "cpu" and gpus > 1 and "b" in precision:
        raise ValueError(f"precision {precision}: several processes on the CPU compute in float32; use 32")
    on_gpu = accelerator == "auto" and torch.cuda.is_available()
    if not on_gpu:
        reason = "no CUDA device: " if accelerator == "auto" else ""
        _say_once(f"{reason}training and testing on the CPU" + (" in float32" if "b" not in precision else ""))
        gpus = gpus if accelerator == "cpu" else 1
        precision = "32-true" if precision in ("16", "16-mixed") else precision
    bar = [RichProgressBar(leave=False)] if sys.stderr.isatty() else []
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=gpus,
        # A detector leaves parts of the shared encoder unused, which plain DDP would wait for.
        strategy="ddp_find_unused_parameters_true" if gpus > 1 else "auto",
        precision={"16": "16-mixed", "32": "32-true"}.get(precision, precision),
        callbacks=[*(callbacks or []), *bar],
        sync_batchnorm=on_gpu and gpus > 1,
        logger=logger or False,
        enable_progress_bar=bool(bar),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **more,
    )


def make_loggers(kind: str, folder: Path, fold: str) -> list[Logger]:
    """Where the curves of a fold go, by `--logger`; every kind but none has the csv file too.

    Parameters
    ----------
    kind
        "tensorboard", "csv", "wandb" or "none".
    folder
        Folder of the run's logs; its name is the group in Weights & Biases.
    fold
        Name of the fold.

    Raises
    ------
    ValueError
        If wandb is asked for and not installed.
    """
    if kind == "none":
        return []
    # Both kinds of file lie beside each other, in a folder a start: version_0, version_1 …
    csv = CSVLogger(folder, name=fold, version=TensorBoardLogger(folder, name=fold).version)
    if kind == "wandb":
        try:
            return [WandbLogger(f"{folder.name} {fold}", save_dir=csv.log_dir, group=folder.name, project="mrdf"), csv]
        except ModuleNotFoundError as error:
            raise ValueError("--logger wandb: the package wandb is not installed; pip install wandb") from error
    return [TensorBoardLogger(folder, name=fold, version=csv.version), csv] if kind == "tensorboard" else [csv]


def close_loggers(trainer: Trainer) -> None:
    """End what a fold logs to, as wandb would add the next fold to the same run."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def log_run(path: Path) -> None:
    """Write the log of a run to a file as well; of several processes the first alone logs.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    if rank_zero_only.rank == 0:
        log_to_file(path)
    else:
        logging.getLogger().setLevel(logging.WARNING)


def loading_processes(asked: int | None) -> int:
    """How many processes load clips: as asked, else none beside a busy CPU and up to 8 beside a GPU."""
    if asked is not None:
        return asked
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0


class FoldTest(NamedTuple):
    """What a test of a fold gives.

    Attributes
    ----------
    table
        A row a clip: file, subject, category, method, label, score, video_score, audio_score, decision, race, gender.
    embeddings
        ``video_cross``, ``audio_cross``, ``video_within``, ``audio_within`` (N, D) float16, and ``category`` (N,).
    """

    table: pd.DataFrame
    embeddings: dict[str, np.ndarray]


def score_fold(trainer: Trainer, detector: Detector, data: LightningDataModule) -> FoldTest:
    """Score the test clips of a fold; the same result in every process of the trainer."""
    collected = _TestScores()
    trainer.callbacks.append(collected)
    trainer.test(detector, datamodule=data, verbose=False)
    scores = collected.table
    texts = data.test_dataset.clips[["file", "subject", "method", *GROUP_COLUMNS]]
    table = pd.concat([texts.loc[scores["id"]].reset_index(drop=True), scores.drop(columns="id")], axis=1)
    return FoldTest(table, collected.embeddings | {"category": table["category"].to_numpy(str)})


class _TestScores(Callback):
    """Keep the scores and the embeddings of the test clips of all processes.

    Asked for after the test, they would lie on the CPU, where processes with GPUs cannot gather them.
    """

    def __init__(self) -> None:
        self.table = pd.DataFrame()
        self.embeddings: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, Tensor]] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: Detector, outputs: dict[str, Tensor], *_: Any) -> None:
        gathered = pl_module.all_gather(outputs)  # (processes, B, …) of several, else (B, …)
        self._parts.append({
            name: (value.flatten(0, 1) if trainer.world_size > 1 else value).cpu() for name, value in gathered.items()
        })  # fmt: skip

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Detector) -> None:
        self.table = pl_module.fold_scores["test"].compute()
        whole = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        rows = {int(clip): row for row, clip in reversed(list(enumerate(whole.pop("id"))))}  # the first of a repeat
        order = [rows[clip] for clip in self.table["id"]]
        self.embeddings = {name: value[order].to(torch.float16).numpy() for name, value in whole.items()}


@cache
def _say_once(message: str) -> None:
    log.info(message)
