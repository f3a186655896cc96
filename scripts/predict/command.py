"""Is a clip real? The command `main.py predict`, for files, folders and lists of them; and `predict_clip`, for one."""

import logging
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import Progress

from dataset.faces import make_detector
from dataset.media import FRAME_RATE
from dataset.transforms import normalise
from model import detector_of, read_checkpoint
from model.scorer import Scorer
from scripts.predict.arguments import FoundClip, find_clips
from scripts.predict.batching import score_clips
from scripts.predict.figure import write_figure
from scripts.predict.journal import Journal, journal_path
from scripts.predict.output import as_csv, as_json, clip_line, head_lines, name_width, printable, put, summary_line
from scripts.predict.page import as_page
from scripts.predict.prediction import ClipResult, Decision, Prediction
from scripts.predict.preview import Preview
from scripts.predict.reading import ClipReader, read_ahead
from utils.cli import SCREEN, OutputFile, takes
from utils.environment import device
from utils.errors import DataError
from utils.options import ONE_GPU, Gpus, ModelType, Precision
from utils.parallel import usable_cores

log = logging.getLogger(__name__)

MAX_FRAMES = 500  # of a checkpoint that does not say how many it was trained with
NOT_ALL_SCORED = 3

FIGURE = ".png"
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

        `DataError` says so if a number is none, or a part of a clip would be in no window.
        """
        for flag, seconds in (("window", self.window), ("hop", self.hop)):
            if seconds is not None and not math.isfinite(seconds):
                raise DataError(f"--{flag} {seconds:g}: give a number of seconds")
        length = max_frames if self.window is None else max(1, round(self.window * FRAME_RATE))
        hop = max(1, length // 2) if self.hop is None else max(1, round(self.hop * FRAME_RATE))
        if hop > length:
            raise DataError(f"--hop {self.hop:g}: longer than a window of {length / FRAME_RATE:g} s, which leaves gaps")
        return length, hop

    def with_figures(self, clips: list[FoundClip]) -> list[FoundClip]:
        """The clips with the place of their figures, if there are to be any.

        `DataError` says so if all would go into one file.
        """
        if self.plot is None:
            return clips
        if self.plot.suffix.lower() != FIGURE or self.plot.is_dir():
            return [clip._replace(figure=self.plot / f"{clip.name}{FIGURE}") for clip in clips]
        if len(clips) > 1:
            raise DataError(f"--plot {self.plot}: is one file, but there are {len(clips)} clips; give it a folder")
        return [clips[0]._replace(figure=self.plot)]


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
    SystemExit
        With code 3, if some clips could not be scored.
    """
    given = PredictOptions(**options)
    if checkpoint is None:
        raise DataError("--checkpoint is missing; train.py leaves some in outputs/ckpts")
    for path in filter(None, (given.json, given.csv, given.html)):  # before hours are spent on what it is to hold
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    found = given.with_figures(find_clips(clips))
    predictor = Predictor(checkpoint, given)
    kept = journal_path(given.outputs, checkpoint, predictor.settings)
    journal = Journal(kept, predictor.threshold, given.html is not None, given.fresh)
    predictions = predict_and_print(
        found, predictor, journal, Console(stderr=SCREEN in (given.json, given.csv, given.html))
    )
    if given.json:
        put(as_json(checkpoint, predictor.decision, predictor.settings, predictions), given.json)
    if given.csv:
        put(as_csv(checkpoint, predictor.threshold, predictions), given.csv)
    if given.html:
        about = {"checkpoint": checkpoint, "settings": predictor.settings, "config": predictor.config}
        about["card"] = model_card(given.outputs, predictor.config)
        put(as_page(about, predictor.decision, predictions, [journal.preview_path(clip) for clip in found]), given.html)
    if any(clip.score is None for clip in predictions):
        raise SystemExit(NOT_ALL_SCORED)


def predict_clip(clip: str | Path, checkpoint: str | Path, **options: Any) -> Prediction:
    """Say of one clip whether it is real; one that cannot be scored has a reason and a message in place of a score.

    The checkpoint, which is read once and kept for the next clips, is a file that train.py or the authors' release
    wrote, or a folder that main.py export left. The options are those of main.py predict that decide a score:
    model_type, threshold, prior, window, hop, framing, gpus, precision. `DataError` says so if one is wrong, or the
    checkpoint cannot be used.
    """
    predictor = _kept(Path(checkpoint), tuple(sorted(options.items())))
    ((_, result, _),) = predictor.results([Path(clip)])
    return predictor.decision.judge(str(clip), result)


