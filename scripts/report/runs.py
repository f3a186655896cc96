"""What a run has left on disk, as far as it can be read; the rest is said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from scripts.evaluate.evaluation import evaluate_table
from scripts.evaluate.score_files import load_scores, pool
from utils.errors import DataError
from utils.metrics import evaluate
from utils.options import ModelType
from utils.results import fold_figures, read_metrics

RESAMPLES, SEED = 1000, 42  # of the intervals
FILES = ("metrics.json", "scores.csv")
AGREEING = ("n", "acc", "auc", "auc_hard")
ROUNDING = 1e-6


@dataclass
class Run:
    """A run, or what is there of it.

    Parameters
    ----------
    name
        Name of its folder.
    folder
        Where it lies.
    metrics
        What metrics.json holds, of each fold where it can be read.
    scores
        What scores.csv holds, of each fold where it can be read.
    problems
        What is missing or cannot be read, and why.
    resamples, seed
        Of the intervals.
    """

    name: str
    folder: Path
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, pd.DataFrame] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    resamples: int = RESAMPLES
    seed: int = SEED

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """The resolved configuration of each fold."""
        return {fold: metrics["config"] for fold, metrics in self.metrics.items()}

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Test clips of all folds, with the column fold; empty if there are none."""
        tables = [table.assign(fold=fold) for fold, table in self.scores.items()]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def pooled(self) -> dict[str, Any] | None:
        """Figures of all test clips together, in detail; None without scores."""
        return evaluate_table(self.clips, self.resamples, self.seed, detailed=True) if len(self.clips) else None

    @cached_property
    def n_clips(self) -> int:
        """Number of test clips, from the scores where they are there."""
        return sum(len(self.scores[k]) if k in self.scores else self.metrics[k]["n"] for k in self.folds)

    @property
    def folds(self) -> list[str]:
        """Folds of which there is anything, by number."""
        return sorted(self.metrics.keys() | self.scores.keys(), key=lambda fold: (len(fold), fold))

    def shared(self, name: str) -> Any:
        """Return a setting that all folds have in common; None if they differ."""
        values = [config.get(name) for config in self.configs.values()]
        return values[0] if values and all(value == values[0] for value in values) else None


def find_runs(results: Path, names: str | None = None) -> list[Run]:
    """Read runs, in the order of the paper's detectors.

    Parameters
    ----------
    results
        Folder with a folder for each run.
    names
        Runs to read, with commas between them; by default all that have a fold.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no such run, or no run at all.
    """
    if not results.is_dir():
        raise FileNotFoundError(f"{results}: no such folder; --results is the folder that holds a folder for each run")
    folders = {folder.name: folder for folder in results.iterdir() if folder.is_dir()}
    if names is None:
        chosen = [name for name, folder in folders.items() if fold_folders(folder)]
        if not chosen:
            raise FileNotFoundError(f"{results} has no run with a tested fold: train one first, or give --results")
    else:
        chosen = list(dict.fromkeys(names.split(",")))
        if unknown := [name for name in chosen if name not in folders]:
            raise FileNotFoundError(f"--runs {names}: {results} has no run {', '.join(map(repr, unknown))}")
    order = get_args(ModelType)
    chosen.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    return [read_run(folders[name]) for name in chosen]


def fold_folders(folder: Path) -> list[Path]:
    """Folders of a run's folds that have anything to show; not those set aside, such as train_1.1."""
    found = {path.parent for name in FILES for path in folder.glob(f"train_*/{name}") if not path.parent.suffix}
    return sorted(found, key=lambda path: (len(path.name), path.name))


def read_run(folder: Path) -> Run:
    """Read what there is of a run; what does not read is among its `problems`."""
    run = Run(folder.name, folder)
    for fold in fold_folders(folder):
        try:
            run.metrics[fold.name] = _metrics(fold / FILES[0])
        except (ValueError, OSError) as error:
            run.problems.append(_what(error))
        try:
            run.scores[fold.name] = load_scores(fold / FILES[1])
        except (ValueError, OSError) as error:
            run.problems.append(_what(error))
    if not run.folds:
        run.problems.append(f"{folder}: no fold has been tested yet")
    if run.scores:
        try:
            pool(run.scores)
        except DataError as error:
            run.problems.append(_what(error))
    run.problems += _disagreements(run)
    return run


def _metrics(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    metrics = read_metrics(path)
    wrong = f"{path} does not hold the figures of a fold: delete it and test the fold again"
    if not isinstance(metrics["config"], dict) or not isinstance(metrics["n"], int):
        raise DataError(wrong)
    try:
        fold_figures({"fold": metrics})
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(wrong) from error
    return metrics


def _what(error: ValueError | OSError) -> str:
    """An error that the system raised says little without its file."""
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def _disagreements(run: Run) -> list[str]:
    """Name the folds whose figures are not those of their scores."""
    found = []
    for fold in run.metrics.keys() & run.scores.keys():
        here, there = evaluate(run.scores[fold]), run.metrics[fold]
        names = [name for name in AGREEING if not _same(here[name], there.get(name))]
        if names:
            found.append(
                f"{run.folder / fold}: {', '.join(names)} of metrics.json are not those of scores.csv; test it again"
            )
    return sorted(found)


def _same(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) < ROUNDING
