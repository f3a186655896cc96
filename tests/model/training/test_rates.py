"""The rates of a run: the plateau, warm-up and cosine; and those of a resumed run, which goes on or is given others."""

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

from model import Detector
from model.training.callbacks import EpochSeed, PlateauSchedule, ResumedRates
from model.training.optimizer import warmup_cosine

GIVEN = {"optimizer": "adamw", "learning_rate": 0.1, "backbone_learning_rate": 0.01, "weight_decay": 0.5}


class FakeTrainer:
    """As much of a trainer as PlateauSchedule looks at."""

    def __init__(self, rate: float) -> None:
        self.optimizers = [torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)]
        self.should_stop = False
        self.callback_metrics = {"val_loss": torch.tensor(1.0)}

    @property
    def rate(self) -> float:
        return self.optimizers[0].param_groups[0]["lr"]


def test_the_rate_halves_after_four_stalled_epochs_and_a_tiny_one_ends_training() -> None:
    trainer = FakeTrainer(3e-7)
    schedule = PlateauSchedule()
    schedule.on_train_start(trainer, trainer)
    rates = []
    for _ in range(9):
        schedule.on_train_epoch_end(trainer, trainer)
        rates.append(trainer.rate)
        if trainer.should_stop:
            break
    assert rates == pytest.approx([3e-7] * 4 + [1.5e-7] * 4 + [7.5e-8])
    assert trainer.should_stop


def test_the_schedule_goes_on_from_its_state() -> None:
    trainer = FakeTrainer(1e-3)
    first = PlateauSchedule()
    first.on_train_start(trainer, trainer)
    for _ in range(4):
        first.on_train_epoch_end(trainer, trainer)
    second = PlateauSchedule()
    second.load_state_dict(first.state_dict())
    second.on_train_start(trainer, trainer)
    assert trainer.rate == 1e-3
    second.on_train_epoch_end(trainer, trainer)
    assert trainer.rate == 5e-4


