"""What the report says, for a person: counts, what is wrong, the subset and its folds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from dataset.corpora.table import TYPES
from scripts.prepare.identities import Leak
from scripts.prepare.subset import Sides, Subset
from utils.files import markdown_table

# Clips that papers count in FakeAVCeleb v1.2; its csv has 22 rows more, as it names some files twice.
PUBLISHED = {"A": 500, "B": 500, "C": 9709, "D": 10835}
NAMES = {values[0]: name for name, values in TYPES.items()}
SHOWN = 20  # entries of a list on the screen; the file has all of them


def summary(
    report: pd.DataFrame,
    subset: Subset,
    published: bool,
    unnamed: Sequence[str],
    leaks: Mapping[str, Leak],
    noticed: Sequence[str] = (),
    shown: int | None = None,
) -> str:
    """The whole summary, as Markdown.

    Parameters
    ----------
    report
        As :func:`scripts.prepare.report.inspect_all` returns it.
    subset
        The clips in use, and their folds.
    published
        Show the counts that papers report for FakeAVCeleb v1.2 beside those found.
    unnamed
        Media files that no row names.
    leaks
        For each fold, whom both sides show.
    noticed
        What the reader of the corpus noticed.
    shown
        Entries of a list at most; by default all.
    """
    usable = report[report["state"] == "ok"]
    subjects = subset.clips["subject"].nunique()
    lines = ["# The corpus", "", f"{len(report):,} rows, {len(usable):,} of them with a clip that can be used.", ""]
    lines += counts(report, published)
    lines += [
        "# What is wrong",
        "",
        *_listing("Remarks on the metadata", noticed, None),
        *faults(report, unnamed, shown),
    ]
    lines += ["# Length and silence", "", *medians(usable), *remarks(usable)]
    lines += ["# The clips in use", "", f"{len(subset.clips):,} clips of {subjects:,} subjects, in subset.csv.", ""]
    lines += [*(f"- {note}" for note in subset.notes), *([""] if subset.notes else [])]
    lines += ["# Folds", "", *folds_table(subset.sides), *leaks_table(leaks)]
    return "\n".join(lines)


def counts(report: pd.DataFrame, published: bool) -> list[str]:
    """Clips by category, race, gender and method: how many rows there are, and how many can be used."""
    lines: list[str] = []
    for column in ("category", "race", "gender", "method"):
        with_published = published and column == "category"
        grid = [[column, "rows", "usable", "missing", "broken", *(["papers say"] if with_published else [])]]
        for value, rows in report.groupby(column, sort=True):
            name = f"{value} {NAMES[value]}" if column == "category" else str(value) or "(not given)"
            grid.append([name, *_states(rows), *([f"{PUBLISHED[value]:,}"] if with_published else [])])
        if column == "category":
            grid.append(["all", *_states(report), *([f"{sum(PUBLISHED.values()):,}"] if with_published else [])])
        lines += [*markdown_table(grid), ""]
    if published:
        lines += ['"papers say": counts that papers report for v1.2. A hint; copies differ by a few clips.', ""]
    return lines


def _states(rows: pd.DataFrame) -> list[str]:
    return [f"{len(rows):,}", *(f"{(rows['state'] == state).sum():,}" for state in ("ok", "missing", "broken"))]


def faults(report: pd.DataFrame, unnamed: Sequence[str], shown: int | None = None) -> list[str]:
    """Everything that is wrong, clip by clip; no more than `shown` of a kind."""
    lines: list[str] = []
    for state, what in (("missing", "are not on disk"), ("broken", "cannot be used")):
        rows = report[report["state"] == state]
        listed = [f"line {row.line}: {row.file}: {row.reason}" for row in rows.itertuples()]
        lines += _listing(f"Clips that {what}", listed, shown)
    twice = report[report["same_file_as"].notna()]
    listed = [f"line {row.line} names {row.file} again, after line {row.same_file_as}" for row in twice.itertuples()]
    lines += _listing("Rows that name a file twice", listed, shown)
    return lines + _listing("Media files that no row names", unnamed, shown)


def _listing(title: str, entries: Sequence[str], shown: int | None) -> list[str]:
    if not entries:
        return [f"{title}: none.", ""]
    more = len(entries) - shown if shown is not None else 0
    return [
        f"{title}: {len(entries):,}.",
        "",
        *(f"- {entry}" for entry in entries[:shown]),
        *([f"- … and {more:,} more, in summary.md"] if more > 0 else []),
        "",
    ]


def remarks(usable: pd.DataFrame) -> list[str]:
    """What is done to clips that are not as FakeAVCeleb's should be, each kind once with its number of clips."""
    first: dict[str, tuple[str, str, int]] = {}
    for row in usable[usable["notes"] != ""].itertuples():
        for note in row.notes.split("; "):
            kind = re.sub(r"\d+(\.\d+)?", "#", note)
            example, file, count = first.get(kind, (note, row.file, 0))
            first[kind] = (example, file, count + 1)
    listed = []
    for note, file, count in first.values():
        others = f" and {count - 1:,} more" if count > 1 else ""
        listed.append(f"{file}{others}: {note}")
    return _listing("Remarks on clips that can be used", listed, None)


