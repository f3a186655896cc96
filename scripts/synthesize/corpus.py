"""The miniature as a folder: which clips it holds, how each is made, and where each goes."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import pandas as pd
from rich.progress import track

from dataset.corpora.table import MARKER
from scripts.synthesize.clip import CATEGORIES, MAKES, Make, make_cast, make_clip, write_clip
from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE
from utils.errors import DataError
from utils.files import write_atomic

log = logging.getLogger(__name__)

COLUMNS = ["source", "target1", "target2", "method", "category", "type", "race", "gender", "path", ""]
FORMAT = 1  # goes up whenever the same options would give other clips
LAYOUTS = {"fakeavceleb": "meta_data.csv", "lavdf": "metadata.min.json", "csv": "clips.csv"}  # and their tables
SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}  # shares of the subjects


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
    clips shows a few of them. Returns the rows of the table.

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
    unusual = {"silent_fakes": (silent_fakes, 0.0), "make": (make, "first"), "layout": (layout, "fakeavceleb")}
    options |= {name: value for name, (value, usual) in unusual.items() if value != usual}
    out = Path(out)
    _claim(out, options, overwrite)
    how = MAKES[make]
    plan = plan_corpus(subjects, clips, seed, how, layout)
    missing = [clip for clip in plan.itertuples() if not (out / clip.file).exists()]
    log.info("%s: %d clips, %d of them there already", out, len(plan), len(plan) - len(missing))

    def write(clip: Any) -> None:
        made = make_clip(clip.person, clip.kind, seconds, clip.seed, how)
        silence = np.zeros(0 if clip.category == "A" else round(silent_fakes * SAMPLE_RATE))
        write_clip(out / clip.file, made.frames, np.concatenate([silence, made.audio])[: len(made.audio)], how)

    with ThreadPoolExecutor(num_workers) as pool:
        for _ in track(pool.map(write, missing), "Synthesizing clips", total=len(missing), disable=not missing):
            pass
    _write_preview(out, plan)
    return _write_table(out, plan, layout)


def plan_corpus(subjects: int, clips: int, seed: int, make: Make, layout: str) -> pd.DataFrame:
    """A row a clip, category by category as in FakeAVCeleb's csv: its file, what it shows, the seed that makes it."""
    cast = make_cast(subjects, seed, make)
    ends = np.round(np.cumsum(list(SPLITS.values())) * subjects)
    ranks = np.random.default_rng((seed, 2)).permutation(subjects)
    splits = [list(SPLITS)[int(np.searchsorted(ends, rank, side="right"))] for rank in ranks]
    numbers = iter(np.random.default_rng((seed, 1)).permutation(subjects * len(CATEGORIES) * clips))  # tell nothing
    rows = []
    for (number, kind), (index, person), take in product(enumerate(CATEGORIES), enumerate(cast), range(clips)):
        name_seed, clip_seed = np.random.SeedSequence(seed, spawn_key=(index, number, take)).spawn(2)
        rng = np.random.default_rng(name_seed)
        name = f"{take:02d}{rng.integers(1000):03d}"
        others = [other.id for other in cast if other is not person] or ["id00000"]
        target = str(rng.choice(others)) if kind.fake_video else "-"
        method, split = make.methods[kind.letter], splits[index]
        if layout == "fakeavceleb":
            word = {"wav2lip": "wavtolip"}.get(method, method)  # in names of files
            name += {"A": "", "B": "_fake", "C": f"_{target}_{word}", "D": f"_{word}"}[kind.letter]
            folder = f"{kind.type}/{person.race}/{person.gender}/{person.id}"
        else:
            name, folder = f"{next(numbers):06d}", split if layout == "lavdf" else "clips"
        rows.append({
            "file": f"{folder}/{name}.mp4", "subject": person.id, "category": kind.letter, "method": method,
            "split": split, "race": person.race, "gender": person.gender, "type": kind.type, "target": target,
            "person": person, "kind": kind, "seed": clip_seed,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _write_table(out: Path, plan: pd.DataFrame, layout: str) -> pd.DataFrame:
    """Write the table of a layout, and return its rows."""
    if layout == "lavdf":
        originals = plan[plan["category"] == "A"].drop_duplicates("subject").set_index("subject")["file"]
        entries = [_lavdf_entry(out, clip, originals[clip.subject]) for clip in plan.itertuples()]
        entries.sort(key=lambda entry: entry["file"].rpartition("/")[2])
        write_atomic(out / LAYOUTS[layout], json.dumps(entries))
        return pd.DataFrame(entries)
    if layout == "csv":
        table = plan.iloc[:, :7].replace({"split": {"dev": "val"}}).sort_values("file", ignore_index=True)
    else:
        parts = plan["file"].str.rsplit("/", n=1)
        names = {"source": plan["subject"], "target1": plan["target"], "target2": "-", "path": parts.str[1]}
        table = plan.assign(**names, **{"": "FakeAVCeleb/" + parts.str[0]})[COLUMNS]
    write_atomic(out / LAYOUTS[layout], table.to_csv(index=False))
    return table


def _lavdf_entry(out: Path, clip: Any, original: str) -> dict[str, Any]:
    """A clip in LAV-DF's metadata.min.json; fakes are fake from their start to their end."""
    with (out / clip.file).open("rb") as file, av.open(file) as container:
        frames = container.streams.video[0].frames
        seconds = float(frames / (container.streams.video[0].average_rate or FRAME_RATE))
    fake = clip.category != "A"
    return {
        "file": clip.file,
        "n_fakes": int(fake),
        "fake_periods": [[0.0, seconds]] if fake else [],
        "duration": seconds,
        "original": original if fake else None,
        "modify_video": clip.kind.fake_video,
        "modify_audio": clip.kind.fake_audio,
        "split": clip.split,
        "video_frames": frames,
        "audio_channels": 1,
        "audio_frames": round(SAMPLE_RATE * seconds),
    }


def _write_preview(out: Path, plan: pd.DataFrame) -> None:
    """Write an image of the first four subjects, a row each, in the four categories."""
    first = plan.drop_duplicates(["subject", "category"])
    rows = []
    for subject in plan["subject"].unique()[:4]:
        frames = []
        for name in first.loc[first["subject"] == subject, "file"]:
            with (out / name).open("rb") as file, av.open(file) as container:
                decoded = list(container.decode(video=0))
            frames.append(decoded[len(decoded) // 2].to_ndarray(format="bgr24"))
        rows.append(np.hstack(frames))
    # Not by cv2.imwrite, which a path that is not Unicode ends with a segmentation fault.
    write_atomic(out / "preview.jpg", cv2.imencode(".jpg", np.vstack(rows))[1].tobytes())


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
