"""The command `main.py audit`: whether a detector's score is right for the right reason."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse.typing import PositiveInt
from rich.console import Console

from dataset import FakeAVCelebDataModule
from model import detector_of, read_checkpoint, weights_file
from model.training.trainer import log_run
from scripts.audit.changes import CHANGES, ROBUSTNESS, Change
from scripts.audit.damage import SETS
from scripts.audit.effects import find_effects
from scripts.audit.report import draw_audit, write_audit
from scripts.audit.scores import score_changes
from scripts.audit.sentences import sentences
from scripts.audit.shortcuts import find_shortcuts, go_together, read_facts
from utils.environment import device
from utils.errors import DataError
from utils.figures.style import save_figure
from utils.files import file_digest
from utils.options import ONE_GPU, Dataset, Gpus, ModelType, clips_of_each, fold_file
from utils.outputs import fold_of

log = logging.getLogger(__name__)

MOST_TESTED = 500  # clips of a category; more would hardly narrow an interval
FEWEST_RESAMPLES = 100
CHOICES = {"all": ("probe", "damage"), "probes": ("probe",), "damage": ("damage",)} | {name: (name,) for name in SETS}


def audit(
    checkpoint: Path,
    data_root: Path,
    dataset: Dataset = "fakeavceleb",
    train_fold: str | None = None,
    model_type: ModelType | None = None,
    changes: str = "all",
    batch_size: PositiveInt = 8,
    num_workers: int = 0,
    num_val: int | None = None,
    max_frames: int | None = None,
    bootstrap: int = 2000,
    seed: int | None = None,
    skip_bad: bool = False,
    gpus: Gpus = ONE_GPU,
    outputs: Path = Path("outputs"),
) -> None:
    """Say which shortcuts a corpus has, and what a detector depends on.

    Parameters
    ----------
    checkpoint
        Checkpoint to audit, written by train.py or by the authors' release, or a folder that main.py export wrote.
    data_root
        Folder of the corpus, for FakeAVCeleb the one with meta_data.csv; for a csv, that file or the folder of
        clips.csv.
    dataset
        Kind of corpus (see dataset/corpora/README.md); csv is any other that comes with a table.
    train_fold
        Fold to audit on, as the name of its file (train_2.txt) or its number: everyone whom it does not list is tested.
        By default the fold of the checkpoint's training.
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    changes
        What to do to the clips, with commas between: all (probes and damage), probes, damage, single families such as
        "leading silence,shift,MP3", or a set as papers report it, deeperforensics or auvire-audio.
    batch_size
        Number of clips that are scored at once; no score depends on it.
    num_workers
        Number of worker processes that decode and change clips. By default this process does.
    num_val
        Number of test clips of each category at most, the first in the order of the table. By default as in training,
        but 500 at most.
    max_frames
        Number of frames of a clip that are used at most, from its start. By default as in training.
    bootstrap
        Number of resamples of the subjects, from which the intervals come.
    seed
        Random seed of the subset, the folds, the noise and the resamples. By default as in training.
    skip_bad
        Leave out test clips that are missing or do not decode, instead of stopping.
    gpus
        1 scores on a GPU, 0 on the CPU, which is used too where the machine has no GPU.
    outputs
        Folder of all outputs, in whose results/ the audit is written.
    """
    if bootstrap < FEWEST_RESAMPLES:
        raise DataError(f"--bootstrap is {bootstrap}, but must be {FEWEST_RESAMPLES} or more")
    chosen = choose(changes)
    contents = read_checkpoint(checkpoint)
    name = type(detector_of(contents, checkpoint, model_type)).__name__
    trained = contents.get("config", {})
    train_fold = fold_file(train_fold) if train_fold else own_fold(checkpoint, trained)
    warn_of_training(checkpoint, train_fold, trained)
    seed = trained.get("seed", 42) if seed is None else seed
    save_name, fold = trained.get("save_name") or checkpoint.stem, Path(train_fold).stem
    log_run(outputs / "log" / save_name / "audit.log")
    counts = clips_of_each(dataset, None)
    counted = trained if dataset == trained.get("dataset", "fakeavceleb") else {}
    most = min(counted.get("num_val", counts["num_val"]) or MOST_TESTED, MOST_TESTED)
    data = FakeAVCelebDataModule(
        data_root,
        train_fold=train_fold,
        num_train=counts["num_train"],
        num_val=most if num_val is None else num_val,
        seed=seed,
        max_frames=trained.get("max_frames", 500) if max_frames is None else max_frames,
        skip_bad=skip_bad,
        fold_dir=outputs / "folds",
        prepare_dir=outputs / "prepare",
        dataset=dataset,
    )
    data.setup("test")
    tested = data.test_dataset.clips
    real = int(tested["m_label"].sum())
    if real in (0, len(tested)):
        raise DataError(
            f"{data_root}, fold {fold}: has {real} real and {len(tested) - real} fake test clips, but an audit needs "
            "both, to see whether they are told apart"
        )
    facts = read_facts(pd.concat([data.train_dataset.clips, tested]), outputs / "audit" / "facts.csv", seed)
    shortcuts = find_shortcuts(facts, bootstrap, seed)
    together = go_together(facts, shortcuts)
    folder = outputs / "results" / save_name / fold / "audit"
    lenders = data.clips[data.clips["subject"].isin(tested["subject"])]
    scores = score_changes(
        checkpoint, tested, lenders, folder / "scores", chosen, model_type=model_type, max_frames=data.max_frames,
        batch_size=batch_size, num_workers=num_workers, seed=seed, device=device(gpus),
    )  # fmt: skip
    effects = find_effects(scores, bootstrap, seed)
    about = {
        "checkpoint": str(checkpoint),
        "digest": file_digest(weights_file(checkpoint)),
        "model_type": name,
        "fold": fold,
        "corpus": data.corpus,
        "n": len(tested),
        "subjects": tested["subject"].nunique(),
        "n_shortcuts": len(facts),
        "max_frames": data.max_frames,
        "skipped": [list(bad) for bad in data.skipped],
        "save_name": save_name,
        "bootstrap": bootstrap,
        "seed": seed,
        "notes": [*scores.attrs.get("notes", []), *noted(data.notes, tested["file"])],
        "clip_notes": data.notes,
        "together": together.to_dict("records"),
    }
    title = f"Audit of {name} on {data.corpus}, {fold}"
    tables = write_audit(folder, title, shortcuts, effects, sentences(shortcuts, effects, together), about)
    save_figure(draw_audit(shortcuts, effects, title), folder / "audit.png")
    Console().print(tables)
    log.info("results: %s (audit.md, audit.png, audit.json)", folder)


def choose(changes: str) -> tuple[Change, ...]:
    """The changes that an option means: kinds of them, sets, families and single ones, by name."""
    known = (*CHANGES, *ROBUSTNESS)
    families = list(dict.fromkeys(change.family for change in known))
    asked = {name.strip() for name in changes.split(",")}
    for name in sorted(asked):
        if name not in CHOICES and name not in families and name not in {change.name for change in known}:
            listed = ", ".join([*CHOICES, *families])
            raise DataError(f"--changes {changes}: {name!r} is unknown; known are {listed}")
    kinds = {kind for name in asked for kind in CHOICES.get(name, ())}
    return tuple(change for change in known if change.kind in kinds or asked & {change.family, change.name})


def noted(notes: Mapping[str, Sequence[str]], files: Collection[str]) -> list[str]:
    """How many of these clips each note on a media file is of, in the words of the note."""
    counts = Counter(note for file in files for note in notes.get(file, ()))
    return [f"{count} of {len(files)} clips: {note}" for note, count in counts.most_common()]


def own_fold(checkpoint: Path, trained: dict[str, Any]) -> str:
    """Fold file that a checkpoint was trained on, from what it says or from its name."""
    fold = fold_of(trained, checkpoint.stem)
    if fold is None:
        raise DataError(f"{checkpoint} does not say which fold it was trained on: give --train_fold")
    return f"{fold}.txt"


def warn_of_training(checkpoint: Path, train_fold: str, trained: dict[str, Any]) -> None:
    """Say so if test clips may have been trained on."""
    own = trained.get("fold")
    if own is None:
        text = "%s does not say what it was trained on: if not on %s, it knows the clips"
        log.warning(text, checkpoint, train_fold)
    elif Path(own).stem != Path(train_fold).stem:
        text = "%s was trained on %s: if of this corpus, it knows most test clips of %s; omit --train_fold"
        log.warning(text, checkpoint, own, train_fold)
    elif trained.get("validation") == "test":
        text = "the epoch of %s was picked on the test clips of %s: if they are these, its AUC is optimistic"
        log.warning(text, checkpoint, own)
