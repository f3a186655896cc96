"""What evaluation.json says, as tables for a person: on the screen and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from utils.files import markdown_table
from utils.results import AUC_EXPLAINED, CATEGORIES, percent
from utils.statistics.groups import GROUPINGS, NOT_GIVEN, remarks

HEADINGS = {
    "acc": "ACC",
    "balanced_acc": "balanced ACC",
    "auc": "AUC",
    "auc_hard": "hard AUC",
    "ap_real": "AP, real",
    "ap_fake": "AP, fake",
    "eer": "EER",
    "f1_real": "F1, real",
    "precision_real": "precision, real",
    "recall_real": "recall, real",
    "f1_fake": "F1, fake",
    "precision_fake": "precision, fake",
    "recall_fake": "recall, fake",
    "audio_auc": "sound AUC",
    "video_auc": "picture AUC",
}
CALIBRATION = {
    "ece": "ECE, bins of equal width",
    "ece_equal_mass": "ECE, bins of equal mass",
    "brier": "Brier score",
}
INTERVAL = "95 %"
NOTE = "note"
PEOPLE_NOTES = (
    "AUC of a group: its real clips against its fake ones; intervals: from resamples of its own subjects.",
    "rejected: share of real clips decided fake (false rejection); accepted: share of fake clips decided real "
    "(false acceptance).",
)


class Section(NamedTuple):
    """A table under a title: its cells row by row, headings first (or none), and sentences that belong under it."""

    title: str
    grid: list[list[str]]
    notes: list[str]


def sections(result: Mapping[str, Any]) -> list[Section]:
    """Turn what ``scripts.evaluate.evaluation.evaluate_folds`` returns into tables."""
    pooled = result["pooled"]
    parts = [figures_section(pooled, result["bootstrap"])]
    if result["folds"]:
        parts.append(_folds(result["folds"]))
    parts += [calibration_section(pooled["calibration"]), *kinds_sections(pooled), *people_sections(pooled)]
    if result["comparison"]:
        parts += _comparison(result["comparison"])
    return parts


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    """Return the tables as a Markdown page."""
    lines = [f"# {title}", ""]
    for part in parts:
        lines += section_lines(part)
    return "\n".join(lines).rstrip() + "\n"


def section_lines(part: Section, level: int = 2) -> list[str]:
    """Return a table as lines of Markdown under a heading of a level, with an empty line at the end."""
    grid = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in part.grid]
    lines = [f"{'#' * level} {part.title}", "", *([*markdown_table(grid), ""] if grid else [])]
    return [*lines, *(f"- {note}" for note in part.notes), *([""] if part.notes else [])]


def as_tables(title: str, parts: Sequence[Section]) -> Group:
    """Return the tables for the screen."""
    shown: list[Any] = [Text(title, style="bold")]
    for part in parts:
        table = [_on_screen(part.grid)] if part.grid else []
        shown += [Text(), Text(part.title, style="bold"), *table, *(Text(note) for note in part.notes)]
    return Group(*shown)


def _on_screen(grid: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for k, heading in enumerate(grid[0]):
        is_text = k == 0 or heading == NOTE  # which may take several lines; a number must not
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in grid[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def figures_section(figures: Mapping[str, Any], how: Mapping[str, Any]) -> Section:
    """Every figure of a table that ``evaluate_table`` has evaluated, `how` its bootstrap was done."""
    bootstrap = figures["bootstrap"]
    grid = [["figure", "%", INTERVAL, NOTE]]
    for name, heading in HEADINGS.items():
        interval = _range(bootstrap["intervals"].get(name))
        grid.append([heading, percent(figures[name]), interval, figures["why"].get(name, "")])
    notes = [f"1 = real, 0 = fake. {AUC_EXPLAINED}.", _bootstrap_note(bootstrap, how["resamples"], how["seed"])]
    return Section(f"Clips: {figures['n']:,}, subjects: {figures['subjects']:,}", used(grid), notes)


def _bootstrap_note(bootstrap: Mapping[str, Any], resamples: int, seed: int) -> str:
    if bootstrap["why"]:
        return f"No intervals: {bootstrap['why']}."
    left_out = bootstrap["left_out"]
    without = f"; {left_out:,} of them had one class only and were left out" if left_out else ""
    return f"95 % intervals: percentiles of {resamples:,} resamples of the subjects, seed {seed}{without}."


def _folds(folds: Mapping[str, Mapping[str, Any]]) -> Section:
    grid = [["fold", "n", "ACC", INTERVAL, "AUC", INTERVAL, "hard AUC", NOTE]]
    for name, figures in folds.items():
        cells = []
        for figure in ("acc", "auc"):
            cells += [percent(figures[figure]), _range(figures["bootstrap"]["intervals"][figure])]
        note = figures["why"].get("auc") or figures["bootstrap"]["why"] or ""
        grid.append([name, f"{figures['n']:,}", *cells, percent(figures["auc_hard"]), note])
    return Section("Each fold, in percent", used(grid), ["The other tables are of the pooled clips of all folds."])


def calibration_section(figures: Mapping[str, Any]) -> Section:
    """What ``utils.statistics.calibration.calibration`` returns."""
    grid = [["figure", "from 0 to 1"], *([text, f"{figures[name]:.4f}"] for name, text in CALIBRATION.items())]
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
    return Section(f"By {name}, in percent", used(grid), [note])


def people_sections(figures: Mapping[str, Any]) -> list[Section]:
    """Races and genders of a table that was evaluated in detail, or a word that nothing is known of them."""
    parts = []
    for name, entries in figures["per_group"].items():
        title = GROUPINGS[name][1]
        ranked = [[title, "subjects", "n", "ACC", INTERVAL, "AUC", INTERVAL, NOTE]]
        wrong = [[title, "real", "rejected", INTERVAL, "fake", "accepted", INTERVAL]]
        for label, entry in entries.items():
            counts = [f"{entry[count]:,}" for count in ("subjects", "n", "real", "fake")]
            ranked.append([label, *counts[:2], *_with_interval(entry, "acc", "auc"), entry["why"] or ""])
            rejected, accepted = (_with_interval(entry, rate) for rate in ("false_rejection", "false_acceptance"))
            wrong.append([label, counts[2], *rejected, counts[3], *accepted])
        parts.append(Section(f"By {title}, in percent", used(ranked), []))
        parts.append(Section(f"Errors by {title}, in percent", wrong, []))
    notes = [*(PEOPLE_NOTES if parts else ()), *remarks(figures["per_group"])]
    return [*parts[:-1], parts[-1]._replace(notes=notes)] if parts else [Section("By race and gender", [], notes)]


def _with_interval(entry: Mapping[str, Any], *names: str) -> list[str]:
    return [cell for name in names for cell in (percent(entry.get(name)), _range(entry["intervals"].get(name)))]


def _comparison(comparison: Mapping[str, Any]) -> list[Section]:
    """Two tables: both detectors' figures, and the tests of their difference."""
    delong, mcnemar, bootstrap = (comparison[name] for name in ("delong", "mcnemar", "bootstrap"))
    figures = [["figure", "here", "against", "difference"]]
    for name, test in (("auc", delong), ("acc", mcnemar)):
        values = (test[name], test[f"{name}_against"], test["difference"])
        figures.append([HEADINGS[name], *map(percent, values)])
    tests = [["test", INTERVAL, "std. error", "p", "0 or other sign", NOTE]]
    cells = [_range(delong["interval"]), percent(delong["standard_error"]), _p(delong["p"]), "", delong["why"] or ""]
    tests.append(["AUC, DeLong", *cells])
    for name in ("auc", "acc"):
        cells = [_range(bootstrap[name]["interval"]), "", "", percent(bootstrap[name]["other_sign"])]
        same = "no difference" if bootstrap[name]["interval"] and bootstrap[name]["other_sign"] is None else ""
        tests.append([f"{HEADINGS[name]}, bootstrap", *cells, bootstrap["why"] or same])
    tests.append(["ACC, McNemar", "", "", _p(mcnemar["p"]), "", ""])
    notes = [
        f"Right alone: {mcnemar['only_first_right']:,} clips here, {mcnemar['only_against_right']:,} against.",
        "Two-sided p. DeLong's and McNemar's tests take clips as independent, the bootstrap takes subjects.",
        "0 or other sign: percent of the resamples whose difference is 0 or has another sign than that of all clips.",
    ]
    if bootstrap["left_out"]:
        notes.append(f"{bootstrap['left_out']:,} resamples had one class only and were left out.")
    return [
        Section(f"Against the other scores on the same {comparison['n']:,} clips, in percent", figures, []),
        Section("Tests of the difference, in percent", used(tests), notes),
    ]


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def used(grid: list[list[str]]) -> list[list[str]]:
    """Leave out the notes, which are the last column, if there are none."""
    return grid if any(row[-1] for row in grid[1:]) else [row[:-1] for row in grid]
