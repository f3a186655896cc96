"""A clip as training takes it: its frames, or the face cropped from them, and its audio features."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset.features import audio_features
from dataset.media import MAX_FRAMES, SAMPLES_PER_FRAME, audio_chunks, read_clip
from utils.errors import DataError

AUDIBLE = 5e-4 * 32_768  # level of a 16-bit sample above which there is no silence any more: see `leading_silence`


class Reading(NamedTuple):
    """How the clips of a corpus are read."""

    trim_silence: bool = False  # leave out the silence at the start, with the frames that go with it
    crop_faces: bool = False  # find the face and cut it out, as in the clips of FakeAVCeleb


AS_IT_IS = Reading()


class Faces(NamedTuple):
    """What the face finder said of a clip."""

    people: int  # faces that are to be seen, at once for a noticeable time or one after the other
    is_crop: bool  # the frames are a crop already, and taken as they are
    notes: list[str]


class Decoded(NamedTuple):
    """A clip as it is decoded."""

    video: np.ndarray  # frames (3, T, 112, 112) uint8; channel first, so that a crop copies whole rows
    audio: np.ndarray  # features (T, 104) float32
    faces: Faces | None = None  # what the face finder said, if it was asked


def leading_silence(path: str | Path) -> int:
    """Frames to leave out at the start of a clip whose audio begins with silence.

    As AVH-Align trims: silence ends at the first sample of 16 kHz mono audio whose level exceeds 5e-4 of full scale;
    if that is not the very first sample, its frame is left out and all frames before it. Of a clip that is silent from
    beginning to end nothing is left out.
    """
    start = 0
    for chunk in audio_chunks(path):
        loud = np.flatnonzero(np.abs(chunk.astype(np.int32)) > AUDIBLE)
        if len(loud):
            first = start + int(loud[0])
            return first // SAMPLES_PER_FRAME + 1 if first else 0
        start += len(chunk)
    return 0


def decode_clip(path: str | Path, max_frames: int = MAX_FRAMES, reading: Reading = AS_IT_IS) -> Decoded:
    """Decode a clip; `max_frames` is counted from the first frame that is used.

    A DataError if it does not decode, nothing is left of it, or it shows no face where one is to be cut out.
    """
    skipped = leading_silence(path) if reading.trim_silence else 0
    faces = None
    if reading.crop_faces:
        from dataset.faces import crop_clip  # whose networks nobody else needs

        clip, survey = crop_clip(path, max_frames + skipped)
        faces = Faces(survey.people, survey.is_crop, list(clip.notes))
    else:
        clip = read_clip(path, max_frames + skipped)
    frames, samples = clip.frames[skipped:], clip.samples[skipped * SAMPLES_PER_FRAME :]
    if len(frames) == 0:
        raise DataError(f"{path}: nothing is left of it without its leading silence")
    audio = audio_features(samples, len(frames)).numpy()
    return Decoded(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)), audio, faces)
