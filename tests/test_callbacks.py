"""The plateau schedule, which is part of a checkpoint."""

from __future__ import annotations

import pytest
import torch

from utils.callbacks import PlateauSchedule


class FakeTrainer:
    """As much of a trainer as PlateauSchedule looks at."""

    def __init__(self, rate: float) -> None:
        self.optimizers = [torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)]
        self.should_stop = False
        self.callback_metrics = {"val_loss": torch.tensor(1.0)}

    @property
    def rate(self) -> float:
        return self.optimizers[0].param_groups[0]["lr"]

    def log(self, name: str, value: float) -> None:
        assert name == "lr"


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
