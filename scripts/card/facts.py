"""Everything that a card says is read here, and checked to belong together."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dataset import FakeAVCelebDataModule
from dataset.corpora import corpus_folder, read_corpus
from model import detector_of, read_checkpoint, weights_file
from model.threshold import Threshold, threshold_of
from utils.errors import DataError
from utils.files import file_digest
from utils.outputs import fold_of
from utils.runs import Run, fold_folders, read_run

AUDIT = Path("audit") / "audit.json"
# What a card takes from audit.json; a table of shortcuts has these columns at least.
AUDIT_KEYS = {"digest", "n", "shortcuts", "sentences"}


@dataclass(frozen=True)
class Facts:
    """A checkpoint and the results of its fold."""

    path: Path
    sha256: str
    kind: str  # of detector, such as MRDF_CE
    parameters: int
    choices: dict[str, Any]  # its hyperparameters
    epoch: int | None  # from 1
    trained: dict[str, Any]  # the configuration of training; empty in the authors' files
    threshold: Threshold  # from which score on `main.py predict` calls a clip real
    run: Run  # of this fold alone
    fold: str  # such as train_2
    sides: dict[str, pd.DataFrame] | None  # training, validation and test; None where the corpus cannot be read
    audit: dict[str, Any] | None  # what audit.json holds, if it is of these very bytes
    no_audit: str  # or why there is none

    @property
    def folder(self) -> Path:
        """Where the fold's results lie."""
        return self.run.folder / self.fold

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the test, and as far as it says nothing else, of training."""
        return self.run.configs[self.fold]

    @property
    def scores(self) -> pd.DataFrame:
        """The test clips, as `utils.results.read_scores` returns them."""
        return self.run.scores[self.fold]

    @property
    def changes(self) -> set[str] | None:
        """Names of the changes of clips that the audit made; None without an audit, or if it does not say."""
        rows = (self.audit or {}).get("effects")
        if not isinstance(rows, list):
            return None
        return {str(row.get("change")) for row in rows if isinstance(row, dict)}

    @property
    def same_corpus(self) -> bool:
        """Whether the test clips are of the corpus that the detector was trained on."""
        return not self.trained or self.trained.get("corpus") == self.config.get("corpus")


def read_facts(path: Path, outputs: Path, resamples: int, seed: int) -> Facts:
    """Read a checkpoint and what the folder of the outputs holds of its fold.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such checkpoint, its fold has not been tested, a file cannot be read, or the results are not
        those of the checkpoint.
    """
    checkpoint = read_checkpoint(path)
    trained = checkpoint.get("config") or {}
    name = trained.get("save_name") or path.stem
    digest = file_digest(weights_file(path))
    run = _tested_fold(path, outputs / "results" / name, trained)
    run.resamples, run.seed = resamples, seed
    (fold,) = run.folds
    config = run.configs[fold]
    _check_origin(path, digest, run.folder / fold / "metrics.json", trained, config)
    detector = detector_of(checkpoint, path, config.get("model_type"))
    audit = _read_audit(run.folder / fold / AUDIT, digest)
    return Facts(
        path=path,
        sha256=digest,
        kind=type(detector).__name__,
        parameters=sum(weights.numel() for weights in detector.parameters()),
        choices=dict(detector.hparams),
        epoch=checkpoint["epoch"] + 1 if isinstance(checkpoint.get("epoch"), int) else None,
        trained=trained,
        threshold=threshold_of(checkpoint),
        run=run,
        fold=fold,
        sides=_sides(trained, fold, run.scores[fold], outputs),
        audit=audit if isinstance(audit, dict) else None,
        no_audit=audit if isinstance(audit, str) else "",
    )


def _tested_fold(path: Path, folder: Path, trained: dict[str, Any]) -> Run:
    """The run in `folder`, with the one fold that the checkpoint is of."""
    advice = "test the checkpoint first (test.py), or say with --outputs where its results lie"
    fold = trained.get("fold")
    if fold is None:  # a file of the authors: by its name, or as the only one that was tested
        named = fold_of(trained, path.stem)
        there = [one.name for one in fold_folders(folder)]
        fold = named if named and (folder / named).is_dir() else there[0] if len(there) == 1 else None
    if fold is None:
        raise FileNotFoundError(f"{path}: does not say its fold, and {folder} does not hold that of one; {advice}")
    if not (folder / fold / "metrics.json").is_file():
        raise FileNotFoundError(f"{folder / fold / 'metrics.json'}: no such file; {advice}")
    run = read_run(folder)
    problems = [problem for problem in run.problems if str(folder / fold) in problem]
    if problems:
        raise DataError("; ".join(problems))
    return replace(run.of([fold]), problems=[], damaged=[])


def _check_origin(path: Path, digest: str, metrics: Path, trained: dict[str, Any], config: dict[str, Any]) -> None:
    """See that metrics are of this checkpoint, and not of one that another training left, or of the last epoch."""
    again = f"test {path} again with test.py"
    for name in ("config_hash", "save_name", "fold"):
        ours, theirs = trained.get(name), config.get(name)
        if ours is not None and theirs is not None and ours != theirs:
            raise DataError(f"{metrics}: is of another training than {path}, {name} is {theirs}, not {ours}; {again}")
    recorded = Path(str(config.get("checkpoint")))
    weights = weights_file(recorded)
    same = file_digest(weights) == digest if weights.is_file() else recorded.name == path.name
    if not same:
        raise DataError(f"{metrics}: is of {recorded}, which is not {path}; {again}")


def _read_audit(path: Path, digest: str) -> dict[str, Any] | str:
    """An audit of the very bytes of the checkpoint, or why there is none."""
    if not path.is_file():
        return "no audit was made"
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); delete it and make the audit again") from error
    if not isinstance(audit, dict) or not audit.keys() >= AUDIT_KEYS:
        raise DataError(f"{path}: does not hold an audit; delete it and make the audit again")
    return audit if audit["digest"] == digest else "the audit on disk is of another checkpoint"


def _sides(trained: dict[str, Any], fold: str, scores: pd.DataFrame, outputs: Path) -> dict[str, pd.DataFrame] | None:
    """The clips of the fold as training took them, from the corpus where it lies there as it did then."""
    try:
        root, kind = Path(trained["data_root"]), trained["dataset"]
        written = any((place / f"{fold}.txt").is_file() for place in (corpus_folder(root, kind), outputs / "folds"))
        if not written and not read_corpus(root, kind)["split"].any():
            return None  # it would be given new folds
        choices = {name: trained[name] for name in ("validation", "num_train", "num_val", "seed")}
        data = FakeAVCelebDataModule(
            root,
            f"{fold}.txt",
            dataset=kind,
            protocol=trained.get("protocol"),
            lists=trained.get("lists"),
            check=False,
            fold_dir=outputs / "folds",
            prepare_dir=outputs / "prepare",
            **choices,
        )
        data.setup("fit")
    except (KeyError, ValueError, OSError):
        return None
    skipped = {entry[0] for entry in trained.get("skipped") or []}
    tables = {"training": data.train_dataset, "validation": data.val_dataset, "test": data.test_dataset}
    sides = {name: side.clips[~side.clips["file"].isin(skipped)] for name, side in tables.items()}
    # Another corpus, or another state of it, has other test clips.
    return sides if set(sides["test"]["file"]) == set(scores["file"]) else None
