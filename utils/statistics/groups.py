"""Figures by race and by gender, and how far they can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.metrics import evaluate
from utils.results import percent
from utils.statistics.bootstrap import interval, no_intervals, subject_weights

# Name of a grouping: the columns that it is by, and what it is called.
GROUPINGS = {
    "race": (("race",), "race"),
    "gender": (("gender",), "gender"),
    "race_gender": (("race", "gender"), "race and gender"),
}
RATES = ("acc", "auc", "false_rejection", "false_acceptance")
SHORT = 12  # groups of two columns together at most; FakeAVCeleb has ten
FEW = 30  # subjects: a rate of 90 % among them has a 95 % interval of 11 points to either side
NOT_GIVEN = "(not given)"


def per_group(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Evaluate the clips of each race, each gender and, if that is a short table, each race and gender.

    Parameters
    ----------
    table
        One row a clip, as ``scripts.evaluate.score_files.load_scores`` returns it.
    resamples, seed
        Of the bootstrap by subject within each group.

    Returns
    -------
    dict
        Name of ``GROUPINGS`` → group → what ``group_figures`` returns. A grouping of which the table says nothing is
        left out.
    """
    found = {}
    for name, (columns, _) in GROUPINGS.items():
        if any(column not in table or (table[column] == "").all() for column in columns):
            continue
        keys = table[list(columns)].replace("", NOT_GIVEN).agg(", ".join, axis=1)
        if len(columns) > 1 and not _is_short(table, columns, keys):
            continue
        found[name] = {str(key): group_figures(rows, resamples, seed) for key, rows in table.groupby(keys)}
    return found


def _is_short(table: pd.DataFrame, columns: Sequence[str], keys: pd.Series) -> bool:
    """Whether a table by several columns says more than one by each, in few rows of more than one subject."""
    subjects = table["subject"].groupby(keys).nunique()
    return len(subjects) <= SHORT and subjects.min() > 1 and all(table[column].nunique() > 1 for column in columns)


def group_figures(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Compute the figures of a group of people.

    Returns
    -------
    dict
        ``n``, ``subjects``, ``real`` and ``fake`` (clips); ``acc``, ``auc`` (its real clips against its fake ones),
        ``false_rejection`` (share of its real clips decided fake), ``false_acceptance`` (share of its fake clips
        decided real), each None where there is no such clip; ``intervals`` of these four, or None; ``why``: why any
        of these is None, or None.
    """
    figures = evaluate(table)
    return {
        "n": len(table),
        "subjects": int(table["subject"].nunique()),
        "real": int((table["label"] == 1).sum()),
        "fake": int((table["label"] == 0).sum()),
        "acc": figures["acc"],
        "auc": figures["auc"],
        "false_rejection": None if figures["recall_real"] is None else 1 - figures["recall_real"],
        "false_acceptance": None if figures["recall_fake"] is None else 1 - figures["recall_fake"],
        "intervals": group_intervals(table, resamples, seed),
        "why": no_intervals(table, resamples),
    }


def group_intervals(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, list[float] | None]:
    """95 % intervals of ``RATES`` by resampling subjects, also of clips of one class; None of fewer than two subjects.

    A resample that has no clip to count in a figure is left out of that one.
    """
    if table["subject"].nunique() < 2 or not resamples:
        return dict.fromkeys(RATES)
    label, decision, score = (table[name].to_numpy() for name in ("label", "decision", "score"))
    real, fake, wrong = label == 1, label == 0, label != decision
    order = np.argsort(score[fake])
    # How many fake clips lie below each real one, and how many below it or level with it: a tie is half a pair.
    below, level = (np.searchsorted(score[fake][order], score[real], side) for side in ("left", "right"))
    parts = []
    for weights in subject_weights(table["subject"].to_numpy(), resamples, seed):  # (R, N)
        reals, fakes = weights[:, real].sum(1), weights[:, fake].sum(1)  # (R,)
        up_to = np.pad(np.cumsum(weights[:, fake][:, order], axis=1), ((0, 0), (1, 0)))  # (R, fake + 1)
        in_order = (weights[:, real] * (up_to[:, below] + up_to[:, level])).sum(1) / 2
        counts = (
            (weights @ ~wrong, reals + fakes),
            (in_order, reals * fakes),
            (weights @ (real & wrong), reals),
            (weights @ (fake & wrong), fakes),
        )
        parts.append(
            [np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0) for part, whole in counts]
        )
    values = np.concatenate(parts, axis=1)  # (RATES, resamples)
    return {name: interval(row[np.isfinite(row)]) for name, row in zip(RATES, values, strict=True)}


def remarks(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Say of which groupings nothing is known, and whether the groups of the others can be compared."""
    absent = " or ".join(name for name in ("race", "gender") if name not in groups)
    return [*([f"Nothing by {absent}: the scores do not say it."] if absent else []), *_comparisons(groups)]


def _comparisons(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    for name, entries in groups.items():
        title = f"By {GROUPINGS[name][1]}"
        few = [f"{group} ({entry['subjects']})" for group, entry in entries.items() if entry["subjects"] < FEW]
        if len(entries) < 2:
            yield f"{title}: there is one group only, so that nothing can be compared."
        elif few:
            which = "every group has" if len(few) == len(entries) else f"{', '.join(few)}:"
            yield f"{title}: {which} fewer than {FEW} subjects, too few to compare; differences may be chance."
        else:
            yield f"{title}: {_largest_difference(entries)}"


def _largest_difference(entries: Mapping[str, Mapping[str, Any]]) -> str:
    ranked = {group: entry for group, entry in entries.items() if entry["intervals"]["auc"]}
    if len(ranked) < 2:
        return "fewer than two groups have an AUC with an interval."
    low, *_, high = sorted(ranked, key=lambda group: ranked[group]["auc"])
    points = percent(ranked[high]["auc"] - ranked[low]["auc"])
    apart = ranked[low]["intervals"]["auc"][1] < ranked[high]["intervals"]["auc"][0]
    overlap = "do not overlap" if apart else "overlap, so that it may be chance"
    return f"the AUC differs most between {high} and {low}, by {points} points; their intervals {overlap}."
