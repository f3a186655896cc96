"""The clips that a detector is most wrong about, with a strip of frames and the waveform of each."""

import base64
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from dataset.corpora import NAMES, read_corpus
from dataset.media import MAX_FRAMES, SAMPLE_RATE, read_audio, read_video

FRAMES = 8
JPEG_QUALITY = 75
BARS, HEIGHT = 240, 40  # of a waveform
FULL_SCALE = 1 << 15
COUNT = 8  # hardest clips of each class
CLASSES = {1: "real", 0: "fake"}


class Media(NamedTuple):
    """What a page shows of a clip: frames side by side and the waveform, each with what it shows, or "" and why not."""

    strip: str  # a JPEG in base64
    frames: str
    outline: str  # the path of an SVG that is `length` wide and `HEIGHT` high
    length: int
    audio: str


class Corpus:
    """Finds the clips of a corpus by the names that scores.csv gives them.

    ``root`` is what --data_root says, None if nothing; ``problems``: why a clip table could not be read, by the kind of
    corpus.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.problems: dict[str, str] = {}
        # Runs have clips in common, which are looked for and decoded once.
        self._paths, self._media = cache(self._read), cache(_media)

    def show(self, file: str, config: dict[str, Any]) -> Media | None:
        """Return frames and audio of a clip, or why there are none; None if the corpus has no such clip.

        The configuration of the fold that tested it tells the kind of corpus and the frames in use.
        """
        path, most = self._paths(kind_of(config)).get(file), config.get("max_frames")
        frames = most if isinstance(most, int) and most > 0 else MAX_FRAMES
        return None if path is None else self._media(path, frames)

    def _read(self, dataset: str) -> dict[str, str]:
        try:
            table = read_corpus(self.root, dataset)
        except (ValueError, OSError) as error:
            self.problems[dataset] = str(error)
            return {}
        return dict(zip(table["file"], table["path"], strict=True))


def kind_of(config: dict[str, Any]) -> str:
    """Kind of corpus that a fold was tested on, one of `dataset.corpora.NAMES`."""
    dataset = config.get("dataset")
    return dataset if isinstance(dataset, str) and dataset in NAMES else "fakeavceleb"


def strip(frames: np.ndarray) -> bytes:
    """Put evenly spaced frames of a clip (T, H, W, 3) side by side, the first and the last among them, as JPEG."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    row = np.concatenate([frames[k] for k in chosen], axis=1)  # (H, 8 W, 3)
    return cv2.imencode(".jpg", row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def envelope(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest sample of up to `BARS` stretches of audio (N,), from -1 to 1 of its peak."""
    parts = np.array_split(samples.astype(float), min(BARS, len(samples)))
    low, high = (np.array([extreme(part) for part in parts]) for extreme in (np.min, np.max))
    peak = max(np.abs(samples.astype(float)).max(), 1.0)
    return low / peak, high / peak


def outline(samples: np.ndarray) -> tuple[str, int]:
    """Draw audio (N,) as the path of an SVG, and say how wide it is."""
    low, high = envelope(samples)
    there_and_back = [*enumerate(high), *reversed([*enumerate(low)])]
    edge = [f"{x},{HEIGHT / 2 * (1 - y):.1f}" for x, y in there_and_back]
    return f"M{'L'.join(edge)}Z", max(len(low) - 1, 1)


def hardest(clips: pd.DataFrame, label: int) -> pd.DataFrame:
    """Return the clips of a class (1 = real) with the highest loss, the highest first, with the column loss.

    The loss is -log of the probability given to the truth, and infinite where that is 0.
    """
    clips = clips[clips["label"] == label]
    score = clips["score"].to_numpy(float)
    with np.errstate(divide="ignore"):
        loss = -np.log(score) if label == 1 else -np.log1p(-score)
    # + 0.0 makes 0 of -0; ties go by name, so that the rows of the file may be in any order
    return clips.assign(loss=loss + 0.0).sort_values(["loss", "file"], ascending=[False, True]).head(COUNT)


def _media(path: str, max_frames: int) -> Media:
    jpeg = drawing = ""
    length = 1
    try:
        frames = read_video(path, max_frames)
        jpeg, shown = base64.b64encode(strip(frames)).decode("ascii"), f"{FRAMES} of {len(frames)} frames"
    except (ValueError, OSError, cv2.error) as error:
        shown = f"No video: {error}"
    try:
        samples = read_audio(path, max_frames)
        peak = 100 * np.abs(samples.astype(float)).max() / FULL_SCALE
        drawing, length = outline(samples)
        heard = f"{len(samples) / SAMPLE_RATE:.2f} s of audio, drawn to its peak, {peak:.0f} % of full scale"
    except (ValueError, OSError) as error:
        heard = f"No audio: {error}"
    return Media(jpeg, shown, drawing, length, heard)
