"""Runs: the folds of one detector, what there is of them, and what of them may be averaged.

The summary, the table, the report and the card read runs here, and `objections` judges for all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.metrics import evaluate
from utils.options import ModelType
from utils.results import METRICS_FILE, SCORES_FILE, metric_frame, pool, read_metrics, read_scores
from utils.statistics.bootstrap import RESAMPLES, SEED
from utils.statistics.calibration import Platt
from utils.statistics.evaluation import evaluate_table

FOLD_NAME = re.compile(r"train_\d+")  # anything else below a run is not a fold of it, such as what was set aside
AGREEING = ["n", "acc", "auc", "auc_hard"]  # in which metrics.json must agree with scores.csv
ROUNDING = 1e-6
# Options that do not decide the numbers: where things lie, and how fast they come. gpus is hashed as the world size.
NOT_DECIDING = {
    "outputs", "num_workers", "cache_dir", "log_steps", "logger", "resume", "folds", "save_name", "gpus", "lists",
    "prefetch",
}  # fmt: skip
# Settings in which folds of one run may differ: these, and those of a fold. Weights and data are compared by digests.
MAY_DIFFER = NOT_DECIDING | {
    "fold", "train_fold", "fold_seed", "folds_of_protocol", "fold_meaning", "trained_subjects_tested",
    "test_clips_showing_trained", "checkpoint", "config", "config_hash", "environment", "test_environment", "skipped",
    "notes", "clips", "data_root", "pretrained", "skip_bad", "compile", "checkpoint_activations",
}  # fmt: skip

# Mean of the five folds of FakeAVCeleb in the paper; its AUC is that of the hard decisions.
PUBLISHED_CORPUS, PUBLISHED_PROTOCOL = "FakeAVCeleb", "mrdf-5fold"
PUBLISHED_FOLDS = [f"train_{k}" for k in range(1, 6)]
PUBLISHED = {"MRDF_CE": {"acc": 0.9405, "auc_hard": 0.9243}}
Value = TypeVar("Value")


def fold_folders(folder: Path, files: Iterable[str] = (METRICS_FILE,)) -> list[Path]:
    """Return the folders of a run's folds that hold any of some files, of which `*` may be a part, by number."""
    own = [path for path in folder.glob("train_*") if FOLD_NAME.fullmatch(path.name)]
    found = [path for path in own if any(next(path.glob(name), None) for name in files)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


@dataclass
class Run:
    """A run, or what is there of it: what metrics.json and scores.csv hold, of each fold where they can be read.

    Problems say what is missing or cannot be read, and why; damaged are those of a metrics.json that is there.
    Resamples and seed are those of the intervals.
    """

    name: str
    folder: Path
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, pd.DataFrame] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    resamples: int = RESAMPLES
    seed: int = SEED

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """The resolved configuration of each fold."""
        return {fold: metrics["config"] for fold, metrics in self.metrics.items()}

    @property
    def frame(self) -> pd.DataFrame:
        """The metrics of the folds, see `metric_frame`."""
        return metric_frame(self.metrics)

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Test clips of all folds, with the column fold; empty if there are none.

        The column calibrated is the calibrated score for as many fakes as among the clips of the fit, NaN without one;
        that of scores.csv, probability, is for as many as make it 1/2 at the threshold.
        """
        tables = []
        for fold, table in self.scores.items():
            found = self.metrics.get(fold, {}).get("calibration")
            platt = Platt(*(found[name] for name in Platt._fields)) if found else None
            calibrated = platt.probability(table["score"].to_numpy()) if platt else np.nan
            tables.append(table.assign(fold=fold, calibrated=calibrated))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def pooled(self) -> dict[str, Any] | None:
        """Metrics of all test clips together, in detail; None without scores, or of corpora that must not be mixed."""
        if not len(self.clips) or self.mixture:
            return None
        return evaluate_table(self.clips, self.resamples, self.seed, detailed=True)

    @cached_property
    def n_clips(self) -> int:
        """Number of test clips, from the scores where they are there."""
        return sum(len(self.scores[k]) if k in self.scores else self.metrics[k]["n"] for k in self.folds)

    @property
    def folds(self) -> list[str]:
        """Folds of which there is anything, by number."""
        return sorted(self.metrics.keys() | self.scores.keys(), key=lambda fold: (len(fold), fold))

    @property
    def missing(self) -> list[str]:
        """Folds of the protocol that lack metrics or scores, as far as it is known which folds it has."""
        configs = list(self.configs.values()) or [{}]
        asked = dict.fromkeys(fold for config in configs for fold in folds_of_protocol(config))
        return [fold for fold in asked if fold not in self.metrics or fold not in self.scores]

    def shared(self, name: str) -> Any:
        """Return a setting that all folds have in common; None if they differ."""
        values = [config.get(name) for config in self.configs.values()]
        return values[0] if values and all(value == values[0] for value in values) else None

    def parts(self) -> dict[tuple[str, str], Run]:
        """Return the run by corpus and protocol, whose folds alone may be averaged; mostly this is one part."""
        tested_on = {fold: corpus_and_protocol(config) for fold, config in self.configs.items()}
        return {key: self.of(folds) for key, folds in by_value(tested_on).items()}

    @cached_property
    def mixture(self) -> str:
        """Say which folds are of which corpus and protocol, if of several, so that there is no mean; "" if of one."""
        parts = [f"{', '.join(part.folds)}: {' '.join(key)}" for key, part in self.parts().items()]
        return "; ".join(parts) if len(parts) > 1 else ""

    def of(self, folds: Sequence[str]) -> Run:
        """Return some folds of the run as one of its own."""
        metrics, scores = ({k: held[k] for k in folds if k in held} for held in (self.metrics, self.scores))
        return replace(self, metrics=metrics, scores=scores)


def read_run(folder: Path) -> Run:
    """Read what there is of a run; what does not read is among its `problems`."""
    run = Run(folder.name, folder)
    for path in fold_folders(folder, (METRICS_FILE, SCORES_FILE)):
        try:
            run.metrics[path.name] = read_metrics(path / METRICS_FILE)
        except (ValueError, OSError) as error:
            run.problems.append(_reason(error))
            run.damaged += [_reason(error)] * (path / METRICS_FILE).exists()
        try:
            run.scores[path.name] = read_scores(path / SCORES_FILE)
        except (ValueError, OSError) as error:
            run.problems.append(_reason(error))
    if not run.folds:
        run.problems.append(f"{folder} has no train_*/metrics.json: train or test a fold first")
    try:
        pool(run.scores)
    except DataError as error:
        run.problems.append(str(error))
    for fold in sorted(run.metrics.keys() & run.scores.keys()):
        sides = (evaluate(run.scores[fold]), run.metrics[fold])
        here, there = (pd.Series([side.get(name) for name in AGREEING], AGREEING, dtype=float) for side in sides)
        off = here.index[~np.isclose(here, there, rtol=0, atol=ROUNDING, equal_nan=True)]
        if len(off):
            told = ", ".join(off)
            run.problems.append(f"{folder / fold}: {told} of metrics.json are not those of scores.csv; test it again")
    return run


def find_runs(results: Path, names: str | None = None) -> list[Run]:
    """Read runs, each a folder in `results`, in the order of the paper's detectors: those named, else all.

    FileNotFoundError says so if there is no such folder, no such run, or no run at all.
    """
    if not results.is_dir():
        raise FileNotFoundError(f"{results}: no such folder; --outputs is the folder whose results hold the runs")
    folders = {folder.name: folder for folder in results.iterdir() if folder.is_dir()}
    if names is None:
        chosen = [name for name, folder in folders.items() if fold_folders(folder, (METRICS_FILE, SCORES_FILE))]
        if not chosen:
            raise FileNotFoundError(f"{results} has no run with a tested fold: train one first, or give --outputs")
    else:
        chosen = list(dict.fromkeys(names.split(",")))
        if unknown := [name for name in chosen if name not in folders]:
            raise FileNotFoundError(f"--runs {names}: {results} has no run {', '.join(map(repr, unknown))}")
    order = get_args(ModelType)
    chosen.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    return [read_run(folders[name]) for name in chosen]


def _reason(error: ValueError | OSError) -> str:
    """Say what an error is; one that the system raised says little without its file."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def corpus_and_protocol(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a fold was tested on; folds of another corpus or protocol are never averaged with it."""
    corpus = str(config.get("corpus") or "")
    # Folds of a protocol that leaves something out are different tests by design, such as "RVFA left out".
    protocol = ", ".join(filter(None, (protocol_of(config), config.get("fold_meaning"))))
    return corpus, f"{protocol}, silence trimmed" if config.get("trim_silence") else protocol


