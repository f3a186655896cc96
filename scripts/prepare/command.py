"""The command: check, subset and folds, wav files, cache, and a summary of it all."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.console import Console

from dataset.cache import ClipCache, Reading
from dataset.check import BadClip
from dataset.corpora import corpus, corpus_folder, read_corpus, table_digest
from dataset.corpora.table import MARKER, Corpus
from dataset.prepared import CACHE, FOLDER, RECORD_NAME, SUBSET_NAME, read_record
from dataset.protocols.leak import find_leak
from scripts.prepare.report import add_faces, inspect_all, unnamed_files
from scripts.prepare.subset import Subset, choose, write_subset
from scripts.prepare.summary import SHOWN, summary
from scripts.prepare.wav import write_wavs
from utils.errors import DataError
from utils.files import alone_in, write_atomic
from utils.options import Dataset

log = logging.getLogger(__name__)

OUTPUTS = Path("outputs")


def prepare(
    data_root: Path = Path("data/FakeAVCeleb_v1.2"),
    dataset: Dataset = "fakeavceleb",
    split: Literal["train", "val", "test"] | None = None,
    cache: bool = False,
    all_clips: bool = False,
    cache_dir: Path | None = None,
    verify: bool = False,
    trim_silence: bool = False,
    write_wav: bool = False,
    strict_identities: bool = False,
    outputs: Path | None = None,
    seed: int = 42,
    num_workers: int | None = None,
) -> None:
    """Check a corpus, choose the paper's subset and folds, and make training from it fast.

    It can be stopped at any moment and started again: only what is left is done.

    Parameters
    ----------
    data_root
        Folder of FakeAVCeleb v1.2, the one with meta_data.csv; for a csv, that file or the folder of clips.csv.
    dataset
        Kind of data set. Faces of corpora of full frames (DFDC, KoDF, DeepSpeak, PolyGlotFake, AVLips) are cropped into
        the cache, from which alone they are read later.
    split
        Look at the clips of this split only; by default at all.
    cache
        Decode each clip of the subset once, so that training reads it many times faster.
    all_clips
        Cache all clips that can be used, as protocols beside mrdf-5fold read them, and not the paper's subset alone.
    cache_dir
        Folder of the cache; by default "cache" in data_root, or in the outputs if that cannot be written.
    verify
        Read every byte of a cache that is there, and decode again what is damaged.
    trim_silence
        Cache the clips without the silence at their start, as train.py --trim_silence reads them.
    write_wav
        Write the audio of each clip of the subset as a 16 kHz mono wav, in the authors' layout.
    strict_identities
        Choose clips and folds so that nobody in a test clip is in a training clip either, as a subject or a target.
    outputs
        Folder for "prepare", which holds the report; by default data_root, or ./outputs if that cannot be written.
    seed
        Of the subset and the folds.
    num_workers
        Clips worked on at the same time; by default one a core.

    Raises
    ------
    DataError
        If the table cannot be read, no clip can be used, or the disk has no room for the cache.
    """
    clips = read_corpus(data_root, dataset)
    root = corpus_folder(data_root, dataset)
    folder = _place(FOLDER, root, outputs)
    known = corpus(dataset)
    reading = Reading(trim_silence, known.full_frames)
    place = cache_dir or _place(CACHE, root, outputs)
    record = {"dataset": dataset, "table": table_digest(clips), "strict_identities": strict_identities}
    if split is not None:
        clips = clips[clips["split"] == split]
        if clips.empty:
            raise DataError(f"--split {split}: {data_root} has no such clip")
    with alone_in(folder, "another prepare is at work in %s: waiting for it"):
        _claim(folder, root, record | {"seed": seed})
        report = inspect_all(clips, folder, num_workers)
        if known.full_frames:
            report = _crop_faces(clips, report, folder, place, reading, verify, num_workers)
        # The folds that train.py would make: in the corpus, or in the outputs.
        fold_dir = (outputs or OUTPUTS) / "folds"
        subset = choose(clips, report["state"] == "ok", dataset, root, fold_dir, seed, strict_identities)
        write_subset(subset, folder / SUBSET_NAME)
        if write_wav:
            _write_wavs(subset.clips, root, folder, num_workers)
            report = inspect_all(clips, folder, num_workers)
        if (root / MARKER).exists():
            known = replace(known, counts={})  # those of the corpus that it is laid out as
        _summarise(report, subset, [] if split else unnamed_files(root, clips), folder, known, clips.attrs["notes"])
        if (cache or verify) and not known.full_frames:
            wanted = clips[report["state"] == "ok"] if all_clips else subset.clips
            _build_cache(wanted, report, place, reading, verify, num_workers)
    log.info("results: %s (summary.md, report.csv, subset.csv)", folder)


def _place(name: str, root: Path, outputs: Path | None) -> Path:
    """The folder of this name in `outputs` if they are given, else in the corpus, else in ./outputs."""
    if outputs is None and _can_write(root / name if (root / name).is_dir() else root):
        return root / name
    return (outputs or OUTPUTS) / name


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _claim(folder: Path, root: Path, record: dict[str, Any]) -> None:
    """Write down which corpus the folder is of.

    Raises
    ------
    DataError
        If it is of another corpus. In a corpus' own folder it is not: there the csv has changed.
    """
    earlier = read_record(folder)
    if earlier is not None and earlier.get("table") != record["table"] and folder.parent != root:
        raise DataError(
            f"{folder} holds the report of another table, or the csv of {root} has changed since: "
            "choose another --outputs, or move it away"
        )
    write_atomic(folder / RECORD_NAME, json.dumps(record, indent=2) + "\n")


def _write_wavs(clips: pd.DataFrame, root: Path, folder: Path, workers: int | None) -> None:
    beside = _can_write(root)
    count = write_wavs(clips, None if beside else folder / "wav", workers)
    log.info("wrote %d wav files, %d were there already", count, len(clips) - count)
    if not beside:
        log.warning("%s cannot be written: the wav files are in %s, where train.py does not look", root, folder / "wav")


def _summarise(
    report: pd.DataFrame, subset: Subset, unnamed: list[str], folder: Path, known: Corpus, noticed: list[str]
) -> None:
    leaks = {name: find_leak(*sides) for name, sides in subset.sides.items()}
    parts: dict[str, Any] = {"known": known, "unnamed": unnamed, "leaks": leaks, "noticed": noticed}
    write_atomic(folder / "summary.md", summary(report, subset, **parts))
    shown = summary(report, subset, shown=SHOWN, **parts)
    Console().print(shown, markup=False, highlight=False, soft_wrap=True)


def _crop_faces(
    clips: pd.DataFrame,
    report: pd.DataFrame,
    folder: Path,
    place: Path,
    reading: Reading,
    every_byte: bool,
    workers: int | None,
) -> pd.DataFrame:
    """Cut the faces out of all clips that can be read, into the cache; the report with what was found."""
    readable = clips[report["state"] == "ok"]
    bad = _build_cache(readable, report, place, reading, every_byte, workers)
    left = readable[~readable["file"].isin([clip.file for clip in bad])]
    return add_faces(report, folder, ClipCache(place).entries(left, reading=reading), bad)


def _build_cache(
    clips: pd.DataFrame, report: pd.DataFrame, folder: Path, reading: Reading, every_byte: bool, workers: int | None
) -> list[BadClip]:
    """Say how much room the cache takes, and build it; clips that could not be decoded after all.

    Raises
    ------
    DataError
        If there is not that much.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = ClipCache.needed_bytes(report.loc[clips.index, "frames_25"])
    cached = ClipCache(folder)
    paths = [cached.path_of(file, reading) for file in clips["file"]]
    present = sum(path.stat().st_size for path in paths if path.is_file())
    free = shutil.disk_usage(folder).free
    log.info("cache: %s takes %.2f GB, of which %.2f GB are there; %.2f GB are free",
             folder, needed / 1e9, present / 1e9, free / 1e9)  # fmt: skip
    if needed - present > free:
        raise DataError(
            f"{folder}: the cache needs {(needed - present) / 1e9:.2f} GB more, but {free / 1e9:.2f} GB are free; "
            "--cache_dir puts it elsewhere"
        )
    result = cached.build(clips, reading, workers, every_byte=every_byte)
    for fault in result.replaced:
        log.warning("%s; it was decoded again", fault)
    log.info("cache: %s holds %d clips, %d of them decoded just now", folder, result.kept + result.built, result.built)
    return result.bad
