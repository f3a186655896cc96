"""The command `main.py predict`: is a clip real? For files, folders and lists of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataset.faces import make_detector
from dataset.timing import FRAME_RATE
from model import detector_of, read_checkpoint
from model.threshold import Threshold, threshold_of
from scripts.predict.clips import find_clips
from scripts.predict.journal import Journal, journal_path
from scripts.predict.options import PredictOptions
from scripts.predict.output import (
    as_csv,
    as_json,
    clip_line,
    head_lines,
    make_room,
    name_width,
    printable,
    put,
    summary_line,
)
from scripts.predict.reading import Reader
from scripts.predict.results import ClipResult
from scripts.predict.run import Run, Wanted
from scripts.predict.scoring import Scorer
from utils.cli import SCREEN, takes

log = logging.getLogger(__name__)

MAX_FRAMES = 500  # of a checkpoint that does not say how many it was trained with
NOT_ALL_SCORED = 3

Item = TypeVar("Item")


@takes(PredictOptions)
def predict(clips: list[Path], *, checkpoint: Path | None = None, **options: Any) -> None:
    """Say of clips of any kind whether they are real; the score is the probability of real: 1 = real, 0 = fake.

    It can be stopped at any moment and started again, and then does only what is left.

    Parameters
    ----------
    clips
        Files; folders, in which all media files are taken; or @list.txt, a file with a path on each line.
    checkpoint
        A checkpoint that train.py or the authors' release wrote. It must be given.
    options
        See `scripts.predict.options`.

    Raises
    ------
    ValueError
        If an option is missing or wrong, the checkpoint cannot be used, or there is no clip.
    SystemExit
        With code 3, if some clips could not be scored.
    """
    given = PredictOptions(**options)
    if checkpoint is None:
        raise ValueError("--checkpoint is missing; train.py leaves some in outputs/ckpts")
    make_room("json", given.json)
    make_room("csv", given.csv)
    found = find_clips(clips)
    wanted = [Wanted(clip.path, picture) for clip, picture in zip(found, given.pictures(found), strict=True)]
    content = read_checkpoint(checkpoint)
    threshold = threshold_of(content) if given.threshold is None else Threshold(float(given.threshold), "given")
    length, hop = given.frames(content.get("config", {}).get("max_frames") or MAX_FRAMES)
    device = torch.device("cuda" if given.accelerator == "auto" and torch.cuda.is_available() else "cpu")
    scorer = Scorer(detector_of(content, checkpoint, given.model_type), device, given.precision)
    del content  # the optimiser's moments in it are twice as large as the weights
    settings = _settings(given, scorer, length, hop)
    journal = Journal(journal_path(given.outputs, checkpoint, settings), given.fresh)
    make_reader = partial(_make_reader, given, length, hop)
    batch_size = given.batch_size or (1 if device.type == "cpu" else 8)
    run = Run(checkpoint, threshold.value, scorer, make_reader, journal, batch_size, given.num_workers)
    console = Console(stderr=SCREEN in (given.json, given.csv))
    results = score_and_say(run, wanted, head_lines(settings["model_type"], checkpoint, threshold), console)
    if given.json:
        put(as_json(checkpoint, threshold, settings, results), given.json)
    if given.csv:
        put(as_csv(checkpoint, threshold, results), given.csv)
    if not all(result.scored for result in results.values()):
        raise SystemExit(NOT_ALL_SCORED)


def _settings(given: PredictOptions, scorer: Scorer, length: int, hop: int) -> dict[str, Any]:
    """Everything but the checkpoint that decides a score."""
    return {
        "model_type": type(scorer.detector).__name__,
        "window": length / FRAME_RATE,
        "hop": hop / FRAME_RATE,
        "framing": given.framing,
        "detector": given.detector,
        "precision": scorer.precision,
    }


def _make_reader(given: PredictOptions, length: int, hop: int) -> Reader:
    faces = None if given.framing == "crop" else make_detector(given.detector)
    return Reader(faces, length, hop, given.framing)


def score_and_say(run: Run, wanted: list[Wanted], head: Iterable[str], console: Console) -> dict[str, ClipResult]:
    """Score clips and print a line for each, in their order, under a head and above a summary.

    Returns
    -------
    dict
        File → result.
    """
    files = [str(clip.path) for clip in wanted]
    width = name_width(files)

    def say(line: str) -> None:
        console.print(printable(line), soft_wrap=True, markup=False, highlight=False)

    results = {}
    with _progress(console) as bar:
        for line in head:
            say(line)
        clips = bar.track(run.score(wanted), total=len(wanted), description="Scoring clips")
        try:
            for index, result in in_order(clips):
                results[files[index]] = result
                say(clip_line(files[index], result, run.threshold, width))
        except KeyboardInterrupt:
            log.info("what is done is kept in %s: the same command goes on from there", run.journal.path)
            raise
        say(summary_line(list(results.values()), run.threshold))
    return results


def _progress(console: Console) -> Progress:
    """A bar under the lines, or on the other screen where they go into a file."""
    screen = console if console.is_terminal else Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        redirect_stdout=False,
        refresh_per_second=2,
        disable=not screen.is_terminal,
    )


def in_order(items: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Item]]:
    """Items by their index from 0 on, each as soon as all before it are there."""
    early: dict[int, Item] = {}
    following = 0
    for index, item in items:
        early[index] = item
        while following in early:
            yield following, early.pop(following)
            following += 1
