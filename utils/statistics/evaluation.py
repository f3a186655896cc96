"""Every metric of the scores of some clips with its interval, and why one is not there; also by groups of people."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from utils.metrics import evaluate, per_method, stream_labels
from utils.statistics.bootstrap import HEADS, RESAMPLES, SEED, bootstrap_intervals, group_intervals, no_intervals
from utils.statistics.calibration import calibration
from utils.statistics.paired import compare

GROUPINGS = {"race": ("race",), "gender": ("gender",), "race_gender": ("race", "gender")}  # the columns of each
SHORT = 12  # groups of two columns together at most; FakeAVCeleb has ten
NOT_GIVEN = "(not given)"


def evaluate_folds(
    folds: Mapping[str, pd.DataFrame],
    against: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Evaluate the folds of one run, pooled and each: the content of evaluation.json.

    Folds are as `utils.results.read_scores` returns them, and no two have a clip in common. Scores of another detector
    to compare with are row by row of the pooled clips (see `utils.results.match`). Without resamples there are no
    intervals.
    """
    pooled = pd.concat(folds.values(), ignore_index=True)
    return {
        "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95, "unit": "subject"},
        "pooled": evaluate_table(pooled, resamples, seed, detailed=True),
        "folds": {name: evaluate_table(table, resamples, seed) for name, table in folds.items() if len(folds) > 1},
        "comparison": None if against is None else compare(pooled, against, resamples, seed),
    }


def evaluate_table(
    table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED, detailed: bool = False
) -> dict[str, Any]:
    """Evaluate the clips of one table, as `utils.results.read_scores` returns it.

    In detail it is resampled for parts of the table too, which takes several times as long.

    Returns
    -------
    dict
        What `utils.metrics.evaluate` returns, and ``subjects`` (how many), ``per_method``, ``calibration`` (see
        `utils.statistics.calibration`), ``bootstrap`` (see `bootstrap_intervals`) and ``why``: for each metric that is
        None, why it is. So do the entries of ``per_category`` and ``per_method``; in detail these have ``intervals`` of
        acc and auc with their ``rule_of_three``, and there is ``per_group`` (see `per_group`).
    """
    metrics, real = evaluate(table), table["label"] == 1
    groups: dict[str, Any] = {"per_category": metrics.pop("per_category"), "per_method": per_method(table)}
    chosen = [(entry, table["category"] == name) for name, entry in groups["per_category"].items()]
    chosen += [(entry, ~real & (table["method"] == name)) for name, entry in groups["per_method"].items()]
    for entry, rows in chosen:
        no_real = "no real clip" if "auc" in entry and entry["auc"] is None else None
        entry["why"] = no_real if entry["n"] else "no clip"
        if detailed:
            entry["intervals"], entry["rule_of_three"] = group_intervals(table[rows], resamples, seed, ("acc",))
            among = table[rows | real]
            ranked, unseen = group_intervals(among, resamples, seed, ("auc",)) if "auc" in entry else ({}, [])
            entry["intervals"]["auc"] = ranked.get("auc")
            entry["rule_of_three"] += unseen
    if detailed:
        groups["per_group"] = per_group(table, resamples, seed)
    return {
        "n": metrics.pop("n"),
        "subjects": int(table["subject"].nunique()),
        **metrics,
        **groups,
        "calibration": calibration(table["label"].to_numpy(), table["score"].to_numpy()),
        "bootstrap": bootstrap_intervals(table, resamples, seed, detailed),
        "why": {name: _why_undefined(name, table) for name, value in metrics.items() if value is None},
    }


def per_group(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Evaluate the clips of each race, each gender and, if that is a short table, each race and gender.

    By the names of `GROUPINGS`; a grouping of which the table says nothing is left out.
    """
    found = {}
    for name, columns in GROUPINGS.items():
        if any(column not in table or (table[column] == "").all() for column in columns):
            continue
        keys = table[list(columns)].replace("", NOT_GIVEN).agg(", ".join, axis=1)
        if len(columns) > 1:  # worth showing if it says more than one by each column, in few rows of several subjects
            subjects = table["subject"].groupby(keys).nunique()
            varied = all(table[column].nunique() > 1 for column in columns)
            if not varied or len(subjects) > SHORT or subjects.min() < 2:
                continue
        found[name] = {str(key): group_metrics(rows, resamples, seed) for key, rows in table.groupby(keys)}
    return found


def group_metrics(table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Any]:
    """Compute the metrics of a group of people, each with its interval; None where there is no such clip.

    ``real`` and ``fake`` count clips; ``auc`` is of its real clips against its fake ones; ``false_rejection`` is the
    share of its real clips decided fake, ``false_acceptance`` that of its fake clips decided real. ``why`` says why any
    of these is None.
    """
    metrics = evaluate(table)
    intervals, unseen = group_intervals(table, resamples, seed)
    return {
        "n": len(table),
        "subjects": int(table["subject"].nunique()),
        "real": int((table["label"] == 1).sum()),
        "fake": int((table["label"] == 0).sum()),
        "acc": metrics["acc"],
        "auc": metrics["auc"],
        "false_rejection": None if metrics["recall_real"] is None else 1 - metrics["recall_real"],
        "false_acceptance": None if metrics["recall_fake"] is None else 1 - metrics["recall_fake"],
        "intervals": intervals,
        "rule_of_three": unseen,
        "why": no_intervals(table, resamples),
    }


def _why_undefined(metric: str, table: pd.DataFrame) -> str:
    """Say why a metric of a table is None."""
    if metric in HEADS:
        stream, absent = metric.removesuffix("_auc"), table[HEADS[metric]].isna()
        if absent.any():
            return f"no {stream} score" if absent.all() else f"{stream} scores in some files only"
        label, _ = stream_labels(table, HEADS[metric])
        if not label.size:
            return f"the corpus does not tell whose {stream} is fake"
        return f"no clip with {'fake' if label.any() else 'real'} {stream}"
    absent_classes = [name for name, value in (("real", 1), ("fake", 0)) if not (table["label"] == value).any()]
    of_class, _, name = metric.partition("_")
    if of_class not in ("f1", "recall", "precision"):
        return f"no {absent_classes[0]} clip"
    return f"no {name} clip" if name in absent_classes else f"no clip decided {name}"
