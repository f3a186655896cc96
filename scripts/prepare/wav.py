"""Audio as wav files, as the authors' preparation leaves it beside each mp4."""

from __future__ import annotations

import wave
from pathlib import Path

import pandas as pd

from dataset.media import SAMPLE_RATE, audio_chunks, wav_beside
from utils.files import replacing
from utils.parallel import in_threads


def write_wavs(clips: pd.DataFrame, folder: Path | None, workers: int | None = None) -> int:
    """Write the audio of each clip, 16 kHz mono int16, where there is no wav yet.

    Parameters
    ----------
    clips
        Clips that can be used.
    folder
        Where to write them, in the corpus' own folders; None puts each beside its mp4, where it is read from then on.
    workers
        Threads; by default one a core.

    Returns
    -------
    int
        Number of files written. Each appears whole or not at all.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    targets = [
        wav_beside(path if folder is None else folder / file)
        for file, path in zip(clips["file"], clips["path"], strict=True)
    ]
    left = [(path, target) for path, target in zip(clips["path"], targets, strict=True) if not target.is_file()]
    return sum(in_threads(_write_wav, left, "Writing wav files", workers))


def _write_wav(job: tuple[str, Path]) -> int:
    source, target = job
    with replacing(target) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for samples in audio_chunks(source):
            out.writeframes(samples.astype("<i2").tobytes())
    return 1
