"""A detector's scores of changed clips, in padded batches; kept on disk: what is finished is never computed again."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dataset.check import stamp
from dataset.features import audio_features
from dataset.media import DECODING, MAX_FRAMES
from dataset.transforms import centre_crop, normalise
from model import load_detector, weights_file
from model.scorer import Scorer
from scripts.audit.changes import CHANGES, ORIGINAL, Change, ClipFile, Context, candidates_of, change_clip, loudness
from scripts.audit.damage import OF_AUDIO
from utils.errors import DataError
from utils.files import file_digest, write_atomic
from utils.parallel import in_threads

VERSION = 1  # goes up when a change gives other pixels or samples than before
SCORES = ("score", "video_score", "audio_score")
LEFT_OUT = "left out: "
TEXTS = ("file", "subject", "category")
COLUMNS = ("change", "family", "level", "kind", *TEXTS, "label", *SCORES)


def score_changes(
    checkpoint_path: str | Path,
    clips: pd.DataFrame,
    partners: pd.DataFrame,
    folder: str | Path,
    changes: Sequence[Change] = CHANGES,
    *,
    model_type: str | None = None,
    max_frames: int = MAX_FRAMES,
    batch_size: int = 8,
    num_workers: int = 0,
    seed: int = 42,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    """Score clips as they are and after each change.

    Clips of a batch are padded and masked, so that a score does not depend on them. Each change has a csv of its own in
    the folder, which is written when the change is finished, and read from then on as long as checkpoint, clips and
    settings stay.

    Parameters
    ----------
    clips
        What to score: rows of :func:`dataset.corpora.read_corpus`.
    partners
        Rows from which clips may take other audio or video when these are swapped; `clips` themselves will do.

    Returns
    -------
    pandas.DataFrame
        One row for each change, first ``ORIGINAL``, and clip: ``COLUMNS``, with label and every score 1 = real;
        video_score and audio_score are NaN where the detector has no such head. Clips that a change cannot be made of,
        or whose score is not a number, are not there.
        ``attrs["notes"]`` is a list of sentences on these and on what else is to be known of a change.
    """
    folder = Path(folder)
    clips = clips.reset_index(drop=True)
    changes = (ORIGINAL, *(change for change in changes if change != ORIGINAL))
    digest = file_digest(weights_file(Path(checkpoint_path)))
    settings = [VERSION, DECODING, digest, model_type, _stamps(clips), max_frames]
    lenders = _stamps(partners)
    keys = {c: _digest([settings, seed, c, lenders if c.family == "swap" else []]) for c in changes}
    tables = {change: _read(csv_path(folder, change), keys[change], clips["file"]) for change in changes}
    missing = [change for change in changes if tables[change] is None]
    if missing:
        scorer = Scorer(load_detector(checkpoint_path, model_type), torch.device(device), normalise)
        loading = {"batch_size": batch_size, "num_workers": num_workers}
        listed = [ClipFile(row.file, Path(row.path), max_frames) for row in clips.itertuples()]
        context = _context(clips, partners, listed, missing, seed)
    console = Console(stderr=True)
    for number, change in enumerate(missing, 1):
        rows = track(
            scored(ChangedClips(listed, change, context), scorer, loading),
            f"{change.name} ({number} of {len(missing)})",
            len(clips),
            disable=not console.is_terminal,
            console=console,
            transient=True,
        )
        scores = pd.DataFrame(rows, columns=[*SCORES, "remark"]).astype(dict.fromkeys(SCORES, float))
        table = pd.concat([clips[list(TEXTS)], clips["m_label"].rename("label"), scores], axis=1)
        content = table.assign(key=keys[change]).to_csv(index=False, lineterminator="\n")
        write_atomic(csv_path(folder, change), content)
        tables[change] = table
    return _long_table(tables)


class Item(NamedTuple):
    """A changed clip; without frames if the change could not be made, and then `remark` says why."""

    remark: str  # see `scripts.audit.changes.Media`
    video: Tensor | None = None  # (3, T, 100, 100), uint8
    audio: Tensor | None = None  # (T, 104), float32
    key: bytes = b""  # digest of the video


@dataclass
class ChangedClips(Dataset):
    """Clips after one change, decoded one at a time, as :class:`dataset.clips.ClipDataset` gives them for a test."""

    clips: Sequence[ClipFile]
    change: Change
    context: Context

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Item:
        try:
            media = change_clip(self.change, self.clips[index], self.context)
        except DataError as error:
            reason = str(error).removeprefix(f"{self.clips[index].path}: ")
            return Item(f"{LEFT_OUT}{reason}")
        video = centre_crop(torch.from_numpy(media.frames).permute(3, 0, 1, 2)).contiguous()  # (3, T, 100, 100)
        audio = audio_features(media.samples, len(media.frames))  # (T, 104)
        return Item(media.remark, video, audio, hashlib.sha256(video.numpy()).digest())


def scored(data: ChangedClips, scorer: Scorer, loading: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Score clips after one change, and yield a row a clip, in order: `SCORES`, as far as there are, and `remark`."""
    # What the scorer makes of untouched videos is kept for the changes of the audio.
    keep = data.change == ORIGINAL or data.change.family in OF_AUDIO
    for items in DataLoader(data, collate_fn=list, worker_init_fn=_one_thread, **loading):
        usable = [item for item in items if item.video is not None]
        videos, audios, keys = ([getattr(item, part) for item in usable] for part in ("video", "audio", "key"))
        all_scores = iter(scorer(videos, audios, keys, keep=keep) if usable else ())
        for item in items:
            scores = None if item.video is None else next(all_scores)
            if scores is None:
                yield {"remark": item.remark}
            elif math.isfinite(scores.score):
                yield {"remark": item.remark, **scores._asdict()}
            else:
                yield {"remark": f"{LEFT_OUT}its score is not a number"}