def rates(warmup: float, total_steps: int, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmup_cosine(optimizer, warmup, total_steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_curve() -> None:
    seen = rates(1 / 3, 12, 15)
    assert seen[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert seen[4:12] == pytest.approx([1 + math.cos(math.pi * step / 8) for step in range(8)])
    assert seen[12:] == pytest.approx([0.0] * 3)
    assert rates(1, 3, 4) == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates(0, 1, 2) == pytest.approx([2.0, 0.0])


def test_each_group_keeps_its_own_highest_rate() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    warmup_cosine(optimizer, 0.1, 10)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


def test_curves_that_are_none() -> None:
    with pytest.raises(ValueError, match="has to know when training ends; set max_epochs"):
        rates(0.1, math.inf, 1)
    with pytest.raises(ValueError, match="warmup=-1 is not a share"):
        rates(-1, 4, 1)


class Toy(LightningModule):
    """A backbone and a head with dropout between them, and the optimiser and the schedule of the detectors."""

    def __init__(
        self,
        optimizer: str,
        learning_rate: float,
        backbone_learning_rate: float,
        weight_decay: float,
        schedule: str = "plateau",
        warmup: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(1)
        self.model, self.dropout, self.head = (
            nn.Linear(4, 4, bias=False),
            nn.Dropout(dropout),
            nn.Linear(4, 1, bias=False),
        )

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.head(self.dropout(self.model(batch))).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(1.0), batch_size=1)  # stalls from the first epoch on

    configure_optimizers = Detector.configure_optimizers


class Recorder(Callback):
    """The rates of each optimiser step, the weight decays, and the end of an epoch as a stop."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.rates: list[tuple[float, ...]] = []
        self.decays: list[set[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.rates.append(tuple(group["lr"] for group in optimizer.param_groups))
        self.decays.append({group["weight_decay"] for group in optimizer.param_groups})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.stop_after


def fit(folder: Path, epochs: int, resume: Path | None = None, stop_after: int | None = None, **changed: Any) -> Any:
    """Epochs of two steps; returns the module, the rates of heads and backbone at each step, and the weight decays."""
    recorder, toy = Recorder(stop_after), Toy(**GIVEN | changed)
    plateau = [PlateauSchedule(patience=0)] if toy.hparams.schedule == "plateau" else []
    keep = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[recorder, ResumedRates(), EpochSeed(0), *plateau, keep],
        accumulate_grad_batches=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    torch.manual_seed(0)
    # Three batches, two of them a step. With generators of their own, as a loader draws a number whenever it starts.
    loaders = [
        DataLoader([torch.randn(3, 4)] * batches, batch_size=None, generator=torch.Generator()) for batches in (3, 1)
    ]
    trainer.fit(toy, *loaders, ckpt_path=resume, weights_only=True)
    return toy, recorder.rates, recorder.decays


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "model.training.callbacks"]


@pytest.fixture
def halved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """A plateau run of three epochs, whose rate has halved twice by their end."""
    caplog.set_level(logging.INFO)
    _, rates, _ = fit(tmp_path, 3)
    assert rates == [(0.1, 0.01)] * 4 + [(0.05, 0.005)] * 2
    return tmp_path / "last.ckpt"


def test_the_same_rate_goes_on_as_it_was(halved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, rates, decays = fit(tmp_path / "more", 4, halved)
    assert rates == [(0.025, 0.0025)] * 2
    assert decays == [{0.5}] * 2
    assert messages(caplog) == []


def test_another_rate_counts_from_there_on(halved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, rates, _ = fit(tmp_path / "more", 5, halved, learning_rate=1e-6)
    assert rates == [(1e-6, 0.0025)] * 2 + [(5e-7, 0.00125)] * 2
    assert messages(caplog) == ["--learning_rate: 1e-06 from here on, in place of the checkpoint's 0.1"]
    # The checkpoint that this leaves knows the new rate.
    _, rates, _ = fit(tmp_path / "still more", 6, tmp_path / "more" / "last.ckpt", learning_rate=1e-6)
    assert rates == [(2.5e-7, 0.000625)] * 2
    _, rates, decays = fit(tmp_path / "other", 4, halved, backbone_learning_rate=1e-4, weight_decay=0.0)
    assert rates == [(0.025, 1e-4)] * 2
    assert decays == [{0.0}] * 2


def test_the_curve_of_another_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _, whole, _ = fit(tmp_path / "whole", 2, schedule="cosine")
    shares = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert whole == [pytest.approx((0.1 * share, 0.01 * share)) for share in shares]
    fit(tmp_path, 1, schedule="cosine")
    caplog.clear()
    _, rates, _ = fit(tmp_path / "more", 2, tmp_path / "last.ckpt", schedule="cosine", learning_rate=1e-6)
    assert rates == [pytest.approx((1e-6 * share, 0.01 * share)) for share in shares[2:]]
    assert messages(caplog)[0] == "--learning_rate: 1e-06 from here on, in place of the checkpoint's 0.1"


def test_another_schedule_starts_from_the_rates_given(halved: Path, tmp_path: Path) -> None:
    _, rates, _ = fit(tmp_path / "cosine", 4, halved, schedule="cosine")
    shares = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in (6, 7)]
    assert rates == [pytest.approx((0.1 * share, 0.01 * share)) for share in shares]
    _, rates, _ = fit(tmp_path / "plateau", 5, tmp_path / "cosine" / "last.ckpt")
    assert rates == [(0.1, 0.01)] * 2


def test_a_resumed_run_has_the_rates_and_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    options = {"schedule": "cosine", "warmup": 0.3, "dropout": 0.5}
    whole, rates, _ = fit(tmp_path / "whole", 5, **options)
    shares = [0.25, 0.5, 0.75] + [0.5 * (1 + math.cos(math.pi * step / 7)) for step in range(7)]
    assert rates == [pytest.approx((0.1 * share, 0.01 * share)) for share in shares]
    _, first, _ = fit(tmp_path, 5, stop_after=2, **options)
    resumed, second, _ = fit(tmp_path, 5, tmp_path / "last.ckpt", **options)
    assert len(first) == 4
    assert first + second == rates
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_run_that_is_made_longer_goes_on_along_the_new_curve(tmp_path: Path) -> None:
    _, whole, _ = fit(tmp_path / "whole", 4, schedule="cosine")
    fit(tmp_path, 1, schedule="cosine")
    _, longer, _ = fit(tmp_path, 4, tmp_path / "last.ckpt", schedule="cosine")
    assert longer == whole[2:]


def test_a_run_without_an_end_has_no_curve(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has to know when training ends; set max_epochs"):
        fit(tmp_path, -1, schedule="cosine")
