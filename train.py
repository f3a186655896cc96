"""Train a detector on the folds of FakeAVCeleb, test each fold's best checkpoint, and write the summary table.

python train.py --model_type MRDF_CE --save_name MRDF_CE --data_root ./data/FakeAVCeleb_v1.2/
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from dataset import FakeAVCelebDataModule
from dataset.check import ClipChecker
from dataset.corpora import corpus_folder
from dataset.prepared import find_cache
from dataset.protocols import folds_of_corpus
from model import MODELS, Detector, load_detector, read_checkpoint
from model.pretrained import encoder_options, load_encoder, start_encoder
from model.training.bad_loss import StopOnBadLoss
from model.training.callbacks import (
    EpochSeed,
    EpochSummary,
    FoldProgress,
    PlateauSchedule,
    ResumedRates,
    RunConfiguration,
    WarmupCosine,
)
from model.training.saving import WholeCheckpoints, unfinished
from model.training.trainer import close_loggers, loading_processes, log_run, make_loggers, make_trainer, score_fold
from scripts.reproduce.fold_start import make_room, write_options
from scripts.reproduce.fold_state import Fold, config_hash, resumable
from utils.cli import run
from utils.environment import environment
from utils.figure import roc_figure
from utils.metrics import evaluate
from utils.options import ALL_FOLDS, TrainOptions, plain
from utils.results import fold_table, read_scores, write_fold
from utils.summary import summarise

log = logging.getLogger("train")


def train(options: TrainOptions) -> None:
    """Train and test every fold asked for, then summarise all folds of the run that are there."""
    results = options.outputs / "results" / options.save_name
    log_run(options.outputs / "log" / options.save_name / "train.log")
    root = corpus_folder(options.data_root, options.dataset)
    # Shared, so that a clip in five folds is checked once.
    shared = {"checker": ClipChecker(), "cache": find_cache(root, options.cache_dir, options.outputs)}
    for fold in folds_of(options):
        train_fold(options, fold, results / fold, shared)
    if rank_zero_only.rank == 0:
        lock = options.outputs / "locks" / f"{options.save_name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):  # folds may be trained at the same time, and the last to come here sees them all
            summarise(results)
            plot_roc(results)
        Console().print(
            (results / "summary.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True
        )
        log.info("results: %s, checkpoints: %s", results, options.outputs / "ckpts" / options.save_name)


def folds_of(options: TrainOptions) -> list[str]:
    """The folds asked for, as far as the corpus has them.

    Raises
    ------
    ValueError
        If it has none of them.
    """
    known = folds_of_corpus(options.data_root, options.dataset, options.protocol, options.lists)
    folds = [fold for fold in options.fold_names if fold in known]
    if not folds:
        raise ValueError(f"--folds {options.folds}: {options.data_root} has {', '.join(sorted(known))} only")
    if len(folds) < len(options.fold_names) and options.folds != ALL_FOLDS:
        log.info("--folds %s: %s has %s only", options.folds, options.data_root, ", ".join(known))
    return folds


def plot_roc(results: Path) -> None:
    """ROC of the folds under the title of the summary, if any of them has both real and fake test clips."""
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    scores = {fold: read_scores(results / fold / "scores.csv") for fold in summary["folds"]}
    if any(table["label"].nunique() == 2 for table in scores.values()):
        roc_figure(scores, results / "roc.png", summary["title"])


def train_fold(options: TrainOptions, fold: str, results: Path, shared: dict[str, Any]) -> None:
    """Train one fold, and test its best checkpoint."""
    seed = fold_seed(options.seed, fold)
    seed_everything(seed, workers=True, verbose=False)
    data = make_data(options, fold, shared)
    data.setup("fit")
    detector = make_detector(options)
    config = plain(options) | {
        "encoder_layers": detector.hparams.encoder_layers,
        "fold": fold,
        "fold_seed": seed,
        "corpus": data.corpus,
        **data.protocol_record(data.trained_subjects),
        "skipped": [list(bad) for bad in data.skipped],
        "config_hash": config_hash(plain(options)),
        "environment": environment(),
    }
    if options.selection == "auc" and data.val_dataset.clips["m_label"].nunique() < 2:
        raise ValueError(f"{fold}: --selection auc needs real and fake clips to validate on; there is one kind only")
    best, last = checkpoints(options, fold)
    files = Fold(options.outputs, options.save_name, fold)
    progress = FoldProgress(files.progress, config["config_hash"])
    trainer = fold_trainer(options, fold, config | {"trained_subjects": data.trained_subjects}, [progress, best, last])
    clips = len(data.train_dataset), len(data.test_dataset)
    log.info("%s: training %s on %d clips, testing on %d", fold, options.model_type, *clips)
    resumed = resume_from(options, fold, config["config_hash"])
    if rank_zero_only.rank == 0:
        make_room(options, files, config["config_hash"])
        write_options(options)
    trainer.fit(detector, data, ckpt_path=resumed, weights_only=True)
    close_loggers(trainer)

    path = Path(best.best_model_path)
    table, embeddings = score_fold(
        make_trainer(options.gpus, options.precision, accelerator=options.accelerator), load_detector(path), data
    )
    metrics = evaluate(table)
    if trainer.is_global_zero:
        config["environment"] |= {"hours": progress.seconds / 3600, "epochs": progress.epochs}
        write_fold(results, table, metrics, config | {"checkpoint": str(path)}, embeddings)
        for leftover in (files.progress, unfinished(files.best), unfinished(files.last)):
            leftover.unlink(missing_ok=True)
        Console().print(fold_table(metrics, f"{options.save_name}, {fold}: best epoch, on unseen subjects"))


def fold_seed(seed: int, fold: str) -> int:
    """Seed of a fold's weights, order, crops and dropout; train_1 has `seed` itself.

    The release seeds once before its loop over the folds, so each starts from other weights. Here a fold's seed does
    not depend on what was trained before it, so that a fold trained alone equals that of a run of five.
    """
    number = int(fold.removeprefix("train_"))
    # 31 bits: what is added for the epoch and the process has to fit into the 32 of NumPy's seed.
    return seed if number == 1 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


def make_detector(options: TrainOptions) -> Detector:
    """An untrained detector, or one that starts from AV-HuBERT's weights."""
    names = inspect.signature(Detector).parameters.keys() & plain(options).keys()
    choices = {name: getattr(options, name) for name in names} | {"compile_encoder": options.compile}
    if options.pretrained is None:
        return MODELS[options.model_type](**choices)
    config, weights = start_encoder(options.pretrained)
    if options.encoder_layers not in (None, config.encoder_layers):
        raise ValueError(
            f"--encoder_layers {options.encoder_layers}: the encoder of --pretrained {options.pretrained} has "
            f"{config.encoder_layers} layers; leave --encoder_layers out"
        )
    detector = MODELS[options.model_type](**choices, encoder=encoder_options(config))
    load_encoder(detector, weights)
    return detector


