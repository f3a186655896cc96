"""The numbers of a suite: one row a detector and test, means of groups, and tests between detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from scripts.suite.scoring import Cell, Scored
from utils.metrics import UNKNOWN, evaluate
from utils.statistics.bootstrap import bootstrap_intervals
from utils.statistics.paired import delong_test, holm

METRICS = ("auc", "ap_fake", "eer", "acc")
AS_ERRORS = "_with_errors"  # after the name of a metric in which clips that could not be scored are errors

Rows = dict[tuple[str, str], list[tuple[Cell, Scored]]]  # (detector, row of the table) → its folds


def numbers(rows: Rows, groups: Mapping[str, Sequence[str]], resamples: int, seed: int) -> dict[str, Any]:
    """Everything that the table says: ``rows`` (see `row_of`), ``groups`` (`group_means`), ``pairs`` (`pairs_of`).

    Groups are name → tests, as the plan names them; resamples and seed of the bootstrap by subject.
    """
    pooled = {key: pool(parts) for key, parts in rows.items()}
    listed = [
        {"detector": detector, "test": test, "group_key": parts[0][0].test.name}
        | row_of(pooled[detector, test], resamples, seed)
        | _said(parts)
        for (detector, test), parts in rows.items()
    ]
    tests = list(dict.fromkeys(test for _, test in rows))
    pairs = [
        {"test": test, **pair}
        for test in tests
        for pair in pairs_of({detector: table for (detector, name), table in pooled.items() if name == test})
    ]
    return {"rows": listed, "groups": group_means(listed, groups), "pairs": pairs}


def pool(parts: Sequence[tuple[Cell, Scored]]) -> pd.DataFrame:
    """All clips of the folds of a row, with the decision at each fold's own threshold; unknown labels left out."""
    tables = []
    for _, scored in parts:
        clips = scored.clips[scored.clips["label"] != UNKNOWN]
        tables.append(clips.assign(decision=(clips["score"] >= scored.record["threshold"]).astype(int)))
    return pd.concat(tables, ignore_index=True)


def row_of(clips: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Metrics of a row, of what `pool` returns.

    Returns
    -------
    dict
        ``n`` labelled clips, ``scored`` of them, ``coverage`` (scored / n), ``fake`` (the share of fakes, which is the
        AP of a random score), ``subjects``; ``METRICS`` of the scored clips with their ``intervals`` and the names of
        those that are by the ``rule_of_three``, and each metric once more, with clips that could not be scored counted
        as errors.
    """
    scored = clips[clips["score"].notna()]
    found: dict[str, Any] = {"n": len(clips), "scored": len(scored)}
    found["coverage"] = len(scored) / len(clips) if len(clips) else None
    found["fake"] = float((clips["label"] == 0).mean()) if len(clips) else None
    found["subjects"] = int(clips["subject"].nunique())
    of_all = [evaluate(table.assign(video_score=np.nan, audio_score=np.nan)) for table in (scored, as_errors(clips))]
    for metrics, suffix in zip(of_all, ("", AS_ERRORS), strict=True):
        found |= {name + suffix: metrics[name] for name in METRICS}
    drawn = bootstrap_intervals(scored, resamples, seed) if len(scored) else {"intervals": {}, "rule_of_three": []}
    found |= {"intervals": {name: drawn["intervals"].get(name) for name in METRICS}}
    return found | {"rule_of_three": [name for name in METRICS if name in drawn["rule_of_three"]]}


def as_errors(clips: pd.DataFrame) -> pd.DataFrame:
    """Give clips without a score the worst one: real clips below all others, fake clips above all, decided wrongly."""
    absent, real = clips["score"].isna(), clips["label"] == 1
    known = clips["score"][~absent]
    low, high = (known.min() - 1, known.max() + 1) if len(known) else (0.0, 1.0)
    score = clips["score"].where(~absent, np.where(real, low, high))
    return clips.assign(score=score, decision=clips["decision"].where(~absent, (~real).astype(int)))


def pairs_of(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Test every two detectors on the clips of one test that both have scored.

    Returns
    -------
    list of dict
        ``first``, ``second``, ``n``, ``difference`` of their AUCs, DeLong's ``p``, and ``holm``, that p corrected for
        the number of pairs of this test (Holm, Scandinavian Journal of Statistics 6 (1979) 65-70); None where the
        test is not defined.
    """
    found: list[dict[str, Any]] = []
    for (first, one), (second, other) in combinations(tables.items(), 2):
        both = one[["file", "label", "score"]].merge(other[["file", "score"]], on="file", suffixes=("", "_other"))
        both = both[both["score"].notna() & both["score_other"].notna()]
        test = delong_test(*(both[name].to_numpy() for name in ("label", "score", "score_other")))
        found.append({"first": first, "second": second, "n": len(both)} | {k: test[k] for k in ("difference", "p")})
    corrected = holm([pair["p"] for pair in found])
    return [pair | {"holm": p} for pair, p in zip(found, corrected, strict=True)]


def group_means(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Plain means of metrics over the tests of a group; None where a detector lacks that of one of them."""
    found = []
    for group, tests in groups.items():
        for detector in dict.fromkeys(row["detector"] for row in rows):
            members = [row for row in rows if row["detector"] == detector and row["group_key"] in tests]
            whole = set(tests) <= {row["group_key"] for row in members}
            means = {
                name: float(np.mean([row[name] for row in members]))
                if whole and all(row[name] is not None for row in members)
                else None
                for name in METRICS
            }
            found.append({"group": group, "detector": detector, "tests": len(members)} | means)
    return found


def _said(parts: Sequence[tuple[Cell, Scored]]) -> dict[str, Any]:
    """What is known of the folds of a row, beside their metrics."""
    records = [scored.record for _, scored in parts]
    counts = [record["trained_subjects_tested"] for record in records]
    thresholds = [record["threshold"] for record in records]
    reasons = pd.concat([scored.clips["reason"] for _, scored in parts])
    return {
        "folds": len(parts),
        "sources": {cell.fold: scored.record["source"] for cell, scored in parts},
        "sources_sha256": {cell.fold: scored.record["source_sha256"] for cell, scored in parts},
        "protocol": records[0]["protocol"],
        "thresholds": thresholds,
        "threshold_of": list(dict.fromkeys(record["threshold_of"] for record in records)),
        "trained_subjects_tested": None if None in counts else sum(counts),
        "trained_on": records[0].get("trained_on"),
        "unscored": reasons[reasons != ""].value_counts().to_dict(),
    }
