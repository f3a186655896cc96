"""Score the test clips of a fold with a checkpoint, print the figures and write them down.

python test.py --data_root ./data/FakeAVCeleb_v1.2/ --train_fold train_2.txt \\
        --checkpoint outputs/ckpts/MRDF_CE/MRDF_CE_train_2.ckpt
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from rich.console import Console

from dataset import FakeAVCelebDataModule
from dataset.corpora import corpus_folder
from dataset.prepared import find_cache
from model import detector_of, for_inference, read_checkpoint
from model.training.trainer import loading_processes, log_run, make_trainer, score_fold
from utils.cli import run
from utils.metrics import evaluate
from utils.options import TestOptions, clips_of_each, plain
from utils.results import fold_table, record_of_training, write_fold

log = logging.getLogger("test")


def test(options: TestOptions) -> None:
    """Test one checkpoint on one fold."""
    checkpoint = read_checkpoint(options.checkpoint)
    detector = detector_of(checkpoint, options.checkpoint, options.model_type)
    trained = checkpoint.get("config", {})
    as_trained(options, trained)
    save_name = trained.get("save_name") or options.checkpoint.stem
    log_run(options.outputs / "log" / save_name / "test.log")
    data = FakeAVCelebDataModule(
        options.data_root,
        train_fold=options.train_fold,
        batch_size=options.batch_size,
        num_workers=loading_processes(options.num_workers),
        padding=trained.get("padding"),
        num_val=options.num_val,
        seed=options.seed,
        max_frames=options.max_frames,
        skip_bad=options.skip_bad,
        fold_dir=options.outputs / "folds",
        prepare_dir=options.outputs / "prepare",
        cache=find_cache(corpus_folder(options.data_root, options.dataset), options.cache_dir, options.outputs),
        dataset=options.dataset,
        protocol=options.protocol,
        lists=options.lists,
    )
    data.setup("test")
    protocol = data.protocol_record(trained.pop("trained_subjects", None) if is_same_corpus(trained, data) else None)
    if protocol["trained_subjects_tested"] is None:
        warn_of_training(options, trained, data.corpus)
    trainer = make_trainer(
        options.gpus, options.precision, accelerator=options.accelerator, deterministic=options.deterministic
    )
    table, embeddings = score_fold(trainer, for_inference(detector), data)
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
            "corpus": data.corpus,
            **protocol,
            "skipped": [list(bad) for bad in data.skipped],
        }
    )
    results = options.outputs / "results" / save_name / options.fold_name
    if record := record_of_training(results, config):
        config["environment"] = (config.get("environment") or {}) | record
    write_fold(results, table, metrics, config, embeddings)
    Console().print(fold_table(metrics, f"{options.checkpoint.name} on the test clips of {options.fold_name}"))
    log.info("results: %s", results)


def as_trained(options: TestOptions, trained: dict[str, Any]) -> None:
    """Fill in what is not asked for as it was in training, so that a fold's own figures come out."""
    # How many clips only in the same corpus.
    same = options.dataset == trained.get("dataset", "fakeavceleb")
    if same and options.protocol is None and trained.get("protocol") not in ("official", "subjects-5fold"):
        options.protocol, options.lists = trained.get("protocol"), options.lists or trained.get("lists")
    counted = clips_of_each(options.dataset, options.protocol)
    if same and options.protocol == trained.get("protocol"):
        counted |= {"num_val": trained.get("num_val", counted["num_val"])}
    for source, name, default in ((trained, "seed", 42), (counted, "num_val", 100), (trained, "max_frames", 500)):
        if getattr(options, name) is None:
            setattr(options, name, source.get(name, default))
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


def is_same_corpus(trained: dict[str, Any], data: FakeAVCelebDataModule) -> bool:
    """Whether the test clips are of the corpus that the checkpoint was trained on."""
    return (trained.get("dataset"), trained.get("corpus")) == (data.dataset, data.corpus)


def warn_of_training(options: TestOptions, trained: dict[str, Any], corpus: str) -> None:
    """Say so if the checkpoint is of another fold of this corpus, so that it was trained on who is tested."""
    told = re.search(r"train_[1-5](?!\d)", trained.get("fold") or options.checkpoint.stem)
    if told and told[0] != options.fold_name and trained.get("corpus", corpus) == corpus:
        text = "%s was trained on %s, so on most people that %s tests: the figures are not those of unseen people"
        log.warning(text, options.checkpoint, told[0], options.train_fold)


if __name__ == "__main__":
    sys.exit(run(TestOptions, test, "test.py"))