def make_data(options: TrainOptions, fold: str, shared: dict[str, Any]) -> FakeAVCelebDataModule:
    """The data of a fold, with the `checker` and the `cache` that the folds share."""
    return FakeAVCelebDataModule(
        options.data_root,
        train_fold=f"{fold}.txt",
        batch_size=options.batch_size,
        num_workers=loading_processes(options.num_workers),
        recipe=options.recipe,
        padding=options.padding,
        validation=options.validation,
        num_train=options.num_train,
        num_val=options.num_val,
        seed=options.seed,
        fold_seed=fold_seed(options.seed, fold),
        max_frames=options.max_frames,
        skip_bad=options.skip_bad,
        fold_dir=options.outputs / "folds",
        prepare_dir=options.outputs / "prepare",
        dataset=options.dataset,
        protocol=options.protocol,
        lists=options.lists,
        **shared,
    )


def checkpoints(options: TrainOptions, fold: str) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Keep the best epoch on the validation clips, which are the release's test fold, and the last one."""
    name = f"{options.save_name}_{fold}"
    common = {
        "dirpath": options.outputs / "ckpts" / options.save_name,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    best = ModelCheckpoint(filename=name, monitor=f"val_{options.selection}", mode="max", **common)
    return best, ModelCheckpoint(filename=f"{name}-last", **common)


def fold_trainer(options: TrainOptions, fold: str, config: dict, last_callbacks: Sequence[Callback]) -> Trainer:
    """The trainer of a fold, with the schedule of the recipe and both stopping rules of the release."""
    callbacks = [
        ResumedRates(options.schedule),
        PlateauSchedule() if options.schedule == "plateau" else WarmupCosine(options.warmup),
        StopOnBadLoss(),
        EpochSeed(config["fold_seed"]),
        EpochSummary(),
        RunConfiguration(config),
    ]
    if options.patience > 0:
        callbacks.append(EarlyStopping(f"val_{options.selection}", mode="max", patience=options.patience))
    return make_trainer(
        options.gpus,
        options.precision,
        [*callbacks, *last_callbacks],
        make_loggers(options.logger, options.outputs / "log" / options.save_name, fold),
        accelerator=options.accelerator,
        deterministic=options.deterministic,
        plugins=[WholeCheckpoints()],
        max_epochs=options.max_epochs,
        min_epochs=options.min_epochs,
        log_every_n_steps=options.log_steps,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.gradient_clip or None,
    )


def resume_from(options: TrainOptions, fold: str, digest: str) -> Path | None:
    """The checkpoint to go on from, if any.

    Raises
    ------
    ValueError
        If the file to resume is of another fold, model type or kind of optimiser.
    """
    if options.resume is None:
        return None
    if options.resume == "auto":
        return resumable(Fold(options.outputs, options.save_name, fold), digest)
    path = Path(options.resume)
    config = read_checkpoint(path).get("config")
    if config is None:
        raise ValueError(f"{path}: not written by train.py of this project, so it cannot be resumed")
    for name, here in (("model_type", options.model_type), ("fold", fold)):
        if config[name] != here:
            raise ValueError(f"--resume {path}: its {name} is {config[name]}, not {here}")
    # The optimiser's state is kept by group, and a backbone without a rate of its own is in the group of the heads.
    optimizer, rate = config.get("optimizer", "adam"), config.get("backbone_learning_rate")
    if optimizer != options.optimizer:
        raise ValueError(f"--resume {path}: it was trained with --optimizer {optimizer}; give that")
    if (rate is None) != (options.backbone_learning_rate is None):
        advice = (
            "without --backbone_learning_rate; leave it out"
            if rate is None
            else f"with --backbone_learning_rate {rate}; give one"
        )
        raise ValueError(f"--resume {path}: its backbone was trained {advice}")
    return path


if __name__ == "__main__":
    sys.exit(run(TrainOptions, train, "train.py"))
