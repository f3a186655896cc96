"""What each change of the clips does to a detector: its AUC before and after, on the same clips."""

import numpy as np
import pandas as pd
from scipy.special import logit

from scripts.audit.changes import ORIGINAL
from scripts.audit.shortcuts import against_real, categories_in, ends
from utils.errors import DataError
from utils.statistics.bootstrap import RESAMPLES, SEED, Resamples, chance_error, spread, standard_errors

ERROR_RATE = 0.05  # share of audits in which a probe without effect may be said to have one
LOSS = 0.05  # of AUC, from which on a change is worth a word
WEAKER = 0.25  # share of the distance between the scores of real and fake clips
SMALLEST = 1e-6  # probability, since scores of exactly 0 or 1 have no odds


def find_effects(scores: pd.DataFrame, resamples: int = RESAMPLES, seed: int = SEED) -> pd.DataFrame:
    """Compare each change with the untouched clips, and say whether these are told apart at all.

    Parameters
    ----------
    scores
        What `scripts.audit.scores.score_changes` returns. The change "original" is what the others are compared with,
        on the clips that either has.
    resamples, seed
        Of the subjects, for the intervals.

    Returns
    -------
    pandas.DataFrame
        A row for each change and category: change, family, level, kind, category ("all", or the fakes of one, against
        the real clips), n, subjects; before and after: AUC; difference: after - before, with a paired 95 % interval by
        subject, low and high. gap_before and gap_after: mean log odds of the real clips minus that of the fakes, which
        still falls where an AUC of 1 does not. matters: the AUC falls by ``LOSS`` at least, and by more than chance
        (``ERROR_RATE``); weaker: the same of the gap and ``WEAKER``.
        Of "original", low and high are those of its AUC, and matters means that it is above chance.
    """
    whole = scores[scores["change"] == ORIGINAL.name]
    if whole.empty:
        raise DataError(f"the scores have no change {ORIGINAL.name!r} to compare with")
    changes = scores[["change", "family", "level", "kind"]].drop_duplicates()
    present = categories_in(whole)
    # All probes are judged together. Damage is no accusation: each level counts by itself.
    tests = {"probe": len(present) * int((changes["kind"] == "probe").sum())}
    rows = []
    for change in changes.itertuples(index=False):
        after = scores.loc[scores["change"] == change.change, ["file", "score"]]
        clips = whole.merge(after.rename(columns={"score": "after"}), on="file", validate="one_to_one")
        for category in present:
            chosen = against_real(clips, category)
            drawn = Resamples(chosen["subject"], resamples, seed)
            row = change._asdict() | {"category": category, "n": len(chosen), "subjects": drawn.subjects}
            row |= _compared(chosen, drawn, tests.get(change.kind, len(present)))
            if change.change == ORIGINAL.name:
                row |= _told_apart(chosen, drawn, len(present))
            rows.append(row)
    return pd.DataFrame(rows)


def _compared(clips: pd.DataFrame, drawn: Resamples, tests: int) -> dict[str, object]:
    label = clips["label"].to_numpy()
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


def _told_apart(clips: pd.DataFrame, drawn: Resamples, tests: int) -> dict[str, object]:
    """95 % interval of the AUC itself, and whether it is above chance."""
    label = clips["label"].to_numpy()
    auc, values = drawn.auc(clips["score"].to_numpy(float), label)
    low, high = ends(values)
    error = np.fmax(spread(values), chance_error(label))
    return {"low": low, "high": high, "matters": bool(auc - standard_errors(ERROR_RATE, tests) * error > 0.5)}


def means(effects: pd.DataFrame, name: str) -> pd.DataFrame:
    """AUCs of a set of damage, of what `find_effects` returns, as papers report them: of all fakes and the real clips.

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
