"""What a user gets to see: a line a clip, the same in full as JSON and as csv, and a figure of a clip."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dataset.media import FRAME_RATE
from model.threshold import Threshold
from scripts.predict.results import HEAD_THRESHOLD, POLARITY, THUMBNAILS, ClipResult, Decision, Film
from utils.cli import SCREEN
from utils.errors import DataError
from utils.figures.style import DPI, Look, caption, new_figure, tidy
from utils.files import to_json, write_atomic

WIDEST_NAME = 100
OF_WINDOWS = "A clip's score is the mean of its windows' scores."
HEADS = {"audio": "audio_score", "video": "video_score"}
REAL, FAKE = "#009E73", "#D55E00"  # Okabe and Ito's; a window's side of the threshold says the same
HEAD_LOOKS = {"audio": Look("#E69F00", "^", (0, (2, 1.2))), "video": Look("#56B4E9", "s", (0, (6, 1.5, 1.2, 1.5)))}


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


def clip_line(file: str, result: ClipResult, decision: Decision, width: int) -> str:
    """One clip on one line, whose name fills a column of that width."""
    name, said = file.ljust(width), result.judged(file, decision)
    if not result.scored:
        message = result.message.removeprefix(f"{file}: ")
        reason = "" if message.startswith(result.reason) else f"{result.reason}: "
        return f"{name}   NOT SCORED   {reason}{message}"
    parts = [f"{name}   {said.verdict.upper()}   {numbers(said.score, decision.threshold.value)}"]
    if said.probability is not None:
        parts.append(f"p {said.probability:.2f}")
    if said.audio_score is not None:
        parts.append(f"audio {said.audio_verdict} {said.audio_score:.2f}")
    if said.video_score is not None:
        parts.append(f"video {said.video_verdict} {said.video_score:.2f}")
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


def summary_line(results: Sequence[ClipResult], decision: Decision) -> str:
    """How many clips were scored, how many of them are real, and why others were not."""
    verdicts = Counter(decision.verdict(result.mean()) for result in results if result.scored)
    reasons = Counter(result.reason for result in results if not result.scored)
    line = f"{verdicts.total()} scored: {verdicts['real']} real, {verdicts['fake']} fake; {reasons.total()} not scored"
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{line} ({listed})" if listed else line


def name_width(files: Sequence[str]) -> int:
    """Width of the column with the names; longer ones stand out of it."""
    return max((len(file) for file in files if len(file) <= WIDEST_NAME), default=0)


def as_json(checkpoint: Path, decision: Decision, settings: Mapping[str, Any], clips: Mapping[str, ClipResult]) -> str:
    """Everything as one JSON object."""
    calibration = {stream or "clip": platt._asdict() for stream, platt in decision.calibrations.items()}
    content = {
        "score": POLARITY,
        "clip_score": OF_WINDOWS,
        "checkpoint": str(checkpoint),
        "threshold": decision.threshold._asdict() | {"text": described(decision.threshold), "heads": HEAD_THRESHOLD},
        "calibration": calibration | {"on": decision.on, "prior_of_fakes": decision.shown_prior},
        "settings": dict(settings),
        "clips": [result.judged(file, decision).plain() for file, result in clips.items()],
    }
    return to_json(content)


def as_csv(checkpoint: Path, decision: Decision, clips: Mapping[str, ClipResult]) -> str:
    """A row a clip. p_real, p_audio_real and p_video_real are the detector's scores, calibrated_p_real calibrated."""
    rows = []
    for file, result in clips.items():
        said, lowest = result.judged(file, decision), result.lowest if result.scored else None
        rows.append({
            "file": file,
            "status": said.status,
            "reason": said.reason,
            "verdict": said.verdict,
            "p_real": said.score,
            "calibrated_p_real": said.probability,
            "threshold": decision.threshold.value,
            "audio_verdict": said.audio_verdict,
            "p_audio_real": said.audio_score,
            "video_verdict": said.video_verdict,
            "p_video_real": said.video_score,
            "windows": len(said.windows),
            "lowest_p_real": lowest and lowest.score,
            "lowest_start": lowest and lowest.start,
            "seconds": said.seconds,
            "faces": said.faces,
            "crop": said.crop,
            "notes": "; ".join(said.notes),
            "message": said.message,
            "checkpoint": str(checkpoint),
        })  # fmt: skip
    # Whole numbers stay whole where some are missing.
    return pd.DataFrame(rows).astype({"faces": "Int64", "crop": object}).to_csv(index=False)


