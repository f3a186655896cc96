"""What a figure and a page show of a clip: a few frames, how loud it is, and its audio."""

import base64
import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from dataset.audio import encode_mp3
from dataset.faces import Window
from dataset.media import FRAME_RATE, read_audio
from utils.errors import DataError
from utils.files import write_atomic

log = logging.getLogger(__name__)

THUMBNAILS = 8
THUMBNAIL = 100  # pixels a side
LEVELS = 400  # of a waveform on a page at most
LONGEST_AUDIO = 60  # seconds of a clip that can be played
KILOBITS = 32


@dataclass
class Preview:
    """A few frames of a clip and how loud it is, collected as its windows pass."""

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

    def keep(self, path: Path, clip: Path) -> None:
        """Write what a page shows: the frames as one JPEG, the waveform, and the clip's audio as MP3 if it is short."""
        strip = np.full((THUMBNAIL, THUMBNAIL * THUMBNAILS, 3), 225, np.uint8)
        for moment, frame in self.frames.items():
            left = int(moment / self.seconds * THUMBNAILS) * THUMBNAIL
            strip[:, left : left + THUMBNAIL] = frame
        jpeg = cv2.imencode(".jpg", strip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        parts = np.array_split(np.nan_to_num(self.levels), min(LEVELS, len(self.levels)))
        audio = b""
        if self.seconds <= LONGEST_AUDIO:
            try:
                audio = encode_mp3(read_audio(clip, math.ceil(self.seconds * FRAME_RATE)), KILOBITS)
            except (DataError, av.FFmpegError) as error:
                log.debug("%s: its audio is not on the page (%s)", clip, error)
        kept = {
            "strip": base64.b64encode(jpeg).decode(),
            "levels": [round(float(part.max()), 3) for part in parts if len(part)],
            "audio": base64.b64encode(audio).decode(),
        }
        write_atomic(path, json.dumps(kept))
