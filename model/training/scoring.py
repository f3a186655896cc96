"""A fold that is tested: its scores, its embeddings, and its results on disk."""

from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningDataModule, Trainer
from rich.console import Console
from torch import Tensor

from model import Detector, for_inference
from model.threshold import with_calibration
from utils.metrics import evaluate
from utils.results import GROUP_COLUMNS, write_fold
from utils.summary import fold_table


class FoldTest(NamedTuple):
    """What a test of a fold gives."""

    table: pd.DataFrame  # a row a clip: `utils.results.SCORE_COLUMNS`, race and gender
    # video_cross, audio_cross, video_within, audio_within: (N, D) float16; category: (N,)
    embeddings: dict[str, np.ndarray]


def score_fold(trainer: Trainer, detector: Detector, data: LightningDataModule, compiled: bool = False) -> FoldTest:
    """Score the test clips of a fold, as `for_inference` does; the same result in every process of the trainer."""
    collected = _TestScores()
    trainer.callbacks.append(collected)
    trainer.test(for_inference(detector, compiled), datamodule=data, verbose=False)
    scores = collected.table
    texts = data.test_dataset.clips[["file", "subject", "method", *GROUP_COLUMNS]]
    table = pd.concat([texts.loc[scores["id"]].reset_index(drop=True), scores.drop(columns="id")], axis=1)
    return FoldTest(table, collected.embeddings | {"category": table["category"].to_numpy(str)})


def write_test(folder: Path, test: FoldTest, checkpoint: dict[str, Any], config: dict[str, Any], title: str) -> None:
    """Evaluate and calibrate what `score_fold` gave for a checkpoint, write it to a folder, and show the metrics."""
    table, metrics = with_calibration(checkpoint, test.table, evaluate(test.table), config)
    beside = {name: config.get(name) for name in ("protocol", "selection", "notes")}
    write_fold(folder, table, metrics | beside, config, test.embeddings)
    Console().print(fold_table(metrics, title))


class _TestScores(Callback):
    """Keep the scores and the embeddings of the test clips of all processes.

    Batches are dealt out whole, so that in the end a process may have one fewer, or smaller ones: they are gathered
    when all are there.
    """

    def __init__(self) -> None:
        self.table = pd.DataFrame()
        self.embeddings: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, Tensor]] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: Detector, outputs: dict[str, Tensor], *_: Any) -> None:
        self._parts.append({name: value.cpu() for name, value in outputs.items()})

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Detector) -> None:
        self.table = pl_module.fold_scores["test"].compute()
        parts = [self._parts]
        if trainer.world_size > 1:
            parts = [[] for _ in range(trainer.world_size)]
            dist.all_gather_object(parts, self._parts)
        whole = {name: torch.cat([part[name] for part in chain(*parts)]) for name in self._parts[0]}
        rows = {int(clip): row for row, clip in enumerate(whole.pop("id"))}  # one of a clip's, which may be repeated
        order = [rows[clip] for clip in self.table["id"]]
        self.embeddings = {name: value[order].to(torch.float16).numpy() for name, value in whole.items()}
