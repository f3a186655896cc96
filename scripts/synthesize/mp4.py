"""Writing a clip as FakeAVCeleb holds it: H.264 and AAC in mp4, 25 frames a second."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from scripts.synthesize.voice import FRAME_RATE, SAMPLE_RATE

# The macroblock tree is off since x264 gives other bytes from run to run with it, even in one thread.
_QUALITY = {"crf": "20", "preset": "fast", "x264-params": "mbtree=0"}


def write_clip(path: Path, frames: np.ndarray, sound: np.ndarray) -> None:
    """Write a clip in one stroke: the file appears when it is complete.

    Parameters
    ----------
    path
        The mp4 file; its folder is made.
    frames
        Video (T, H, W, 3), uint8 RGB.
    sound
        Sound (N,) at 16 kHz, float in [-1, 1].
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with av.open(str(partial), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=_QUALITY)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # more threads may give other bytes
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64_000
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(picture))
        container.mux(video.encode())
        samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)[None, :]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate = SAMPLE_RATE
        block.pts, block.time_base = 0, Fraction(1, SAMPLE_RATE)  # or the encoder's delay goes unmarked
        container.mux(audio.encode(block))
        container.mux(audio.encode())
    os.replace(partial, path)
