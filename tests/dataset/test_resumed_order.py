"""A resumed training visits the clips of its own epoch, whoever reads them ahead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dataset.clips import ClipKey, ClipSampler


class Keys(Dataset):
    """What the sampler asks for, as it is."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: ClipKey) -> Tensor:
        return torch.tensor(key[:2])


class Data(LightningDataModule):
    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers

    def train_dataloader(self) -> DataLoader:
        keys = Keys()
        sampler = ClipSampler(keys, batch_size=2, trainer=self.trainer)
        return DataLoader(
            keys,
            batch_size=2,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            generator=torch.Generator(),
        )


class Noted(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, int]] = []  # (index, epoch) of each clip

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen += map(tuple, batch.tolist())
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def visited(folder: Path, epochs: int, workers: int, resume: Path | None = None) -> list[tuple[int, int]]:
    module = Noted()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Data(workers), ckpt_path=resume, weights_only=True)
    return module.seen


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_goes_on_with_the_next_clips(workers: int, tmp_path: Path) -> None:
    whole = visited(tmp_path / "whole", 3, 0)
    assert [epoch for _, epoch in whole] == [0] * 6 + [1] * 6 + [2] * 6
    for epochs in (1, 2):
        first = visited(tmp_path / str(epochs), epochs, workers)
        rest = visited(tmp_path / str(epochs), 3, workers, tmp_path / str(epochs) / "last.ckpt")
        assert first + rest == whole
