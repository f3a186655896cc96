"""What evaluation.json says, as tables for a person: the cells of the screen, the card and the report."""

from collections.abc import Mapping
from typing import Any

from utils.results import CATEGORIES
from utils.statistics.evaluation import GROUPINGS, NOT_GIVEN
from utils.table import AUC_EXPLAINED, HEADINGS, INTERVAL, NOTE, Section, ends, p_value, percent

CALIBRATION = {
    "ece": "ECE, bins of equal width",
    "ece_equal_mass": "ECE, bins of equal mass",
    "brier": "Brier score",
}
FEW = 30  # subjects: a rate of 90 % among them has a 95 % interval of 11 points to either side
PEOPLE_NOTES = (
    "AUC of a group: its real clips against its fake ones; intervals: from resamples of its own subjects.",
    "rejected: share of real clips decided fake (false rejection); accepted: share of fake clips decided real "
    "(false acceptance).",
)


def sections(result: Mapping[str, Any]) -> list[Section]:
    """Turn what `utils.statistics.evaluation.evaluate_folds` returns into tables."""
    pooled = result["pooled"]
    parts = [metrics_section(pooled, result["bootstrap"])]
    if result["folds"]:
        parts.append(_folds(result["folds"]))
    parts += [calibration_section(pooled["calibration"]), *kinds_sections(pooled), *people_sections(pooled)]
    if result["comparison"]:
        parts += _comparison(result["comparison"])
    return parts


def metrics_section(figures: Mapping[str, Any], how: Mapping[str, Any]) -> Section:
    """Every metric of a table that `evaluate_table` has evaluated; `how` its bootstrap was done."""
    bootstrap, grid = figures["bootstrap"], [["metric", "%", INTERVAL, NOTE]]
    for name, heading in HEADINGS.items():
        grid.append([heading, *_with_interval(figures, name), figures["why"].get(name, "")])
    note = f"No intervals: {bootstrap['why']}."
    if not bootstrap["why"]:
        left_out = bootstrap["left_out"]
        without = f"; {left_out:,} of them had one class only and were left out" if left_out else ""
        drawn = f"{how['resamples']:,} resamples of the subjects, seed {how['seed']}"
        note = f"95 % intervals: percentiles of {drawn}{without}."
    title = f"Clips: {figures['n']:,}, subjects: {figures['subjects']:,}"
    return Section.of(title, grid, [f"1 = real, 0 = fake. {AUC_EXPLAINED}.", note])


def _folds(folds: Mapping[str, Mapping[str, Any]]) -> Section:
    grid = [["fold", "n", "ACC", INTERVAL, "AUC", INTERVAL, "hard AUC", NOTE]]
    for name, figures in folds.items():
        note = figures["why"].get("auc") or figures["bootstrap"]["why"] or ""
        cells = [*_with_interval(figures, "acc", "auc"), percent(figures["auc_hard"])]
        grid.append([name, f"{figures['n']:,}", *cells, note])
    return Section.of("Each fold, in percent", grid, ["The other tables are of the pooled clips of all folds."])


def calibration_section(figures: Mapping[str, Any]) -> Section:
    """What `utils.statistics.calibration.calibration` returns."""
    grid = [["metric", "from 0 to 1"], *([text, f"{figures[name]:.4f}"] for name, text in CALIBRATION.items())]
    bins = len(figures["bins"])
    return Section(
        "Calibration", grid, [f"Of the score as the probability of real, {bins} bins; they are in the json."]
    )


def kinds_sections(figures: Mapping[str, Any]) -> list[Section]:
    """Categories and methods of a table that was evaluated in detail; no methods without fake clips."""
    by_category = {f"{name}  {CATEGORIES[name]}": entry for name, entry in figures["per_category"].items()}
    parts = [_kinds("category", by_category, "AUC of a category: against the clips of A.")]
    by_method = {name or NOT_GIVEN: entry for name, entry in figures["per_method"].items()}
    if by_method:
        parts.append(_kinds("method", by_method, "Fake clips; AUC of a method: against all real clips."))
    return parts


def _kinds(name: str, entries: Mapping[str, Mapping[str, Any]], note: str) -> Section:
    grid = [[name, "n", "ACC", INTERVAL, "AUC", INTERVAL, NOTE]]
    for label, entry in entries.items():
        grid.append([label, f"{entry['n']:,}", *_with_interval(entry, "acc", "auc"), entry["why"] or ""])
    return Section.of(f"By {name}, in percent", grid, [note])


