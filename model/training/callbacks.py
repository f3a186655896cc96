"""What happens around an epoch: the rate, the random state, the log, and what is remembered of it."""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from model.training.optimizer import parameter_groups
from model.training.schedule import warmup_cosine
from utils.files import write_atomic

log = logging.getLogger(__name__)


class ResumedRates(Callback):
    """Let a resumed run have the rates and the weight decay that it is given, not those of the checkpoint.

    A rate that is the same as in the checkpoint goes on as it was there, however far the schedule had lowered it;
    another one counts from there on, and so do all under another schedule. It has to come before the schedule among a
    trainer's callbacks.

    Parameters
    ----------
    schedule
        The run's, as `--schedule` names it.
    """

    def __init__(self, schedule: str) -> None:
        self.schedule = schedule
        self._before: dict[str, Any] = {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        schedule = checkpoint.get("config", {}).get("schedule", self.schedule)
        self._before = checkpoint.get("hyper_parameters", {}) | {"schedule": schedule}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._before:
            return
        given = {**pl_module.hparams, "schedule": self.schedule}
        before = parameter_groups(pl_module, given | self._before)
        for group, old, new in zip(
            trainer.optimizers[0].param_groups, before, parameter_groups(pl_module, given), strict=True
        ):
            group["weight_decay"] = new["weight_decay"]
            if new["lr"] != old["lr"] or self.schedule != self._before["schedule"]:
                group["lr"] = group["initial_lr"] = new["lr"]
        for name in ("schedule", "learning_rate", "backbone_learning_rate", "weight_decay"):
            old = self._before.get(name, given[name])
            if given[name] != old:
                log.info("--%s: %s from here on, in place of the checkpoint's %s", name, given[name], old)


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


class WarmupCosine(Callback):
    """Raise the rate along a line, then lower it along half a cosine to 0, a step at each optimiser step.

    The number of steps is the trainer's estimate. As in `PlateauSchedule` the state is part of a checkpoint.

    Parameters
    ----------
    warmup_share
        Share of the steps in which the rate rises.

    Raises
    ------
    ValueError
        If `warmup_share` is no share or, when training starts, the trainer does not know when it will end.
    """

    def __init__(self, warmup_share: float = 0.1) -> None:
        if not 0 <= warmup_share <= 1:
            raise ValueError(f"warmup_share={warmup_share} is not a share from 0 to 1")
        self.warmup_share = warmup_share
        self._total_steps = 0
        self._scheduler: LambdaLR | None = None
        self._restored: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = trainer.estimated_stepping_batches
        if not 1 <= total < math.inf:
            raise ValueError("the schedule has to know when training ends; set max_epochs")
        # The scaler of 16-mixed leaves out the first updates, which the schedule would take for a mistake.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        optimizer = trainer.optimizers[0]
        self._total_steps = int(total)
        self._scheduler = warmup_cosine(optimizer, round(self.warmup_share * total), self._total_steps)
        if self._restored is None:
            return
        # Of the optimiser's groups, where another rate may have been put since.
        highest = [group["initial_lr"] for group in optimizer.param_groups]
        self._scheduler.load_state_dict(self._restored["scheduler"] | {"base_lrs": highest})
        for group, share in zip(optimizer.param_groups, self._scheduler.lr_lambdas, strict=True):
            group["lr"] = group["initial_lr"] * share(self._scheduler.last_epoch)
        before = self._restored["total_steps"]
        if before != self._total_steps:
            log.warning(
                "the run had %d steps and has %d now: the rate goes on along the new curve", before, self._total_steps
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        while self._scheduler.last_epoch < trainer.global_step:  # which counts optimiser steps
            self._scheduler.step()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        if self._scheduler is None:
            return {}
        return {"total_steps": self._total_steps, "scheduler": self._scheduler.state_dict()}

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


class FoldProgress(Callback):
    """Write at the end of each epoch how far training is, and remember what a resumed run could not know otherwise.

    Parameters
    ----------
    path
        File to write: epoch, max_epochs, seconds of training so far, config_hash.
    config_hash
        Hash of the run's configuration.
    """

    def __init__(self, path: Path, config_hash: str) -> None:
        self.path = path
        self.config_hash = config_hash
        self.seconds = 0.0
        self.epochs = 0
        self._stop = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # Only now have all had their say that may end training.
        checkpoint["should_stop"] = trainer.should_stop

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get("config", {}).get("config_hash") == self.config_hash
        self._stop = known and checkpoint.get("should_stop", False)  # another configuration may go on
        # Lightning forgets the best epoch so far where the folder has another path than before, as on another machine.
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(callback.state_key)
            if state:
                folder = Path(callback.dirpath)
                for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                    state[name] = state[name] and str(folder / Path(state[name]).name)
                best = state["best_k_models"].items()
                state |= {
                    "dirpath": callback.dirpath,
                    "best_k_models": {str(folder / Path(path).name): score for path, score in best},
                }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Without this a run that had ended early, but was killed before its test, would train another epoch.
        trainer.should_stop = trainer.should_stop or self._stop
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        self.epochs = trainer.current_epoch + 1
        if trainer.is_global_zero:
            progress = {"epoch": self.epochs, "max_epochs": trainer.max_epochs, "seconds": self.seconds}
            write_atomic(self.path, json.dumps(progress | {"config_hash": self.config_hash}) + "\n")

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.epochs = state_dict["seconds"], state_dict["epochs"]


class RunConfiguration(Callback):
    """Keep the resolved configuration of the run in each of its checkpoints, under "config"."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
