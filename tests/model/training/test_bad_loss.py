"""The stop at a loss or a score that is not a number, before it reaches a checkpoint."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.training.callbacks import BadLoss, StopOnBadLoss
from utils.cli import guard


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
@pytest.mark.parametrize("log_steps", [1, 2, 50])
def test_a_bad_loss_ends_the_run_at_the_next_look(bad: float, log_steps: int) -> None:
    module = fit([0.25, 0.25, bad, 0.25], log_every_n_steps=log_steps)
    assert str(module.failure) == (
        "epoch 1, step 3: the loss is NaN or infinite, so this epoch is not saved; train with a lower learning rate or "
        "in full precision. Clips of the batch: A/2.mp4, B/2.mp4"
    )


def test_a_step_asks_the_device_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = StopOnBadLoss._bad_batches
    monkeypatch.setattr(StopOnBadLoss, "_bad_batches", lambda self: asked.append(len(self._good)) or real(self))
    fit([0.25] * 7, log_every_n_steps=3)
    assert asked == [3, 3, 1]


def test_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    module = fit([0.25, math.nan], callbacks=[StopOnBadLoss(), keep], enable_checkpointing=True)
    assert module.failure is not None
    assert not list(tmp_path.iterdir())


def test_a_bad_loss_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture) -> None:
    def action() -> None:
        raise fit([math.nan]).failure

    assert guard(action, "train.py") == 2
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("train.py: error: epoch 1, step 1: the loss is NaN or inf")
    )


def scaled(factors: list[float], **more: Any) -> tuple[Scale, MixedPrecision]:
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    return fit(factors, plugins=[precision], **more), precision


def test_infinite_gradients_are_left_to_the_scaler() -> None:
    module, precision = scaled([0.25, 0.25], steep=True)
    assert module.failure is None
    assert module.weight.item() == 1.0  # no step was made
    assert precision.scaler.get_scale() == 2.0**14  # halved twice


def test_the_scaler_leaves_out_a_bad_loss_as_in_the_release(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    module, precision = scaled([0.25, math.nan, 0.25])
    assert module.failure is None
    assert module.weight.item() == 0.75  # of two steps
    assert precision.scaler.get_scale() == 2.0**15
    assert "epoch 1: 1 of 3 steps had a loss that is NaN or infinite; the gradient scaler left them out" in caplog.text
    module, _ = scaled([math.nan, math.nan])
    assert str(module.failure).startswith("epoch 1, step 1: the loss is NaN or infinite")


class Judged(Scale):
    """A module whose validation gives what each epoch is said to give."""

    def __init__(self, outputs: list[dict[str, float]]) -> None:
        super().__init__()
        self.outputs = outputs

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        outputs = self.outputs[self.current_epoch] if batch_idx == 1 else {"loss": 1.0, "score": 0.5}
        self.log("val_acc", torch.tensor(float(self.current_epoch)), batch_size=1)
        return {name: torch.tensor([value]) for name, value in outputs.items()}


def validate(folder: Path, outputs: list[dict[str, float]], **more: Any) -> str:
    """Train for an epoch on each of `outputs`; returns the message of the stop."""
    batches = [{"factor": torch.tensor(0.25), "steep": False, "file": [f"A/{i}.mp4", f"B/{i}.mp4"]} for i in range(3)]
    best = ModelCheckpoint(folder, "best", monitor="val_acc", mode="max", save_on_train_epoch_end=True)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[StopOnBadLoss(), best, last],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": len(outputs), "num_sanity_val_steps": 0} | more,
    )
    loaders = [DataLoader(batches, batch_size=None) for _ in range(2)]
    with pytest.raises(BadLoss) as error:
        trainer.fit(Judged(outputs), *loaders)
    return str(error.value)


GOOD = {"loss": 1.0, "score": 0.5, "decision": 1.0}
BAD = [
    GOOD | {"loss": math.nan},
    GOOD | {"loss": math.inf},
    GOOD | {"score": math.nan},
    GOOD | {"video_score": math.inf},
]


@pytest.mark.parametrize("bad", BAD)
def test_the_checkpoints_of_the_last_good_epoch_stay(bad: dict[str, float], tmp_path: Path) -> None:
    message = validate(tmp_path, [GOOD, bad, GOOD])
    assert message == (
        "epoch 2, validation: the loss or a score is NaN or infinite, so this epoch is not saved; go on from the last "
        f"good epoch with --resume {tmp_path / 'last.ckpt'}, and a lower --learning_rate or --precision 32. "
        "Clips of the batch: A/1.mp4, B/1.mp4"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
    for path in tmp_path.iterdir():
        assert torch.load(path, weights_only=True)["epoch"] == 0


@pytest.mark.parametrize("sanity", [0, 2])
def test_without_a_checkpoint_there_is_no_word_of_one(sanity: int, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_text("of another run")
    message = validate(tmp_path, [BAD[0]], num_sanity_val_steps=sanity)
    assert message.startswith("epoch 1, validation: ")
    assert "train with a lower learning rate or in full precision" in message
    assert "resume" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_file_that_a_run_goes_on_from_can_be_resumed_again(tmp_path: Path) -> None:
    validate(tmp_path / "first", [GOOD, BAD[0]])
    start = tmp_path / "start.ckpt"
    (tmp_path / "first" / "last.ckpt").rename(start)
    with pytest.MonkeyPatch.context() as patch:
        resumed = Trainer.fit
        patch.setattr(Trainer, "fit", lambda *given: resumed(*given, ckpt_path=start, weights_only=True))
        message = validate(tmp_path / "second", [GOOD, BAD[0]])
    assert f"with --resume {start}, and a lower" in message


def test_every_process_stops(tmp_path: Path) -> None:
    """The one whose own batches are fine, too, for the other will not wait for it."""
    stop = StopOnBadLoss()
    asked = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda bad, all: asked.append((bad, all)) or True)
    trainer = SimpleNamespace(
        strategy=strategy, current_epoch=4, global_step=9, checkpoint_callbacks=[], ckpt_path=None
    )
    stop.on_validation_epoch_start(trainer, None)
    stop.on_validation_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, {"file": ["a.mp4"]}, 0)
    with pytest.raises(BadLoss, match="epoch 5, validation: the loss or a score is NaN or infinite in another process"):
        stop.on_validation_epoch_end(trainer, None)
    stop.on_validation_batch_end(trainer, None, {"loss": torch.tensor(math.nan)}, {"file": ["b.mp4"]}, 1)
    with pytest.raises(BadLoss, match=r"Clips of the batch: b\.mp4"):
        stop.on_validation_epoch_end(trainer, None)
    assert asked == [(False, False), (True, False)]
