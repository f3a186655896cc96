"""Train a detector on the folds of FakeAVCeleb, test each fold's best checkpoint, and write the summary table.

python train.py --model_type MRDF_CE --save_name MRDF_CE --data_root ./data/FakeAVCeleb_v1.2/
"""

import gc
import json
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from dataset import FakeAVCelebDataModule
from dataset.check import ClipChecker
from dataset.corpora import clip_lists, corpus_folder, table_digest
from dataset.prepared import find_cache
from dataset.protocols import NOT_CONTROLLED, folds_of_corpus
from model import MODELS, Detector, load_detector, read_checkpoint
from model.avhubert.config import encoder_options
from model.avhubert.load import start_encoder
from model.training.callbacks import EpochSeed, FoldProgress, PlateauSchedule, ResumedRates, StopOnBadLoss
from model.training.resume import make_way, start_of
from model.training.scoring import score_fold, write_test
from model.training.trainer import WholeCheckpoints, close_loggers, log_run, make_loggers, make_trainer, unfinished
from utils.cli import run
from utils.environment import environment
from utils.errors import DataError
from utils.figures.curves import draw_roc
from utils.figures.style import save_figure
from utils.files import lock
from utils.options import ALL_FOLDS, TrainOptions, plain, taken_by
from utils.outputs import Fold, config_hash, held, pretrained_digest, write_options
from utils.results import read_scores
from utils.signals import Stopped, requeue, stopping
from utils.summary import summarise

log = logging.getLogger("train")


def train(options: TrainOptions) -> None:
    """Train and test every fold asked for, then summarise all folds of the run that are there."""
    log_run(options.outputs / "log" / options.save_name / "train.log")
    try:
        with stopping():
            train_folds(options)
    except Stopped as stop:
        if rank_zero_only.rank == 0:
            log.warning("stopped by %s; the same command with --resume auto goes on after the last whole epoch", stop)
            if stop.to_be_requeued:
                requeue()
        raise


def train_folds(options: TrainOptions) -> None:
    """Do the folds one after the other, then the summary."""
    results = options.outputs / "results" / options.save_name
    root = corpus_folder(options.data_root, options.dataset)
    # Shared, so that a clip in five folds is checked once.
    shared = {"checker": ClipChecker(), "cache": find_cache(root, options.cache_dir, options.outputs)}
    for name in folds_of(options):
        fold = Fold(options.outputs, options.save_name, name)
        # Of several processes the first alone writes.
        with held(fold) if rank_zero_only.rank == 0 else nullcontext():
            train_fold(options, fold, shared)
        gc.collect()  # trainer and detector refer to one another, and would take memory from the next fold
    if rank_zero_only.rank == 0:
        # Folds may be trained at the same time, and the last to come here sees them all.
        with lock(options.outputs / "locks" / f"{options.save_name}.lock"):
            summarise(results, NOT_CONTROLLED)
            plot_roc(results)
        text = (results / "summary.md").read_text(encoding="utf-8")
        Console().print(text, markup=False, highlight=False, soft_wrap=True)
        log.info("results: %s, checkpoints: %s", results, options.outputs / "ckpts" / options.save_name)


def folds_of(options: TrainOptions) -> list[str]:
    """The folds asked for, as far as the corpus has them; a DataError if it has none of them."""
    known = folds_of_corpus(options.data_root, options.dataset, options.protocol, options.lists)
    folds = [fold for fold in options.fold_names if fold in known]
    if not folds:
        raise DataError(f"--folds {options.folds}: {options.data_root} has {', '.join(sorted(known))} only")
    if len(folds) < len(options.fold_names) and options.folds != ALL_FOLDS:
        log.info("--folds %s: %s has %s only", options.folds, options.data_root, ", ".join(known))
    return folds


