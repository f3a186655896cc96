"""What the report says, for a person: counts, what is wrong, the subset and its folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dataset.corpora.table import TYPES, Corpus, count
from dataset.protocols.leak import Leak
from scripts.prepare.subset import Sides, Subset
from utils.files import markdown_table

NAMES = {values[0]: name for name, values in TYPES.items()}
SHOWN = 20  # entries of a list on the screen; the file has all of them


def summary(
    report: pd.DataFrame,
    subset: Subset,
    known: Corpus,
    unnamed: Sequence[str],
    leaks: Mapping[str, Leak],
    noticed: Sequence[str] = (),
    shown: int | None = None,
) -> str:
    """The whole summary, as Markdown.

    Beside the report and the clips in use it says which media files no row names, whom both sides of each fold show
    (`leaks`), and what the reader of the corpus `noticed`. Of each list `shown` entries at most; by default all.
    """
    usable = report[report["state"] == "ok"]
    subjects = subset.clips["subject"].nunique()
    lines = ["# The corpus", "", f"{len(report):,} rows, {len(usable):,} of them with a clip that can be used.", ""]
    lines += [*counts(report), *published(report, known.counts)]
    if known.full_frames:
        lines += ["# Faces", "", *faces(report)]
    lines += ["# What is wrong", "", *_listing("Remarks on the metadata", noticed, None)]
    lines += faults(report, unnamed, shown)
    lines += ["# Length and silence", "", *medians(usable), *remarks(usable)]
    lines += ["# The clips in use", "", f"{len(subset.clips):,} clips of {subjects:,} subjects, in subset.csv.", ""]
    lines += [*(f"- {note}" for note in subset.notes), *([""] if subset.notes else [])]
    lines += ["# Folds", "", *folds_table(subset.sides), *leaks_table(leaks)]
    return "\n".join(lines)


def counts(report: pd.DataFrame) -> list[str]:
    """Clips by category, label, split, race, gender and method: how many rows there are, and how many can be used."""
    lines: list[str] = []
    report = report.assign(label=report["m_label"].map(_label))
    for column in ("category", "label", "split", "race", "gender", "method"):
        # Categories tell the labels, where all clips have one.
        is_told = column == "label" and (report["category"] != "").all()
        if is_told or (column != "category" and (report[column] == "").all()):
            continue
        grid = [[column, "rows", "usable", "missing", "broken"]]
        for value, rows in report.groupby(column, sort=True):
            grid.append([_named(value) if column == "category" else value or "(not given)", *_states(rows)])
        if column == "category":
            grid.append(["all", *_states(report)])
        lines += [*markdown_table(grid), ""]
    return lines


def published(report: pd.DataFrame, numbers: Mapping[str, int]) -> list[str]:
    """Numbers of clips that the corpus should have, beside those that are here."""
    if not numbers:
        return []
    usable = report[report["state"] == "ok"]
    grid = [["clips", "rows", "usable", "published"]]
    for key, number in numbers.items():
        grid.append([_named(key), *(f"{value:,}" for value in (count(report, key), count(usable, key), number))])
    return [*markdown_table(grid), "", "The published numbers are a hint: copies differ by a few clips.", ""]


def _named(key: str) -> str:
    """A category with its name; other keys as they are."""
    return f"{key} {NAMES[key]}" if key in NAMES else key or "(not given)"


def _label(m_label: int | None) -> str:
    return "unknown" if pd.isna(m_label) else ("fake", "real")[int(m_label)]


def faces(report: pd.DataFrame) -> list[str]:
    """Clips of full frames in which a face was found, and what was cut out of them, by their label."""
    looked = report[report["faces"].notna()]
    kinds = {
        "a face was found": looked["faces"] > 0,
        "no face was found": looked["faces"] == 0,
        "several people": looked["faces"] > 1,
        "cropped around the face": looked["framing"] == "face",
        "taken as they are, a crop already": looked["framing"] == "crop",
    }
    labels = looked["m_label"].map(_label)
    grid = [["clips", "all", "real", "fake", "unknown"]]
    for name, rows in kinds.items():
        by_label = [f"{(rows & (labels == label)).sum():,}" for label in grid[0][2:]]
        grid.append([name, f"{rows.sum():,}", *by_label])
    share = f"{(looked['faces'] > 0).mean():.1%}" if len(looked) else "none"
    return [*markdown_table(grid), "", f"Coverage: {share} of {len(looked):,} clips that decode.", ""]


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
    notes = usable.assign(note=usable["notes"].str.split("; ")).explode("note")
    notes = notes[notes["note"] != ""]
    listed = []
    for _, rows in notes.groupby(notes["note"].str.replace(r"\d+(\.\d+)?", "#", regex=True), sort=False):
        others = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        listed.append(f"{rows['file'].iloc[0]}{others}: {rows['note'].iloc[0]}")
    return _listing("Remarks on clips that can be used", listed, None)


def medians(usable: pd.DataFrame) -> list[str]:
    """Median length, difference of audio and video, and leading silence of each category."""
    columns = {
        "video_seconds": "video, s",
        "audio_seconds": "audio, s",
        "seconds_apart": "audio less video, s",
        "leading_silence": "leading silence, s",
    }
    grid = [["median of", *columns.values()]]
    for category, rows in usable.groupby("category"):
        grid.append([NAMES.get(category, "(not given)"), *(f"{rows[name].median():.3f}" for name in columns)])
    return [
        *markdown_table(grid),
        "",
        "Leading silence gives FakeAVCeleb's fake audio away (arXiv 2412.00175): a detector may learn that instead.",
        "",
    ]


def folds_table(sides: Mapping[str, Sides]) -> list[str]:
    """Test clips of each fold by race, gender, category and method, and the proof that no subject is on both sides."""
    tests = {name: test for name, (_, test) in sides.items()}
    grid = [["test clips", *tests], ["all", *(f"{len(test):,}" for test in tests.values())]]
    for column in ("category", "race", "gender", "method"):
        for value in sorted(set().union(*(test[column] for test in tests.values())) - {""}):
            grid.append([f"{column} {value}", *(f"{(test[column] == value).sum():,}" for test in tests.values())])
    people = {name: (set(train["subject"]), set(test["subject"])) for name, (train, test) in sides.items()}
    grid.append(["training subjects", *(str(len(train)) for train, _ in people.values())])
    grid.append(["test subjects", *(str(len(test)) for _, test in people.values())])
    grid.append(["subjects on both sides", *(str(len(train & test)) for train, test in people.values())])
    return [*markdown_table(grid), "", _disjointness(people), ""]


def _disjointness(people: dict[str, tuple[set[str], set[str]]]) -> str:
    both = [f"{name} ({len(train & test)})" for name, (train, test) in people.items() if train & test]
    if both:
        return f"WARNING: subjects on both sides in {', '.join(both)}."
    if len(people) == 1:
        return "No subject is on both sides."
    tested = [subject for _, test in people.values() for subject in test]
    everyone = set().union(*(train | test for train, test in people.values()))
    if len(tested) != len(set(tested)):
        return "No subject is on both sides of a fold, but some are tested in several folds."
    if set(tested) == everyone:
        return f"No subject is on both sides of a fold, and each of the {len(everyone)} is tested in exactly one."
    return f"No subject is on both sides of a fold, and the {len(people)} test sides share none."


def leaks_table(leaks: Mapping[str, Leak]) -> list[str]:
    """How many test clips show somebody whom the training clips of their fold show."""
    grid = [["test clips that show", *leaks]]
    grid.append(["a face seen in training as a target", *(str(leak.as_target) for leak in leaks.values())])
    grid.append(["anybody seen in training", *(str(leak.at_all) for leak in leaks.values())])
    hint = "Folds by subject do not part the targets of fake clips; `main.py prepare --strict_identities` does."
    return [*markdown_table(grid), "", *([hint, ""] if any(leak.at_all for leak in leaks.values()) else [])]
