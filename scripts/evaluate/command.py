"""The command `main.py evaluate`: metrics, intervals and tests from scores.csv alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console

from scripts.evaluate.tables import sections
from utils.errors import DataError
from utils.files import to_json, write_atomic
from utils.options import Dataset, Protocol
from utils.results import match, pool, read_scores
from utils.statistics.bootstrap import RESAMPLES, SEED, require_not_negative
from utils.statistics.evaluation import evaluate_folds
from utils.table import as_markdown, as_tables

log = logging.getLogger(__name__)


def evaluate_scores(
    scores: list[Path],
    *,
    against: list[Path] | None = None,
    data_root: Path | None = None,
    dataset: Dataset = "fakeavceleb",
    protocol: Protocol | None = None,
    lists: Path | None = None,
    fold: str | None = None,
    polarity: Literal["real", "fake"] | None = None,
    threshold: float | None = None,
    bootstrap: int = RESAMPLES,
    seed: int = SEED,
    out: Path | None = None,
) -> None:
    """Evaluate scores.csv: every metric with its interval, and a test against another detector.

    Parameters
    ----------
    scores
        One scores.csv, or those of the folds of one run, which are pooled.
    against
        Scores of another detector for the same clips, one file or several.
    data_root
        Folder of a corpus: evaluate another detector, whose csv (file, score, perhaps polarity) is put onto the clips
        that a protocol tests.
    dataset
        Kind of that corpus (see dataset/corpora/README.md).
    protocol
        Whose test clips they are (see dataset/protocols/README.md); by default that of the corpus.
    lists
        Your clone of the repository whose lists the protocol uses.
    fold
        Fold of the protocol, such as train_1; by default all.
    polarity
        Which class has the higher scores in the other detector's csv; by default its column polarity says so.
    threshold
        Score of the other detector from which on a clip is of that class; by default 0.5.
    bootstrap
        Resamples of the subjects, from which the intervals come; 0 for none.
    seed
        Of the resamples.
    out
        Folder for evaluation.json and evaluation.md; by default that of the first scores.csv.

    Raises
    ------
    DataError
        If a file cannot be read, a cell is wrong, folds share a clip, the two sides have not the same clips, or an
        option is out of range.
    """
    require_not_negative(bootstrap=bootstrap, seed=seed)
    if data_root is None:
        if polarity or threshold is not None:
            raise DataError(
                "--polarity and --threshold are of another detector's scores: name a corpus with --data_root"
            )
        tables = _load(scores)
    else:
        from scripts.evaluate.others import Others, folds_of_others  # needs PyTorch, which scores.csv does not

        if len(scores) > 1:
            raise DataError(f"the scores of another detector are one file, not {len(scores)}")
        others = Others(scores[0], polarity=polarity, threshold=0.5 if threshold is None else threshold)
        tables = folds_of_others(others, data_root, dataset, protocol, lists, fold, seed)
    pooled = pool(tables)
    other = None
    if against:
        other = match(pooled, pool(_load(against)), (_called(scores), _called(against)))
    folders = [path.parent.name for path in scores]
    names = folders if len(set(folders)) == len(scores) and all(folders) else [str(path) for path in scores]
    names = names if data_root is None else list(tables)
    metrics = evaluate_folds(dict(zip(names, tables.values(), strict=True)), other, bootstrap, seed)
    files = {"files": [str(path) for path in scores], "against": [str(path) for path in against or []]}
    title = f"Evaluation of {_called(scores)}" + (f" against {_called(against)}" if against else "")
    parts = sections(metrics)
    folder = out or scores[0].parent
    write_atomic(folder / "evaluation.json", to_json(files | metrics))
    write_atomic(folder / "evaluation.md", as_markdown(title, parts))
    Console().print(as_tables(title, parts))
    log.info("results: %s (evaluation.json, evaluation.md)", folder)


def _load(paths: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Read all files, by their paths, none of which may be given twice."""
    for path in paths:
        if paths.count(path) > 1:
            raise DataError(f"{path} is given twice")
    return {str(path): read_scores(path) for path in paths}


def _called(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"
