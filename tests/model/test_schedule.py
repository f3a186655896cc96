"""Warm-up and cosine: the curve, and the callback that steps it and resumes exactly."""

from __future__ import annotations

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

from model.training.callbacks import EpochSeed, WarmupCosine
from model.training.schedule import warmup_cosine


def rates(warmup_steps: int, total_steps: int, steps: int, **more: float) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = warmup_cosine(optimizer, warmup_steps, total_steps, **more)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_curve() -> None:
    seen = rates(4, 12, 15)
    assert seen[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert seen[4:12] == pytest.approx([1 + math.cos(math.pi * step / 8) for step in range(8)])
    assert seen[12:] == pytest.approx([0.0] * 3)
    assert rates(0, 10, 11, final=0.1)[::5] == pytest.approx([2.0, 1.1, 0.2])
    assert rates(3, 3, 4) == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates(0, 1, 2) == pytest.approx([2.0, 0.0])


def test_each_group_keeps_its_own_highest_rate() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    warmup_cosine(optimizer, 1, 10)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize(("warmup", "total"), [(0, 0), (5, 4), (-1, 4)])
def test_steps_that_make_no_run(warmup: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"a warm-up of {warmup} steps does not fit into a run of {total}"):
        rates(warmup, total, 1)


def test_shares_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"final=1\.5 is not a share"):
        rates(0, 4, 1, final=1.5)
    with pytest.raises(ValueError, match="warmup_share=-1 is not a share"):
        WarmupCosine(-1)


class Toy(LightningModule):
    """Two linear layers with dropout between them, at two rates."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.dropout, self.second = nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.second(self.dropout(self.first(batch))).square().mean()

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.AdamW(
            [{"params": self.first.parameters(), "lr": 0.1}, {"params": self.second.parameters(), "lr": 0.01}]
        )


class Recorder(Callback):
    """The rates with which each optimiser step is made, and the end of an epoch as a stop."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.rates: list[list[float]] = []
        self.logged: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.stop_after

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logged.append(trainer.callback_metrics["lr"].item())


def fit(folder: Path, stop_after: int | None = None, resume: Path | None = None, **more: Any) -> tuple[Toy, Recorder]:
    """Three epochs of five batches, two of them a step, so nine steps; with a checkpoint of the last epoch."""
    torch.manual_seed(0)
    batches = [torch.randn(3, 4) for _ in range(5)]
    toy, recorder = Toy(), Recorder(stop_after)
    options = {"max_epochs": 3, "accumulate_grad_batches": 2} | more
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[recorder, WarmupCosine(0.3), EpochSeed(0), ModelCheckpoint(folder, filename="last")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    # With a generator of its own, since a loader draws a number whenever it starts.
    loader = DataLoader(batches, batch_size=None, generator=torch.Generator())
    trainer.fit(toy, loader, ckpt_path=resume, weights_only=True)
    return toy, recorder


def test_a_resumed_run_has_the_rates_and_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, uninterrupted = fit(tmp_path / "whole")
    shares = [0.25, 0.5, 0.75] + [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert uninterrupted.rates == [pytest.approx([0.1 * share, 0.01 * share]) for share in shares]
    assert uninterrupted.logged == pytest.approx([0.1 * shares[-1]])

    _, first = fit(tmp_path / "parts", stop_after=1)
    resumed, second = fit(tmp_path / "parts", resume=tmp_path / "parts" / "last.ckpt")
    assert len(first.rates) == 3
    assert first.rates + second.rates == uninterrupted.rates
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    ends = [torch.load(tmp_path / part / "last.ckpt", weights_only=True) for part in ("whole", "parts")]
    assert [end["global_step"] for end in ends] == [9, 9]
    assert ends[0]["callbacks"]["WarmupCosine"] == ends[1]["callbacks"]["WarmupCosine"]


def test_a_run_that_is_made_longer_goes_on_along_the_new_curve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, whole = fit(tmp_path / "whole", max_epochs=4)
    fit(tmp_path, max_epochs=1)
    _, longer = fit(tmp_path, max_epochs=4, resume=tmp_path / "last.ckpt")
    assert longer.rates == whole.rates[3:]
    messages = [record.message for record in caplog.records if record.name == "model.training.callbacks"]
    assert messages == ["the run had 3 steps and has 12 now: the rate goes on along the new curve"]


def test_a_run_without_an_end_has_no_schedule(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has to know when training ends; set max_epochs"):
        fit(tmp_path, max_epochs=-1)
