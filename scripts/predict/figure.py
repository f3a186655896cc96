"""A figure of a clip: some frames, its audio, and its scores over time."""

import io
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dataset.media import FRAME_RATE
from scripts.predict.output import OF_WINDOWS, numbers, printable
from scripts.predict.prediction import HEAD_THRESHOLD, Prediction
from scripts.predict.preview import THUMBNAILS, Preview
from utils.figures.style import DPI, Look, caption, new_figure, tidy
from utils.files import write_atomic

REAL, FAKE = "#009E73", "#D55E00"  # Okabe and Ito's; a window's side of the threshold says the same
HEAD_LOOKS = {"audio": Look("#E69F00", "^", (0, (2, 1.2))), "video": Look("#56B4E9", "s", (0, (6, 1.5, 1.2, 1.5)))}


def write_figure(path: Path, clip: Prediction, preview: Preview, threshold: float, checkpoint: str) -> None:
    """Draw a clip that was scored as PNG, with the name of the checkpoint."""
    figure, content = draw_clip(clip, preview, threshold, checkpoint), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that the font lacks show boxes
        figure.savefig(content, format="png", dpi=DPI)
    write_atomic(path, content.getvalue())


def draw_clip(clip: Prediction, preview: Preview, threshold: float, checkpoint: str) -> Figure:
    """Draw what `write_figure` writes."""
    name = printable(Path(clip.file).name)
    figure = new_figure(5.6, f"{clip.verdict.upper()} {numbers(clip.score, threshold)}: {name}")
    strip, audio, scores = figure.subplots(3, 1, height_ratios=(1.08, 1, 3))
    _draw_strip(strip, preview)
    _draw_audio(audio, preview)
    _draw_scores(scores, clip, threshold)
    scores.set_xlim(0, preview.seconds)
    audio.sharex(scores)
    count = len(clip.windows)
    caption(
        figure,
        f"{count} window{'s' * (count > 1)}, scored by {printable(checkpoint)}.",
        OF_WINDOWS if count > 1 else "",
        f"Audio and video alone are real from {HEAD_THRESHOLD} on." if clip.audio_score is not None else "",
        "Hatched: no face is to be seen; no window is scored where it is most of it." * bool(clip.no_face),
        *(f"{note[:1].upper()}{note[1:]}." for note in clip.notes),
    )
    return figure


def _draw_strip(axes: Axes, preview: Preview) -> None:
    # As wide as the time axes below, but in thumbnails, which stay square.
    for moment, frame in preview.frames.items():
        middle = moment / preview.seconds * THUMBNAILS
        axes.imshow(frame, extent=(middle - 0.5, middle + 0.5, 0, 1), interpolation="bilinear")
    axes.set(xlim=(0, THUMBNAILS), ylim=(0, 1), aspect="equal")
    axes.axis("off")


def _draw_audio(axes: Axes, preview: Preview) -> None:
    tidy(axes, ylabel="Audio")
    levels = np.array(preview.levels)
    axes.fill_between((np.arange(len(levels)) + 0.5) / FRAME_RATE, -levels, levels, color="0.45", linewidth=0)
    loudest = np.nanmax(levels, initial=0.01)
    axes.set_ylim(-1.1 * loudest, 1.1 * loudest)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)


def _draw_scores(axes: Axes, clip: Prediction, threshold: float) -> None:
    tidy(axes, xlabel="Seconds", ylabel="Probability of real (1 = real)")
    axes.axhspan(-0.05, threshold, color=FAKE, alpha=0.08, linewidth=0)
    axes.axhline(threshold, color="black", linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3g}")
    for start, end in clip.no_face:
        axes.axvspan(start, end, facecolor="0.93", edgecolor="0.7", hatch="///", linewidth=0, zorder=0)
    middles = [(window.start + window.end) / 2 for window in clip.windows]
    for stream, look in HEAD_LOOKS.items():
        values = [getattr(window, f"{stream}_score") for window in clip.windows]
        if None not in values:
            axes.plot(middles, values, look.marker, color=look.colour, linestyle=look.dashes, label=f"{stream} alone")
    for window in clip.windows:
        colour = REAL if window.score >= threshold else FAKE
        axes.hlines(window.score, window.start, window.end, color=colour, linewidth=3)
    axes.plot(middles, [window.score for window in clip.windows], "ok-", linewidth=1, label="windows")
    axes.set_ylim(-0.05, 1.05)
    for word, middle, colour in (("fake", threshold / 2, FAKE), ("real", (1 + threshold) / 2, REAL)):
        axes.text(1.01, middle, word, transform=axes.get_yaxis_transform(), color=colour, rotation=270, va="center")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8, handlelength=3, frameon=False)
