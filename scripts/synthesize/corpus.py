"""The miniature as a folder: which clips it holds, how each is made, and where each goes."""

from __future__ import annotations

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import pandas as pd
from rich.progress import track

from dataset.corpora.table import MARKER
from scripts.synthesize.clip import CATEGORIES, MAKES, Category, Make, Subject, make_cast, make_clip, write_clip
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE
from utils.errors import DataError
from utils.files import write_atomic

log = logging.getLogger(__name__)

COLUMNS = ["source", "target1", "target2", "method", "category", "type", "race", "gender", "path", ""]
FORMAT = 1  # goes up whenever the same options would give other clips


LAYOUTS = {"fakeavceleb": "meta_data.csv", "lavdf": "metadata.min.json", "csv": "clips.csv"}  # and their tables
SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}  # shares of the subjects


@dataclass(frozen=True)
class Entry:
    """A clip of the plan: its place in the corpus, and the seed that makes it."""

    subject: Subject
    category: Category
    method: str
    target: str
    split: str
    folder: str
    name: str
    seed: np.random.SeedSequence

    @property
    def file(self) -> str:
        """Its path below the corpus's folder."""
        return f"{self.folder}/{self.name}"


def synthesize(
    out: Path,
    subjects: int = 20,
    seconds: float = 1.2,
    clips: int = 1,
    seed: int = 42,
    silent_fakes: float = 0.0,
    make: Literal["first", "second"] = "first",
    layout: Literal["fakeavceleb", "lavdf", "csv"] = "fakeavceleb",
    num_workers: int = 2,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Write a small synthetic corpus of talking faces, by default laid out as FakeAVCeleb v1.2 is handed out.

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
        Number of clips of each subject in each of the four categories.
    seed
        Random seed; the same seed and options give the same bytes.
    silent_fakes
        Seconds of silence before the audio of every fake: plants the known flaw of FakeAVCeleb (arXiv 2412.00175), by
        which a detector may learn nothing else. `main.py audit` finds it.
    make
        first or second; the second has other people, voices, fakes and codecs, as another corpus would.
    layout
        Folders and table to write: those of FakeAVCeleb, of LAV-DF, or clips.csv.
    num_workers
        Number of clips that are made at the same time.
    overwrite
        Replace an earlier miniature that was made with other options.

    Returns
    -------
    pandas.DataFrame
        The rows of the table: meta_data.csv, metadata.min.json or clips.csv.

    Raises
    ------
    DataError
        If an option is out of range, or `out` holds something else.
    """
    limits: dict[str, tuple[float, float, float]] = {
        "subjects": (subjects, 1, 10_000),
        "seconds": (seconds, 0.8, 60),
        "clips": (clips, 1, 100),
        "silent_fakes": (silent_fakes, 0, seconds / 2),
        "num_workers": (num_workers, 1, 1000),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise DataError(f"{name} must be between {least} and {most}, not {value}")
    options: dict[str, Any] = {"format": FORMAT, "subjects": subjects, "seconds": seconds, "clips": clips, "seed": seed}
    options |= {"silent_fakes": silent_fakes} if silent_fakes else {}
    options |= {"make": make} if make != "first" else {}
    options |= {"layout": layout} if layout != "fakeavceleb" else {}
    out = Path(out)
    _claim(out, options, overwrite)
    how = MAKES[make]
    plan = plan_corpus(subjects, clips, seed, how, layout)
    missing = [entry for entry in plan if not (out / entry.file).exists()]
    log.info("%s: %d clips, %d of them there already", out, len(plan), len(plan) - len(missing))

    def write(entry: Entry) -> None:
        clip = make_clip(entry.subject, entry.category, seconds, entry.seed, how)
        silence = 0.0 if entry.category.letter == "A" else silent_fakes
        quiet = np.zeros(round(silence * SAMPLE_RATE))
        write_clip(out / entry.file, clip.frames, np.concatenate([quiet, clip.audio])[: len(clip.audio)], how)

    with ThreadPoolExecutor(num_workers) as pool:
        for _ in track(pool.map(write, missing), "Synthesizing clips", total=len(missing), disable=not missing):
            pass
    _write_preview(out, plan)
    return _write_table(out, plan, layout)


def plan_corpus(
    subjects: int, clips: int, seed: int, make: Make = MAKES["first"], layout: str = "fakeavceleb"
) -> list[Entry]:
    """List every clip, category by category as the csv of FakeAVCeleb does."""
    cast = make_cast(subjects, seed, make)
    splits = _draw_splits(subjects, seed)
    numbers = iter(np.random.default_rng((seed, 1)).permutation(subjects * len(CATEGORIES) * clips))  # tell nothing
    plan = []
    for kind, category in enumerate(CATEGORIES):
        for index, subject in enumerate(cast):
            others = [other.id for other in cast if other is not subject] or ["id00000"]
            for take in range(clips):
                sequence = np.random.SeedSequence(seed, spawn_key=(index, kind, take))
                name_seed, clip_seed = sequence.spawn(2)
                rng = np.random.default_rng(name_seed)
                number = f"{take:02d}{rng.integers(1000):03d}"
                target = str(rng.choice(others)) if category.fake_video else "-"
                method, split = make.methods[category.letter], splits[index]
                if layout == "fakeavceleb":
                    folder = f"{category.type}/{subject.race}/{subject.gender}/{subject.id}"
                    name = _name(category, method, number, target)
                else:
                    folder, name = split if layout == "lavdf" else "clips", f"{next(numbers):06d}.mp4"
                plan.append(Entry(subject, category, method, target, split, folder, name, clip_seed))
    return plan


def _draw_splits(subjects: int, seed: int) -> list[str]:
    """The split of each subject."""
    ends = np.round(np.cumsum(list(SPLITS.values())) * subjects)
    ranks = np.random.default_rng((seed, 2)).permutation(subjects)
    return [list(SPLITS)[int(np.searchsorted(ends, rank, side="right"))] for rank in ranks]


def _name(category: Category, method: str, number: str, target: str) -> str:
    """File name as FakeAVCeleb v1.2 forms it."""
    fake = {"wav2lip": "wavtolip"}.get(method, method)
    suffix = {"A": "", "B": "_fake", "C": f"_{target}_{fake}", "D": f"_{fake}"}[category.letter]
    return f"{number}{suffix}.mp4"


def _write_table(out: Path, plan: list[Entry], layout: str) -> pd.DataFrame:
    """Write the table of a layout, and return its rows."""
    if layout == "lavdf":
        originals = {e.subject.id: e.file for e in reversed(plan) if e.category.letter == "A"}
        entries = [_lavdf_row(out, entry, originals[entry.subject.id]) for entry in plan]
        entries.sort(key=lambda row: row["file"].rpartition("/")[2])
        write_atomic(out / LAYOUTS[layout], json.dumps(entries))
        return pd.DataFrame(entries)
    if layout == "csv":
        table = pd.DataFrame({
            "file": [e.file for e in plan],
            "subject": [e.subject.id for e in plan],
            "category": [e.category.letter for e in plan],
            "method": [e.method for e in plan],
            "split": [e.split.replace("dev", "val") for e in plan],
            "race": [e.subject.race for e in plan],
            "gender": [e.subject.gender for e in plan],
        }).sort_values("file", ignore_index=True)  # fmt: skip
    else:
        table = pd.DataFrame([
            (e.subject.id, e.target, "-", e.method, e.category.letter, e.category.type, e.subject.race,
             e.subject.gender, e.name, f"FakeAVCeleb/{e.folder}")
            for e in plan
        ], columns=COLUMNS)  # fmt: skip
    write_atomic(out / LAYOUTS[layout], table.to_csv(index=False))
    return table


def _lavdf_row(out: Path, entry: Entry, original: str) -> dict[str, Any]:
    """A clip's entry in LAV-DF's metadata.min.json; fakes are fake from their start to their end."""
    with (out / entry.file).open("rb") as file, av.open(file) as container:
        frames = container.streams.video[0].frames
        seconds = float(frames / (container.streams.video[0].average_rate or FRAME_RATE))
    fake = entry.category.letter != "A"
    return {
        "file": entry.file,
        "n_fakes": int(fake),
        "fake_periods": [[0.0, seconds]] if fake else [],
        "duration": seconds,
        "original": original if fake else None,
        "modify_video": entry.category.fake_video,
        "modify_audio": entry.category.fake_audio,
        "split": entry.split,
        "video_frames": frames,
        "audio_channels": 1,
        "audio_frames": round(16_000 * seconds),
    }


def _write_preview(out: Path, plan: list[Entry], subjects: int = 4) -> None:
    """Write an image of the first subjects, a row each, in the four categories."""
    shown = list(dict.fromkeys(entry.subject.id for entry in plan))[:subjects]
    frames = {(e.subject.id, e.category.letter): e for e in reversed(plan)}  # the first clip of each
    rows = []
    for subject in shown:
        clips = [frames[subject, category.letter] for category in CATEGORIES]
        rows.append(np.hstack([_middle_frame(out / clip.file) for clip in clips]))
    # Not by cv2.imwrite, which a path that is not Unicode ends with a segmentation fault.
    write_atomic(out / "preview.jpg", cv2.imencode(".jpg", np.vstack(rows))[1].tobytes())


def _middle_frame(path: Path) -> np.ndarray:
    """A frame (H, W, 3), BGR."""
    with path.open("rb") as file, av.open(file) as container:
        frames = list(container.decode(video=0))
    return frames[len(frames) // 2].to_ndarray(format="bgr24")


def _claim(out: Path, options: dict[str, Any], overwrite: bool) -> None:
    """Mark `out` as a miniature of these options, or refuse to touch it."""
    marker = out / MARKER
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder")
    if marker.exists():
        try:
            known = json.loads(marker.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise DataError(f"{marker} is damaged; delete {out} and start again") from error
        if known == options:
            return
        if not overwrite:
            raise DataError(f"{out} holds a miniature of other options; --overwrite replaces it")
        _remove(out)
    elif out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} is not empty and not a miniature; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(options), encoding="utf-8")


def _remove(out: Path) -> None:
    """Remove an earlier miniature, and the folds that were made from it, but nothing else."""
    for folder in (*(category.type for category in CATEGORIES), *SPLITS, "clips"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in (*LAYOUTS.values(), "preview.jpg", MARKER, *(f"train_{fold}.txt" for fold in range(1, 6))):
        (out / name).unlink(missing_ok=True)
