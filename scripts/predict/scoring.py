"""Windows of many clips through a detector, in batches that no score depends on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dataset.faces import Survey, Window
from dataset.inspection import SILENCE
from dataset.timing import FRAME_RATE
from dataset.transforms import normalise
from model import Detector, for_inference
from scripts.predict.reading import End, Step
from scripts.predict.results import ClipResult, WindowScore

THUMBNAILS = 8
SILENT = "the sound is silent"
QUIETEST = SILENCE / 32_768  # of full scale


class Scorer:
    """A detector on its device.

    Parameters
    ----------
    detector
        In eval mode.
    device
        Where it computes.
    precision
        As in test.py: 16 and 16-mixed are float32 on a CPU.

    Attributes
    ----------
    precision
        What it comes to: float32, float16 or bfloat16, the latter two mixed with float32.
    """

    def __init__(self, detector: Detector, device: torch.device, precision: str = "32") -> None:
        self.detector = for_inference(detector).to(device)
        self.device = device
        half = {"b": torch.bfloat16, "1": torch.float16}.get(precision[0])
        if device.type == "cpu" and half is torch.float16:
            half = None
        self.precision = str(half or torch.float32).removeprefix("torch.")
        self.autocast = torch.autocast(device.type, half, enabled=half is not None)

    @torch.inference_mode()
    def __call__(self, windows: Sequence[Window]) -> list[WindowScore]:
        """Score windows of any lengths; each as if it were alone."""
        video, audio, mask = (tensor.to(self.device) for tensor in padded(windows))
        with self.autocast:
            verdict = self.detector.decide(self.detector(normalise(video), audio, mask))
        columns = [
            [None] * len(windows) if scores is None else scores.float().tolist()
            for scores in (verdict.score, verdict.audio_score, verdict.video_score)
        ]
        return [
            # Times are whole frames, hundredths of a second.
            WindowScore(round(window.start, 2), round(window.start + len(window.audio) / FRAME_RATE, 2), *scores)
            for window, *scores in zip(windows, *columns, strict=True)
        ]


def padded(windows: Sequence[Window]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack windows, each followed by zeros to the length of the longest.

    Returns
    -------
    Video (B, 3, T, 100, 100) uint8, audio (B, 104, T) float32, and the mask (B, T), True = padding.
    """
    lengths = [len(window.audio) for window in windows]
    count, longest = len(windows), max(lengths)
    video = windows[0].video.new_zeros(count, 3, longest, *windows[0].video.shape[2:])
    audio = windows[0].audio.new_zeros(count, windows[0].audio.shape[1], longest)
    mask = torch.ones(count, longest, dtype=torch.bool)
    for row, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        video[row, :, :length] = window.video
        audio[row, :, :length] = window.audio.T
        mask[row, :length] = False
    return video, audio, mask


@dataclass
class Film:
    """What a picture of a clip shows of it: a few frames and how loud it is.

    Parameters
    ----------
    seconds
        Length of the clip.
    frames
        Moment, in seconds → the frame (100, 100, 3) uint8 there; moments outside all windows have none.
    levels
        The largest absolute sample of each 25th of a second, 0 to 1; NaN outside all windows.
    """

    seconds: float
    frames: dict[float, np.ndarray] = field(default_factory=dict)
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


@dataclass
class _Draft:
    """A clip that is being read or scored."""

    survey: Survey | None = None
    film: Film | None = None
    scores: list[WindowScore] = field(default_factory=list)
    waiting: int = 0  # windows read, but not scored yet
    loudest: float = 0.0  # sample of all windows
    end: End | None = None

    def result(self) -> ClipResult:
        end = self.end
        if not end.reason and not all(math.isfinite(window.score) for window in self.scores):
            end = End("no number", "its score is not a number; --precision 32 may help", lasting=False)
        known = {}
        if self.survey is not None:
            seconds, people, is_crop = float(self.survey.seconds), int(self.survey.people), bool(self.survey.is_crop)
            notes = [*self.survey.notes, *[SILENT] * (bool(self.scores) and self.loudest <= QUIETEST)]
            known = {"seconds": seconds, "faces": people, "crop": is_crop, "notes": notes}
        return ClipResult(*end, **known, windows=[] if end.reason else self.scores)


def score_clips(
    steps: Iterable[tuple[int, Step]], scorer: Scorer, batch_size: int, films: bool = False
) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Score clips from what `scripts.predict.reading.read_ahead` yields.

    Parameters
    ----------
    steps
        Index of a clip, and its next step.
    scorer
        Scores windows.
    batch_size
        Windows of a batch, of whichever clips.
    films
        Keep what a picture of each clip shows.

    Yields
    ------
    Index of a clip that is done, its result, and its film if there is to be one. Clips come as they are done.
    """
    drafts: dict[int, _Draft] = {}
    batch: list[tuple[int, Window]] = []
    for index, step in steps:
        draft = drafts.setdefault(index, _Draft())
        if isinstance(step, Survey):
            draft.survey, draft.film = step, Film(float(step.seconds)) if films else None
        elif isinstance(step, Window):
            draft.waiting += 1
            draft.loudest = max(draft.loudest, float(step.levels.max()))
            batch.append((index, step))
            if draft.film:
                draft.film.see(step)
        else:
            draft.end = step
        if len(batch) == batch_size:
            _score(batch, drafts, scorer)
            batch = []
        yield from _done(drafts)
    if batch:
        _score(batch, drafts, scorer)
    yield from _done(drafts)


def _score(batch: list[tuple[int, Window]], drafts: dict[int, _Draft], scorer: Scorer) -> None:
    for (index, _), score in zip(batch, scorer([window for _, window in batch]), strict=True):
        drafts[index].scores.append(score)
        drafts[index].waiting -= 1


def _done(drafts: dict[int, _Draft]) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Take the clips out of `drafts` of which all is known."""
    for index in [index for index, draft in drafts.items() if draft.end and not draft.waiting]:
        draft = drafts.pop(index)
        yield index, draft.result(), draft.film
