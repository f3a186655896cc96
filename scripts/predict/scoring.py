"""Clips scored one beside another: their windows through a detector, in batches that no score depends on."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dataset.check import SILENCE
from dataset.faces import Survey, Window
from dataset.media import FRAME_RATE
from dataset.transforms import normalise
from model import Detector, for_inference
from model.model import Streams
from scripts.predict.output import write_figure
from scripts.predict.page import keep_film
from scripts.predict.reading import End, Reader, Step, read_ahead
from scripts.predict.results import ClipResult, Decision, Film, Journal, Wanted, WindowScore

log = logging.getLogger(__name__)

SILENT = "the audio is silent"
QUIETEST = SILENCE / 32_768  # of full scale


class Scores(NamedTuple):
    """Probabilities of real; None without a head for the audio or the video."""

    score: float
    audio_score: float | None = None
    video_score: float | None = None


class Scorer:
    """A detector on its device, which scores clips or windows of any lengths, each as if it were alone.

    Parameters
    ----------
    detector
        In eval mode.
    device
        Where it computes.
    precision
        As in test.py: 16 and 16-mixed are float32 on a CPU. As an attribute, what it comes to.
    compiled
        As in `model.for_inference`.
    """

    def __init__(self, detector: Detector, device: torch.device, precision: str = "32", compiled: bool = False) -> None:
        self.detector = for_inference(detector, compiled).to(device)
        self.device = device
        half = {"b": torch.bfloat16, "1": torch.float16}.get(precision[0])
        if device.type == "cpu" and half is torch.float16:
            half = None
        self.precision = str(half or torch.float32).removeprefix("torch.")
        self._kept: dict[bytes, Tensor] = {}
        self.autocast = torch.autocast(device.type, half, enabled=half is not None)

    @torch.inference_mode()
    def __call__(
        self, videos: Sequence[Tensor], audios: Sequence[Tensor], keys: Sequence[bytes] = (), keep: bool = False
    ) -> list[Scores]:
        """Score some videos (3, T, 100, 100), uint8, with their audio features (T, 104).

        Parameters
        ----------
        videos, audios
            Of each clip, as long as one another.
        keys
            A digest of each video, for who scores one with several audios: what the image encoder, by far the slowest
            part, makes of it is taken from what was kept.
        keep
            Keep what is new of that: 3 kB a frame on the device.
        """
        lengths = [len(audio) for audio in audios]
        mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
        mask = mask.to(self.device) if mask.any() else None
        audio = _padded(audios).transpose(1, 2).to(self.device)  # (B, 104, T)
        with self.autocast:
            if keys:
                audio_stream = self.detector.model.feature_extractor_audio(audio, mask)
                video_stream = _padded(self._embeddings(videos, keys, keep))
                outputs = self.detector.heads(Streams(video_stream, audio_stream, mask))
            else:
                outputs = self.detector(self._normalised(videos), audio, mask, lengths)
            verdict = self.detector.decide(outputs)
        columns = [
            [None] * len(lengths) if scores is None else scores.float().tolist()
            for scores in (verdict.score, verdict.audio_score, verdict.video_score)
        ]
        return [Scores(*row) for row in zip(*columns, strict=True)]

    def _embeddings(self, videos: Sequence[Tensor], keys: Sequence[bytes], keep: bool) -> list[Tensor]:
        """Embeddings (T, D) of each video."""
        new = {key: video for key, video in zip(keys, videos, strict=True) if key not in self._kept}
        known = dict(self._kept)
        if new:
            lengths = [video.shape[1] for video in new.values()]
            found = self.detector.model.feature_extractor_video(self._normalised([*new.values()]), lengths)  # (B, T, D)
            known |= {key: row[:length].clone() for key, row, length in zip(new, found, lengths, strict=True)}
        if keep:
            self._kept = known
        return [known[key] for key in keys]

    def _normalised(self, videos: Sequence[Tensor]) -> Tensor:
        video = _padded([video.transpose(0, 1) for video in videos]).transpose(1, 2).contiguous()
        return normalise(video.to(self.device))


def _padded(clips: Sequence[Tensor]) -> Tensor:
    """Stack clips (T, …), each followed by zeros to the length of the longest (B, T, …)."""
    return pad_sequence(list(clips), batch_first=True)


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
        known: dict[str, Any] = {}
        if self.survey is not None:
            seconds, people, is_crop = float(self.survey.seconds), int(self.survey.people), bool(self.survey.is_crop)
            notes = [*self.survey.notes, *[SILENT] * (bool(self.scores) and self.loudest <= QUIETEST)]
            no_face = [*self.survey.no_face]
            known = {"seconds": seconds, "faces": people, "crop": is_crop, "no_face": no_face, "notes": notes}
        return ClipResult(*end, **known, windows=[] if end.reason else self.scores)


def score_clips(
    steps: Iterable[tuple[int, Step]], scorer: Scorer, batch_size: int, films: bool = False
) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Score clips from what `scripts.predict.reading.read_ahead` yields, in batches of windows of whichever clips.

    Yields
    ------
    Index of a clip that is done, its result, and, with `films`, what a figure shows of it. Clips come as they are done.
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
    scores = scorer([window.video for _, window in batch], [window.audio for _, window in batch])
    for (index, window), found in zip(batch, scores, strict=True):
        # Times are whole frames, hundredths of a second.
        end = round(window.start + len(window.audio) / FRAME_RATE, 2)
        drafts[index].scores.append(WindowScore(round(window.start, 2), end, *found))
        drafts[index].waiting -= 1


def _done(drafts: dict[int, _Draft]) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Take the clips out of `drafts` of which all is known."""
    for index in [index for index, draft in drafts.items() if draft.end and not draft.waiting]:
        draft = drafts.pop(index)
        yield index, draft.result(), draft.film


@dataclass
class Run:
    """Everything that scores clips."""

    checkpoint: Path  # where the detector comes from
    decision: Decision
    scorer: Scorer
    make_reader: Callable[[], Reader]  # for one thread
    journal: Journal
    batch_size: int = 1  # windows scored together
    threads: int = 1  # clips read at the same time

    def score(self, wanted: Sequence[Wanted]) -> Iterator[tuple[int, ClipResult]]:
        """Yield index and result of each clip: those that are known first, then the others as they are done."""
        left, threshold = [], self.decision.threshold.value
        for index, clip in enumerate(wanted):
            known = self.journal.find(clip, threshold)
            if known is None:
                left.append(index)
            else:
                yield index, known
        if done := len(wanted) - len(left):
            log.info("%d of %d clips were scored before; --fresh scores them anew", done, len(wanted))
        readers = [self.make_reader() for _ in range(min(self.threads, len(left)))]
        films = any(clip.figure or clip.shown for clip in wanted)
        # Closed at once when something goes wrong, so that no thread reads on.
        with closing(read_ahead([wanted[index].path for index in left], readers, room=self.batch_size)) as steps:
            for place, result, film in score_clips(steps, self.scorer, self.batch_size, films):
                clip = wanted[left[place]]
                if film and result.scored and clip.figure:
                    write_figure(clip.figure, clip.path.name, result, film, self.decision, self.checkpoint.name)
                if film and result.scored and clip.shown:
                    keep_film(self.journal.film_path(clip.path), clip.path, film)
                self.journal.add(clip, result, threshold)
                yield left[place], result