def people_sections(figures: Mapping[str, Any]) -> list[Section]:
    """Races and genders of a table that was evaluated in detail, or a word that nothing is known of them."""
    parts = []
    for name, entries in figures["per_group"].items():
        title = " and ".join(GROUPINGS[name])
        ranked = [[title, "subjects", "n", "ACC", INTERVAL, "AUC", INTERVAL, NOTE]]
        wrong = [[title, "real", "rejected", INTERVAL, "fake", "accepted", INTERVAL]]
        for label, entry in entries.items():
            counts = [f"{entry[count]:,}" for count in ("subjects", "n", "real", "fake")]
            ranked.append([label, *counts[:2], *_with_interval(entry, "acc", "auc"), entry["why"] or ""])
            rejected, accepted = (_with_interval(entry, rate) for rate in ("false_rejection", "false_acceptance"))
            wrong.append([label, counts[2], *rejected, counts[3], *accepted])
        parts += [(f"By {title}, in percent", ranked), (f"Errors by {title}, in percent", wrong)]
    notes = [*(PEOPLE_NOTES if parts else ()), *remarks(figures["per_group"])]
    *others, last = parts or [("By race and gender", [])]
    return [*(Section.of(*part) for part in others), Section.of(*last, notes)]


def remarks(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Say of which groupings nothing is known, and whether the groups of the others can be compared."""
    absent = " or ".join(name for name in ("race", "gender") if name not in groups)
    said = [f"Nothing by {absent}: the scores do not say it."] if absent else []
    return said + [f"By {' and '.join(GROUPINGS[name])}: {_compared(entries)}" for name, entries in groups.items()]


def _compared(entries: Mapping[str, Mapping[str, Any]]) -> str:
    few = [f"{group} ({entry['subjects']})" for group, entry in entries.items() if entry["subjects"] < FEW]
    ranked = {group: entry for group, entry in entries.items() if entry["intervals"]["auc"]}
    if len(entries) < 2:
        return "there is one group only, so that nothing can be compared."
    if few:
        which = "every group has" if len(few) == len(entries) else f"{', '.join(few)}:"
        return f"{which} fewer than {FEW} subjects, too few to compare; differences may be chance."
    if len(ranked) < 2:
        return "fewer than two groups have an AUC with an interval."
    low, *_, high = sorted(ranked, key=lambda group: ranked[group]["auc"])
    points = percent(ranked[high]["auc"] - ranked[low]["auc"])
    apart = ranked[low]["intervals"]["auc"][1] < ranked[high]["intervals"]["auc"][0]
    overlap = "do not overlap" if apart else "overlap, so that it may be chance"
    return f"the AUC differs most between {high} and {low}, by {points} points; their intervals {overlap}."


def _with_interval(metrics: Mapping[str, Any], *names: str) -> list[str]:
    """Cells of metrics, each with its interval, which a whole table has under bootstrap and a part beside them."""
    drawn = metrics.get("bootstrap", metrics)
    cells = []
    for name in names:
        cells += [percent(metrics.get(name)), ends(drawn["intervals"].get(name), name in drawn["rule_of_three"])]
    return cells


def _comparison(comparison: Mapping[str, Any]) -> list[Section]:
    """Two tables: both detectors' figures, and the tests of their difference."""
    delong, mcnemar, bootstrap = (comparison[name] for name in ("delong", "mcnemar", "bootstrap"))
    figures = [["metric", "here", "against", "difference"]]
    for name, test in (("auc", delong), ("acc", mcnemar)):
        values = (test[name], test[f"{name}_against"], test["difference"])
        figures.append([HEADINGS[name], *map(percent, values)])
    tests = [["test", INTERVAL, "std. error", "p", "0 or other sign", NOTE]]
    cells = [ends(delong["interval"]), percent(delong["standard_error"]), p_value(delong["p"]), "", delong["why"] or ""]
    tests.append(["AUC, DeLong", *cells])
    for name in ("auc", "acc"):
        drawn = bootstrap[name]
        interval = ends(drawn["interval"], name in bootstrap["rule_of_three"])
        same = "no difference" if drawn["interval"] and drawn["other_sign"] is None else ""
        cells = [interval, "", "", percent(drawn["other_sign"]), bootstrap["why"] or same]
        tests.append([f"{HEADINGS[name]}, bootstrap", *cells])
    tests.append(["ACC, McNemar", "", "", p_value(mcnemar["p"]), "", ""])
    notes = [
        f"Right alone: {mcnemar['only_first_right']:,} clips here, {mcnemar['only_against_right']:,} against.",
        "Two-sided p. DeLong's and McNemar's tests take clips as independent, the bootstrap takes subjects.",
        "0 or other sign: percent of the resamples whose difference is 0 or has another sign than that of all clips.",
    ]
    if bootstrap["left_out"]:
        notes.append(f"{bootstrap['left_out']:,} resamples had one class only and were left out.")
    return [
        Section.of(f"Against the other scores on the same {comparison['n']:,} clips, in percent", figures),
        Section.of("Tests of the difference, in percent", tests, notes),
    ]