class Predictor:
    """A checkpoint that scores clips as the options say."""

    def __init__(self, checkpoint: Path, given: PredictOptions) -> None:
        content = read_checkpoint(checkpoint)
        self.checkpoint, self.given = checkpoint, given
        self.config: dict[str, Any] = content.get("config", {})  # of the training, as far as the checkpoint tells
        self.length, self.hop = given.frames(self.config.get("max_frames") or MAX_FRAMES)
        detector = detector_of(content, checkpoint, given.model_type)
        self.scorer = Scorer(detector, device(given.gpus), normalise, given.precision, given.compile)
        self.decision = Decision.of(content, given.threshold, given.prior)
        self.threshold = self.decision.threshold.value
        # Everything but the checkpoint that decides a score.
        self.settings: dict[str, Any] = {
            "model_type": type(self.scorer.detector).__name__,
            "window": self.length / FRAME_RATE,
            "hop": self.hop / FRAME_RATE,
            "framing": given.framing,
            "precision": self.scorer.precision,
        }

    def results(
        self, paths: Sequence[Path], with_previews: bool = False
    ) -> Generator[tuple[int, ClipResult, Preview | None], None, None]:
        """Yield the index of each clip as it is done, its result and, if asked for, its preview."""
        batch_size = self.given.batch_size or (1 if self.scorer.device.type == "cpu" else 8)
        threads, framing = min(self.given.num_workers, len(paths)), self.given.framing
        detectors = [None if framing == "crop" else make_detector() for _ in range(threads)]
        readers = [ClipReader(detector, self.length, self.hop, framing) for detector in detectors]
        # Closed at once when something goes wrong, so that no thread reads on.
        with closing(read_ahead(paths, readers, room=batch_size)) as steps:
            yield from score_clips(steps, self.scorer, batch_size, with_previews)


@lru_cache(maxsize=2)
def _kept(checkpoint: Path, options: tuple[tuple[str, Any], ...]) -> Predictor:
    return Predictor(checkpoint, PredictOptions(**dict(options)))


def predict_and_print(
    clips: Sequence[FoundClip], predictor: Predictor, journal: Journal, console: Console
) -> list[Prediction]:
    """Score clips and print a line for each, in their order, under a head and above a summary."""

    def say(line: str) -> None:
        console.print(printable(line), soft_wrap=True, markup=False, highlight=False)

    predictions: list[Prediction] = []
    early: dict[int, Prediction] = {}  # before a clip that is not done yet
    width = name_width([str(clip.path) for clip in clips])
    screen = console if console.is_terminal else Console(stderr=True)  # where the lines go into a file
    with Progress(console=screen, transient=True, redirect_stdout=False, disable=not screen.is_terminal) as bar:
        for line in head_lines(predictor.settings["model_type"], predictor.checkpoint, predictor.decision):
            say(line)
        done = bar.track(predict_all(clips, predictor, journal), total=len(clips), description="Scoring clips")
        try:
            for index, prediction in done:
                early[index] = prediction
                while len(predictions) in early:
                    predictions.append(early.pop(len(predictions)))
                    say(clip_line(predictions[-1], predictor.threshold, width))
        except KeyboardInterrupt:
            log.info("what is done is kept in %s: the same command goes on from there", journal.path)
            raise
        say(summary_line(predictions))
    return predictions


def predict_all(clips: Sequence[FoundClip], predictor: Predictor, journal: Journal) -> Iterator[tuple[int, Prediction]]:
    """Yield the index of each clip and its prediction: first what the journal remembers, then the others as they come.

    These are written into the journal; their figures are drawn, and their previews for the page are kept.
    """
    judge = predictor.decision.judge
    remembered = {index: result for index, clip in enumerate(clips) if (result := journal.find(clip))}
    for index, result in remembered.items():
        yield index, judge(str(clips[index].path), result)
    if remembered:
        log.info("%d of %d clips were scored before; --fresh scores them anew", len(remembered), len(clips))
    left = [index for index in range(len(clips)) if index not in remembered]
    shown = journal.with_previews or any(clip.figure for clip in clips)
    with closing(predictor.results([clips[index].path for index in left], shown)) as results:
        for place, result, preview in results:
            clip = clips[left[place]]
            prediction = judge(str(clip.path), result)
            if preview and result.scored and clip.figure:
                write_figure(clip.figure, prediction, preview, predictor.threshold, predictor.checkpoint.name)
            if preview and result.scored and journal.with_previews:
                preview.keep(journal.preview_path(clip), clip.path)
            journal.add(clip, result)
            yield left[place], prediction


def model_card(outputs: Path, config: Mapping[str, Any]) -> str:
    """The card that main.py card wrote of a checkpoint; "" if it is not there."""
    path = outputs / "results" / str(config.get("save_name")) / Path(str(config.get("fold"))).stem / "MODEL_CARD.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
