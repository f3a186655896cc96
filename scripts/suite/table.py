"""The table of a suite: its numbers, and their form as Markdown, csv, LaTeX, JSON and a page with a heat map."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dataset.protocols import NOT_CONTROLLED
from scripts.report.page import embedded, render
from scripts.suite.scoring import Cell, Scored
from utils.figures.style import new_figure, save_figure, tidy
from utils.files import to_json, write_atomic
from utils.metrics import UNKNOWN, evaluate
from utils.statistics.bootstrap import bootstrap_intervals
from utils.statistics.paired import delong_test, holm
from utils.table import HEADINGS, Section, as_latex, as_markdown, counted, ends, p_value, percent

METRICS = ("auc", "ap_fake", "eer", "acc")
AS_ERRORS = "_with_errors"  # after the name of a metric in which clips that could not be scored are errors
DIGITS = 12  # of a SHA-256
MANY = 12  # distinct reasons of a row at most
NOTES = [
    "AUC and EER are of the scores. AP: fake is positive; that of a random score is the share of fakes, in the column "
    "fake.",
    "ACC is at the threshold of the checkpoint's own validation clips, where the two error rates met.",
    "Coverage: the share of the labelled clips that could be scored; the others are left out here.",
]

Parts = Sequence[tuple[Cell, Scored]]  # folds with their scores
Listed = Sequence[Mapping[str, Any]]  # rows as suite.json has them


def numbers(scored: Parts, groups: Mapping[str, Sequence[str]], resamples: int, seed: int) -> dict[str, Any]:
    """Everything that the table says: ``rows`` (see `row_of`), ``groups`` (`group_means`), ``pairs`` (`pairs_of`).

    Groups are name → tests, as the plan names them; resamples and seed of the bootstrap by subject.
    """
    rows: dict[tuple[str, str], list[tuple[Cell, Scored]]] = {}
    for cell, found in scored:
        # The folds of a test are one row of a detector; those with a meaning of their own are a row each.
        test = f"{cell.test.name}: {cell.meaning}" if cell.meaning else cell.test.name
        rows.setdefault((cell.detector.name, test), []).append((cell, found))
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


def pool(parts: Parts) -> pd.DataFrame:
    """All clips of the folds of a row, with the decision at each fold's own threshold; unknown labels left out."""
    tables = []
    for _, scored in parts:
        clips = scored.clips[scored.clips["label"] != UNKNOWN]
        tables.append(clips.assign(decision=(clips["score"] >= scored.record["threshold"]).astype(int)))
    return pd.concat(tables, ignore_index=True)


