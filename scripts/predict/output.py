"""What a user gets to see: a line a clip, and the same in full as JSON and as csv."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from model.threshold import Threshold
from scripts.predict.results import HEAD_THRESHOLD, POLARITY, ClipResult, verdict
from utils.cli import SCREEN
from utils.files import to_json, write_atomic

WIDEST_NAME = 100
OF_WINDOWS = "A clip's score is the mean of its windows' scores."
HEADS = {"sound": "audio_score", "picture": "video_score"}


def head_lines(kind: str, checkpoint: Path, threshold: Threshold) -> list[str]:
    """What the lines of the clips mean."""
    return [
        f"{kind} in {checkpoint}",
        f"score = {POLARITY}. {OF_WINDOWS}",
        f"threshold: {described(threshold)}; sound and picture alone, where they are judged: {HEAD_THRESHOLD}",
    ]


def described(threshold: Threshold) -> str:
    """From which score on a clip is called real, and where that comes from."""
    origin = {
        "eer": f"where the error rates meet on {threshold.on} ({threshold.clips} clips)",
        "given": "as --threshold says",
        "default": "the checkpoint holds none; --threshold sets another",
    }[threshold.rule]
    return f"real from {threshold.value:.4g} on ({origin})"


def clip_line(file: str, result: ClipResult, threshold: float, width: int) -> str:
    """One clip on one line.

    Parameters
    ----------
    file
        Its name.
    result
        What is known of it.
    threshold
        It is real from this score on.
    width
        Of the column with the names.
    """
    name = file.ljust(width)
    if not result.scored:
        message = result.message.removeprefix(f"{file}: ")
        said = message if message.startswith(result.reason) else f"{result.reason}: {message}"
        return f"{name}   NOT SCORED   {said}"
    score = result.mean()
    parts = [f"{name}   {verdict(score, threshold).upper()}   {numbers(score, threshold)}"]
    for word, column in HEADS.items():
        value = result.mean(column)
        if value is not None:
            parts.append(f"{word} {verdict(value, HEAD_THRESHOLD)} {value:.2f}")
    count = len(result.windows)
    more = f"s, lowest {result.lowest.score:.3f} at {result.lowest.start:.1f} s" if count > 1 else ""
    parts.append(f"{count} window{more}")
    if result.notes:
        parts.append(f"[{'; '.join(result.notes)}]")
    return "   ".join(parts)


def numbers(score: float, threshold: float) -> str:
    """Score and threshold, with as many digits as show on which side it is."""
    digits = next((d for d in (3, 6) if f"{score:.{d}f}" != f"{threshold:.{d}f}"), 9)
    return f"{score:.{digits}f} (real from {round(threshold, digits):g})"


def summary_line(results: Sequence[ClipResult], threshold: float) -> str:
    """How many clips were scored, how many of them are real, and why others were not."""
    verdicts = Counter(verdict(result.mean(), threshold) for result in results if result.scored)
    reasons = Counter(result.reason for result in results if not result.scored)
    line = f"{verdicts.total()} scored: {verdicts['real']} real, {verdicts['fake']} fake; {reasons.total()} not scored"
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{line} ({listed})" if listed else line


def name_width(files: Sequence[str]) -> int:
    """Width of the column with the names; longer ones stand out of it."""
    return max((len(file) for file in files if len(file) <= WIDEST_NAME), default=0)


def as_json(
    checkpoint: Path, threshold: Threshold, settings: Mapping[str, Any], clips: Mapping[str, ClipResult]
) -> str:
    """Everything as one JSON object."""
    content = {
        "score": POLARITY,
        "clip_score": OF_WINDOWS,
        "checkpoint": str(checkpoint),
        "threshold": threshold._asdict() | {"text": described(threshold), "heads": HEAD_THRESHOLD},
        "settings": dict(settings),
        "clips": [result.record(file, threshold.value) for file, result in clips.items()],
    }
    return to_json(content)


def as_csv(checkpoint: Path, threshold: Threshold, clips: Mapping[str, ClipResult]) -> str:
    """A row a clip. p_real, p_sound_real and p_picture_real are probabilities of real."""
    rows = []
    for file, result in clips.items():
        record = result.record(file, threshold.value)
        lowest = result.lowest if result.scored else None
        rows.append({
            "file": file,
            "status": record["status"],
            "reason": record["reason"],
            "verdict": record["verdict"],
            "p_real": record["score"],
            "threshold": threshold.value,
            "sound_verdict": record["audio_verdict"],
            "p_sound_real": record["audio_score"],
            "picture_verdict": record["video_verdict"],
            "p_picture_real": record["video_score"],
            "windows": len(record["windows"]),
            "lowest_p_real": lowest and lowest.score,
            "lowest_start": lowest and lowest.start,
            "seconds": record["seconds"],
            "faces": record["faces"],
            "crop": record["crop"],
            "notes": "; ".join(record["notes"]),
            "message": record["message"],
            "checkpoint": str(checkpoint),
        })  # fmt: skip
    content = io.StringIO()
    # Whole numbers stay whole where some are missing.
    pd.DataFrame(rows).astype({"faces": "Int64", "crop": object}).to_csv(content, index=False)
    return content.getvalue()


def make_room(flag: str, target: str | None) -> None:
    """Make the folder of a file that will be written, before hours are spent on what it is to hold.

    Raises
    ------
    ValueError
        If it cannot be made or written to.
    """
    if target is None or target == SCREEN:
        return
    folder = Path(target).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--{flag} {target}: its folder cannot be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--{flag} {target}: its folder cannot be written to")


def put(text: str, target: str) -> None:
    """Write a text to a file, or to the standard output if the target is "-"."""
    whole = text.encode(errors="backslashreplace").decode()  # names of files need not be Unicode
    if target == SCREEN:
        sys.stdout.write(whole)
    else:
        write_atomic(Path(target), whole)


def printable(text: str) -> str:
    """The text without what no terminal can show, such as the bytes of a file name that is not Unicode."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
