"""Picture and sound of a clip, small enough for a page: a strip of frames and a waveform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dataset.corpora import NAMES, read_corpus
from dataset.media import MAX_FRAMES, SAMPLE_RATE, read_audio, read_video
from scripts.report.markup import Html, element, join, picture

FRAMES = 8
JPEG_QUALITY = 75
BARS, HEIGHT = 240, 40  # of a waveform
FULL_SCALE = 1 << 15


class Corpus:
    """Finds the clips of a corpus by the names that scores.csv gives them.

    Parameters
    ----------
    root
        What --data_root says; None if nothing.

    Attributes
    ----------
    problems
        Why a clip table could not be read, by the kind of corpus.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.problems: dict[str, str] = {}
        self._paths: dict[str, dict[str, str]] = {}
        self._media: dict[tuple[str, int], Html] = {}

    def show(self, file: str, config: dict[str, Any]) -> Html | None:
        """Show the frames and the sound of a clip, or say why not; None if the corpus has no such clip.

        Parameters
        ----------
        file
            The clip, as in scores.csv.
        config
            Configuration of the fold that tested it, which knows the kind of corpus and the frames in use.
        """
        path = self._table(kind_of(config)).get(file)
        if path is None:
            return None
        frames = config.get("max_frames")
        # Runs have clips in common, which are decoded once.
        key = (path, frames if isinstance(frames, int) and frames > 0 else MAX_FRAMES)
        if key not in self._media:
            self._media[key] = join([_strip(file, *key), _sound(file, *key)])
        return self._media[key]

    def _table(self, dataset: str) -> dict[str, str]:
        if dataset not in self._paths:
            try:
                table = read_corpus(self.root, dataset)
                self._paths[dataset] = dict(zip(table["file"], table["path"], strict=True))
            except (ValueError, OSError) as error:
                self.problems[dataset] = str(error)
                self._paths[dataset] = {}
        return self._paths[dataset]


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
    """Return the lowest and the highest sample of up to `BARS` stretches of a sound (N,), from -1 to 1 of its peak."""
    parts = np.array_split(samples.astype(float), min(BARS, len(samples)))
    low, high = (np.array([extreme(part) for part in parts]) for extreme in (np.min, np.max))
    peak = max(np.abs(samples.astype(float)).max(), 1.0)
    return low / peak, high / peak


def waveform(samples: np.ndarray, title: str) -> Html:
    """Draw a sound (N,) as a small SVG."""
    low, high = envelope(samples)
    edge = [f"{x},{HEIGHT / 2 * (1 - y):.1f}" for x, y in enumerate(high)]
    edge += [f"{x},{HEIGHT / 2 * (1 - y):.1f}" for x, y in reversed(list(enumerate(low)))]
    return element(
        "svg",
        element("path", d=f"M{'L'.join(edge)}Z"),
        viewBox=f"0 0 {max(len(low) - 1, 1)} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=title,
    )


def _strip(file: str, path: str, max_frames: int) -> Html:
    try:
        frames = read_video(path, max_frames)
    except (ValueError, OSError, cv2.error) as error:
        return _word(f"No picture: {error}")
    return picture(strip(frames), "image/jpeg", f"{FRAMES} of {len(frames)} frames of {file}")


def _sound(file: str, path: str, max_frames: int) -> Html:
    try:
        samples = read_audio(path, max_frames)
    except (ValueError, OSError) as error:
        return _word(f"No sound: {error}")
    peak = np.abs(samples.astype(float)).max() / FULL_SCALE
    words = f"{len(samples) / SAMPLE_RATE:.2f} s of sound, drawn to its peak, {100 * peak:.0f} % of full scale"
    return join([waveform(samples, f"Waveform of {file}: {words}"), element("div", words, class_="quiet")])


def _word(text: str) -> Html:
    return element("div", text, class_="absent")
