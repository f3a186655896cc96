"""Is a clip real? The command `main.py predict`, for files, folders and lists of them; and `predict_clip`, for one."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataset.faces import make_detector
from dataset.media import FRAME_RATE
from model import detector_of, read_checkpoint
from scripts.predict.clips import Clip, find_clips
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
from scripts.predict.page import as_page
from scripts.predict.reading import Reader, read_ahead
from scripts.predict.results import ClipResult, Decision, Journal, Prediction, Wanted, journal_path
from scripts.predict.scoring import Run, Scorer, score_clips
from utils.cli import SCREEN, OutputFile, takes
from utils.environment import device
from utils.errors import DataError
from utils.options import ONE_GPU, Gpus, ModelType, Precision

log = logging.getLogger(__name__)

MAX_FRAMES = 500  # of a checkpoint that does not say how many it was trained with
NOT_ALL_SCORED = 3

Item = TypeVar("Item")
FIGURE = ".png"
LONGEST_NAME = 200  # bytes of a figure's name; file systems allow 255, and a temporary name is longer
MOST_THREADS = 8


@dataclass
class PredictOptions:
    """Options of `main.py predict`.

    Parameters
    ----------
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    threshold
        Call a clip real from this score on; by default what the checkpoint holds, else 0.5.
    window
        Seconds of a clip that are scored at once; by default as many as in training at most, which is 20 as a rule.
    hop
        Seconds from the start of one window to that of the next; by default half a window.
    framing
        crop: frames show a face as FakeAVCeleb's do and are taken whole; find: the face is looked for and cut out;
        auto: whichever it is.
    json
        File .json for everything that is known of each clip; without a name, or for -, the standard output, and the
        lines for people go to the standard error.
    csv
        File .csv for a table of the clips; likewise.
    prior
        Share of fakes among your clips, between 0 and 1, for which the calibrated probabilities are to hold, such as
        0.01; by default the one for which a score at the threshold is as likely real as fake.
    html
        File .html for one page with all clips, which needs no network: verdicts, faces, audio, scores over time.
    plot
        Folder for a figure of each clip; for one clip also a file that ends in .png.
    batch_size
        Windows scored together, on which no score depends; by default 8 on a GPU and 1 on a CPU.
    num_workers
        Threads that decode and find faces; by default half the cores, up to 8.
    gpus
        1 scores on a GPU, 0 on the CPU, which is used too where the machine has no GPU.
    precision
        16 and bf16-mixed are mixed precision. Without a GPU 16 becomes 32.
    outputs
        Folder whose predict/ remembers what has been scored.
    fresh
        Forget what was scored before by this checkpoint with these options.
    """

    model_type: ModelType | None = None
    threshold: ClosedUnitInterval | None = None
    window: PositiveFloat | None = None
    hop: PositiveFloat | None = None
    framing: Literal["auto", "crop", "find"] = "auto"
    json: OutputFile | None = None
    csv: OutputFile | None = None
    prior: ClosedUnitInterval | None = None
    html: OutputFile | None = None
    plot: Path | None = None
    batch_size: PositiveInt | None = None
    num_workers: PositiveInt | None = None
    gpus: Gpus = ONE_GPU
    precision: Precision = "16"
    outputs: Path = Path("outputs")
    fresh: bool = False

    def __post_init__(self) -> None:
        for flag, path in (("json", self.json), ("csv", self.csv), ("html", self.html)):
            if path is not None and path != SCREEN and not path.endswith(f".{flag}"):
                raise DataError(f"--{flag} {path}: must be a file that ends in .{flag}")
            if path is not None and Path(path).is_dir():
                raise DataError(f"--{flag} {path}: is a folder; give it a file to write")
        if [self.json, self.csv, self.html].count(SCREEN) > 1:
            raise DataError("--json, --csv and --html: one of them can go to the standard output; give others a file")
        if self.prior in (0, 1):
            raise DataError(f"--prior {self.prior:g}: must lie between 0 and 1; 0 and 1 leave nothing to judge")
        self.num_workers = self.num_workers or max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))

    def frames(self, max_frames: int) -> tuple[int, int]:
        """Length of a window and the hop to the next one, in frames.

        Parameters
        ----------
        max_frames
            Length where none is asked for.

        Raises
        ------
        DataError
            If a number is none, or a part of a clip would be in no window.
        """
        for flag, seconds in (("window", self.window), ("hop", self.hop)):
            if seconds is not None and not math.isfinite(seconds):
                raise DataError(f"--{flag} {seconds:g}: give a number of seconds")
        length = max_frames if self.window is None else max(1, round(self.window * FRAME_RATE))
        hop = max(1, length // 2) if self.hop is None else max(1, round(self.hop * FRAME_RATE))
        if hop > length:
            raise DataError(f"--hop {self.hop:g}: longer than a window of {length / FRAME_RATE:g} s, which leaves gaps")
        return length, hop

    def figures(self, clips: Sequence[Clip]) -> list[Path | None]:
        """Where the figure of each clip goes; None where none is asked for.

        Raises
        ------
        DataError
            If all would go into one file.
        """
        if self.plot is None:
            return [None] * len(clips)
        if self.plot.suffix.lower() != FIGURE or self.plot.is_dir():
            return [self.plot / clip.name.with_name(f"{shortened(clip.name.name)}{FIGURE}") for clip in clips]
        if len(clips) > 1:
            raise DataError(f"--plot {self.plot}: is one file, but there are {len(clips)} clips; give it a folder")
        return [self.plot]


def shortened(name: str) -> str:
    """A file's name, or what is left of a long one with a digest that tells it from others."""
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST_NAME:
        return name
    return f"{encoded[: LONGEST_NAME - 13].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:12]}"


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
        See `PredictOptions`.

    Raises
    ------
    DataError
        If an option is missing or wrong, the checkpoint cannot be used, or there is no clip.
    SystemExit
        With code 3, if some clips could not be scored.
    """
    given = PredictOptions(**options)
    if checkpoint is None:
        raise DataError("--checkpoint is missing; train.py leaves some in outputs/ckpts")
    for flag in ("json", "csv", "html"):
        make_room(flag, getattr(given, flag))
    found = find_clips(clips)
    shown = given.html is not None
    wanted = [Wanted(clip.path, figure, shown) for clip, figure in zip(found, given.figures(found), strict=True)]
    run, settings, about = start(checkpoint, given)
    console = Console(stderr=SCREEN in (given.json, given.csv, given.html))
    results = score_and_say(run, wanted, head_lines(settings["model_type"], checkpoint, run.decision), console)
    if given.json:
        put(as_json(checkpoint, run.decision, settings, results), given.json)
    if given.csv:
        put(as_csv(checkpoint, run.decision, results), given.csv)
    if given.html:
        films = [run.journal.film_path(clip.path) for clip in wanted]
        put(as_page(about, run.decision, results, films), given.html)
    if not all(result.scored for result in results.values()):
        raise SystemExit(NOT_ALL_SCORED)


def predict_clip(clip: str | Path, checkpoint: str | Path, **options: Any) -> Prediction:
    """Say of one clip whether it is real.

    The checkpoint is read once, and kept for the next clips.

    Parameters
    ----------
    clip
        Any file of a talking face.
    checkpoint
        A checkpoint that train.py or the authors' release wrote, or a folder that main.py export left.
    options
        Those of main.py predict that decide a score: model_type, threshold, prior, window, hop, framing,
        gpus, precision.

    Returns
    -------
    Prediction
        A clip that cannot be scored has a reason and a message in place of a score.

    Raises
    ------
    DataError
        If an option is wrong, or the checkpoint cannot be used.
    """
    make_reader, scorer, decision = _kept(Path(checkpoint), tuple(sorted(options.items())))
    with closing(read_ahead([Path(clip)], [make_reader()], room=1)) as steps:
        ((_, result, _),) = score_clips(steps, scorer, batch_size=1)
    return result.judged(str(clip), decision)


@lru_cache(maxsize=2)
def _kept(checkpoint: Path, options: tuple[tuple[str, Any], ...]) -> tuple[Callable[[], Reader], Scorer, Decision]:
    make_reader, scorer, decision, *_ = _load(checkpoint, PredictOptions(**dict(options)))
    return make_reader, scorer, decision


def start(checkpoint: Path, given: PredictOptions) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """What scores clips, everything but the checkpoint that decides a score, and what the checkpoint says of itself."""
    make_reader, scorer, decision, settings, about = _load(checkpoint, given)
    journal = Journal(journal_path(given.outputs, checkpoint, settings), given.fresh)
    batch_size = given.batch_size or (1 if scorer.device.type == "cpu" else 8)
    return Run(checkpoint, decision, scorer, make_reader, journal, batch_size, given.num_workers), settings, about


def _load(
    checkpoint: Path, given: PredictOptions
) -> tuple[Callable[[], Reader], Scorer, Decision, dict[str, Any], dict[str, Any]]:
    content = read_checkpoint(checkpoint)
    config = content.get("config", {})
    length, hop = given.frames(config.get("max_frames") or MAX_FRAMES)
    scorer = Scorer(detector_of(content, checkpoint, given.model_type), device(given.gpus), given.precision)
    decision = Decision.of(content, *(None if one is None else float(one) for one in (given.threshold, given.prior)))
    settings = {
        "model_type": type(scorer.detector).__name__,
        "window": length / FRAME_RATE,
        "hop": hop / FRAME_RATE,
        "framing": given.framing,
        "precision": scorer.precision,
    }
    about = {"checkpoint": checkpoint, "settings": settings, "config": config, "card": _card(given.outputs, config)}
    make_reader = partial(_make_reader, given.framing, length, hop)
    return make_reader, scorer, decision, settings, about


def _card(outputs: Path, config: dict[str, Any]) -> str:
    """The model card that main.py card wrote beside the results of the checkpoint's fold; "" if there is none."""
    path = outputs / "results" / str(config.get("save_name")) / Path(str(config.get("fold"))).stem / "MODEL_CARD.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _make_reader(framing: str, length: int, hop: int) -> Reader:
    return Reader(None if framing == "crop" else make_detector(), length, hop, framing)


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
                say(clip_line(files[index], result, run.decision, width))
        except KeyboardInterrupt:
            log.info("what is done is kept in %s: the same command goes on from there", run.journal.path)
            raise
        say(summary_line(list(results.values()), run.decision))
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
