"""The clips of a fold as a dataset, and the order in which an epoch visits them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from dataset.collate import TEXTS
from dataset.features import audio_features
from dataset.media import MAX_FRAMES, read_audio, read_video
from dataset.metadata import LABELS
from dataset.transforms import eval_transform, train_transform


class ClipDataset(Dataset):
    """Clips decoded one at a time.

    Parameters
    ----------
    clips
        Rows of :func:`dataset.metadata.read_metadata`.
    train
        Crop at random and flip half of the clips; otherwise crop the centre.
    seed
        With the epoch and the clip's index, all that crop and flip depend on: neither the number of workers nor
        the global random state matters.
    max_frames
        Where decoding stops.

    Notes
    -----
    ``dataset[i]`` is a dict: ``file``, ``subject``, ``category``, ``method`` (str), ``video`` (3, T, 100, 100) uint8,
    ``audio`` (T, 104) float32, ``v_label``, ``a_label``, ``c_label``, ``m_label``, ``mm_label`` and ``id`` (i itself).
    """

    def __init__(self, clips: pd.DataFrame, train: bool, seed: int = 42, max_frames: int = MAX_FRAMES) -> None:
        self.clips = clips.reset_index(drop=True)
        self.train = train
        self.seed = seed
        self.max_frames = max_frames
        self.transform = train_transform() if train else eval_transform()
        # Shared memory, so that workers which outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with _one_thread():
            return self._load(index)

    def _load(self, index: int) -> dict[str, Any]:
        clip = self.clips.iloc[index]
        frames = read_video(clip["path"], self.max_frames)  # (T, 112, 112, 3)
        samples = read_audio(clip["path"], self.max_frames)
        return {
            "video": self._crop(torch.from_numpy(frames).permute(3, 0, 1, 2), index),  # (3, T, 100, 100)
            "audio": audio_features(samples, len(frames)),  # (T, 104)
            "id": index,
            **{name: clip[name] for name in TEXTS},
            **{name: int(clip[name]) for name in LABELS},
        }

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops and flips from now on; called by :class:`ClipSampler`."""
        self._epoch.fill_(epoch)

    def _crop(self, video: Tensor, index: int) -> Tensor:
        seed = np.random.SeedSequence((self.seed, int(self._epoch), index)).generate_state(1)[0]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(seed))
            return self.transform(video).contiguous()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: on arrays this small, waking the others takes longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ClipSampler(DistributedSampler):
    """A sampler that tells its dataset the epoch too.

    Lightning calls ``set_epoch`` at the start of every epoch, and leaves a DistributedSampler as it is; so the order
    and the crops depend on nothing but the seed and the epoch, with one process or several.
    """

    dataset: ClipDataset

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)
