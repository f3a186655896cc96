"""The parts of a card that hold figures: results, people, calibration and the audit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from scripts.audit.changes import CHANGES
from scripts.audit.sentences import KINDS
from scripts.card.details import plain
from scripts.card.facts import Facts
from scripts.evaluate.tables import calibration_section, kinds_sections, metrics_section, people_sections
from utils.statistics.evaluation import group_metrics
from utils.table import Section, counted, ends, explained, percent, section_lines, used

CALIBRATED = "ECE, Brier: how far the score is from the share of real clips; 0 is best."
AT_THRESHOLD = {
    "acc": "ACC",
    "false_rejection": "real clips rejected (false rejection)",
    "false_acceptance": "fake clips accepted (false acceptance)",
}


def figures(facts: Facts) -> dict[str, list[str]]:
    """Title of a part → its lines: results, people and calibration."""
    run, found = facts.run, facts.run.pooled
    whole = metrics_section(found, {"resamples": run.resamples, "seed": run.seed})
    people = people_sections(found)
    calibration = calibration_section(found["calibration"])._replace(notes=[CALIBRATED])
    results = [whole, _at_threshold(facts), *kinds_sections(found)]
    return {
        "Results": _lines(explained(results)),
        "Race and gender": _lines(explained(people)),
        "Calibration": _lines([calibration]),
    }


def audit(facts: Facts) -> list[str]:
    """What the audit found, or how to make one."""
    found = facts.audit
    if found is None:
        return [
            f"Not audited: {facts.no_audit}. Whether the scores are right for the right reason is therefore not known. "
            f"`python main.py audit --checkpoint {facts.path.name} --data_root FOLDER` makes an audit, after which "
            "this card can be written again."
        ]
    rows = [row for row in found["shortcuts"] if isinstance(row, Mapping)]
    lines = [
        f"The detector's scores of {counted(found['n'], 'test clip')} were looked at. Changes of the clips that were "
        f"measured: {_measured(facts.changes)}.",
        "",
        *(f"- {plain(sentence)}" for sentence in found["sentences"]),
        "",
    ]
    if not rows:
        return [*lines, "It holds no table of shortcuts."]
    grid = [["shortcut", "category", "n", "AUC", "95 %", "named", "note"]]
    for row in rows:
        count = "" if row.get("n") is None else f"{row['n']:,}"
        named = "yes" if row.get("named") else ""
        cells = [count, percent(row["auc"]), _ends(row.get("low"), row.get("high")), named, str(row.get("note") or "")]
        grid.append([str(row["shortcut"]), str(row["category"]), *cells])
    notes = [
        "AUC: of a logistic regression on this alone, without the detector, the fake clips of a category against the "
        "real ones, of training too. What lies well above 50 tells the fakes of this corpus without looking at them."
    ]
    return [*lines, *section_lines(Section("Shortcuts, in percent", used(grid), notes), level=3)]


def _measured(made: Collection[str] | None) -> str:
    """How many changes of each kind an audit made."""
    if made is None:
        return "not recorded"
    parts = []
    for kind, word in KINDS.items():
        names = [change.name for change in CHANGES if change.kind == kind]
        count = sum(name in made for name in names)
        share = f"all {count}" if count == len(names) else f"{count or 'none'} of {len(names)}"
        parts.append(f"{word}, {share}")
    return "; ".join(parts)


def _at_threshold(facts: Facts) -> Section:
    """The errors where `main.py predict` draws the line, which is not where the detector itself does."""
    threshold = facts.threshold
    table = facts.scores.assign(decision=(facts.scores["score"] >= threshold.value).astype(int))
    found = group_metrics(table, facts.run.resamples, facts.run.seed)
    grid = [["metric", "%", "95 %"]]
    for name, heading in AT_THRESHOLD.items():
        grid.append(
            [
                heading,
                percent(found[name]) or "no such clip",
                ends(found["intervals"][name], name in found["rule_of_three"]),
            ]
        )
    notes = ["The threshold was chosen on these very clips, which makes it look better than it is."]
    chosen_here = threshold.rule == "eer" and facts.trained.get("validation") == "test" and facts.same_corpus
    return Section(f"At the threshold of main.py predict, {threshold.value:.4f}", grid, notes if chosen_here else [])


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def _lines(parts: list[Section]) -> list[str]:
    """Lines of the tables; one that is alone in its part, without a heading of its own."""
    lines = [line for part in parts for line in section_lines(part, level=3)]
    return lines[2:] if len(parts) == 1 else lines
