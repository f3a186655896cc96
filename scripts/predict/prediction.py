"""What is measured of a clip, and what is said of it: its scores, a verdict and a calibrated probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from model.threshold import Threshold, calibration_of, threshold_of
from utils.statistics.calibration import Platt

POLARITY = "probability of real: 1 = real, 0 = fake"
HEAD_THRESHOLD = 0.5  # of audio and video alone


class WindowScore(NamedTuple):
    """Scores of one window, probabilities of real; None without a head for the audio or the video."""

    start: float  # seconds from the clip's start, as is the end
    end: float
    score: float
    audio_score: float | None = None
    video_score: float | None = None


@dataclass
class ClipResult:
    """What is measured of a clip, whatever the threshold; the journal holds it. Fields are those of `Prediction`."""

    reason: str = ""  # why there is no score; "" if there is one
    message: str = ""
    lasting: bool = True  # the same would come of the same file again
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
        return None if not self.scored or None in values else sum(values) / len(values)


@dataclass(frozen=True)
class Prediction:
    """What is said of one clip: an entry of the JSON file, and what `predict_clip` returns."""

    file: str
    status: str  # "scored" or "not scored"
    reason: str | None  # why not, in a word or two
    message: str | None  # and as a sentence
    score: float | None  # probability of real as the detector gives it: 1 = real, 0 = fake
    probability: float | None  # the same calibrated; None where the checkpoint holds no calibration
    verdict: str | None  # "real" or "fake"
    audio_score: float | None  # of one stream alone, where the detector has heads for them
    audio_probability: float | None
    audio_verdict: str | None
    video_score: float | None
    video_probability: float | None
    video_verdict: str | None
    seconds: float | None  # length of the clip
    faces: int | None  # people to be seen at once
    crop: bool | None  # whether its frames were taken as they are, as crops of a face already
    no_face: list[tuple[float, float]]  # spans in seconds in which no face is to be seen
    notes: list[str]  # what a reader of the score should know
    windows: list[WindowScore]  # its parts with their scores, in the order of time

    @property
    def lowest(self) -> WindowScore | None:
        """The window that looks most like a fake."""
        return min(self.windows, key=lambda window: window.score, default=None)

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**vars(self), "windows": [window._asdict() for window in self.windows]}


class Decision(NamedTuple):
    """How a score becomes a verdict, and a calibrated probability."""

    threshold: Threshold  # a clip is called real from this score on
    calibrations: Mapping[str, Platt] = {}  # of the score ("") and of the heads ("audio", "video"), as far as there are
    prior: float | None = None  # share of fakes; None: where a score at its threshold is as likely real as fake
    on: str = "validation clips"  # which the calibrations were fitted on

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any], threshold: float | None, prior: float | None) -> Decision:
        """What a checkpoint holds, as `model.read_checkpoint` returns it, unless the user says otherwise."""
        held = threshold_of(dict(checkpoint))
        platts = {stream: calibration_of(checkpoint, stream) for stream in ("", "audio", "video")}
        calibrations = {stream: platt for stream, platt in platts.items() if platt is not None}
        chosen = held if threshold is None else Threshold(threshold, "given")
        return cls(chosen, calibrations, prior, held.on or "validation clips")

    @property
    def shown_prior(self) -> float | None:
        """Share of fakes that the probability of a clip is for; None where there is none."""
        if "" not in self.calibrations:
            return None
        return self.calibrations[""].prior_at(self.threshold.value) if self.prior is None else self.prior

    def probability(self, score: float | None, stream: str = "") -> float | None:
        """Calibrated probability of real at a score of the clip or of one stream; None without a calibration."""
        platt = self.calibrations.get(stream)
        if platt is None or score is None:
            return None
        at = HEAD_THRESHOLD if stream else self.threshold.value
        return float(platt.probability(score, platt.prior_at(at) if self.prior is None else self.prior))

    def judge(self, file: str, result: ClipResult) -> Prediction:
        """Say what there is to say of a clip."""
        verdicts: dict[str, Any] = {}
        for stream, prefix in (("", ""), ("audio", "audio_"), ("video", "video_")):
            score, threshold = result.mean(f"{prefix}score"), HEAD_THRESHOLD if stream else self.threshold.value
            verdicts[f"{prefix}score"] = score
            verdicts[f"{prefix}probability"] = self.probability(score, stream)
            verdicts[f"{prefix}verdict"] = None if score is None else "real" if score >= threshold else "fake"
        return Prediction(
            file=file,
            status="scored" if result.scored else "not scored",
            reason=result.reason or None,
            message=result.message or None,
            **verdicts,
            seconds=result.seconds,
            faces=result.faces,
            crop=result.crop,
            no_face=result.no_face,
            notes=result.notes,
            windows=result.windows,
        )
