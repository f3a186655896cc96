"""What each change of the clips does to a detector: its AUC before and after, on the same clips."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import logit

from scripts.audit.shortcuts import CATEGORIES, ends
from utils.errors import DataError
from utils.statistics.bootstrap import RESAMPLES, SEED, Resamples, chance_error, spread, standard_errors

ERROR_RATE = 0.05  # share of audits in which a probe without effect may be said to have one
LOSS = 0.05  # of AUC, from which on a change is worth a word
WEAKER = 0.25  # share of the distance between the scores of real and fake clips
SMALLEST = 1e-6  # probability, since scores of exactly 0 or 1 have no odds
ORIGINAL = "original"
COLUMNS = (
    "change", "family", "level", "kind", "category", "n", "subjects", "before", "after", "difference", "low", "high",
    "gap_before", "gap_after", "matters", "weaker",
)  # fmt: skip


def find_effects(scores: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> pd.DataFrame:
    """Compare each change with the untouched clips.

    Parameters
    ----------
    scores
        One row for each change and clip: change, family, level, kind, file, subject, category, label, score (1 = real).
        The change "original" is what the others are compared with, on the clips that either has.
    resamples, seed
        Of the subjects, for the intervals.

    Returns
    -------
    pandas.DataFrame
        ``COLUMNS``. category: "all", or the fakes of one category, against the real clips. before, after: AUC;
        difference: after - before, with a paired 95 % interval by subject. gap: mean log odds of the real clips minus
        that of the fakes, which still falls where an AUC of 1 does not. matters: the AUC falls by ``LOSS`` at least,
        and by more than chance (``ERROR_RATE``); weaker: the same of the gap and ``WEAKER``.
        "original" has a row a category, where low and high are those of its AUC, and matters means that it is above
        chance.

    Raises
    ------
    DataError
        If there is no "original".
    """
    whole = scores[scores["change"] == ORIGINAL]
    if whole.empty:
        raise DataError(f"the scores have no change {ORIGINAL!r} to compare with")
    changes = scores[["change", "family", "level", "kind"]].drop_duplicates()
    present = [name for name, fakes in CATEGORIES.items() if whole["category"].isin(fakes).any()]
    # All probes are judged together. Damage is no accusation: each level counts by itself.
    tests = {"damage": len(present), "probe": len(present) * int((changes["kind"] == "probe").sum())}
    rows = []
    for change in changes.itertuples(index=False):
        after = scores.loc[scores["change"] == change.change, ["file", "score"]]
        clips = whole.merge(after.rename(columns={"score": "after"}), on="file", validate="one_to_one")
        for category in present:
            chosen = clips[clips["category"].isin(("A", *CATEGORIES[category]))]
            compared = _compare(chosen, tests.get(change.kind, len(present)), resamples, seed)
            rows.append(change._asdict() | {"category": category} | compared)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    untouched = table["change"] == ORIGINAL
    for row, category in zip(table.index[untouched], present, strict=True):
        chosen = whole[whole["category"].isin(("A", *CATEGORIES[category]))]
        table.loc[row, ["low", "high", "matters"]] = _itself(chosen, len(present), resamples, seed)
    return table


def _compare(clips: pd.DataFrame, tests: int, resamples: int, seed: int) -> dict[str, object]:
    label = clips["label"].to_numpy()
    drawn = Resamples(clips["subject"], resamples, seed)
    before, after = clips["score"].to_numpy(float), clips["after"].to_numpy(float)
    (auc, values), (auc_after, values_after) = (drawn.auc(score, label) for score in (before, after))
    difference, values = auc_after - auc, values_after - values
    odds = [logit(np.clip(score, SMALLEST, 1 - SMALLEST)) for score in (before, after)]
    gaps = [_mean(side, label == 1) - _mean(side, label == 0) for side in odds]
    moved = odds[1] - odds[0]
    change = drawn.mean(moved, label == 1) - drawn.mean(moved, label == 0)
    low, high = ends(values)
    falls = difference + standard_errors(ERROR_RATE, tests) * spread(values) < 0
    shrinks = gaps[1] - gaps[0] + standard_errors(ERROR_RATE, tests, drawn.subjects) * spread(change) < 0
    return {
        "n": len(clips),
        "subjects": drawn.subjects,
        "before": auc,
        "after": auc_after,
        "difference": difference,
        "low": low,
        "high": high,
        "gap_before": gaps[0],
        "gap_after": gaps[1],
        "matters": bool(difference <= -LOSS and falls),
        "weaker": bool(gaps[0] > 0 and gaps[1] <= (1 - WEAKER) * gaps[0] and shrinks),
    }


def _mean(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[chosen].mean()) if chosen.any() else float("nan")


def _itself(clips: pd.DataFrame, tests: int, resamples: int, seed: int) -> tuple[float, float, bool]:
    """95 % interval of the AUC itself, and whether it is above chance."""
    score, label = clips["score"].to_numpy(float), clips["label"].to_numpy()
    drawn = Resamples(clips["subject"], resamples, seed)
    auc, values = drawn.auc(score, label)
    error = np.fmax(spread(values), chance_error(label))
    return *ends(values), bool(auc - standard_errors(ERROR_RATE, tests) * error > 0.5)


def means(effects: pd.DataFrame, name: str) -> pd.DataFrame:
    """AUCs of a set of damage as papers report them, for all fakes against the real clips.

    Parameters
    ----------
    effects
        What `find_effects` returns.
    name
        Of the set.

    Returns
    -------
    pandas.DataFrame
        A row a type, by its name: columns 1 to 5, the levels, NaN for one that was not made; mean, over the levels that
        were made; and drop, by how much the mean lies below the AUC of the untouched clips, where these are the same.
        The last row, "mean", is over the types. Empty if nothing of the set was made.
    """
    rows = effects[(effects["kind"] == name) & (effects["category"] == "all")]
    if rows.empty:
        return pd.DataFrame()
    rows = rows.assign(number=rows["level"].str.extract(r"(\d)", expand=False).astype(int))
    table = rows.pivot_table(index="family", columns="number", values="after", sort=False).reindex(columns=range(1, 6))
    by_type = rows.groupby("family", sort=False)[["before", "after"]].mean()
    table = table.assign(mean=by_type["after"], drop=by_type["before"] - by_type["after"])
    return pd.concat([table, table.mean().to_frame("mean").T])
