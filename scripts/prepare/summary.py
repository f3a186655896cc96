"""What the report says, for a person: counts, what is wrong, the subset and its folds."""

from collections.abc import Mapping, Sequence

import pandas as pd

from dataset.corpora.table import TYPES, Corpus, count
from dataset.protocols.leak import find_leak
from scripts.prepare.subset import Sides, Subset
from utils.files import markdown_table

NAMES = {values[0]: name for name, values in TYPES.items()}  # of the categories
STATES = ["ok", "missing", "broken"]
LABELS = ["real", "fake", "unknown"]
MEDIANS = {
    "video_seconds": "video, s",
    "audio_seconds": "audio, s",
    "seconds_apart": "audio less video, s",
    "leading_silence": "leading silence, s",
}
SHOWN = 20  # entries of a list on the screen; the file has all of them


def summary(
    report: pd.DataFrame,
    subset: Subset,
    known: Corpus,
    unnamed: Sequence[str],
    noticed: Sequence[str] = (),
    shown: int | None = None,
) -> str:
    """The whole summary, as Markdown.

    Beside the report and the clips in use it says which media files no row names, and what the reader of the corpus
    `noticed`. Of each list `shown` entries at most; by default all.
    """
    usable = report[report["state"] == "ok"]
    blocks = ["# The corpus", f"{len(report):,} rows, {len(usable):,} of them with a clip that can be used."]
    blocks += [*_counts(report), *_published(report, usable, known.counts)]
    if known.full_frames:
        blocks += ["# Faces", *_faces(report[report["faces"].notna()])]
    blocks += ["# What is wrong", _listing("Remarks on the metadata", noticed), *_faults(report, unnamed, shown)]
    blocks += ["# Length and silence", *_medians(usable)]
    blocks += [_listing("Remarks on clips that can be used", _remarks(usable))]
    subjects = subset.clips["subject"].nunique()
    blocks += ["# The clips in use", f"{len(subset.clips):,} clips of {subjects:,} subjects, in subset.csv."]
    blocks += ["\n".join(f"- {note}" for note in subset.notes)] if subset.notes else []
    blocks += ["# Folds", *_folds(subset.sides), *_leaks(subset.sides)]
    return "\n\n".join(blocks) + "\n"


def _table(*grid: Sequence[object]) -> str:
    return "\n".join(markdown_table([list(map(str, row)) for row in grid]))


def _numbers(name: str, numbers: Sequence[int]) -> list[str]:
    """A row of a table."""
    return [name, *(f"{number:,}" for number in numbers)]


def _named(key: str) -> str:
    """A category with its name; other keys as they are."""
    return f"{key} {NAMES[key]}" if key in NAMES else key or "(not given)"


def _label(m_label: int | None) -> str:
    return LABELS[2] if pd.isna(m_label) else LABELS[1 - int(m_label)]


def _counts(report: pd.DataFrame) -> list[str]:
    """Clips by category, label, split, race, gender and method: how many rows there are, and how many can be used."""
    tables = []
    report = report.assign(label=report["m_label"].map(_label))
    for column in ("category", "label", "split", "race", "gender", "method"):
        # Categories tell the labels, where all clips have one.
        is_told = column == "label" and (report["category"] != "").all()
        if is_told or (column != "category" and (report[column] == "").all()):
            continue
        states = pd.crosstab(report[column], report["state"]).reindex(columns=STATES, fill_value=0)
        rows = [_numbers(_named(name), [sum(counted), *counted]) for name, *counted in states.itertuples()]
        if column == "category":
            rows.append(_numbers("all", [len(report), *states.sum()]))
        tables.append(_table([column, "rows", "usable", "missing", "broken"], *rows))
    return tables


def _published(report: pd.DataFrame, usable: pd.DataFrame, numbers: Mapping[str, int]) -> list[str]:
    """Numbers of clips that the corpus should have, beside those that are here."""
    if not numbers:
        return []
    rows = [_numbers(_named(key), [count(report, key), count(usable, key), n]) for key, n in numbers.items()]
    hint = "The published numbers are a hint: copies differ by a few clips."
    return [_table(["clips", "rows", "usable", "published"], *rows), hint]


