"""Clips scored one beside another: their windows through a detector, in batches that no score depends on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dataset.check import SILENCE
from dataset.faces import Survey, Window
from dataset.media import FRAME_RATE
from dataset.transforms import normalise
from model import Detector, for_inference
from model.model import Streams
from scripts.predict.film import Film
from scripts.predict.prediction import ClipResult, WindowScore
from scripts.predict.reading import Step

SILENT = "the audio is silent"
QUIETEST = SILENCE / 32_768  # of full scale


class Scores(NamedTuple):
    """Probabilities of real; None without a head for the audio or the video."""

    score: float
    audio_score: float | None = None
    video_score: float | None = None


class Scorer:
    """A detector on its device, which scores clips or windows of any lengths, each as if it were alone.

    `precision` is as in test.py: 16 and 16-mixed are float32 on a CPU; as an attribute, it is what that comes to.
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
        """Score some videos (3, T, 100, 100), uint8, each with audio features (T, 104) of its length.

        `keys` are a digest of each video, for who scores one with several audios: what the image encoder, by far the
        slowest part, makes of it is taken from what was kept. `keep` keeps what is new of that: 3 kB a frame on the
        device.
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

    result: ClipResult = field(default_factory=ClipResult)
    film: Film | None = None
    loudest: float = 0.0  # sample of all windows
    waiting: int = 0  # windows read, but not scored yet
    is_read: bool = False

    def take(self, step: Step, films: bool) -> None:
        """Note the next step of the clip."""
        if isinstance(step, Survey):
            self.result = ClipResult(
                seconds=float(step.seconds),
                faces=int(step.people),
                crop=bool(step.is_crop),
                no_face=[*step.no_face],
                notes=[*step.notes],
            )
            self.film = Film(float(step.seconds)) if films else None
        elif isinstance(step, Window):
            self.waiting += 1
            self.loudest = max(self.loudest, float(step.levels.max()))
            if self.film:
                self.film.see(step)
        else:
            self.result.reason, self.result.message, self.result.lasting = step
            self.is_read = True

    def finished(self) -> ClipResult:
        """The result, when all windows are scored."""
        result = self.result
        if result.windows and self.loudest <= QUIETEST:
            result.notes.append(SILENT)
        if result.scored and not all(math.isfinite(window.score) for window in result.windows):
            result.reason, result.lasting = "no number", False
            result.message = "its score is not a number; --precision 32 may help"
        if not result.scored:
            result.windows = []
        return result


def score_clips(
    steps: Iterable[tuple[int, Step]], scorer: Scorer, batch_size: int, films: bool = False
) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Score clips from what `scripts.predict.reading.read_ahead` yields, in batches of windows of whichever clips.

    Yields
    ------
    Index of a clip that is done, its result, and, with `films`, what is shown of it. Clips come as they are done.
    """
    drafts: defaultdict[int, _Draft] = defaultdict(_Draft)
    batch: list[tuple[_Draft, Window]] = []
    for index, step in steps:
        drafts[index].take(step, films)
        if isinstance(step, Window):
            batch.append((drafts[index], step))
        if len(batch) == batch_size:
            _score(batch, scorer)
            batch = []
        yield from _done(drafts)
    if batch:
        _score(batch, scorer)
    yield from _done(drafts)


def _score(batch: list[tuple[_Draft, Window]], scorer: Scorer) -> None:
    scores = scorer([window.video for _, window in batch], [window.audio for _, window in batch])
    for (draft, window), found in zip(batch, scores, strict=True):
        # Times are whole frames, hundredths of a second.
        end = round(window.start + len(window.audio) / FRAME_RATE, 2)
        draft.result.windows.append(WindowScore(round(window.start, 2), end, *found))
        draft.waiting -= 1


def _done(drafts: dict[int, _Draft]) -> Iterator[tuple[int, ClipResult, Film | None]]:
    """Take the clips out of `drafts` of which all is known."""
    for index in [index for index, draft in drafts.items() if draft.is_read and not draft.waiting]:
        draft = drafts.pop(index)
        yield index, draft.finished(), draft.film
