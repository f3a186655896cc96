"""Every figure of scores that lie on disk: points, intervals, calibration, and why a figure is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from scripts.evaluate.score_files import pool
from utils.metrics import evaluate, per_method
from utils.statistics.bootstrap import bootstrap_intervals
from utils.statistics.calibration import calibration
from utils.statistics.groups import group_intervals, per_group
from utils.statistics.intervals import CLASSES, HEAD_FIGURES, more_intervals
from utils.statistics.paired import compare

CLASS_FIGURES = ("f1", "recall", "precision")


def evaluate_folds(
    folds: Mapping[str, pd.DataFrame], against: pd.DataFrame | None = None, resamples: int = 2000, seed: int = 42
) -> dict[str, Any]:
    """Evaluate the folds of one run, pooled and each.

    Parameters
    ----------
    folds
        What ``scripts.evaluate.score_files.load_scores`` returns for each fold, by its name.
    against
        Scores of another detector, row by row of the pooled clips (see ``scripts.evaluate.score_files.match``).
    resamples, seed
        Of all bootstraps; without resamples there are no intervals.

    Returns
    -------
    dict
        The content of evaluation.json: ``bootstrap`` (how it is done), ``pooled`` (see ``evaluate_table``, in
        detail), each of ``folds`` (see there; no folds if there is one only) and ``comparison`` (see
        ``utils.statistics.paired.compare``; or None).

    Raises
    ------
    DataError
        If two folds have the same clip.
    """
    pooled = pool(folds)
    return {
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "unit": "subject"},
        "pooled": evaluate_table(pooled, resamples, seed, detailed=True),
        "folds": {name: evaluate_table(table, resamples, seed) for name, table in folds.items() if len(folds) > 1},
        "comparison": None if against is None else compare(pooled, against, resamples, seed),
    }


def evaluate_table(table: pd.DataFrame, resamples: int, seed: int, detailed: bool = False) -> dict[str, Any]:
    """Evaluate the clips of one table.

    Parameters
    ----------
    table
        One row a clip, as ``scripts.evaluate.score_files.load_scores`` returns it.
    resamples, seed
        Of the bootstrap by subject.
    detailed
        Resample for parts of the table too, which takes several times as long.

    Returns
    -------
    dict
        What ``utils.metrics.evaluate`` returns, and ``subjects`` (how many), ``per_method``, ``calibration`` (see
        ``utils.statistics.calibration``), ``bootstrap`` (see ``bootstrap_intervals``; in detail with those of
        ``utils.statistics.intervals`` too) and ``why``: for each figure that is None, why it is. So do the entries of
        ``per_category`` and ``per_method``; in detail these have ``intervals`` of acc and auc, and there is
        ``per_group`` (see ``utils.statistics.groups.per_group``).
    """
    figures = evaluate(table)
    groups: dict[str, Any] = {"per_category": figures.pop("per_category"), "per_method": per_method(table)}
    for group in groups.values():
        for entry in group.values():
            entry["why"] = _why_no_group(entry)
    bootstrap = bootstrap_intervals(table, resamples, seed)
    if detailed:
        bootstrap["intervals"] |= more_intervals(table, resamples, seed)
        _add_intervals(groups, table, resamples, seed)
        groups["per_group"] = per_group(table, resamples, seed)
    return {
        "n": figures.pop("n"),
        "subjects": int(table["subject"].nunique()),
        **figures,
        **groups,
        "calibration": calibration(table["label"].to_numpy(), table["score"].to_numpy()),
        "bootstrap": bootstrap,
        "why": {name: _why_undefined(name, table) for name, value in figures.items() if value is None},
    }


def _add_intervals(groups: Mapping[str, Any], table: pd.DataFrame, resamples: int, seed: int) -> None:
    """Give each category and method the intervals of its accuracy and of its AUC among the real clips."""
    real = table["label"] == 1
    chosen = [(groups["per_category"][name], table["category"] == name) for name in groups["per_category"]]
    chosen += [(entry, ~real & (table["method"] == name)) for name, entry in groups["per_method"].items()]
    for entry, rows in chosen:
        among_real = group_intervals(table[rows | real], resamples, seed)["auc"] if "auc" in entry else None
        entry["intervals"] = {"acc": group_intervals(table[rows], resamples, seed)["acc"], "auc": among_real}


def _why_no_group(entry: Mapping[str, Any]) -> str | None:
    if not entry["n"]:
        return "no clip"
    return "no real clip" if "auc" in entry and entry["auc"] is None else None


def _why_undefined(figure: str, table: pd.DataFrame) -> str:
    """Why a figure of a table is None."""
    if figure in HEAD_FIGURES:
        return _why_no_head(figure, table)
    absent = [name for name, value in CLASSES.items() if not (table["label"] == value).any()]
    kind, _, name = figure.partition("_")
    if kind in CLASS_FIGURES and name not in absent:
        return f"no clip decided {name}"
    return f"no {name if kind in CLASS_FIGURES else absent[0]} clip"


def _why_no_head(figure: str, table: pd.DataFrame) -> str:
    column, what, real_categories = HEAD_FIGURES[figure]
    absent = table[column].isna()
    if absent.all():
        return f"no {what} score"
    if absent.any():
        return f"{what} scores in some files only"
    has_real = table["category"].isin(real_categories).any()
    return f"no clip with {'fake' if has_real else 'real'} {what}"
