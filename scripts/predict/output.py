"""What is said of the clips: a line each, and the same in full as JSON and as csv."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from model.threshold import Threshold
from scripts.predict.prediction import HEAD_THRESHOLD, POLARITY, Decision, Prediction
from utils.cli import SCREEN
from utils.files import to_json, write_atomic

WIDEST_NAME = 100
OF_WINDOWS = "A clip's score is the mean of its windows' scores."


def head_lines(kind: str, checkpoint: Path, decision: Decision) -> list[str]:
    """What the lines of the clips mean."""
    lines = [
        f"{kind} in {checkpoint}",
        f"score = {POLARITY}. {OF_WINDOWS}",
        f"threshold: {described(decision.threshold)}; audio and video alone, where they are judged: {HEAD_THRESHOLD}",
    ]
    return [*lines, *filter(None, [of_probabilities(decision)])]


def of_probabilities(decision: Decision) -> str:
    """What the calibrated probabilities are, for people; "" where there are none."""
    if "" not in decision.calibrations:
        return ""
    fitted = f"calibrated on {decision.on} ({decision.calibrations[''].clips} clips)"
    return f"p = probability of real, {fitted}, if {100 * (decision.shown_prior or 0):.2g} % of all clips are fake"


def described(threshold: Threshold) -> str:
    """From which score on a clip is called real, and where that comes from."""
    origin = {
        "eer": f"where the error rates meet on {threshold.on} ({threshold.clips} clips)",
        "given": "as --threshold says",
        "default": "the checkpoint holds none; --threshold sets another",
    }[threshold.rule]
    return f"real from {threshold.value:.4g} on ({origin})"


def clip_line(clip: Prediction, threshold: float, width: int) -> str:
    """One clip on one line, whose name fills a column of that width."""
    name = clip.file.ljust(width)
    if clip.score is None:
        message = clip.message.removeprefix(f"{clip.file}: ")
        reason = "" if message.startswith(clip.reason) else f"{clip.reason}: "
        return f"{name}   NOT SCORED   {reason}{message}"
    parts = [f"{name}   {clip.verdict.upper()}   {numbers(clip.score, threshold)}"]
    if clip.probability is not None:
        parts.append(f"p {clip.probability:.2f}")
    if clip.audio_score is not None:
        parts.append(f"audio {clip.audio_verdict} {clip.audio_score:.2f}")
    if clip.video_score is not None:
        parts.append(f"video {clip.video_verdict} {clip.video_score:.2f}")
    count = len(clip.windows)
    parts.append(
        f"{count} windows, lowest {clip.lowest.score:.3f} at {clip.lowest.start:.1f} s" if count > 1 else "1 window"
    )
    if clip.notes:
        parts.append(f"[{'; '.join(clip.notes)}]")
    return "   ".join(parts)


def numbers(score: float, threshold: float) -> str:
    """Score and threshold, with as many digits as show on which side it is."""
    digits = next((d for d in (3, 6) if f"{score:.{d}f}" != f"{threshold:.{d}f}"), 9)
    return f"{score:.{digits}f} (real from {round(threshold, digits):g})"


def summary_line(clips: Sequence[Prediction]) -> str:
    """How many clips were scored, how many of them are real, and why others were not."""
    verdicts = Counter(clip.verdict for clip in clips if clip.verdict)
    reasons = Counter(clip.reason for clip in clips if clip.reason)
    line = f"{verdicts.total()} scored: {verdicts['real']} real, {verdicts['fake']} fake; {reasons.total()} not scored"
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{line} ({listed})" if listed else line


def name_width(files: Sequence[str]) -> int:
    """Width of the column with the names; longer ones stand out of it."""
    return max((len(file) for file in files if len(file) <= WIDEST_NAME), default=0)


def as_json(checkpoint: Path, decision: Decision, settings: Mapping[str, Any], clips: Sequence[Prediction]) -> str:
    """Everything as one JSON object."""
    calibration = {stream or "clip": platt._asdict() for stream, platt in decision.calibrations.items()}
    content = {
        "score": POLARITY,
        "clip_score": OF_WINDOWS,
        "checkpoint": str(checkpoint),
        "threshold": decision.threshold._asdict() | {"text": described(decision.threshold), "heads": HEAD_THRESHOLD},
        "calibration": calibration | {"on": decision.on, "prior_of_fakes": decision.shown_prior},
        "settings": dict(settings),
        "clips": [clip.plain() for clip in clips],
    }
    return to_json(content)


def as_csv(checkpoint: Path, threshold: float, clips: Sequence[Prediction]) -> str:
    """A row a clip. p_real, p_audio_real and p_video_real are the detector's scores, calibrated_p_real calibrated."""
    rows = [
        {
            "file": clip.file,
            "status": clip.status,
            "reason": clip.reason,
            "verdict": clip.verdict,
            "p_real": clip.score,
            "calibrated_p_real": clip.probability,
            "threshold": threshold,
            "audio_verdict": clip.audio_verdict,
            "p_audio_real": clip.audio_score,
            "video_verdict": clip.video_verdict,
            "p_video_real": clip.video_score,
            "windows": len(clip.windows),
            "lowest_p_real": clip.lowest and clip.lowest.score,
            "lowest_start": clip.lowest and clip.lowest.start,
            "seconds": clip.seconds,
            "faces": clip.faces,
            "crop": clip.crop,
            "notes": "; ".join(clip.notes),
            "message": clip.message,
            "checkpoint": str(checkpoint),
        }
        for clip in clips
    ]
    # Whole numbers stay whole where some are missing.
    return pd.DataFrame(rows).astype({"faces": "Int64", "crop": object}).to_csv(index=False)


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
