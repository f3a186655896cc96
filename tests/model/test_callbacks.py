"""The plateau schedule, which is part of a checkpoint, and the stop at a bad loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.training.bad_loss import BadLoss, StopOnBadLoss
from model.training.callbacks import PlateauSchedule
from utils.cli import guard


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


class Scale(LightningModule):
    """One weight, with the loss that each batch gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.weight * batch["factor"]
        if batch["steep"]:
            loss = loss + (self.weight - self.weight.detach()).sqrt()
        return loss.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def fit(factors: list[float], steep: bool = False, **more: Any) -> Scale:
    """Train on one batch for each factor; `steep` makes the gradient infinite, but not the loss."""
    module = Scale()
    batches = [
        {"factor": torch.tensor(factor), "steep": steep, "file": [f"A/{i}.mp4", f"B/{i}.mp4"]}
        for i, factor in enumerate(factors)
    ]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"callbacks": [StopOnBadLoss()], "enable_checkpointing": False} | more,
    )
    module.failure = None
    try:
        trainer.fit(module, DataLoader(batches, batch_size=None))
    except BadLoss as error:
        module.failure = error
    return module


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("accumulated", "step", "weight"), [(1, 3, 0.75), (2, 2, 0.875)])
def test_a_bad_loss_ends_the_run_before_the_step(bad: float, accumulated: int, step: int, weight: float) -> None:
    module = fit([0.25, 0.25, bad, 0.25], accumulate_grad_batches=accumulated)
    message = str(module.failure)
    assert message.startswith(f"epoch 1, step {step}: the loss is {bad}; ")
    assert message.endswith("Clips of the batch: A/2.mp4, B/2.mp4")
    assert "\n" not in message
    assert module.weight.item() == weight


def test_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=1)
    fit([0.25, 0.25, math.nan], callbacks=[StopOnBadLoss(), keep], enable_checkpointing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (checkpoint["global_step"], checkpoint["state_dict"]["weight"].item()) == (2, 0.75)


def test_a_bad_loss_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture) -> None:
    def action() -> None:
        raise fit([math.nan]).failure

    assert guard(action, "train.py") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("train.py: error: epoch 1, step 1: the loss is nan; ")


def test_infinite_gradients_are_left_to_the_scaler() -> None:
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    module = fit([0.25, 0.25], steep=True, plugins=[precision])
    assert module.failure is None
    assert module.weight.item() == 1.0  # no step was made
    assert precision.scaler.get_scale() == 2.0**14  # halved twice