def train_fold(options: TrainOptions, fold: Fold, shared: dict[str, Any]) -> None:
    """Train one fold, and test its best checkpoint."""
    seed = fold_seed(options.seed, fold.name)
    seed_everything(seed, workers=True, verbose=False)
    data = make_data(options, fold.name, shared)
    data.setup("fit")
    detector = make_detector(options)
    config = configuration(options, fold, data, detector)
    if options.selection == "auc" and data.val_dataset.clips["m_label"].nunique() < 2:
        raise DataError(f"{fold}: --selection auc needs real and fake clips to validate on; there is one kind only")

    requeued = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    start = start_of(fold, config, options.resume, requeued)
    io = WholeCheckpoints(start.path, start.checkpoint)
    # Lightning lets go of the checkpoint that it has read; a second reference would keep all of it in memory.
    start = start._replace(checkpoint=None)
    progress = FoldProgress(fold.progress, config | {"trained_subjects": data.trained_subjects})
    common = {"dirpath": fold.best.parent, "save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(filename=fold.best.stem, monitor=f"val_{options.selection}", mode="max", **common)
    last = ModelCheckpoint(filename=fold.last.stem, **common)
    trainer = fold_trainer(options, fold, [ResumedRates(), EpochSeed(seed), progress, best, last], io)
    clips = len(data.train_dataset), len(data.test_dataset)
    log.info("%s: training %s on %d clips, testing on %d", fold, options.model_type, *clips)
    if rank_zero_only.rank == 0:
        make_way(fold, start)
        write_options(options)
    trainer.fit(detector, data, ckpt_path=start.path, weights_only=True)
    close_loggers(trainer)

    path = Path(best.best_model_path)
    tester = make_trainer(options.gpus, options.precision, accelerator=options.accelerator)
    tested = score_fold(tester, load_detector(path), data)
    if trainer.is_global_zero:
        config["environment"] |= {"hours": progress.seconds / 3600, "epochs": progress.epochs}
        config["checkpoint"] = str(path)
        write_test(fold.results, tested, read_checkpoint(path), config, title_of(fold, config))
        for leftover in (fold.progress, unfinished(fold.best), unfinished(fold.last)):
            leftover.unlink(missing_ok=True)


def title_of(fold: Fold, config: dict[str, Any]) -> str:
    """What stands above the metrics of a fold, as `configuration` gives it, at the end of its training."""
    unseen = ", on unseen subjects" if config["trained_subjects_tested"] == 0 else ""
    return f"{fold.run}, {fold.name}: best epoch{unseen}"


def fold_seed(seed: int, fold: str) -> int:
    """Seed of a fold's weights, order, crops and dropout; train_1 has `seed` itself.

    The release seeds once before its loop over the folds, so each starts from other weights. Here a fold's seed does
    not depend on what was trained before it, so that a fold trained alone equals that of a run of five.
    """
    number = int(fold.removeprefix("train_"))
    # 31 bits: what is added for the epoch and the process has to fit into the 32 of NumPy's seed.
    return seed if number == 1 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


def configuration(options: TrainOptions, fold: Fold, data: FakeAVCelebDataModule, detector: Detector) -> dict[str, Any]:
    """What is recorded of a fold, in its checkpoints and in metrics.json."""
    config = plain(options)
    clips = clip_lists(data.sides())
    return config | {
        "encoder_layers": detector.hparams.encoder_layers,
        "fold": fold.name,
        "fold_seed": fold_seed(options.seed, fold.name),
        "corpus": data.corpus,
        **data.protocol_record(data.trained_subjects),
        "skipped": [list(bad) for bad in data.skipped],
        "notes": {file: list(notes) for file, notes in data.notes.items()},
        "clips": clips,
        "table_digest": table_digest(data.clips),
        "pretrained_digest": pretrained_digest(config),
        "config_hash": config_hash(config, clips),
        "environment": environment(),
    }


def make_detector(options: TrainOptions) -> Detector:
    """An untrained detector, or one that starts from AV-HuBERT's weights."""
    choices = taken_by(Detector.__init__, options) | {"compile_encoder": options.compile}
    if options.pretrained is None:
        return MODELS[options.model_type](**choices)
    config, weights = start_encoder(options.pretrained)
    if options.encoder_layers not in (None, config.encoder_layers):
        raise DataError(
            f"--encoder_layers {options.encoder_layers}: the encoder of --pretrained {options.pretrained} has "
            f"{config.encoder_layers} layers; omit --encoder_layers"
        )
    detector = MODELS[options.model_type](**choices, encoder=encoder_options(config))
    # All of it is there but for the head of pre-training, which no detector uses.
    detector.model.load_state_dict(weights, strict=False)
    return detector


def make_data(options: TrainOptions, fold: str, shared: dict[str, Any]) -> FakeAVCelebDataModule:
    """The data of a fold, with the `checker` and the `cache` that the folds share."""
    return FakeAVCelebDataModule(
        options.data_root,
        train_fold=f"{fold}.txt",
        fold_seed=fold_seed(options.seed, fold),
        fold_dir=options.outputs / "folds",
        prepare_dir=options.outputs / "prepare",
        **taken_by(FakeAVCelebDataModule.__init__, options),
        **shared,
    )


def fold_trainer(options: TrainOptions, fold: Fold, callbacks: list[Callback], io: WholeCheckpoints) -> Trainer:
    """The trainer of a fold, with both stopping rules of the release."""
    callbacks = [*callbacks, StopOnBadLoss()]
    if options.schedule == "plateau":
        callbacks.append(PlateauSchedule())
    if options.patience > 0:
        callbacks.append(EarlyStopping(f"val_{options.selection}", mode="max", patience=options.patience))
    return make_trainer(
        options.gpus,
        options.precision,
        accelerator=options.accelerator,
        callbacks=callbacks,
        plugins=[io],
        logger=make_loggers(options.logger, options.outputs / "log" / options.save_name, fold.name),
        deterministic=options.deterministic,
        max_epochs=options.max_epochs,
        min_epochs=options.min_epochs,
        log_every_n_steps=options.log_steps,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.gradient_clip or None,
    )


def plot_roc(results: Path) -> None:
    """ROC of the folds under the title of the summary, if any of them has both real and fake test clips."""
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    scores = {fold: read_scores(results / fold / "scores.csv") for fold in summary["folds"]}
    if any(table["label"].nunique() == 2 for table in scores.values()):
        save_figure(draw_roc(scores, summary["title"]), results / "roc.png")


if __name__ == "__main__":
    sys.exit(run(TrainOptions, train, "train.py"))
