"""What is known of a clip when it is done: its score, or why it has none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

POLARITY = "probability of real: 1 = real, 0 = fake"
HEAD_THRESHOLD = 0.5  # of sound and picture


class WindowScore(NamedTuple):
    """Scores of one window, probabilities of real; None without a head for the sound or the picture."""

    start: float  # seconds from the clip's start, as is the end
    end: float
    score: float
    audio_score: float | None = None
    video_score: float | None = None


@dataclass
class ClipResult:
    """A clip that was scored, or could not be.

    Parameters
    ----------
    reason
        Why there is no score, in a word or two; "" if there is one.
    message
        The same as a sentence.
    lasting
        Whether the same would come of the same file again.
    seconds
        Length of the clip; None if it could not be read.
    faces
        People to be seen at once.
    crop
        Whether its frames were taken as they are, as crops of a face already.
    notes
        What a reader of the score should know.
    windows
        In the order of time.
    """

    reason: str = ""
    message: str = ""
    lasting: bool = True
    seconds: float | None = None
    faces: int | None = None
    crop: bool | None = None
    notes: list[str] = field(default_factory=list)
    windows: list[WindowScore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.windows = [WindowScore(*window) for window in self.windows]  # a journal holds them as lists

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

    def plain(self) -> dict[str, Any]:
        """Plain values, from which ``ClipResult(**values)`` makes the same again."""
        return asdict(self)

    def record(self, file: str, threshold: float) -> dict[str, Any]:
        """The clip's entry in the JSON file."""
        score, sound, picture = (self.mean(name) for name in ("score", "audio_score", "video_score"))
        return {
            "file": file,
            "status": "scored" if self.scored else "not scored",
            "reason": self.reason or None,
            "message": self.message or None,
            "score": score,
            "verdict": verdict(score, threshold),
            "audio_score": sound,
            "audio_verdict": verdict(sound, HEAD_THRESHOLD),
            "video_score": picture,
            "video_verdict": verdict(picture, HEAD_THRESHOLD),
            "seconds": self.seconds,
            "faces": self.faces,
            "crop": self.crop,
            "notes": list(self.notes),
            "windows": [window._asdict() for window in self.windows] if self.scored else [],
        }


def verdict(score: float | None, threshold: float) -> str | None:
    """ "real" or "fake"; None without a score."""
    if score is None:
        return None
    return "real" if score >= threshold else "fake"
