"""One clip as a picture: its face, its sound and its windows' scores over time."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dataset.timing import FRAME_RATE
from scripts.predict.output import HEADS, OF_WINDOWS, numbers, printable
from scripts.predict.results import HEAD_THRESHOLD, ClipResult, verdict
from scripts.predict.scoring import THUMBNAILS, Film
from utils.figures.style import DPI, Look, caption, new_figure, tidy
from utils.files import write_atomic

REAL, FAKE = "#009E73", "#D55E00"  # Okabe and Ito's; a window's side of the threshold says the same
HEAD_LOOKS = {"sound": Look("#E69F00", "^", (0, (2, 1.2))), "picture": Look("#56B4E9", "s", (0, (6, 1.5, 1.2, 1.5)))}


def write_plot(path: Path, file: str, result: ClipResult, film: Film, threshold: float, checkpoint: str) -> None:
    """Draw a clip that was scored as PNG.

    Parameters
    ----------
    path
        Where to write.
    file
        Name of the clip.
    result, film
        What is known of it and what it looks and sounds like.
    threshold
        It is real from this score on.
    checkpoint
        Name of the checkpoint.
    """
    figure = draw_clip(file, result, film, threshold, checkpoint)
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that the font lacks show boxes
        figure.savefig(content, format="png", dpi=DPI)
    write_atomic(path, content.getvalue())


def draw_clip(file: str, result: ClipResult, film: Film, threshold: float, checkpoint: str) -> Figure:
    """Draw what `write_plot` writes."""
    score = result.mean()
    title = f"{verdict(score, threshold).upper()} {numbers(score, threshold)}: {printable(file)}"
    figure = new_figure(5.6, title)
    strip, sound, scores = figure.subplots(3, 1, height_ratios=(1.08, 1, 3))
    _draw_strip(strip, film)
    _draw_sound(sound, film)
    _draw_scores(scores, result, threshold)
    scores.set_xlim(0, film.seconds)
    sound.sharex(scores)
    count = len(result.windows)
    caption(
        figure,
        f"{count} window{'s' * (count > 1)}, scored by {printable(checkpoint)}.",
        OF_WINDOWS if count > 1 else "",
        f"Sound and picture alone are real from {HEAD_THRESHOLD} on." if result.mean("audio_score") is not None else "",
        "Nothing is drawn where no face was to be seen for most of a window." * (not _covered(result, film)),
        *(f"{note[:1].upper()}{note[1:]}." for note in result.notes),
    )
    return figure


def _draw_strip(axes: Axes, film: Film) -> None:
    # As wide as the time axes below, but in pictures, which stay square.
    for moment, frame in film.frames.items():
        middle = moment / film.seconds * THUMBNAILS
        axes.imshow(frame, extent=(middle - 0.5, middle + 0.5, 0, 1), interpolation="bilinear")
    axes.set(xlim=(0, THUMBNAILS), ylim=(0, 1), aspect="equal")
    axes.axis("off")


def _draw_sound(axes: Axes, film: Film) -> None:
    tidy(axes, ylabel="Sound")
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
