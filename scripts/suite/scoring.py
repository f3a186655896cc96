"""Scoring what is missing: a detector on a fold of a test, kept on disk with what could not be scored."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataset import FakeAVCelebDataModule
from dataset.corpora import clips_digest, corpus_folder, read_corpus, table_digest
from dataset.prepared import find_cache
from dataset.protocols import Setting, default_protocol, folds
from model import detector_of, read_checkpoint
from model.threshold import threshold_of
from model.training.scoring import score_fold
from model.training.trainer import make_trainer
from scripts.evaluate.others import read_others
from scripts.suite.plan import Detector, Test
from utils.errors import DataError
from utils.files import file_digest, to_json, write_atomic
from utils.options import Gpus, clips_of_each

log = logging.getLogger(__name__)

VERSION = 2  # goes up when the same files would give other scores
COLUMNS = ["file", "subject", "category", "method", "label", "score", "reason"]
FROM_CLIPS = ["file", "subject", "category", "method"]


@dataclass(frozen=True)
class Machine:
    """Where and how detectors are run."""

    outputs: Path
    gpus: Gpus
    precision: str
    accelerator: str
    num_workers: int | None
    seed: int


@dataclass(frozen=True)
class Cell:
    """A detector on a fold of a test."""

    detector: Detector
    test: Test
    fold: str
    meaning: str
    source: Path  # a checkpoint, or the file of another's scores

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.detector.name} on {self.test.name}, {self.fold}"


@dataclass(frozen=True)
class Scored:
    """A cell's clips (``COLUMNS``; no score where a clip could not be scored) and what is known of them."""

    clips: pd.DataFrame
    record: dict[str, Any]