def _faces(looked: pd.DataFrame) -> list[str]:
    """Clips of full frames in which a face was found, and what was cut out of them, by their label."""
    kinds = {
        "a face was found": looked["faces"] > 0,
        "no face was found": looked["faces"] == 0,
        "several people": looked["faces"] > 1,
        "cropped around the face": looked["framing"] == "face",
        "taken as they are, a crop already": looked["framing"] == "crop",
    }
    labels = looked["m_label"].map(_label)
    rows = [
        _numbers(name, [found.sum(), *((found & (labels == label)).sum() for label in LABELS)])
        for name, found in kinds.items()
    ]
    share = f"{(looked['faces'] > 0).mean():.1%}" if len(looked) else "none"
    return [_table(["clips", "all", *LABELS], *rows), f"Coverage: {share} of {len(looked):,} clips that decode."]


def _faults(report: pd.DataFrame, unnamed: Sequence[str], shown: int | None) -> list[str]:
    """Everything that is wrong, clip by clip; no more than `shown` of a kind."""
    missing, broken = (
        [f"line {row.line}: {row.file}: {row.reason}" for row in report[report["state"] == state].itertuples()]
        for state in STATES[1:]
    )
    twice = report[report["same_file_as"].notna()].itertuples()
    again = [f"line {row.line} names {row.file} again, after line {row.same_file_as}" for row in twice]
    return [
        _listing("Clips that are not on disk", missing, shown),
        _listing("Clips that cannot be used", broken, shown),
        _listing("Rows that name a file twice", again, shown),
        _listing("Media files that no row names", unnamed, shown),
    ]


def _listing(title: str, entries: Sequence[str], shown: int | None = None) -> str:
    if not entries:
        return f"{title}: none."
    lines = [f"- {entry}" for entry in entries[:shown]]
    if len(lines) < len(entries):
        lines.append(f"- … and {len(entries) - len(lines):,} more, in summary.md")
    return "\n".join([f"{title}: {len(entries):,}.", "", *lines])


def _medians(usable: pd.DataFrame) -> list[str]:
    """Median length, difference of audio and video, and leading silence of each category."""
    medians = usable.groupby("category")[list(MEDIANS)].median()
    rows = [[NAMES.get(name, "(not given)"), *(f"{n:.3f}" for n in row)] for name, *row in medians.itertuples()]
    hint = "Leading silence gives FakeAVCeleb's fake audio away (arXiv 2412.00175): a detector may learn that instead."
    return [_table(["median of", *MEDIANS.values()], *rows), hint]


def _remarks(usable: pd.DataFrame) -> list[str]:
    """What is done to clips that are not as FakeAVCeleb's should be, each kind once with its number of clips."""
    notes = usable.assign(note=usable["notes"].str.split("; ")).explode("note")
    notes = notes[notes["note"] != ""]
    listed = []
    for _, rows in notes.groupby(notes["note"].str.replace(r"\d+(\.\d+)?", "#", regex=True), sort=False):
        others = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        listed.append(f"{rows['file'].iloc[0]}{others}: {rows['note'].iloc[0]}")
    return listed


def _folds(sides: Mapping[str, Sides]) -> list[str]:
    """Test clips of each fold by race, gender, category and method, and the proof that no subject is on both sides."""
    tests = {name: test for name, (_, test) in sides.items()}
    grid: list[list] = [["test clips", *tests], _numbers("all", list(map(len, tests.values())))]
    for column in ("category", "race", "gender", "method"):
        for value in sorted(set().union(*(test[column] for test in tests.values())) - {""}):
            grid.append(_numbers(f"{column} {value}", [(test[column] == value).sum() for test in tests.values()]))
    people = {name: (set(train["subject"]), set(test["subject"])) for name, (train, test) in sides.items()}
    grid.append(["training subjects", *(len(train) for train, _ in people.values())])
    grid.append(["test subjects", *(len(test) for _, test in people.values())])
    grid.append(["subjects on both sides", *(len(train & test) for train, test in people.values())])
    return [_table(*grid), _disjointness(people)]


def _disjointness(people: Mapping[str, tuple[set[str], set[str]]]) -> str:
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


def _leaks(sides: Mapping[str, Sides]) -> list[str]:
    """How many test clips show somebody whom the training clips of their fold show."""
    leaks = {name: find_leak(*both) for name, both in sides.items()}
    grid = _table(
        ["test clips that show", *leaks],
        ["a face seen in training as a target", *(leak.as_target for leak in leaks.values())],
        ["anybody seen in training", *(leak.at_all for leak in leaks.values())],
    )
    hint = "Folds by subject do not part the targets of fake clips; `main.py prepare --strict_identities` does."
    return [grid, hint] if any(leak.at_all for leak in leaks.values()) else [grid]
