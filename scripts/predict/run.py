"""Clips scored one beside another, remembered and drawn as soon as each is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scripts.predict.journal import Journal
from scripts.predict.plot import write_plot
from scripts.predict.reading import Reader, read_ahead
from scripts.predict.results import ClipResult
from scripts.predict.scoring import Scorer, score_clips

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """A clip to score, and where its picture goes, if there is to be one."""

    path: Path
    picture: Path | None = None


@dataclass
class Run:
    """Everything that scores clips.

    Parameters
    ----------
    checkpoint
        Where the detector comes from.
    threshold
        A clip is real from this score on.
    scorer
        Scores windows.
    make_reader
        Makes what reads clips, for one thread.
    journal
        Knows the clips that were scored before.
    batch_size
        Windows scored together.
    threads
        How many clips are read at the same time.
    """

    checkpoint: Path
    threshold: float
    scorer: Scorer
    make_reader: Callable[[], Reader]
    journal: Journal
    batch_size: int = 1
    threads: int = 1

    def score(self, wanted: Sequence[Wanted]) -> Iterator[tuple[int, ClipResult]]:
        """Yield index and result of each clip: those that are known first, then the others as they are done."""
        left = []
        for index, clip in enumerate(wanted):
            known = self.journal.find(*clip, self.threshold)
            if known is None:
                left.append(index)
            else:
                yield index, known
        if known := len(wanted) - len(left):
            log.info("%d of %d clips were scored before; --fresh scores them anew", known, len(wanted))
        readers = [self.make_reader() for _ in range(min(self.threads, len(left)))]
        films = any(clip.picture for clip in wanted)
        # Closed at once when something goes wrong, so that no thread reads on.
        with closing(read_ahead([wanted[index].path for index in left], readers, room=self.batch_size)) as steps:
            for place, result, film in score_clips(steps, self.scorer, self.batch_size, films):
                clip = wanted[left[place]]
                if film and result.scored:
                    write_plot(clip.picture, clip.path.name, result, film, self.threshold, self.checkpoint.name)
                self.journal.add(*clip, result, self.threshold)
                yield left[place], result
