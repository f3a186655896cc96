"""Lightning trainers, and a fold tested from its checkpoint: what train.py and test.py have in common."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger

from dataset import FakeAVCelebDataModule
from model import Detector

log = logging.getLogger(__name__)


def make_trainer(
    gpus: int, precision: str, callbacks: list[Callback] | None = None, logger: list[Logger] | None = None, **more: Any
) -> Trainer:
    """A trainer on `gpus` GPUs, or on the CPU in float32 where there is none.

    Parameters
    ----------
    gpus
        Number of GPUs; several train with DDP.
    precision
        As in Lightning; 16 means 16-mixed.
    callbacks, logger, more
        Handed to the Trainer.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        _say_once("no CUDA device: training and testing on the CPU" + (" in float32" if "b" not in precision else ""))
        gpus = 1
        precision = "32-true" if precision in ("16", "16-mixed") else precision
    bar = [RichProgressBar(leave=False)] if sys.stderr.isatty() else []
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=gpus,
        # A detector leaves parts of the shared encoder unused, which plain DDP would wait for.
        strategy="ddp_find_unused_parameters_true" if gpus > 1 else "auto",
        precision={"16": "16-mixed", "32": "32-true"}.get(precision, precision),
        callbacks=[*(callbacks or []), *bar],
        logger=logger or False,
        enable_progress_bar=bool(bar),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **more,
    )


def loading_processes(asked: int | None) -> int:
    """How many processes load clips: as asked, else none beside a busy CPU and up to 8 beside a GPU."""
    if asked is not None:
        return asked
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0


def score_fold(trainer: Trainer, detector: Detector, data: FakeAVCelebDataModule) -> pd.DataFrame:
    """Score the test clips of a fold.

    Returns
    -------
    pandas.DataFrame
        A row a clip: file, subject, category, method, label, score, video_score, audio_score, decision.
    """
    trainer.test(detector, datamodule=data, verbose=False)
    scores = detector.fold_scores["test"].compute()
    clips = data.test_dataset.clips.loc[scores["id"], ["file", "subject", "method"]].reset_index(drop=True)
    return pd.concat([clips, scores.drop(columns="id")], axis=1)


@cache
def _say_once(message: str) -> None:
    log.info(message)
