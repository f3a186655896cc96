"""Score the test clips of a fold with a checkpoint, print the metrics and write them down.

python test.py --data_root ./data/FakeAVCeleb_v1.2/ --train_fold train_2.txt \\
        --checkpoint outputs/ckpts/MRDF_CE/MRDF_CE_train_2.ckpt
"""

import logging
import re
import sys
from typing import Any

from dataset import FakeAVCelebDataModule
from dataset.corpora import clips_digest, corpus_folder
from dataset.prepared import find_cache
from model import detector_of, read_checkpoint
from model.training.scoring import score_fold, write_test
from model.training.trainer import log_run, make_trainer
from utils.cli import run
from utils.environment import environment
from utils.options import TestOptions, clips_of_each, plain, taken_by
from utils.outputs import fold_of
from utils.results import record_of_training
from utils.signals import stopping

log = logging.getLogger("test")

# Of the authors' release, whose checkpoints tell nothing of their training.
RELEASE = {
    "batch_size": 64, "precision": "32", "gpus": 1, "max_frames": 500, "num_val": 100, "seed": 42,
    "deterministic": False, "padding": "cut", "dataset": "fakeavceleb", "protocol": "mrdf-5fold", "trim_silence": False,
}  # fmt: skip
# What a test may have other than in training, with the word for it in the name of its results.
TOLD = {"protocol": "", "precision": "precision-", "gpus": "gpus-", "batch_size": "batch-", "max_frames": "frames-",
        "trim_silence": "trim-silence-"}  # fmt: skip


def test(options: TestOptions) -> None:
    """Test one checkpoint on one fold."""
    with stopping():
        test_fold(options)


test.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever pytest thinks of its name


def test_fold(options: TestOptions) -> None:
    """Score the fold's test clips, and write the results where they displace none of another kind."""
    checkpoint = read_checkpoint(options.checkpoint)
    detector = detector_of(checkpoint, options.checkpoint, options.model_type)
    trained = checkpoint.get("config") or {}
    as_trained(options, trained)
    save_name = options.save_name or trained.get("save_name") or options.checkpoint.stem
    log_run(options.outputs / "log" / save_name / "test.log")
    data = FakeAVCelebDataModule(
        options.data_root,
        padding=trained.get("padding"),
        fold_dir=options.outputs / "folds",
        prepare_dir=options.outputs / "prepare",
        cache=find_cache(corpus_folder(options.data_root, options.dataset), options.cache_dir, options.outputs),
        **taken_by(FakeAVCelebDataModule.__init__, options),
    )
    data.setup("test")
    trained_subjects = trained.pop("trained_subjects", None)  # thousands of names, which metrics.json does not repeat
    protocol = data.protocol_record(trained_subjects if is_same_corpus(trained, data) else None)
    if protocol["trained_subjects_tested"] is None:
        warn_of_training(options, trained, data.corpus)
    trainer = make_trainer(
        options.gpus, options.precision, accelerator=options.accelerator, deterministic=options.deterministic
    )
    scored = score_fold(trainer, detector, data, options.compile)
    if not trainer.is_global_zero:
        return
    tested = {
        "model_type": type(detector).__name__,
        "save_name": save_name,
        "fold": options.fold_name,
        "corpus": data.corpus,
        **protocol,
        "skipped": [list(bad) for bad in data.skipped],
        "notes": {file: list(notes) for file, notes in data.notes.items()},
        "clips": (trained.get("clips") or {}) | {"test": clips_digest(data.test_clips())},
        "test_environment": environment(),
    }
    config = trained | plain(options) | tested
    results = options.outputs / "results" / save_name / place_of(config, trained, options.checkpoint.stem)
    if record := record_of_training(results, config):
        config["environment"] = (config.get("environment") or {}) | record
    title = f"{options.checkpoint.name} on the test clips of {options.fold_name}"
    write_test(results, scored, checkpoint, config, title)
    log.info("results: %s", results)


def as_trained(options: TestOptions, trained: dict[str, Any]) -> None:
    """Fill in what is not asked for as it was in training, so that a fold's own metrics come out."""
    before = RELEASE | trained
    if options.train_fold is None:
        told = fold_of(trained, options.checkpoint.stem)
        options.train_fold = f"{told or 'train_1'}.txt"
        if told is None:
            log.info("%s does not tell its fold: testing on train_1.txt; see --train_fold", options.checkpoint)
    for name in ("seed", "max_frames", "batch_size", "precision", "deterministic", "trim_silence"):
        if getattr(options, name) is None:
            setattr(options, name, before[name])
    same = options.dataset == before["dataset"]
    if same and options.protocol is None and trained.get("protocol") not in ("official", "subjects-5fold"):
        options.protocol, options.lists = trained.get("protocol"), options.lists or trained.get("lists")
    if options.num_val is None:  # how many clips only in the same corpus
        counted = clips_of_each(options.dataset, options.protocol)["num_val"]
        options.num_val = before["num_val"] if same and options.protocol == trained.get("protocol") else counted
    if options.batch_size != before["batch_size"] and before["padding"] == "cut":
        log.warning(
            "--batch_size %d: training had %d. Batches are cut to their shortest clip (--padding cut), so scores and "
            "metrics need not be those of training",
            options.batch_size,
            before["batch_size"],
        )


def is_same_corpus(trained: dict[str, Any], data: FakeAVCelebDataModule) -> bool:
    """Whether the test clips are of the corpus that the checkpoint was trained on."""
    return (trained.get("dataset"), trained.get("corpus")) == (data.dataset, data.corpus)


def warn_of_training(options: TestOptions, trained: dict[str, Any], corpus: str) -> None:
    """Say so if the checkpoint is of another fold of this corpus, so that it was trained on who is tested."""
    told = fold_of(trained, options.checkpoint.stem)
    if told and told != options.fold_name and trained.get("corpus", corpus) == corpus:
        text = "%s was trained on %s, so on most people that %s tests: the metrics are not those of unseen people"
        log.warning(text, options.checkpoint, told, options.train_fold)


def place_of(config: dict[str, Any], trained: dict[str, Any], stem: str) -> str:
    """Name of the folder of a test's results within its run.

    The fold's own, such as train_2, where all is as in training. Any other test has what it is after that, such as
    train_2@LAV-DF+precision-32, so that it takes nobody's place and is averaged with none.
    """
    before = RELEASE | trained
    parts = []
    told = fold_of(trained, stem)
    if told not in (None, config["fold"]):
        parts.append(f"checkpoint-of-{told}")
    other_corpus = config["corpus"] != before["corpus"] if "corpus" in before else config["dataset"] != "fakeavceleb"
    if other_corpus:
        parts.append(config["corpus"])
    for name, word in TOLD.items():
        if config[name] != before[name] and not (name == "protocol" and other_corpus):
            parts.append(f"{word}{config[name]}")
    lists = trained.get("clips", {}).get("test"), config["clips"]["test"]
    if not parts and trained.get("clips") and lists[0] != lists[1]:
        parts.append(f"clips-{lists[1][:8]}")
    own = re.sub(r"[^\w.+-]", "_", "+".join(parts))
    return f"{config['fold']}@{own}" if own else config["fold"]


if __name__ == "__main__":
    sys.exit(run(TestOptions, test, "test.py"))