class Bench:
    """Scores cells on a machine, each once: what lies in a folder of the very same cell is read."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder, self.machine = folder, machine
        # A suite reads each file once.
        self._corpus, self._digest = cache(read_corpus), cache(file_digest)
        self._config = cache(lambda path: read_checkpoint(path).get("config") or {})
        self._clips_digest = cache(self._digest_of_clips)

    def cells(self, detector: Detector, test: Test) -> list[Cell]:
        """The folds of a test that a detector is asked for, each with the checkpoint for it.

        With a checkpoint a fold, each fold is tested by its own; with one checkpoint all folds are, but under the
        protocol and on the corpus that it was trained on its own fold alone, as the others hold who it was trained on.
        """
        protocol = self.protocol(test)
        known = folds(protocol, Setting(self._clips(test), test.dataset, test.data_root, lists=test.lists))
        unknown = [fold for fold in test.folds if fold not in known]
        if unknown:
            raise DataError(f"{test.name} has no fold {unknown[0]}; it has {', '.join(known)}")
        cells = []
        for fold in test.folds or known:
            one = detector.others.path if detector.others else self._checkpoint(detector, test, fold, len(known))
            if one is not None:
                cells.append(Cell(detector, test, fold, known[fold], one))
        return cells

    def _checkpoint(self, detector: Detector, test: Test, fold: str, folds: int) -> Path | None:
        """The checkpoint for a fold, if there is one that was not trained on who it tests."""
        for_all = detector.checkpoints.get("")
        if for_all is not None:
            others = folds > 1 and self._is_own(for_all, test) and self._config(for_all).get("fold") != fold
            return None if others else for_all
        if fold in detector.checkpoints:
            return detector.checkpoints[fold]
        first = next(iter(detector.checkpoints.values()))
        return None if self._is_own(first, test) else first  # a fold that has not been trained

    def _is_own(self, checkpoint: Path, test: Test) -> bool:
        """Whether a checkpoint was trained on this corpus, under this protocol."""
        config = self._config(checkpoint)
        same = config.get("data_root") and Path(config["data_root"]).resolve() == test.data_root.resolve()
        return bool(same) and (config.get("dataset"), config.get("protocol")) == (test.dataset, self.protocol(test))

    def _clips(self, test: Test) -> pd.DataFrame:
        return self._corpus(test.data_root, test.dataset)

    def protocol(self, test: Test) -> str:
        """The protocol of a test, or the default of its corpus."""
        return test.protocol or default_protocol(test.dataset, self._clips(test))

    def scored(self, cell: Cell) -> Scored:
        """The scores of a cell, from disk if they are there and whole.

        They are always read back, so that a table is the same to the last bit whether its cells were scored now or in
        a run that was killed.
        """
        if not cell.source.is_file():
            raise DataError(f"{cell.source}: no such file; it is asked for as {cell.detector.name}")
        digest = self._digest(cell.source)
        folder = self.folder / "scores" / self._key(cell, digest)
        scores = folder / "scores.csv"
        try:
            record = _record(folder)
        except (OSError, ValueError, KeyError) as error:
            if scores.exists():
                log.warning("%s: not whole (%s), so it is scored again", folder, error)
            log.info("scoring %s", cell.name)
            scored = self._others(cell) if cell.detector.others else self._test(cell)
            write_atomic(scores, scored.clips.to_csv(index=False, lineterminator="\n"))
            source = {"cell": cell.name, "source": str(cell.source), "source_sha256": digest}
            done = source | scored.record | {"scores_sha256": file_digest(scores)}
            write_atomic(folder / "record.json", to_json(done))  # last: now it is done
            record = _record(folder)
        return Scored(_read(scores), record | {"source": str(cell.source)})  # which may have been moved

    def _digest_of_clips(self, test: Test, fold: str) -> str:
        """Of the clip table, and of the test clips with their sizes: one that was missing and has come is a change."""
        tested = self._data(test, fold, {}, check=False).test_clips()
        return f"{table_digest(self._clips(test))} {clips_digest(tested)}"

    def _key(self, cell: Cell, digest: str) -> str:
        """What decides the scores of a cell, as a name of a folder."""
        test, others = cell.test, cell.detector.others
        deciding = [
            VERSION, digest, test.dataset, self._clips_digest(test, cell.fold), self.protocol(test), cell.fold,
            test.trim_silence, self.machine.seed, self.machine.precision, list(others[1:]) if others else [],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:16]

    def _data(self, test: Test, fold: str, trained: Mapping[str, Any], check: bool = True) -> FakeAVCelebDataModule:
        machine, counts = self.machine, clips_of_each(test.dataset, self.protocol(test))
        return FakeAVCelebDataModule(
            test.data_root,
            train_fold=f"{fold}.txt",
            batch_size=trained.get("batch_size", 64),
            num_workers=machine.num_workers,
            padding=trained.get("padding"),
            seed=machine.seed,
            max_frames=trained.get("max_frames", 500),
            skip_bad=True,
            check=check,
            fold_dir=machine.outputs / "folds",
            prepare_dir=machine.outputs / "prepare",
            cache=find_cache(corpus_folder(test.data_root, test.dataset), None, machine.outputs) if check else None,
            trim_silence=test.trim_silence,
            dataset=test.dataset,
            protocol=self.protocol(test),
            lists=test.lists,
            num_train=counts["num_train"],
            num_val=counts["num_val"],
        )

    def _test(self, cell: Cell) -> Scored:
        checkpoint = read_checkpoint(cell.source)
        trained = checkpoint.get("config") or {}
        data = self._data(cell.test, cell.fold, trained)
        data.setup("test")
        same = (trained.get("dataset"), trained.get("corpus")) == (data.dataset, data.corpus)
        record = data.protocol_record(trained.get("trained_subjects") if same else None)
        machine = self.machine
        trainer = make_trainer(machine.gpus, machine.precision, accelerator=machine.accelerator)
        table, _ = score_fold(trainer, detector_of(checkpoint, cell.source), data)
        clips = _clips_with(data.test_clips(), dict(zip(table["file"], table["score"], strict=True)))
        reasons = {bad.file: bad.reason for bad in data.skipped}
        why = [reasons.get(file, "its score is not a number") for file in clips["file"]]
        clips["reason"] = np.where(clips["score"].isna(), why, "")
        threshold = threshold_of(checkpoint)
        rule = {"threshold": threshold.value, "threshold_of": threshold.on or "0.5, as the checkpoint has none"}
        return Scored(clips[COLUMNS], record | rule | {"trained_on": trained.get("corpus")})

    def _others(self, cell: Cell) -> Scored:
        data = self._data(cell.test, cell.fold, {}, check=False)
        clips = data.test_clips()
        scores, threshold = read_others(cell.detector.others, clips["file"])
        table = _clips_with(clips, scores)
        table["reason"] = [
            "" if known else "its score is not a number" if file in scores else f"not in {cell.source.name}"
            for file, known in zip(table["file"], table["score"].notna(), strict=True)
        ]
        record = {"protocol": data.protocol, "fold_meaning": data.fold_meaning, "trained_subjects_tested": None}
        return Scored(table[COLUMNS], record | {"threshold": threshold, "threshold_of": "as given", "trained_on": None})


def _clips_with(clips: pd.DataFrame, scores: Mapping[str, float]) -> pd.DataFrame:
    table = clips[FROM_CLIPS].reset_index(drop=True)
    table["label"] = clips["m_label"].fillna(-1).astype(int).to_numpy()
    score = table["file"].map(scores).astype(float)
    return table.assign(score=score.where(np.isfinite(score)))


def _record(folder: Path) -> dict[str, Any]:
    """What is known of a cell that was scored to the end; OSError, ValueError or KeyError if it was not."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if file_digest(folder / "scores.csv") != record["scores_sha256"]:
        raise DataError("scores.csv was cut or changed")
    return record


def _read(path: Path) -> pd.DataFrame:
    texts = dict.fromkeys((*FROM_CLIPS, "reason"), str)
    # Python's float is exact; the parsers of pandas are not in every version.
    return pd.read_csv(path, converters=texts | {"score": lambda cell: float(cell or "nan")})[COLUMNS]
