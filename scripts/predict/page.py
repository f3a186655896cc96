"""All clips of a run on one page, for a person: verdicts, faces, audio and scores over time. It needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from dataset.media import FRAME_RATE, SAMPLE_RATE, read_audio
from model import weights_file
from scripts.predict.output import OF_WINDOWS, described, numbers, of_probabilities, printable
from scripts.predict.results import HEAD_THRESHOLD, POLARITY, THUMBNAILS, ClipResult, Decision, Film, Prediction
from utils.errors import DataError
from utils.files import file_digest, write_atomic
from utils.templates import templates_in

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
THUMBNAIL = 100  # pixels a side
LEVELS = 400  # of a waveform at most
LONGEST_AUDIO = 60  # seconds of a clip that can be played
MOST_AUDIO = 32_000_000  # bytes of all clips together; a page that is much larger opens slowly
KILOBITS = 32
WIDTH, HEIGHT, TOP, BOTTOM = 1000, 240, 14, 206  # of a chart, in units of its drawing


class Shown(NamedTuple):
    """A clip as the page shows it."""

    number: int
    name: str
    clip: Prediction
    numbers: str
    strip: str
    wave: str
    audio: str


def keep_film(path: Path, clip: Path, film: Film) -> None:
    """Keep what the page shows of a clip: its faces as a JPEG, its waveform, and its audio as MP3 if it is short."""
    strip = np.full((THUMBNAIL, THUMBNAIL * THUMBNAILS, 3), 225, np.uint8)
    for moment, frame in film.frames.items():
        left = int(moment / film.seconds * THUMBNAILS) * THUMBNAIL
        strip[:, left : left + THUMBNAIL] = frame
    jpeg = cv2.imencode(".jpg", strip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    parts = np.array_split(np.nan_to_num(film.levels), min(LEVELS, len(film.levels)))
    audio = b""
    if film.seconds <= LONGEST_AUDIO:
        try:
            audio = encode_mp3(read_audio(clip, math.ceil(film.seconds * FRAME_RATE)), KILOBITS)
        except (DataError, av.FFmpegError) as error:
            log.debug("%s: its audio is not on the page (%s)", clip, error)
    kept = {
        "strip": base64.b64encode(jpeg).decode(),
        "levels": [round(float(part.max()), 3) for part in parts if len(part)],
        "audio": base64.b64encode(audio).decode(),
    }
    write_atomic(path, json.dumps(kept))


def encode_mp3(samples: np.ndarray, kilobits: float) -> bytes:
    """Encode samples (N,) at 16 kHz with LAME at a constant bit rate.

    The file says by how much encoder and decoder delay the audio, and players make up for it.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = round(1000 * kilobits)
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        cut = av.AudioResampler(context.format.name, "mono", SAMPLE_RATE, frame_size=context.frame_size)
        for part in (*cut.resample(frame), *cut.resample(None), None):
            container.mux(stream.encode(part))
    return file.getvalue()


def as_page(
    about: Mapping[str, Any], decision: Decision, results: Mapping[str, ClipResult], films: Sequence[Path]
) -> str:
    """The page as HTML.

    Parameters
    ----------
    about
        "checkpoint", "settings" of the run, "config" of the training as far as the checkpoint tells, and "card", the
        model card's text or "".
    decision
        How scores become verdicts.
    results
        File → what is known of the clip.
    films
        Where `keep_film` has put what is shown of each; a file that is not there shows nothing.
    """
    clips = list(_shown(results, films, decision))
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    checkpoint, config = Path(about["checkpoint"]), about["config"]
    weights = weights_file(checkpoint)
    words = {"dataset": "on", "recipe": "by recipe", "fold": "with", "save_name": "as run", "seed": "with seed"}
    environment = templates_in(FOLDER, markup=True)
    return environment.get_template("page.html").render(
        clips=clips,
        counts=Counter(shown.clip.verdict for shown in clips),
        checkpoint=printable(str(checkpoint)),
        weights=file_digest(weights) if weights.is_file() else "not known",
        trained=", ".join(f"{word} {config[key]}" for key, word in words.items() if config.get(key) is not None),
        dataset=config.get("dataset") and printable(str(config["dataset"])),
        settings=about["settings"],
        verdict=described(decision.threshold),
        head_threshold=HEAD_THRESHOLD,
        card="\n".join(map(printable, str(about.get("card", "")).splitlines())),
        polarity=POLARITY,
        calibrated=of_probabilities(decision),
        of_windows=OF_WINDOWS,
        threshold=decision.threshold.value,
        x=_x,
        y=_y,
        ticks=_ticks,
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        # Only this very script runs, whatever the names of the clips hold.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        chart={"width": WIDTH, "height": HEIGHT, "top": TOP, "bottom": BOTTOM},
    )


def _shown(results: Mapping[str, ClipResult], films: Sequence[Path], decision: Decision) -> Iterator[Shown]:
    room = MOST_AUDIO
    for number, ((file, result), film) in enumerate(zip(results.items(), films, strict=True), 1):
        clip = result.judged(file, decision)
        kept: dict[str, Any] = {"strip": "", "levels": [], "audio": ""}
        if clip.score is not None and film.is_file():
            kept |= json.loads(film.read_text(encoding="utf-8"))
        if len(kept["audio"]) > room:
            kept["audio"] = ""
        room -= len(kept["audio"])
        said = "" if clip.score is None else numbers(clip.score, decision.threshold.value)
        strip, wave, audio = kept["strip"], _wave(kept["levels"]), kept["audio"]
        yield Shown(number, printable(file), clip, said, strip, wave, audio)


def _ticks(clip: Prediction) -> list[float]:
    """Seconds that a chart marks: at most eleven, at even steps."""
    step = next(step for step in (0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 3600, 86_400) if clip.seconds / step <= 10)
    return [step * k for k in range(int(clip.seconds / step) + 1)]


def _x(second: float, clip: Prediction) -> float:
    return round(WIDTH * min(second / clip.seconds, 1), 1)


def _y(score: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * min(max(score, 0), 1), 1)


def _wave(levels: Sequence[float]) -> str:
    """Outline of a waveform, as points of a polygon in a box of 1000 by 2, the loudest level at its edges."""
    if not levels:
        return ""
    loudest = max(*levels, 0.01)
    across = [1000 * (k + 0.5) / len(levels) for k in range(len(levels))]
    upper = [f"{x:.1f},{1 - level / loudest:.3f}" for x, level in zip(across, levels, strict=True)]
    lower = [f"{x:.1f},{1 + level / loudest:.3f}" for x, level in zip(across, levels, strict=True)]
    return " ".join((*upper, *reversed(lower)))
