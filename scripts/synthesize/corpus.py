"""The miniature as a folder: which clips it holds, how each is made, and where each goes."""

from __future__ import annotations

import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.progress import track

from dataset.corpora.fakeavceleb import MARKER
from scripts.synthesize.clip import CATEGORIES, Category, Subject, delayed, make_cast, make_clip, write_clip

log = logging.getLogger(__name__)

COLUMNS = ["source", "target1", "target2", "method", "category", "type", "race", "gender", "path", ""]
FORMAT = 1  # goes up whenever the same options would give other clips


@dataclass(frozen=True)
class Entry:
    """A clip of the plan: its place in the corpus, and the seed that makes it."""

    subject: Subject
    category: Category
    target: str
    folder: str
    name: str
    seed: np.random.SeedSequence


def synthesize(
    out: Path,
    subjects: int = 20,
    seconds: float = 1.2,
    clips: int = 1,
    seed: int = 42,
    silent_fakes: float = 0.0,
    num_workers: int = 2,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Write a small synthetic FakeAVCeleb in the layout in which v1.2 is handed out.

    An earlier miniature of the same options is reused, and finished if it was interrupted. `preview.jpg` beside the
    clips shows a few of them.

    Parameters
    ----------
    out
        Folder to write: new, empty, or an earlier miniature.
    subjects
        Number of subjects, spread over five ethnic groups and two genders.
    seconds
        Length of a clip; each differs from it by up to a tenth.
    clips
        Clips of each subject in each of the four categories.
    seed
        The same seed and options give the same bytes.
    silent_fakes
        Seconds of silence before the sound of every fake: plants the known flaw of FakeAVCeleb (arXiv 2412.00175), by
        which a detector may learn nothing else. `main.py audit` finds it.
    num_workers
        Clips made at the same time.
    overwrite
        Replace an earlier miniature that was made with other options.

    Returns
    -------
    pandas.DataFrame
        The rows of meta_data.csv.

    Raises
    ------
    ValueError
        If an option is out of range, or `out` holds something else.
    """
    _check_options(subjects, seconds, clips, silent_fakes, num_workers)
    options = {"format": FORMAT, "subjects": subjects, "seconds": seconds, "clips": clips, "seed": seed}
    options |= {"silent_fakes": silent_fakes} if silent_fakes else {}
    out = Path(out)
    _claim(out, options, overwrite)
    plan = plan_corpus(subjects, clips, seed)
    missing = [entry for entry in plan if not (out / entry.folder / entry.name).exists()]
    log.info("%s: %d clips, %d of them there already", out, len(plan), len(plan) - len(missing))

    def make(entry: Entry) -> None:
        clip = make_clip(entry.subject, entry.category, seconds, entry.seed)
        silence = 0.0 if entry.category.letter == "A" else silent_fakes
        write_clip(out / entry.folder / entry.name, clip.frames, delayed(clip.sound, silence))

    with ThreadPoolExecutor(num_workers) as pool:
        for _ in track(pool.map(make, missing), "Synthesizing clips", total=len(missing), disable=not missing):
            pass
    _write_preview(out, plan)
    return _write_csv(out, plan)


def plan_corpus(subjects: int, clips: int, seed: int) -> list[Entry]:
    """List every clip, category by category as the csv of FakeAVCeleb does."""
    cast = make_cast(subjects, seed)
    plan = []
    for kind, category in enumerate(CATEGORIES):
        for index, subject in enumerate(cast):
            folder = f"{category.type}/{subject.race}/{subject.gender}/{subject.id}"
            others = [other.id for other in cast if other is not subject] or ["id00000"]
            for take in range(clips):
                sequence = np.random.SeedSequence(seed, spawn_key=(index, kind, take))
                name_seed, clip_seed = sequence.spawn(2)
                rng = np.random.default_rng(name_seed)
                number = f"{take:02d}{rng.integers(1000):03d}"
                target = str(rng.choice(others)) if category.fake_video else "-"
                plan.append(Entry(subject, category, target, folder, _name(category, number, target), clip_seed))
    return plan


def _name(category: Category, number: str, target: str) -> str:
    """File name as FakeAVCeleb v1.2 forms it."""
    suffix = {"A": "", "B": "_fake", "C": f"_{target}_wavtolip", "D": "_wavtolip"}[category.letter]
    return f"{number}{suffix}.mp4"


def _write_csv(out: Path, plan: list[Entry]) -> pd.DataFrame:
    rows = [
        (e.subject.id, e.target, "-", e.category.method, e.category.letter, e.category.type, e.subject.race,
         e.subject.gender, e.name, f"FakeAVCeleb/{e.folder}")
        for e in plan
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    partial = out / "meta_data.csv.part"
    table.to_csv(partial, index=False)
    os.replace(partial, out / "meta_data.csv")
    return table


def _write_preview(out: Path, plan: list[Entry], subjects: int = 4) -> None:
    """A picture of the first subjects, a row each, in the four categories."""
    shown = list(dict.fromkeys(entry.subject.id for entry in plan))[:subjects]
    frames = {(e.subject.id, e.category.letter): e for e in reversed(plan)}  # the first clip of each
    rows = []
    for subject in shown:
        clips = [frames[subject, category.letter] for category in CATEGORIES]
        rows.append(np.hstack([_middle_frame(out / clip.folder / clip.name) for clip in clips]))
    cv2.imwrite(str(out / "preview.jpg"), np.vstack(rows))


def _middle_frame(path: Path) -> np.ndarray:
    """(224, 224, 3), BGR."""
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, capture.get(cv2.CAP_PROP_FRAME_COUNT) // 2)
    return capture.read()[1]


def _check_options(subjects: int, seconds: float, clips: int, silent_fakes: float, num_workers: int) -> None:
    if not 1 <= subjects <= 10_000:
        raise ValueError(f"subjects must be between 1 and 10000, not {subjects}")
    if not 0.8 <= seconds <= 60:
        raise ValueError(f"seconds must be between 0.8 and 60, not {seconds}")
    if not 1 <= clips <= 100:
        raise ValueError(f"clips must be between 1 and 100, not {clips}")
    if not 0 <= silent_fakes <= seconds / 2:
        raise ValueError(f"silent_fakes must be between 0 and half the length of a clip, not {silent_fakes}")
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, not {num_workers}")


def _claim(out: Path, options: dict[str, float], overwrite: bool) -> None:
    """Mark `out` as a miniature of these options, or refuse to touch it."""
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is not a folder")
    if marker.exists():
        if _read_marker(marker) == options:
            return
        if not overwrite:
            raise ValueError(f"{out} holds a miniature of other options; --overwrite replaces it")
        _remove(out)
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and not a miniature; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(options))


def _read_marker(marker: Path) -> dict[str, float]:
    try:
        return json.loads(marker.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{marker} is damaged; delete {marker.parent} and start again") from error


def _remove(out: Path) -> None:
    """Remove an earlier miniature, and the folds that were made from it, but nothing else."""
    for category in CATEGORIES:
        shutil.rmtree(out / category.type, ignore_errors=True)
    for file in [out / "meta_data.csv", out / "preview.jpg", out / MARKER, *out.glob("train_[1-5].txt")]:
        file.unlink(missing_ok=True)
