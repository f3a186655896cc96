"""Is a clip real? The command `main.py predict`, for files, folders and lists of them; and `predict_clip`, for one."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import Progress

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
from utils.parallel import usable_cores

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
        Call a clip real from this score on. By default the threshold that the checkpoint holds, else 0.5.
    window
        Seconds of a clip that are scored at once. By default as many as training used of a clip at most, as a rule 20.
    hop
        Seconds from the start of one window to the start of the next. By default half a window.
    framing
        crop: every frame is the crop of a face, as in FakeAVCeleb, and is taken whole; find: the face is looked for and
        cut out; auto: decided clip by clip.
    json
        Write everything that is known of each clip to this .json file. Without a name, or for -, it goes to the
        standard output, and the lines for people to the standard error.
    csv
        Write a table of the clips to this .csv file, or to the standard output as with --json.
    prior
        Share of fakes among your clips for which the calibrated probabilities are to hold, between 0 and 1, such as
        0.01. By default the share at which a clip with a score at the threshold is as likely real as fake.
    html
        Write a page with all clips to this .html file: verdicts, faces, audio, scores over time. It needs no network.
    plot
        Folder for a figure of each clip, or, for one clip, a .png file.
    batch_size
        Number of windows that are scored together; no score depends on it. By default 8 on a GPU and 1 on a CPU.
    num_workers
        Number of threads that decode clips and find faces. By default half the cores, 8 at most.
    gpus
        1 scores on a GPU, 0 on the CPU, which is used too where the machine has no GPU.
    precision
        Numbers that the network computes with: 16 and bf16 are mixed precision, 32 is float32. On a CPU 16 becomes 32.
    compile
        Compile the image encoder with torch.compile: a slower start, then faster windows.
    outputs
        Folder of all outputs, in whose predict/ finished clips are remembered.
    fresh
        Score every clip anew, also those that were scored before with this checkpoint and these options.
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
    compile: bool = False
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
        self.num_workers = self.num_workers or max(1, min(MOST_THREADS, usable_cores() // 2))

    def frames(self, max_frames: int) -> tuple[int, int]:
        """Length of a window, `max_frames` where none is asked for, and the hop to the next one, in frames.

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
    """Say of clips of any kind whether they are real. The score is the probability of real: 1 = real, 0 = fake.

    It can be stopped at any moment and started again, and then does only what is left.

    Parameters
    ----------
    clips
        Files; folders, in which all media files are taken; or @list.txt, a file with a path on each line.
    checkpoint
        Checkpoint that scores the clips, written by train.py or by the authors' release, or a folder that main.py
        export wrote. It must be given.
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
    wanted = [
        Wanted(clip.path, figure, given.html is not None)
        for clip, figure in zip(found, given.figures(found), strict=True)
    ]
    loaded = load(checkpoint, given)
    journal = Journal(journal_path(given.outputs, checkpoint, loaded.settings), given.fresh)
    batch_size = given.batch_size or (1 if loaded.scorer.device.type == "cpu" else 8)
    decision = loaded.decision
    run = Run(checkpoint, decision, loaded.scorer, loaded.make_reader, journal, batch_size, given.num_workers)
    console = Console(stderr=SCREEN in (given.json, given.csv, given.html))
    results = score_and_say(run, wanted, head_lines(loaded.settings["model_type"], checkpoint, decision), console)
    if given.json:
        put(as_json(checkpoint, decision, loaded.settings, results), given.json)
    if given.csv:
        put(as_csv(checkpoint, decision, results), given.csv)
    if given.html:
        config = loaded.config
        folder = given.outputs / "results" / str(config.get("save_name")) / Path(str(config.get("fold"))).stem
        card = folder / "MODEL_CARD.md"  # that main.py card wrote
        about = {"checkpoint": checkpoint, "settings": loaded.settings, "config": config}
        about["card"] = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        put(as_page(about, decision, results, [journal.film_path(clip.path) for clip in wanted]), given.html)
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
    loaded = _kept(Path(checkpoint), tuple(sorted(options.items())))
    with closing(read_ahead([Path(clip)], [loaded.make_reader()], room=1)) as steps:
        ((_, result, _),) = score_clips(steps, loaded.scorer, batch_size=1)
    return result.judged(str(clip), loaded.decision)


class Loaded(NamedTuple):
    """A checkpoint ready to score clips as the options say."""

    make_reader: Callable[[], Reader]
    scorer: Scorer
    decision: Decision
    settings: dict[str, Any]  # everything but the checkpoint that decides a score
    config: dict[str, Any]  # of the training, as far as the checkpoint tells


@lru_cache(maxsize=2)
def _kept(checkpoint: Path, options: tuple[tuple[str, Any], ...]) -> Loaded:
    return load(checkpoint, PredictOptions(**dict(options)))


def load(checkpoint: Path, given: PredictOptions) -> Loaded:
    """Read a checkpoint, and make what scores clips with it."""
    content = read_checkpoint(checkpoint)
    config = content.get("config", {})
    length, hop = given.frames(config.get("max_frames") or MAX_FRAMES)
    detector = detector_of(content, checkpoint, given.model_type)
    scorer = Scorer(detector, device(given.gpus), given.precision, given.compile)
    threshold, prior = (None if one is None else float(one) for one in (given.threshold, given.prior))
    settings = {
        "model_type": type(scorer.detector).__name__,
        "window": length / FRAME_RATE,
        "hop": hop / FRAME_RATE,
        "framing": given.framing,
        "precision": scorer.precision,
    }

    def make_reader() -> Reader:
        return Reader(None if given.framing == "crop" else make_detector(), length, hop, given.framing)

    return Loaded(make_reader, scorer, Decision.of(content, threshold, prior), settings, config)


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
    screen = console if console.is_terminal else Console(stderr=True)  # where the lines go into a file
    with Progress(console=screen, transient=True, redirect_stdout=False, disable=not screen.is_terminal) as bar:
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


def in_order(items: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Item]]:
    """Items by their index from 0 on, each as soon as all before it are there."""
    early: dict[int, Item] = {}
    following = 0
    for index, item in items:
        early[index] = item
        while following in early:
            yield following, early.pop(following)
            following += 1