def medians(usable: pd.DataFrame) -> list[str]:
    """Median length, difference of sound and picture, and leading silence of each category."""
    columns = {
        "video_seconds": "picture, s",
        "audio_seconds": "sound, s",
        "seconds_apart": "sound less picture, s",
        "leading_silence": "leading silence, s",
    }
    grid = [["median of", *columns.values()]]
    for category, rows in usable.groupby("category"):
        grid.append([NAMES[category], *(f"{rows[name].median():.3f}" for name in columns)])
    return [
        *markdown_table(grid),
        "",
        "Leading silence gives FakeAVCeleb's fake sound away (arXiv 2412.00175): a detector may learn that instead.",
        "",
    ]


def folds_table(sides: Mapping[str, Sides]) -> list[str]:
    """Test clips of each fold by race, gender, category and method, and the proof that no subject is on both sides."""
    tests = {name: test for name, (_, test) in sides.items()}
    grid = [["test clips", *tests]]
    grid.append(["all", *(f"{len(test):,}" for test in tests.values())])
    for column in ("category", "race", "gender", "method"):
        values = sorted(set().union(*(test[column] for test in tests.values())) - {""})
        grid += [
            [f"{column} {value}", *(f"{(test[column] == value).sum():,}" for test in tests.values())]
            for value in values
        ]
    subjects = {name: (set(train["subject"]), set(test["subject"])) for name, (train, test) in sides.items()}
    for name, sizes in {
        "training subjects": [len(train) for train, _ in subjects.values()],
        "test subjects": [len(test) for _, test in subjects.values()],
        "subjects on both sides": [len(train & test) for train, test in subjects.values()],
    }.items():
        grid.append([name, *map(str, sizes)])
    return [*markdown_table(grid), "", _disjointness(subjects), ""]


def _disjointness(subjects: dict[str, tuple[set[str], set[str]]]) -> str:
    both = {name: len(train & test) for name, (train, test) in subjects.items() if train & test}
    if both:
        return "WARNING: subjects on both sides in " + ", ".join(f"{name} ({n})" for name, n in both.items()) + "."
    tested = [subject for _, test in subjects.values() for subject in test]
    everyone = set().union(*(train | test for train, test in subjects.values()))
    if len(subjects) == 1:
        return "No subject is on both sides."
    proof = f"No subject is on both sides of a fold, and the {len(subjects)} test sides share none."
    if len(tested) != len(set(tested)):
        proof = "No subject is on both sides of a fold, but some are tested in several folds."
    elif set(tested) == everyone:
        proof = f"No subject is on both sides of a fold, and each of the {len(everyone)} is tested in exactly one."
    return proof


def leaks_table(leaks: Mapping[str, Leak]) -> list[str]:
    """How many test clips show somebody whom the training clips of their fold show."""
    grid = [["test clips that show", *leaks]]
    grid.append(["a face seen in training as a target", *(str(leak.as_target) for leak in leaks.values())])
    grid.append(["anybody seen in training", *(str(leak.at_all) for leak in leaks.values())])
    if not any(leak.at_all for leak in leaks.values()):
        return [*markdown_table(grid), ""]
    hint = "Folds by subject do not part the targets of fake clips; `main.py prepare --strict_identities` does."
    return [*markdown_table(grid), "", hint, ""]
