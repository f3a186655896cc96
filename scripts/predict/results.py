"""What is known of a clip when it is done, its score or why it has none; and what an earlier run has left of it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataset.check import stamp
from dataset.faces import Window
from dataset.media import FRAME_RATE
from model import weights_file
from model.threshold import Threshold, calibration_of, threshold_of
from utils.files import file_digest
from utils.statistics.calibration import Platt

log = logging.getLogger(__name__)

FORMAT = 3  # raised when scores of earlier versions are not to be used any more
POLARITY = "probability of real: 1 = real, 0 = fake"
HEAD_THRESHOLD = 0.5  # of audio and video alone
THUMBNAILS = 8


class WindowScore(NamedTuple):
    """Scores of one window, probabilities of real; None without a head for the audio or the video."""

    start: float  # seconds from the clip's start, as is the end
    end: float
    score: float
    audio_score: float | None = None
    video_score: float | None = None


class Decision(NamedTuple):
    """How a score becomes a verdict, and a calibrated probability.

    Attributes
    ----------
    threshold
        A clip is called real from this score on.
    calibrations
        Of the score ("") and those of the heads ("audio", "video"), as far as the checkpoint has them.
    prior
        Share of fakes that the probabilities are for; None for the one at which a score at its threshold is as likely
        real as fake.
    on
        Which clips the calibrations were fitted on, in words.
    """

    threshold: Threshold
    calibrations: Mapping[str, Platt] = {}
    prior: float | None = None
    on: str = "validation clips"

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any], threshold: float | None, prior: float | None) -> Decision:
        """What a checkpoint holds, as `model.read_checkpoint` returns it, unless the user says otherwise."""
        held = threshold_of(dict(checkpoint))
        found = {stream: calibration_of(checkpoint, stream) for stream in ("", "audio", "video")}
        known = {stream: platt for stream, platt in found.items() if platt is not None}
        chosen = held if threshold is None else Threshold(threshold, "given")
        return cls(chosen, known, prior, held.on or "validation clips")

    @property
    def shown_prior(self) -> float | None:
        """Share of fakes that the probability of a clip is for; None where there is none."""
        if "" not in self.calibrations:
            return None
        return self.calibrations[""].prior_at(self.threshold.value) if self.prior is None else self.prior

    def verdict(self, score: float | None) -> str | None:
        """What `verdict` says at this threshold."""
        return verdict(score, self.threshold.value)

    def probability(self, score: float | None, stream: str = "") -> float | None:
        """Calibrated probability of real at a score of the clip or of one stream; None without a calibration."""
        platt = self.calibrations.get(stream)
        if platt is None or score is None:
            return None
        at = HEAD_THRESHOLD if stream else self.threshold.value
        return float(platt.probability(score, platt.prior_at(at) if self.prior is None else self.prior))


@dataclass(frozen=True)
class Prediction:
    """What is said of one clip: an entry of the JSON file, and what `predict_clip` returns.

    Attributes
    ----------
    file
        The clip.
    status, reason, message
        "scored" or "not scored", and why not, in a word or two and as a sentence.
    score
        Probability of real as the detector gives it: 1 = real, 0 = fake.
    probability
        The same calibrated; None where the checkpoint holds no calibration.
    verdict
        "real" or "fake".
    audio_score, audio_probability, audio_verdict, video_score, video_probability, video_verdict
        Of one stream alone, where the detector has heads for them.
    seconds
        Length of the clip.
    faces
        People to be seen at once.
    crop
        Whether its frames were taken as they are, as crops of a face already.
    no_face
        Spans in seconds in which no face is to be seen.
    notes
        What a reader of the score should know.
    windows
        Its parts with their scores, in the order of time.
    """

    file: str
    status: str
    reason: str | None
    message: str | None
    score: float | None
    probability: float | None
    verdict: str | None
    audio_score: float | None
    audio_probability: float | None
    audio_verdict: str | None
    video_score: float | None
    video_probability: float | None
    video_verdict: str | None
    seconds: float | None
    faces: int | None
    crop: bool | None
    no_face: list[tuple[float, float]]
    notes: list[str]
    windows: list[WindowScore]

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "windows": [window._asdict() for window in self.windows]}


@dataclass
class ClipResult:
    """A clip that was scored, or could not be; what is not described here is as in `Prediction`.

    Parameters
    ----------
    reason, message
        Why there is no score; "" if there is one.
    lasting
        Whether the same would come of the same file again.
    """

    reason: str = ""
    message: str = ""
    lasting: bool = True
    seconds: float | None = None
    faces: int | None = None
    crop: bool | None = None
    no_face: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    windows: list[WindowScore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.windows = [WindowScore(*window) for window in self.windows]  # a journal holds them as lists
        self.no_face = [(float(start), float(end)) for start, end in self.no_face]

    @property
    def scored(self) -> bool:
        """Whether there is a score."""
        return not self.reason

    def mean(self, name: str = "score") -> float | None:
        """Mean over the windows of "score", which is the clip's score, "audio_score" or "video_score"."""
        values = [getattr(window, name) for window in self.windows]
        if not self.scored or None in values:
            return None
        return sum(values) / len(values)

    @property
    def lowest(self) -> WindowScore:
        """The window that looks most like a fake."""
        return min(self.windows, key=lambda window: window.score)

    def judged(self, file: str, decision: Decision) -> Prediction:
        """What is said of the clip."""
        said: dict[str, Any] = {}
        for stream, prefix in (("", ""), ("audio", "audio_"), ("video", "video_")):
            score = self.mean(f"{prefix}score")
            said[f"{prefix}score"] = score
            said[f"{prefix}probability"] = decision.probability(score, stream)
            said[f"{prefix}verdict"] = verdict(score, HEAD_THRESHOLD if stream else decision.threshold.value)
        return Prediction(
            file=file,
            status="scored" if self.scored else "not scored",
            reason=self.reason or None,
            message=self.message or None,
            **said,
            seconds=self.seconds,
            faces=self.faces,
            crop=self.crop,
            no_face=list(self.no_face),
            notes=list(self.notes),
            windows=list(self.windows) if self.scored else [],
        )