def _one_thread(_worker: int) -> None:
    """OpenCV's own threads do not survive the fork that starts a worker."""
    cv2.setNumThreads(0)


def csv_path(folder: Path, change: Change) -> Path:
    """Where the scores of a change lie."""
    name = change.name.replace("×", "x")
    return folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '_', name)}.csv"


def _context(
    clips: pd.DataFrame, partners: pd.DataFrame, listed: Sequence[ClipFile], changes: Sequence[Change], seed: int
) -> Context:
    """What these changes depend on besides each clip; nothing that none of them needs is looked up."""
    swapped = [change.level for change in changes if change.family == "swap"]
    candidates = {stream: candidates_of(clips, partners, stream, seed) for stream in swapped}
    families = {change.family for change in changes}
    loud = _measured(listed, lambda clip: loudness(clip.audio())) if "loudness" in families else []
    lengths = _measured(listed, lambda clip: len(clip.video())) if "length" in families else []
    return Context(
        seed=seed,
        rms=float(np.median([rms for rms in loud if rms > 0] or [0])),
        frames=min(lengths, default=0),
        candidates=candidates,
    )


def _measured(clips: Sequence[ClipFile], measure: Callable[[ClipFile], Any]) -> list[Any]:
    """What all clips measure that can be read; the others are named when they are to be scored."""

    def look(clip: ClipFile) -> Any:
        with suppress(DataError):
            return measure(clip)

    return [value for value in in_threads(look, clips, "Measuring clips") if value is not None]


def _stamps(clips: pd.DataFrame) -> list[Any]:
    """What is known of the clips without reading them: rows of the table, sizes and times of the files."""
    rows = clips[[*TEXTS, "m_label", "race", "gender"]].astype(str).to_numpy().tolist()
    return [[*row, stamp(str(path))] for row, path in zip(rows, clips["path"], strict=True)]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _read(path: Path, key: str, files: pd.Series) -> pd.DataFrame | None:
    """The scores of a change, exactly as they were written; None if they are not there, or of something else."""
    texts = dict.fromkeys((*TEXTS, "remark", "key"), str)
    try:
        table = pd.read_csv(path, converters=texts, float_precision="round_trip").astype({"label": "Int64"})
        is_ours = (table["key"] == key).all() and list(table["file"]) == list(files)
        return table.drop(columns="key") if is_ours else None
    except (OSError, ValueError, KeyError):
        return None


def _long_table(tables: dict[Change, pd.DataFrame]) -> pd.DataFrame:
    """All changes below each other, with the notes on them."""
    parts = [
        table.assign(change=change.name, family=change.family, level=change.level, kind=change.kind)
        for change, table in tables.items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    scored = whole.loc[~whole["remark"].str.startswith(LEFT_OUT), list(COLUMNS)].reset_index(drop=True)
    scored.attrs["notes"] = [
        f"{change.name}: {count} of {len(table)} clips: {remark}"
        for change, table in tables.items()
        for remark, count in table.loc[table["remark"] != "", "remark"].value_counts().items()
    ]
    return scored
