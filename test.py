"""Score the test clips of a fold with a checkpoint, print the figures and write them down.

    python test.py --data_root ./data/FakeAVCeleb_v1.2/ --train_fold train_2.txt \\
        --checkpoint outputs/ckpts/MRDF_CE/MRDF_CE_train_2.ckpt
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from rich.console import Console

from dataset import FakeAVCelebDataModule
from dataset.prepare.record import find_cache
from dataset.table import corpus_folder
from model import detector_of, read_checkpoint
from utils.cli import run
from utils.files import write_arrays
from utils.metrics import evaluate
from utils.options import TestOptions, plain
from utils.recipes import CORPORA
from utils.results import fold_table, write_fold
from utils.trainer import loading_processes, log_run, make_trainer, score_fold

log = logging.getLogger("test")


def test(options: TestOptions) -> None:
    """Test one checkpoint on one fold."""
    checkpoint = read_checkpoint(options.checkpoint)
    detector = detector_of(checkpoint, options.checkpoint, options.model_type)
    trained = checkpoint.get("config", {})
    # What is tested depends on these, so by default they are as in training; but how many only in the same corpus.
    counted = trained if options.dataset == trained.get("dataset", "fakeavceleb") else CORPORA[options.dataset]
    seed, num_val, max_frames = (
        source.get(name, default) if getattr(options, name) is None else getattr(options, name)
        for source, name, default in ((trained, "seed", 42), (counted, "num_val", 100), (trained, "max_frames", 500))
    )
    as_trained(options, trained)
    save_name = trained.get("save_name") or options.checkpoint.stem
    log_run(options.outputs / "log" / save_name / "test.log")
    data = FakeAVCelebDataModule(
        options.data_root,
        train_fold=options.train_fold,
        batch_size=options.batch_size,
        num_workers=loading_processes(options.num_workers),
        padding=trained.get("padding"),
        num_val=num_val,
        seed=seed,
        max_frames=max_frames,
        skip_bad=options.skip_bad,
        fold_dir=options.outputs / "folds",
        prepare_dir=options.outputs / "prepare",
        cache=find_cache(corpus_folder(options.data_root, options.dataset), options.cache_dir, options.outputs),
        dataset=options.dataset,
    )
    data.setup("test")
    trainer = make_trainer(
        options.gpus, options.precision, accelerator=options.accelerator, deterministic=options.deterministic
    )
    table, embeddings = score_fold(trainer, detector, data)
    metrics = evaluate(table)
    if not trainer.is_global_zero:
        return
    config = (
        trained
        | plain(options)
        | {
            "model_type": type(detector).__name__,
            "save_name": save_name,
            "fold": options.fold_name,
            "seed": seed,
            "num_val": num_val,
            "max_frames": max_frames,
            "corpus": data.corpus,
            "skipped": [list(bad) for bad in data.skipped],
        }
    )
    results = options.outputs / "results" / save_name / options.fold_name
    write_arrays(results / "embeddings.npz", embeddings)
    write_fold(results, table, metrics, config)
    Console().print(fold_table(metrics, f"{options.checkpoint.name} on the test clips of {options.fold_name}"))
    log.info("results: %s", results)


def as_trained(options: TestOptions, trained: dict[str, Any]) -> None:
    """Fill in what is not asked for as it was in training, so that a fold's own figures come out."""
    options.batch_size = options.batch_size or trained.get("batch_size", 64)
    options.precision = options.precision or trained.get("precision", "16")
    if options.deterministic is None:
        options.deterministic = trained.get("deterministic", False)
    before = trained.get("batch_size", options.batch_size)
    if options.batch_size != before and trained.get("padding") == "cut":
        log.warning(
            "--batch_size %d: training had %d. Batches are cut to their shortest clip (--padding cut), so scores and "
            "figures need not be those of training",
            options.batch_size,
            before,
        )


if __name__ == "__main__":
    sys.exit(run(TestOptions, test, "test.py"))
