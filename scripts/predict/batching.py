"""Clips scored one beside another: windows of whichever clips go through a detector in batches, and back to theirs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dataset.check import SILENCE
from dataset.faces import Survey, Window
from dataset.media import FRAME_RATE
from model.scorer import Scorer
from scripts.predict.prediction import ClipResult, WindowScore
from scripts.predict.preview import Preview
from scripts.predict.reading import Step

SILENT = "the audio is silent"
QUIETEST = SILENCE / 32_768  # of full scale


@dataclass
class _Draft:
    """A clip that is being read or scored."""

    result: ClipResult = field(default_factory=ClipResult)
    preview: Preview | None = None
    loudest: float = 0.0  # sample of all windows
    waiting: int = 0  # windows read, but not scored yet
    is_read: bool = False

    def take(self, step: Step, with_previews: bool) -> None:
        """Note the next step of the clip."""
        if isinstance(step, Survey):
            self.result = ClipResult(
                seconds=float(step.seconds),
                faces=int(step.people),
                crop=bool(step.is_crop),
                no_face=[*step.no_face],
                notes=[*step.notes],
            )
            self.preview = Preview(float(step.seconds)) if with_previews else None
        elif isinstance(step, Window):
            self.waiting += 1
            self.loudest = max(self.loudest, float(step.levels.max()))
            if self.preview:
                self.preview.see(step)
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
    steps: Iterable[tuple[int, Step]], scorer: Scorer, batch_size: int, with_previews: bool = False
) -> Iterator[tuple[int, ClipResult, Preview | None]]:
    """Score clips from what `scripts.predict.reading.read_ahead` yields, in batches of windows of whichever clips.

    Yields
    ------
    Index of a clip that is done, its result, and, if asked for, its preview. Clips come as they are done.
    """
    drafts: defaultdict[int, _Draft] = defaultdict(_Draft)
    batch: list[tuple[_Draft, Window]] = []
    for index, step in steps:
        drafts[index].take(step, with_previews)
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
    all_scores = scorer([window.video for _, window in batch], [window.audio for _, window in batch])
    for (draft, window), scores in zip(batch, all_scores, strict=True):
        # Times are whole frames, hundredths of a second.
        end = round(window.start + len(window.audio) / FRAME_RATE, 2)
        draft.result.windows.append(WindowScore(round(window.start, 2), end, *scores))
        draft.waiting -= 1


def _done(drafts: dict[int, _Draft]) -> Iterator[tuple[int, ClipResult, Preview | None]]:
    """Take the clips out of `drafts` of which all is known."""
    for index in [index for index, draft in drafts.items() if draft.is_read and not draft.waiting]:
        draft = drafts.pop(index)
        yield index, draft.finished(), draft.preview
