"""All clips of a run on one page, for a person: verdicts, faces, audio and scores over time. It needs no network."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from model import weights_file
from scripts.predict.output import OF_WINDOWS, described, numbers, of_probabilities, printable
from scripts.predict.prediction import HEAD_THRESHOLD, POLARITY, Decision, Prediction
from utils.files import file_digest
from utils.templates import templates_in

FOLDER = Path(__file__).parent
MOST_AUDIO = 32_000_000  # bytes of all clips together; a page that is much larger opens slowly
WIDTH, HEIGHT, TOP, BOTTOM = 1000, 240, 14, 206  # of a chart, in units of its drawing


def as_page(about: Mapping[str, Any], decision: Decision, clips: Sequence[Prediction], previews: Sequence[Path]) -> str:
    """The page as HTML.

    Parameters
    ----------
    about
        "checkpoint", "settings" of the run, "config" of the training as far as the checkpoint tells, and "card", the
        model card's text or "".
    decision
        How scores became verdicts.
    clips
        What is said of them.
    previews
        Where `scripts.predict.preview.Preview.keep` has put that of each clip; a file that is not there shows nothing.
    """
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    config, weights = about["config"], weights_file(Path(about["checkpoint"]))
    words = {"dataset": "on", "recipe": "by recipe", "fold": "with", "save_name": "as run", "seed": "with seed"}
    environment = templates_in(FOLDER, markup=True)
    environment.filters |= {"printable": printable, "wave": _wave}
    return environment.get_template("page.html").render(
        clips=list(zip(clips, _kept(previews), strict=True)),
        counts=Counter(clip.verdict for clip in clips),
        checkpoint=str(about["checkpoint"]),
        weights=file_digest(weights) if weights.is_file() else "not known",
        trained=", ".join(f"{word} {config[key]}" for key, word in words.items() if config.get(key) is not None),
        dataset=str(config.get("dataset") or ""),
        settings=about["settings"],
        verdict=described(decision.threshold),
        head_threshold=HEAD_THRESHOLD,
        card="\n".join(map(printable, about["card"].splitlines())),
        polarity=POLARITY,
        calibrated=of_probabilities(decision),
        of_windows=OF_WINDOWS,
        threshold=decision.threshold.value,
        numbers=numbers,
        x=_x,
        y=_y,
        ticks=_ticks,
        style=(FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        # Only this very script runs, whatever the names of the clips hold.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        chart={"width": WIDTH, "height": HEIGHT, "top": TOP, "bottom": BOTTOM},
    )


def _kept(previews: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What was kept of each clip, as long as all audio is not too much."""
    room = MOST_AUDIO
    for path in previews:
        preview = {"strip": "", "levels": [], "audio": ""}
        if path.is_file():
            preview |= json.loads(path.read_text(encoding="utf-8"))
        if len(preview["audio"]) > room:
            preview["audio"] = ""
        room -= len(preview["audio"])
        yield preview


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
    loudest = max(*levels, 0.01)
    across = [1000 * (k + 0.5) / len(levels) for k in range(len(levels))]
    upper = [f"{x:.1f},{1 - level / loudest:.3f}" for x, level in zip(across, levels, strict=True)]
    lower = [f"{x:.1f},{1 + level / loudest:.3f}" for x, level in zip(across, levels, strict=True)]
    return " ".join((*upper, *reversed(lower)))
