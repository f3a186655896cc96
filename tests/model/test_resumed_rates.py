"""A resumed run has the rates and the weight decay that it is given; the same rate goes on as it was."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from model.training.callbacks import PlateauSchedule, ResumedRates, RunConfiguration, WarmupCosine
from model.training.optimizer import make_optimizer
from tests.model.test_schedule import Recorder

GIVEN = {"optimizer": "adamw", "learning_rate": 0.1, "backbone_learning_rate": 0.01, "weight_decay": 0.5}


class Toy(LightningModule):
    """A backbone and a head, with the optimiser of the detectors."""

    def __init__(
        self, optimizer: str, learning_rate: float, backbone_learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.head(self.model(batch)).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(1.0), batch_size=1)  # stalls from the first epoch on

    def configure_optimizers(self) -> Optimizer:
        return make_optimizer(self)


class Decay(Callback):
    """Weight decay of the groups at each step."""

    def __init__(self) -> None:
        self.seen: list[set[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.seen.append({group["weight_decay"] for group in optimizer.param_groups})


def fit(folder: Path, epochs: int, resume: Path | None = None, schedule: str = "plateau", **changed: Any) -> list:
    """Epochs of two steps; returns the rates of head and backbone at each step, then the weight decays."""
    recorder, decay = Recorder(), Decay()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[
            recorder,
            decay,
            ResumedRates(schedule),
            PlateauSchedule(patience=0) if schedule == "plateau" else WarmupCosine(0.0),
            RunConfiguration({"schedule": schedule}),
            ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loaders = [DataLoader([torch.ones(3, 4)] * steps, batch_size=None) for steps in (2, 1)]
    trainer.fit(Toy(**GIVEN | changed), *loaders, ckpt_path=resume, weights_only=True)
    return [[tuple(rates) for rates in recorder.rates], decay.seen]


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "model.training.callbacks"]


@pytest.fixture
def halved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """A plateau run of three epochs, whose rate has halved twice by their end."""
    caplog.set_level(logging.INFO)
    rates, _ = fit(tmp_path, 3)
    assert rates == [(0.1, 0.01)] * 4 + [(0.05, 0.005)] * 2
    return tmp_path / "last.ckpt"


def test_the_same_rate_goes_on_as_it_was(halved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rates, decays = fit(tmp_path / "more", 4, halved)
    assert rates == [(0.025, 0.0025)] * 2
    assert decays == [{0.5}] * 2
    assert messages(caplog) == []


def test_another_rate_counts_from_there_on(halved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rates, _ = fit(tmp_path / "more", 5, halved, learning_rate=1e-6)
    assert rates == [(1e-6, 0.0025)] * 2 + [(5e-7, 0.00125)] * 2
    assert messages(caplog) == ["--learning_rate: 1e-06 from here on, in place of the checkpoint's 0.1"]
    # The checkpoint that this leaves knows the new rate.
    rates, _ = fit(tmp_path / "still more", 6, tmp_path / "more" / "last.ckpt", learning_rate=1e-6)
    assert rates == [(2.5e-7, 0.000625)] * 2
    rates, decays = fit(tmp_path / "other", 4, halved, backbone_learning_rate=1e-4, weight_decay=0.0)
    assert rates == [(0.025, 1e-4)] * 2
    assert decays == [{0.0}] * 2


def test_the_curve_of_another_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    whole, _ = fit(tmp_path / "whole", 2, schedule="cosine")
    shares = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert whole == [pytest.approx((0.1 * share, 0.01 * share)) for share in shares]
    fit(tmp_path, 1, schedule="cosine")
    caplog.clear()
    rates, _ = fit(tmp_path / "more", 2, tmp_path / "last.ckpt", "cosine", learning_rate=1e-6)
    assert rates == [pytest.approx((1e-6 * share, 0.01 * share)) for share in shares[2:]]
    assert messages(caplog)[0] == "--learning_rate: 1e-06 from here on, in place of the checkpoint's 0.1"


def test_another_schedule_starts_from_the_rates_given(halved: Path, tmp_path: Path) -> None:
    rates, _ = fit(tmp_path / "cosine", 4, halved, "cosine")
    shares = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in (6, 7)]
    assert rates == [pytest.approx((0.1 * share, 0.01 * share)) for share in shares]
    rates, _ = fit(tmp_path / "plateau", 5, tmp_path / "cosine" / "last.ckpt")
    assert rates == [(0.1, 0.01)] * 2