@dataclass
class Film:
    """What a figure of a clip shows of it: a few frames and how loud it is."""

    seconds: float  # length of the clip
    # Moment in seconds → the frame (100, 100, 3) uint8 there; moments outside all windows have none.
    frames: dict[float, np.ndarray] = field(default_factory=dict)
    # The largest absolute sample of each 25th of a second, 0 to 1; NaN outside all windows.
    levels: list[float] = field(default_factory=list)

    def see(self, window: Window) -> None:
        """Take what is wanted of the next window; windows may overlap."""
        start, length = round(window.start * FRAME_RATE), len(window.audio)
        for part in range(THUMBNAILS):
            moment = (part + 0.5) * self.seconds / THUMBNAILS
            place = int(moment * FRAME_RATE) - start
            if moment not in self.frames and 0 <= place < length:
                self.frames[moment] = window.video[:, place].permute(1, 2, 0).numpy().copy()
        self.levels.extend([math.nan] * (start - len(self.levels)))
        self.levels.extend(np.asarray(window.levels)[len(self.levels) - start :].tolist())


def verdict(score: float | None, threshold: float) -> str | None:
    """ "real" or "fake"; None without a score."""
    if score is None:
        return None
    return "real" if score >= threshold else "fake"


def journal_path(outputs: Path, checkpoint: Path, settings: Mapping[str, Any]) -> Path:
    """Where the results of a checkpoint's bytes under these settings lie, whatever the clips are."""
    key = [FORMAT, settings, file_digest(weights_file(checkpoint))]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode())
    return outputs / "predict" / f"{checkpoint.stem}-{digest.hexdigest()[:12]}.jsonl"


class Wanted(NamedTuple):
    """A clip to score, where its figure goes, if there is to be one, and whether it is shown on a page."""

    path: Path
    figure: Path | None = None
    shown: bool = False


class Journal:
    """Results of clips, appended to a file as they come and read when the next run starts, unless that begins `fresh`.

    A line that is cut, or damaged otherwise, is as if it were not there. Several runs may write at the same time.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self._entries: dict[str, dict[str, Any]] = {}
        self._stamps: dict[Path, list[int]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._read()
        path.parent.mkdir(parents=True, exist_ok=True)

    def find(self, clip: Wanted, threshold: float) -> ClipResult | None:
        """The result of a clip whose file has not changed since.

        None unless its figure, if there is to be one, is there as it was drawn, with this threshold.
        """
        self._stamps[clip.path] = _stamp(clip.path)  # as it is before it is read, since files change meanwhile
        entry = self._entries.get(os.path.abspath(clip.path))
        if entry is None or entry["stamp"] != self._stamps[clip.path]:
            return None
        result = ClipResult(**entry["result"])
        drawn = clip.figure is None or entry["figure"] == _drawn(clip.figure, threshold)
        shown = not clip.shown or self.film_path(clip.path).is_file()
        return result if not result.scored or (drawn and shown) else None

    def add(self, clip: Wanted, result: ClipResult, threshold: float) -> None:
        """Append the result of a clip that was looked for, if the same would come again."""
        if not result.lasting:
            return
        entry = {
            "file": os.path.abspath(clip.path),
            "stamp": self._stamps[clip.path],
            "figure": None if clip.figure is None else _drawn(clip.figure, threshold),
            "result": asdict(result),
        }
        # In front, too, a line break: a process that was killed may have left a part of a line.
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{json.dumps(entry)}\n".encode())

    def film_path(self, clip: Path) -> Path:
        """Where frames and audio of a clip that was looked for are kept for the page."""
        key = json.dumps([os.path.abspath(clip), self._stamps[clip]])
        return self.path.with_suffix("") / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def _read(self) -> None:
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                ClipResult(**entry["result"])
                self._entries[entry["file"]] = {name: entry[name] for name in ("stamp", "figure", "result")}
            except (ValueError, KeyError, TypeError):
                if line:
                    log.debug("%s: a line is damaged; its clip is done again", self.path)


def _stamp(path: Path) -> list[int]:
    """Sizes and times of change of a file and of the wav beside it, which has its audio; none if there is no file."""
    return list(stamp(str(path)) or ())


def _drawn(figure: Path, threshold: float) -> list[Any]:
    return [os.path.abspath(figure), _stamp(figure), threshold]