def make_room(flag: str, target: str | None) -> None:
    """Make the folder of a file that will be written, before hours are spent on what it is to hold.

    Raises
    ------
    DataError
        If it cannot be made or written to.
    """
    if target is None or target == SCREEN:
        return
    folder = Path(target).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--{flag} {target}: its folder cannot be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise DataError(f"--{flag} {target}: its folder cannot be written to")


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


def write_figure(path: Path, file: str, result: ClipResult, film: Film, decision: Decision, checkpoint: str) -> None:
    """Draw a clip that was scored as PNG; file and checkpoint are their names."""
    figure = draw_clip(file, result, film, decision, checkpoint)
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that the font lacks show boxes
        figure.savefig(content, format="png", dpi=DPI)
    write_atomic(path, content.getvalue())


def draw_clip(file: str, result: ClipResult, film: Film, decision: Decision, checkpoint: str) -> Figure:
    """Draw what `write_figure` writes."""
    score, threshold = result.mean(), decision.threshold.value
    title = f"{decision.verdict(score).upper()} {numbers(score, threshold)}: {printable(file)}"
    figure = new_figure(5.6, title)
    strip, audio, scores = figure.subplots(3, 1, height_ratios=(1.08, 1, 3))
    _draw_strip(strip, film)
    _draw_audio(audio, film)
    _draw_scores(scores, result, threshold)
    scores.set_xlim(0, film.seconds)
    audio.sharex(scores)
    count = len(result.windows)
    caption(
        figure,
        f"{count} window{'s' * (count > 1)}, scored by {printable(checkpoint)}.",
        OF_WINDOWS if count > 1 else "",
        f"Audio and video alone are real from {HEAD_THRESHOLD} on." if result.mean("audio_score") is not None else "",
        "Hatched: no face is to be seen." * bool(result.no_face),
        "No window is scored where no face is to be seen for most of it." * (not _covered(result, film)),
        *(f"{note[:1].upper()}{note[1:]}." for note in result.notes),
    )
    return figure


def _draw_strip(axes: Axes, film: Film) -> None:
    # As wide as the time axes below, but in thumbnails, which stay square.
    for moment, frame in film.frames.items():
        middle = moment / film.seconds * THUMBNAILS
        axes.imshow(frame, extent=(middle - 0.5, middle + 0.5, 0, 1), interpolation="bilinear")
    axes.set(xlim=(0, THUMBNAILS), ylim=(0, 1), aspect="equal")
    axes.axis("off")


def _draw_audio(axes: Axes, film: Film) -> None:
    tidy(axes, ylabel="Audio")
    levels = np.array(film.levels)
    axes.fill_between((np.arange(len(levels)) + 0.5) / FRAME_RATE, -levels, levels, color="0.45", linewidth=0)
    loudest = np.nanmax(levels, initial=0.01)
    axes.set_ylim(-1.1 * loudest, 1.1 * loudest)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)


def _draw_scores(axes: Axes, result: ClipResult, threshold: float) -> None:
    tidy(axes, xlabel="Seconds", ylabel="Probability of real (1 = real)")
    axes.axhspan(-0.05, threshold, color=FAKE, alpha=0.08, linewidth=0)
    axes.axhline(threshold, color="black", linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3g}")
    for start, end in result.no_face:
        axes.axvspan(start, end, facecolor="0.93", edgecolor="0.7", hatch="///", linewidth=0, zorder=0)
    middles = [(window.start + window.end) / 2 for window in result.windows]
    for word, column in HEADS.items():
        if result.mean(column) is not None:
            values, look = [getattr(window, column) for window in result.windows], HEAD_LOOKS[word]
            axes.plot(middles, values, look.marker, color=look.colour, linestyle=look.dashes, label=f"{word} alone")
    for window in result.windows:
        colour = REAL if window.score >= threshold else FAKE
        axes.hlines(window.score, window.start, window.end, color=colour, linewidth=3)
    axes.plot(middles, [window.score for window in result.windows], "ok-", linewidth=1, label="windows")
    axes.set_ylim(-0.05, 1.05)
    for word, middle, colour in (("fake", threshold / 2, FAKE), ("real", (1 + threshold) / 2, REAL)):
        axes.text(1.01, middle, word, transform=axes.get_yaxis_transform(), color=colour, rotation=270, va="center")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8, handlelength=3, frameon=False)


def _covered(result: ClipResult, film: Film) -> bool:
    """Whether the windows leave out no part of the clip."""
    end = 0.0
    for window in result.windows:
        if window.start > end + 1 / FRAME_RATE:
            return False
        end = max(end, window.end)
    return end > film.seconds - 2 / FRAME_RATE
