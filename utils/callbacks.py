"""What happens around an epoch: the rate, the random state, a line in the log, and what a checkpoint remembers."""

from __future__ import annotations

import logging
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch.optim.lr_scheduler import ReduceLROnPlateau

log = logging.getLogger(__name__)


class PlateauSchedule(Callback):
    """Halve the rate when the validation loss stalls, and end training when the rate has become tiny.

    Lightning's own handling of a plateau schedule steps it after the epoch's checkpoint is written, so a resumed run
    would count stalled epochs differently from an uninterrupted one; a callback's state is part of the checkpoint.

    Parameters
    ----------
    factor, patience, min_lr
        As in `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    stop_at
        Training ends when the rate falls to this.
    """

    def __init__(self, factor: float = 0.5, patience: int = 3, min_lr: float = 1e-8, stop_at: float = 1e-7) -> None:
        self.options = {"factor": factor, "patience": patience, "min_lr": min_lr}
        self.stop_at = stop_at
        self._scheduler: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._scheduler = ReduceLROnPlateau(trainer.optimizers[0], **self.options)
        if self._restored is not None:
            self._scheduler.load_state_dict(self._restored)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"])
        self._scheduler.step(trainer.callback_metrics["val_loss"].item())
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        if rate <= self.stop_at:
            log.info("the learning rate has fallen to %g: training ends", rate)
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {} if self._scheduler is None else self._scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict or None


class EpochSeed(Callback):
    """Make dropout depend on the seed, the epoch and the process alone, so that a resumed run repeats it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_everything(self.seed + 1000 * trainer.current_epoch + trainer.global_rank, verbose=False)


class EpochSummary(Callback):
    """One line in the log at the end of each epoch."""

    shown = ("train_loss_epoch", "val_loss", "val_acc", "val_auc", "val_auc_hard")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        figures = "  ".join(
            f"{name.removesuffix('_epoch')} {metrics[name]:.4f}" for name in self.shown if name in metrics
        )
        seconds = time.monotonic() - self._start
        log.info("epoch %d/%d  %s  %.0f s", trainer.current_epoch + 1, trainer.max_epochs, figures, seconds)


class RunConfiguration(Callback):
    """Keep the resolved configuration of the run in each of its checkpoints, under "config"."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
