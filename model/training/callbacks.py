"""What happens around a step and an epoch: rates, random state, stops, the log, and what a checkpoint remembers."""

import json
import logging
import time
from pathlib import Path
from typing import Any, NoReturn

import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from model.training.optimizer import go_on_along, parameter_groups
from utils.errors import DataError
from utils.files import write_atomic

log = logging.getLogger(__name__)


class ResumedRates(Callback):
    """Let a resumed run have the rates and the weight decay that it is given, not those of the checkpoint.

    A rate that is the same as in the checkpoint goes on as it was there, however far the schedule had lowered it;
    another one counts from there on, and so do all under another schedule. It has to come before `PlateauSchedule`
    among a trainer's callbacks.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._before = checkpoint.get("hyper_parameters", {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._before:
            return
        given = dict(pl_module.hparams)
        before = given | self._before
        groups = trainer.optimizers[0].param_groups
        wanted = parameter_groups(pl_module, before), parameter_groups(pl_module, given)
        for group, old, new in zip(groups, *wanted, strict=True):
            group["weight_decay"], group["initial_lr"] = new["weight_decay"], new["lr"]
            if new["lr"] != old["lr"] or given["schedule"] != before["schedule"]:
                group["lr"] = new["lr"]
        for config in trainer.lr_scheduler_configs:
            # The curve gives the rate of a step from nothing but the highest one and the number of steps.
            go_on_along(config.scheduler, trainer.global_step)
        for name in ("schedule", "learning_rate", "backbone_learning_rate", "weight_decay"):
            if given[name] != before[name]:
                log.info("--%s: %s from here on, in place of the checkpoint's %s", name, given[name], before[name])


class PlateauSchedule(Callback):
    """Halve the rate when the validation loss stalls, and end training when the rate has fallen to 1e-7.

    Lightning's own handling of a plateau schedule steps it after the epoch's checkpoint is written, so a resumed run
    would count stalled epochs differently from an uninterrupted one; a callback's state is part of the checkpoint.
    """

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self._scheduler: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._scheduler = ReduceLROnPlateau(trainer.optimizers[0], factor=0.5, patience=self.patience, min_lr=1e-8)
        if self._restored is not None:
            self._scheduler.load_state_dict(self._restored)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._scheduler.step(trainer.callback_metrics["val_loss"].item())
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        if rate <= 1e-7:
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


class BadLoss(DataError):
    """A loss or a score is NaN or infinite: in which epoch, which step of it, and the files of the first bad batch."""


class StopOnBadLoss(Callback):
    """End the run at a loss or a score that is NaN or infinite, before it reaches a checkpoint.

    Losses and scores are looked at on their device, and the device is waited for only at each entry of the training
    log and at the end of an epoch, before that is saved. Scores of the validation tell of weights that the last step
    has broken.

    The gradient scaler of half precision leaves out a step with a bad loss, as in the authors' release: the log then
    says how many, and the run ends only after an epoch without any other.
    """

    def __init__(self) -> None:
        self._good: list[Tensor] = []  # a flag of each batch since the last look, on the device
        self._files: list[list[str]] = []  # of these batches
        self._left_out = 0  # steps of the epoch so far

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Tensor], batch: Any, batch_idx: int
    ) -> None:
        self._good.append(outputs["loss"].isfinite().all())
        self._files.append(batch["file"])
        last = batch_idx + 1 >= trainer.num_training_batches
        if not last and (batch_idx + 1) % trainer.log_every_n_steps:
            return
        bad = self._bad_batches()
        self._left_out += len(bad)
        has_scaler = getattr(trainer.precision_plugin, "scaler", None) is not None
        whole_epoch_left_out = last and self._left_out == batch_idx + 1
        stop = bool(bad) and (whole_epoch_left_out or not has_scaler)
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            steps_before = batch_idx + 1 - len(self._good)  # of the epoch, before those that are looked at here
            step = f"step {steps_before + bad[0] + 1}" if bad else "a step"
            self._stop(trainer, f"epoch {trainer.current_epoch + 1}, {step}: the loss is", bad)
        if last and self._left_out:
            text = "epoch %d: %d of %d steps had a loss that is NaN or infinite; the gradient scaler left them out"
            log.warning(text, trainer.current_epoch + 1, self._left_out, batch_idx + 1)
        self._left_out = 0 if last else self._left_out
        self._good, self._files = [], []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict[str, Tensor], batch: Any, *_: Any
    ) -> None:
        self._good.append(torch.stack([value.isfinite().all() for value in outputs.values()]).all())
        self._files.append(batch["file"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        bad = self._bad_batches()
        if trainer.strategy.reduce_boolean_decision(bool(bad), all=False):  # checkpoints are written after this
            self._stop(trainer, f"epoch {trainer.current_epoch + 1}, validation: the loss or a score is", bad)
        self._good, self._files = [], []

    def _bad_batches(self) -> list[int]:
        """Which of the batches since the last look are bad; this waits for the device."""
        return [at for at, good in enumerate(torch.stack(self._good).tolist()) if not good] if self._good else []

    def _stop(self, trainer: Trainer, place: str, bad: list[int]) -> NoReturn:
        """Every process stops, as one would wait for the others in vain; one with bad batches names their files."""
        if not bad:
            raise BadLoss(f"{place} NaN or infinite in another process; see its message")
        # The checkpoint of this run's last epoch, or the one that it goes on from.
        written = [callback.best_model_path for callback in trainer.checkpoint_callbacks if callback.monitor is None]
        last = next((path for path in [*written, trainer.ckpt_path] if path and Path(path).is_file()), None)
        advice = "train with a lower learning rate or in full precision"
        if last is not None:
            advice = (
                f"go on from the last good epoch with --resume {last}, and a lower --learning_rate or --precision 32"
            )
        files = ", ".join(self._files[bad[0]])
        raise BadLoss(f"{place} NaN or infinite, so this epoch is not saved; {advice}. Clips of the batch: {files}")


class FoldProgress(Callback):
    """Log and write at the end of each epoch how far training is, and remember what a resumed run could not know.

    Parameters
    ----------
    path
        File to write: epoch, max_epochs, seconds of training so far, config_hash.
    config
        Resolved configuration of the run, with its "config_hash"; it is kept in each checkpoint, under "config".
    """

    shown = ("train_loss_epoch", "val_loss", "val_acc", "val_auc", "val_auc_hard")

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.seconds = 0.0
        self.epochs = 0
        self._stop = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        # Only now have all had their say that may end training.
        checkpoint["should_stop"] = trainer.should_stop

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get("config", {}).get("config_hash") == self.config["config_hash"]
        self._stop = known and checkpoint.get("should_stop", False)  # another configuration may go on
        # Lightning forgets the best epoch so far where the folder has another path than before, as on another machine.
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(callback.state_key)
            if state:
                folder = Path(callback.dirpath)
                for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                    state[name] = state[name] and str(folder / Path(state[name]).name)
                best = {str(folder / Path(path).name): score for path, score in state["best_k_models"].items()}
                state |= {"dirpath": callback.dirpath, "best_k_models": best}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Without this a run that had ended early, but was killed before its test, would train another epoch.
        trainer.should_stop = trainer.should_stop or self._stop
        self._since = time.monotonic()
        if trainer.ckpt_path and trainer.is_global_zero:
            if self._stop or trainer.current_epoch >= trainer.max_epochs:
                log.info("%s is trained to its end", trainer.ckpt_path)
            else:
                log.info("going on with epoch %d, from %s", trainer.current_epoch + 1, trainer.ckpt_path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"])  # with which the epoch ended
        seconds = time.monotonic() - self._since
        self._since += seconds
        self.seconds += seconds
        self.epochs = trainer.current_epoch + 1
        if trainer.is_global_zero:
            metrics = {name: trainer.callback_metrics.get(name) for name in self.shown}
            shown = (
                f"{name.removesuffix('_epoch')} {value:.4f}" for name, value in metrics.items() if value is not None
            )
            log.info("epoch %d/%d  %s  %.0f s", self.epochs, trainer.max_epochs, "  ".join(shown), seconds)
            progress = {"epoch": self.epochs, "max_epochs": trainer.max_epochs, "seconds": self.seconds}
            write_atomic(self.path, json.dumps(progress | {"config_hash": self.config["config_hash"]}) + "\n")

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.epochs = state_dict["seconds"], state_dict["epochs"]
