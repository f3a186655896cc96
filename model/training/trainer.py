"""Lightning trainers and what they write: checkpoints, curves and the log of a run."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only

from model import Detector
from model.fast import autocast_dtype
from utils.cli import log_to_file
from utils.environment import check_gpus
from utils.errors import DataError
from utils.signals import Stopped

log = logging.getLogger(__name__)

ACCELERATORS = ("auto", "cpu")


def make_trainer(
    gpus: int,
    precision: str,
    *,
    accelerator: str = "auto",
    callbacks: Sequence[Callback] = (),
    plugins: Sequence[Any] = (),
    logger: Sequence[Logger] = (),
    **more: Any,
) -> Trainer:
    """A trainer on `gpus` GPUs, or on the CPU in float32 where there is none; what else is given goes to Lightning's.

    Several processes train with DDP. On GPUs BatchNorm's statistics are those of all of them; on a CPU, for which
    PyTorch has no such BatchNorm, those of each process's own clips. The first trainer that fits or tests starts the
    others by running the program again, so all trainers of a program take as many.

    Parameters
    ----------
    gpus
        Number of GPUs, a process each; 0 for the CPU. `utils.options.Gpus` can name them too.
    precision
        As in Lightning; 16 means 16-mixed, on the CPU 32.
    accelerator
        "auto": GPUs, or where there is none the CPU, with one process whatever `gpus` is; "cpu": `gpus` processes on
        the CPU.

    Raises
    ------
    DataError
        If there is no such accelerator, several processes on the CPU shall compute in bfloat16, or there is a GPU that
        PyTorch cannot use.
    """
    if accelerator not in ACCELERATORS:
        raise DataError(f"accelerator '{accelerator}' is unknown; use one of {', '.join(ACCELERATORS)}")
    if accelerator == "cpu" and gpus > 1 and autocast_dtype(precision) is torch.bfloat16:
        raise DataError(f"precision {precision}: several processes on the CPU compute in float32; use 32")
    if accelerator == "auto":
        check_gpus(gpus)
    on_gpu = accelerator == "auto" and gpus > 0 and torch.cuda.is_available()
    if not on_gpu:
        reason = "no CUDA device: " if accelerator == "auto" and gpus > 0 else ""
        in_float32 = "" if autocast_dtype(precision) is torch.bfloat16 else " in float32"
        _say_once(f"{reason}training and testing on the CPU{in_float32}")
        gpus = max(1, gpus) if accelerator == "cpu" else 1
        precision = "32-true" if precision in ("16", "16-mixed") else precision
    bar = [RichProgressBar(leave=False)] if sys.stderr.isatty() else []
    together = [_OwnSignals()] if gpus > 1 else []
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=getattr(gpus, "indices", None) or gpus,
        # A detector leaves parts of the shared encoder unused, which plain DDP would wait for.
        strategy="ddp_find_unused_parameters_true" if gpus > 1 else "auto",
        precision={"16": "16-mixed", "32": "32-true"}.get(precision, precision),
        callbacks=[*callbacks, *together, *bar],
        sync_batchnorm=on_gpu and gpus > 1,
        logger=list(logger) or False,
        enable_progress_bar=bool(bar),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=[*_environment(), *plugins],
        # Where Lightning looks for a checkpoint of Slurm's (hpc_ckpt_1.ckpt), which it would load unasked.
        default_root_dir=os.devnull,
        **more,
    )


def _environment() -> list[Any]:
    """Who has started this process, where that is Slurm.

    Lightning's own handling of Slurm saves a checkpoint at SIGUSR1 and loads whichever it finds; train.py goes on from
    its own. A single task of Slurm starts the other processes itself, as outside Slurm.
    """
    if not SLURMEnvironment.detect() or TorchElasticEnvironment.detect():
        return []
    return [LightningEnvironment() if os.environ["SLURM_NTASKS"] == "1" else SLURMEnvironment(auto_requeue=False)]


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its place and then put it there, and read the one to go on from once.

    Lightning's own writes it in the system's temporary folder; if that is on another disk, moving it is copying, and
    a process killed meanwhile leaves a part of a file where the last checkpoint was. The checkpoint of `path`, which
    has been read already, is handed out instead of being read again, once.
    """

    def __init__(self, path: Path | None = None, checkpoint: dict[str, Any] | None = None) -> None:
        self._read = {} if path is None or checkpoint is None else {str(path): checkpoint}

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        known = self._read.pop(str(path), None)
        return super().load_checkpoint(path, *arguments, **options) if known is None else known

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all; a DataError if the disk does not take it."""
        path = Path(path)
        temporary = unfinished(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:
            # PyTorch says on top of what has broken a write that its archive has no end.
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, Stopped):
                raise cause from None
            if not isinstance(cause, OSError):
                raise
            kept = "; the checkpoint before it is still there" if path.exists() else ""
            raise DataError(f"{path}: the checkpoint cannot be written ({cause.strerror or cause}){kept}") from error
        finally:
            temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Where a checkpoint is written before it is put in its place; a killed process leaves that behind."""
    # Always the same name, so that it leaves one file at most, which the next process overwrites.
    return path.with_name(f".{path.name}.tmp")


def make_loggers(kind: str, folder: Path, fold: str) -> list[Logger]:
    """Where the curves of a fold go, by `--logger`; every kind but none has the csv file too.

    The name of the folder of the run's logs is the group in Weights & Biases, which is a DataError where its package is
    not installed.
    """
    if kind == "none":
        return []
    # Both kinds of file lie beside each other, in a folder a start: version_0, version_1 …
    csv = CSVLogger(folder, name=fold, version=TensorBoardLogger(folder, name=fold).version)
    if kind == "wandb":
        try:
            return [WandbLogger(f"{folder.name} {fold}", save_dir=csv.log_dir, group=folder.name, project="mrdf"), csv]
        except ModuleNotFoundError as error:
            raise DataError("--logger wandb: the package wandb is not installed; pip install wandb") from error
    return [TensorBoardLogger(folder, name=fold, version=csv.version), csv] if kind == "tensorboard" else [csv]


def close_loggers(trainer: Trainer) -> None:
    """End what a fold logs to, as wandb would add the next fold to the same run."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def log_run(path: Path) -> None:
    """Write the log of a run to a file as well; of several processes the first alone logs."""
    if rank_zero_only.rank == 0:
        log_to_file(path)
    else:
        logging.getLogger().setLevel(logging.WARNING)


class _OwnSignals(Callback):
    """Keep the program's handler of SIGTERM.

    Lightning's own sends a message to the other processes, which wait for something else, and ends with code 0.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: Detector) -> None:
        signal.signal(signal.SIGTERM, self._handler)

    on_test_start = on_train_start

    def on_exception(self, trainer: Trainer, pl_module: Detector, exception: BaseException) -> None:
        if isinstance(exception, Stopped):  # the processes that this one has started would wait for it
            for process in getattr(trainer.strategy.launcher, "procs", []):
                process.terminate()


@cache
def _say_once(message: str) -> None:
    log.info(message)
