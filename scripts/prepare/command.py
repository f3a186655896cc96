"""The command: check, subset and folds, wav files, cache, and a summary of it all."""

import json
import logging
import shutil
import tempfile
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.console import Console

from dataset.cache import ClipCache
from dataset.check import BadClip
from dataset.corpora import corpus, corpus_folder, read_corpus, table_digest
from dataset.corpora.table import MARKER
from dataset.decoding import Reading
from dataset.media import SAMPLE_RATE, audio_chunks, wav_beside
from dataset.prepared import CACHE, FOLDER, RECORD_NAME, SUBSET_NAME, read_record
from scripts.prepare.report import add_faces, inspect_all, unnamed_files
from scripts.prepare.subset import choose, write_subset
from scripts.prepare.summary import SHOWN, summary
from utils.errors import DataError
from utils.files import alone_in, replacing, write_atomic
from utils.options import Dataset
from utils.parallel import in_threads

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
        Folder of FakeAVCeleb v1.2, the one with meta_data.csv; with --dataset csv a table, or the folder of clips.csv.
    dataset
        Which corpus it is. Faces of those with full frames (DFDC, KoDF, DeepSpeak, PolyGlotFake, AVLips) are cropped
        into the cache, and training reads them from there.
    split
        Prepare this part of the corpus only; by default all of it.
    cache
        Decode the clips of the subset once and keep the result, so that training reads them many times faster.
    all_clips
        Cache all clips that can be used, not only the paper's subset; protocols other than mrdf-5fold read them.
    cache_dir
        Folder of the cache; by default "cache" in data_root, or in ./outputs if data_root cannot be written.
    verify
        Read every byte of an existing cache, and decode damaged clips again.
    trim_silence
        Cache clips without the silence at their start, as train.py --trim_silence reads them.
    write_wav
        Write the audio of each clip of the subset as a 16 kHz mono wav beside it, as in the authors' layout.
    strict_identities
        Choose clips and folds such that nobody is in both training and test clips of a fold, as subject or target.
    outputs
        Folder in which the report is written, as "prepare"; by default data_root, or ./outputs if that cannot be
        written.
    seed
        Seed of the subset and the folds.
    num_workers
        Clips to work on at the same time; by default one per core.

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
        if known.full_frames:  # the faces of all clips that can be read go into the cache
            readable = clips[report["state"] == "ok"]
            bad = _build_cache(readable, report, place, reading, verify, num_workers)
            left = readable[~readable["file"].isin([clip.file for clip in bad])]
            report = add_faces(report, folder, ClipCache(place).entries(left, reading=reading), bad)
        # The folds that train.py would make: in the corpus, or in the outputs.
        fold_dir = (outputs or OUTPUTS) / "folds"
        subset = choose(clips, report["state"] == "ok", dataset, root, fold_dir, seed, strict_identities)
        write_subset(subset, folder / SUBSET_NAME)
        if write_wav:
            _write_wavs(subset.clips, root, folder, num_workers)
            report = inspect_all(clips, folder, num_workers)
        if (root / MARKER).exists():
            known = replace(known, counts={})  # those of the corpus that it is laid out as
        unnamed = [] if split else unnamed_files(root, clips)
        whole, short = (summary(report, subset, known, unnamed, clips.attrs["notes"], shown) for shown in (None, SHOWN))
        write_atomic(folder / "summary.md", whole)
        Console().print(short, markup=False, highlight=False, soft_wrap=True)
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
    """Write down which corpus the folder is of; a DataError if it is of another.

    In a corpus' own folder it is not: there the csv has changed.
    """
    earlier = read_record(folder)
    if earlier is not None and earlier.get("table") != record["table"] and folder.parent != root:
        raise DataError(
            f"{folder} holds the report of another table, or the csv of {root} has changed since: "
            "choose another --outputs, or move it away"
        )
    write_atomic(folder / RECORD_NAME, json.dumps(record, indent=2) + "\n")


def _write_wavs(clips: pd.DataFrame, root: Path, folder: Path, workers: int | None) -> None:
    """Write the audio of each clip as a wav, if there is none yet, beside it if the corpus can be written."""
    beside = _can_write(root)
    targets = [
        wav_beside(path if beside else folder / "wav" / file)
        for file, path in zip(clips["file"], clips["path"], strict=True)
    ]
    left = [(path, target) for path, target in zip(clips["path"], targets, strict=True) if not target.is_file()]
    list(in_threads(_write_wav, left, "Writing wav files", workers))
    log.info("wrote %d wav files, %d were there already", len(left), len(clips) - len(left))
    if not beside:
        log.warning("%s cannot be written: the wav files are in %s, where train.py does not look", root, folder / "wav")


def _write_wav(job: tuple[str, Path]) -> None:
    source, target = job
    with replacing(target) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for samples in audio_chunks(source):
            out.writeframes(samples.astype("<i2").tobytes())


def _build_cache(
    clips: pd.DataFrame, report: pd.DataFrame, folder: Path, reading: Reading, every_byte: bool, workers: int | None
) -> list[BadClip]:
    """Say how much room the cache takes, and build it; returns clips that could not be decoded after all."""
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
