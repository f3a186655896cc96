"""The command `main.py report`: one HTML file for a reviewer, with nothing outside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scripts.report.cautions import caution_list
from scripts.report.clips import Corpus
from scripts.report.configuration import configuration
from scripts.report.figures import figures
from scripts.report.hardest import hardest_clips
from scripts.report.markup import bullets, join, paragraph
from scripts.report.page import Part, page
from scripts.report.people import people
from scripts.report.runs import Run, find_runs
from scripts.report.tables import categories, detectors, folds, methods
from utils.files import write_atomic

log = logging.getLogger(__name__)

FILE = "report.html"
LARGE = 10_000_000  # bytes


def report(
    results: Path = Path("outputs/results"),
    runs: str | None = None,
    data_root: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write a report on runs as one HTML file: tables, figures, hardest clips, settings, what to object to.

    Parameters
    ----------
    results
        Folder of the results, a folder a run in it; training curves come from "log" beside it.
    runs
        Runs to show, such as AVDF,MRDF_CE; by default all.
    data_root
        The corpus, from which the hardest clips are shown; for a csv, that file or the folder of clips.csv.
    out
        The file to write; by default report.html in the folder of the results.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or no such run.
    """
    out = out or results / FILE
    if out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder, but must be a file, such as {out / FILE}")
    if data_root is not None and not data_root.exists():
        raise FileNotFoundError(f"--data_root {data_root}: no such folder; without it the report shows no clips")
    text = build(find_runs(results, runs), results.parent / "log", Corpus(data_root))
    write_atomic(out, text)
    size = out.stat().st_size
    log.info("report: %s, %.1f MB", out, size / 1e6)
    if size > LARGE:
        log.warning("%s is large; --runs makes a report on fewer runs", out)


def build(runs: Sequence[Run], logs: Path, corpus: Corpus) -> str:
    """Build the page.

    Parameters
    ----------
    runs
        What `scripts.report.runs.find_runs` gives.
    logs
        Folder of the logs, a folder a run in it; it need not be there.
    corpus
        Where clips come from.
    """
    parts = [
        Part("detectors", "Detectors", detectors(runs)),
        Part("warnings", "What to object to", caution_list(runs)),
        *(_run(number, run, logs, corpus) for number, run in enumerate(runs, start=1)),
    ]
    introduction = paragraph(
        "Tests of audio-visual deepfake detectors. Click on a heading to sort a table by it. "
        "The score of a clip is the probability that it is real."
    )
    return page("Deepfake detectors: report", introduction, parts)


def _run(number: int, run: Run, logs: Path, corpus: Corpus) -> Part:
    """The parts on one run; ids are numbered, as its name may be anything."""
    log.info("%s: drawing figures and looking for clips", run.name)
    key = f"run-{number}"
    log_dir = logs / run.name
    words = [
        f"Detector: {run.shared('model_type') or 'not recorded, or not the same in all folds'}",
        f"Corpus: {run.shared('corpus') or 'not recorded, or not the same in all folds'}",
        f"Folds: {', '.join(run.folds) or 'none'}; test clips: {run.n_clips:,}",
    ]
    below = [
        Part(f"{key}-folds", "Folds", folds(run)),
        Part(f"{key}-categories", "Categories and methods", join([categories(run), methods(run)])),
        Part(f"{key}-people", "Race and gender", people(run)),
        Part(f"{key}-figures", "Figures", figures(run, log_dir if log_dir.is_dir() else None)),
        Part(f"{key}-clips", "Hardest clips", hardest_clips(run, corpus)),
        Part(f"{key}-configuration", "Configuration", configuration(run)),
    ]
    missing = [paragraph("Missing, or not to be read:"), bullets(run.problems)] if run.problems else []
    return Part(key, run.name, join([bullets(words), *missing]), below)
