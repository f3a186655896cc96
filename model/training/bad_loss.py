"""The end of a run whose losses or scores are no longer numbers, before it does harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class BadLoss(ValueError):
    """A loss or a score is not a number, or infinite."""


class StopOnBadLoss(Callback):
    """End the run at a loss that is NaN or infinite, before it reaches the weights or a checkpoint.

    In validation scores are looked at too: they tell of weights that the last step of an epoch has broken. Infinite
    gradients of a finite loss are the gradient scaler's affair in half precision, and no reason to stop.

    Raises
    ------
    BadLoss
        In training; the message names the epoch and the step, from 1, and the batch's files. In validation before the
        epoch is saved; the message names the epoch and the files of the first bad batch.
    """

    def __init__(self) -> None:
        self._files: list[str] = []
        self._bad_files: list[str] | None = None  # of the first bad batch of a validation

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._files = batch["file"]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        bad = not bool(loss.isfinite().all())
        if trainer.strategy.reduce_boolean_decision(bad, all=False):
            place = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step + 1}"
            reason = f"the loss is {loss.item()}; the weights are as before this step"
            _stop(trainer, place, reason, self._files if bad else None)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bad_files = None

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Tensor], batch: Any, *_: Any
    ) -> None:
        if self._bad_files is None and not all(bool(value.isfinite().all()) for value in outputs.values()):
            self._bad_files = batch["file"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Once an epoch, as the processes have to agree; checkpoints are written after this.
        if trainer.strategy.reduce_boolean_decision(self._bad_files is not None, all=False):
            place = f"epoch {trainer.current_epoch + 1}, validation"
            reason = "the loss or a score is NaN or infinite, so this epoch is not saved"
            _stop(trainer, place, reason, self._bad_files)


def _stop(trainer: Trainer, place: str, reason: str, files: list[str] | None) -> NoReturn:
    """Every process stops, as one would wait for the others in vain; one with bad `files` names them."""
    if files is None:
        raise BadLoss(f"{place}: a loss or a score of another process is not finite; see its message")
    last = _last_checkpoint(trainer)
    way_out = "train with a lower learning rate or in full precision"
    if last is not None:
        way_out = f"go on from the last good epoch with --resume {last}, and a lower --learning_rate or --precision 32"
    raise BadLoss(f"{place}: {reason}; {way_out}. Clips of the batch: {', '.join(files)}")


def _last_checkpoint(trainer: Trainer) -> Path | None:
    """The checkpoint of this run's last epoch, or the one that it goes on from; None if there is none yet."""
    written = [callback.best_model_path for callback in trainer.checkpoint_callbacks if callback.monitor is None]
    return next((Path(path) for path in [*written, trainer.ckpt_path] if path and Path(path).is_file()), None)