def protocol_of(config: Mapping[str, Any]) -> str:
    """Return the protocol of a fold; that of its corpus where none is recorded."""
    default = PUBLISHED_PROTOCOL if config.get("dataset", "fakeavceleb") == "fakeavceleb" else "official"
    return str(config.get("protocol") or default)


def folds_of_protocol(config: Mapping[str, Any]) -> list[str]:
    """Return the names of all folds of a fold's protocol; none where they are neither recorded nor the paper's."""
    paper = PUBLISHED_FOLDS if protocol_of(config) == PUBLISHED_PROTOCOL else []
    return config.get("folds_of_protocol") or paper


def published(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the paper's numbers for the detector of a fold, where it was tested as in the paper."""
    is_same = corpus_and_protocol(config) == (PUBLISHED_CORPUS, PUBLISHED_PROTOCOL)
    return PUBLISHED.get(str(config.get("model_type")), {}) if is_same else {}


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Find the settings in which folds of one run differ, though they decide its numbers.

    Setting → value as text → folds; "data or weights" where no setting tells what the hashes do.
    """
    found = {}
    for name in dict.fromkeys(name for config in configs.values() for name in config if name not in MAY_DIFFER):
        told = {fold: config.get(name) for fold, config in configs.items()}
        values = {
            fold: value if isinstance(value, str) else json.dumps(value, default=str) for fold, value in told.items()
        }
        if len(folds_of_each := by_value(values)) > 1:
            found[name] = folds_of_each
    # A hash takes the clips of the fold where the corpus and the weights have digests of their own.
    has_digest = all("table_digest" in config for config in configs.values())
    hashes = by_value({fold: str(config.get("config_hash")) for fold, config in configs.items()})
    return {"data or weights": hashes} if len(hashes) > 1 and not found and not has_digest else found


def by_value(values: Mapping[str, Value]) -> dict[Value, list[str]]:
    """Turn fold → value into value → folds."""
    found: dict[Value, list[str]] = {}
    for fold, value in values.items():
        found.setdefault(value, []).append(fold)
    return found


def of_other_folds(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of the checkpoints that are those of another fold than was tested with them, by the fold."""
    names = {fold: Path(str(config.get("checkpoint") or "")) for fold, config in configs.items()}
    told = {fold: re.search(r"train_\d+$", name.stem) for fold, name in names.items()}
    return {fold: names[fold].name for fold, other in told.items() if other and other[0] != fold}


def objections(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say why the mean over some folds means little: the one judge of what may be averaged.

    There is a sentence for the settings that differ, and one for each fold that was tested with another's checkpoint.
    """
    sentences = [
        f"{fold} was tested with {name}, which may have been trained on its subjects."
        for fold, name in of_other_folds(configs).items()
    ]
    if found := differing(configs):
        sentences.append(f"The folds are of different configurations ({_in_words(found)}): their mean says little.")
    return sentences


def _in_words(found: Mapping[str, Mapping[str, list[str]]]) -> str:
    """Name settings, and where a few folds only are off, which."""
    words = []
    for name, values in found.items():
        usual, *others = sorted(values, key=lambda value: -len(values[value]))
        if name == "data or weights":
            words.append(name)
        else:
            off = "; ".join(f"{value} in {', '.join(values[value])}" for value in others)
            words.append(f"{name}: {usual}, but {off}")
    return "; ".join(words)