def row_of(clips: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Metrics of a row, of what `pool` returns, of the scored clips with their intervals.

    Each metric is there once more, with clips that could not be scored counted as errors. ``fake`` is the share of
    fakes, which is the AP of a random score.
    """
    scored = clips[clips["score"].notna()]
    of_scored, with_errors = (
        evaluate(table.assign(video_score=np.nan, audio_score=np.nan)) for table in (scored, as_errors(clips))
    )
    drawn = bootstrap_intervals(scored, resamples, seed) if len(scored) else {"intervals": {}, "rule_of_three": []}
    return {
        "n": len(clips),
        "scored": len(scored),
        "coverage": len(scored) / len(clips) if len(clips) else None,
        "fake": float((clips["label"] == 0).mean()) if len(clips) else None,
        "subjects": int(clips["subject"].nunique()),
        **{name: of_scored[name] for name in METRICS},
        **{name + AS_ERRORS: with_errors[name] for name in METRICS},
        "intervals": {name: drawn["intervals"].get(name) for name in METRICS},
        "rule_of_three": [name for name in METRICS if name in drawn["rule_of_three"]],
    }


def as_errors(clips: pd.DataFrame) -> pd.DataFrame:
    """Give clips without a score the worst one: real clips below all others, fake clips above all, decided wrongly."""
    absent, real = clips["score"].isna(), clips["label"] == 1
    known = clips["score"][~absent]
    low, high = (known.min() - 1, known.max() + 1) if len(known) else (0.0, 1.0)
    score = clips["score"].where(~absent, np.where(real, low, high))
    return clips.assign(score=score, decision=clips["decision"].where(~absent, (~real).astype(int)))


def pairs_of(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Test every two detectors on the clips of one test that both have scored: DeLong's p, of the difference of AUCs.

    ``holm`` is that p corrected for the number of pairs of this test; both are None where the test is not defined.
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


def _said(parts: Parts) -> dict[str, Any]:
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


def write_all(found: Mapping[str, Any], title: str, folder: Path) -> list[Section]:
    """Write suite.md, .csv, .tex, .json, .html and heatmap.png, .svg of what `numbers` found; return the tables."""
    parts = sections(found)
    write_atomic(folder / "suite.md", as_markdown(title, parts))
    write_atomic(folder / "suite.csv", flat(found["rows"]).to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / "suite.tex", as_latex(parts))
    write_atomic(folder / "suite.json", to_json(found))
    save_figure(heat_map(found["rows"], title), folder / "heatmap.png")
    shown = {"title": title, "parts": parts, "heat_map": embedded(folder / "heatmap.png")}
    write_atomic(folder / "suite.html", render(Path(__file__).parent / "suite.html", **shown))
    return parts


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The tables, as far as there is something in them."""
    rows = found["rows"]
    where, head = ["test", "detector"], [HEADINGS[name] for name in METRICS]
    metrics = [[*where, *head, "n", "fake", "coverage"]]
    intervals, errors = [[*where, *head, "subjects"]], [[*where, *head, "not scored", "of"]]
    sources = [[*where, "fold", "checkpoint or scores", "SHA-256"]]
    for row in rows:
        here = [row["test"], row["detector"]]
        metrics.append([*here, *_percents(row), f"{row['n']:,}", percent(row["fake"]), percent(row["coverage"])])
        if any(row["intervals"].values()):
            spans = [ends(row["intervals"][name], name in row["rule_of_three"]) for name in METRICS]
            intervals.append([*here, *spans, f"{row['subjects']:,}"])
        if row["scored"] < row["n"]:
            errors.append([*here, *_percents(row, AS_ERRORS), f"{row['n'] - row['scored']:,}", f"{row['n']:,}"])
        for fold, path in row["sources"].items():
            sources.append([*here, fold, path, row["sources_sha256"][fold][:DIGITS]])
    groups = [["group", "detector", *head, "tests"]]
    groups += [[row["group"], row["detector"], *_percents(row), str(row["tests"])] for row in found["groups"]]
    pairs = [["test", "first", "second", "first less second, %", "p", "p, Holm", "n"]]
    for pair in found["pairs"]:
        names = [pair[name] for name in ("test", "first", "second")]
        pairs.append([*names, percent(pair["difference"]), p_value(pair["p"]), p_value(pair["holm"]), f"{pair['n']:,}"])
    missed = "Such a clip is ranked and decided as wrongly as can be. Tests whose clips were all scored are not here."
    delong = (
        "DeLong's test on the clips that both detectors scored; it takes clips as independent. The last p is corrected "
        "by Holm's method for the pairs of its test."
    )
    parts = [
        Section.of("Metrics, in percent", metrics, [*NOTES, *notes_of(rows)]),
        Section.of("95 % intervals, by resampling subjects, in percent", intervals),
        Section.of("Clips that could not be scored counted as errors, in percent", errors, [missed]),
        Section.of("Means of groups, in percent", groups, ["Each test counts alike."]),
        Section.of("Differences of AUC between detectors", pairs, [delong]),
        Section.of("What each row was computed from", sources, ["The SHA-256 of the file, in part."]),
    ]
    return [part for part in parts if len(part.grid) > 1]


def _percents(row: Mapping[str, Any], suffix: str = "") -> list[str]:
    return [percent(row[name + suffix]) for name in METRICS]


def notes_of(rows: Listed) -> list[str]:
    """What a reader has to know of single rows, and of their protocols."""
    notes = []
    for row in rows:
        where = f"{row['detector']} on {row['test']}"
        if row["trained_subjects_tested"]:
            notes.append(
                f"{where}: {row['trained_subjects_tested']:,} of {row['subjects']:,} tested subjects were trained on: "
                "these are no metrics of unseen people."
            )
        if any(told.startswith("0.5") for told in row["threshold_of"]):
            notes.append(f"{where}: the checkpoint has no threshold, so ACC is at 0.5.")
        if "as given" in row["threshold_of"]:
            notes.append(f"{where}: scores of another; ACC is at the threshold that the suite file gives, or 0.5.")
        if row["folds"] > 1:
            notes.append(f"{where}: the clips of {row['folds']} folds together.")
        for reason, count in list(row["unscored"].items())[:MANY]:
            notes.append(f"{where}: {counted(count, 'clip')} not scored: {reason}.")
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    return [*notes, *(f"Not controlled by {name}: {NOT_CONTROLLED[name]}" for name in protocols)]


def flat(rows: Listed) -> pd.DataFrame:
    """The rows as plain columns, fractions from 0 to 1."""
    names = ["test", "detector", "protocol", "trained_on", "folds", "n", "scored", "coverage", "fake", "subjects"]
    lines = []
    for row in rows:
        line = {name: row[name] for name in names}
        for name in METRICS:
            low, high = row["intervals"][name] or (None, None)
            line |= {name: row[name], f"{name}_low": low, f"{name}_high": high}
            line[name + AS_ERRORS] = row[name + AS_ERRORS]
        line["trained_subjects_tested"] = row["trained_subjects_tested"]
        line["sources"] = "; ".join(f"{fold}: {path}" for fold, path in row["sources"].items())
        lines.append(line)
    return pd.DataFrame(lines)


def heat_map(rows: Listed, title: str) -> Figure:
    """AUC of each detector (across) on each test (down)."""
    detectors = list(dict.fromkeys(row["detector"] for row in rows))
    tests = list(dict.fromkeys(row["test"] for row in rows))
    values = pd.DataFrame(index=tests, columns=detectors, dtype=float)
    for row in rows:
        values.at[row["test"], row["detector"]] = row["auc"]
    figure = new_figure(1.6 + 0.35 * len(tests), title)
    axes = figure.add_subplot()
    tidy(axes)
    image = axes.imshow(values.to_numpy(float), vmin=0, vmax=1, cmap="RdYlBu", aspect="auto")
    axes.set_xticks(range(len(detectors)), detectors, rotation=20, ha="right", parse_math=False)
    axes.set_yticks(range(len(tests)), tests, parse_math=False)
    axes.grid(False)
    for down, test in enumerate(tests):
        for across, detector in enumerate(detectors):
            value = values.at[test, detector]
            colour = "white" if abs(value - 0.5) > 0.4 else "black"  # the map is dark at both ends
            axes.text(across, down, percent(value) or "none", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="AUC")
    return figure
