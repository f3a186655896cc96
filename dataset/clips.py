"""The clips of a fold as a dataset, and the order in which an epoch visits them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, get_worker_info

from dataset.collate import TEXTS, one_thread
from dataset.corpora.table import LABELS
from dataset.features import audio_features
from dataset.media import MAX_FRAMES, read_audio, read_video
from dataset.parallel import in_threads
from dataset.shard import CachedClip
from dataset.transforms import centre_crop, random_crop
from utils.errors import DataError

log = logging.getLogger(__name__)


class ClipDataset(Dataset):
    """Clips decoded one at a time.

    Parameters
    ----------
    clips
        Rows of :func:`dataset.corpora.read_corpus`.
    train
        Crop at random and flip half of the clips; otherwise crop the centre.
    seed
        With the epoch and the clip's index, all that crop and flip depend on: neither the number of workers nor
        the global random state matters.
    max_frames
        Where decoding stops.
    cache
        File → clip that lies there decoded: see :meth:`dataset.cache.ClipCache.entries`. Not a bit of an item changes.

    Notes
    -----
    ``dataset[i]`` is a dict: ``file``, ``subject``, ``category``, ``method`` (str), ``video`` (3, T, 100, 100) uint8,
    ``audio`` (T, 104) float32, ``v_label``, ``a_label``, ``c_label``, ``m_label``, ``mm_label`` and ``id`` (i itself).
    """

    def __init__(
        self,
        clips: pd.DataFrame,
        train: bool,
        seed: int = 42,
        max_frames: int = MAX_FRAMES,
        cache: Mapping[str, CachedClip] | None = None,
    ) -> None:
        self.clips = clips.reset_index(drop=True)
        self.train = train
        self.seed = seed
        self.max_frames = max_frames
        # Looked up once: a row of a table takes longer to find than a short clip to load.
        self._paths = list(self.clips["path"])
        self._cached = [(cache or {}).get(file) for file in self.clips["file"]]
        self._texts = self.clips[list(TEXTS)].to_dict("records")
        self._labels = self.clips[list(LABELS)].fillna(-1).astype(int).to_dict("records")
        # Shared memory, so that workers which outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with one_thread():
            item = self._item(index, *self._load(index))
            return item | {"video": item["video"].contiguous()}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Items of a batch, as a DataLoader asks for them.

        Their videos may be views, of the cache's file even: what a batch is made of is copied once, and what it
        leaves out never. Where there are more cores than worker processes, threads decode several clips at a time.
        """
        threads = 1
        if any(self._cached[index] is None for index in indices):
            worker = get_worker_info()
            cores = (os.cpu_count() or 1) // (worker.num_workers if worker else 1)
            threads = max(1, min(cores, len(indices)))
        with one_thread():
            loaded = in_threads(self._load, indices, workers=threads, progress=False)
            return [self._item(index, *clip) for index, clip in zip(indices, loaded, strict=True)]

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops and flips from now on; called by :class:`ClipSampler`."""
        self._epoch.fill_(epoch)

    def _item(self, index: int, video: Tensor, audio: Tensor) -> dict[str, Any]:
        return {
            "video": self._crop(video, index),  # (3, T, 100, 100)
            "audio": audio,  # (T, 104)
            "id": index,
            **self._texts[index],
            **self._labels[index],
        }

    def _load(self, index: int) -> tuple[Tensor, Tensor]:
        """Frames (3, T, 112, 112) and features (T, 104) of a clip; the frames may lie in the cache's file."""
        cached = self._cached[index]
        if cached is not None:
            try:
                video, audio = cached.read(self.max_frames)
                return torch.from_numpy(video), torch.from_numpy(audio.copy())
            except DataError as error:
                log.warning("%s; its clip is decoded instead", error)
                self._cached[index] = None
        frames = read_video(self._paths[index], self.max_frames)  # (T, 112, 112, 3)
        samples = read_audio(self._paths[index], self.max_frames)
        return torch.from_numpy(frames).permute(3, 0, 1, 2), audio_features(samples, len(frames))

    def _crop(self, video: Tensor, index: int) -> Tensor:
        if not self.train:
            return centre_crop(video)
        seed = np.random.SeedSequence((self.seed, int(self._epoch), index)).generate_state(1)[0]
        return random_crop(video, int(seed))


class ClipSampler(DistributedSampler):
    """A sampler that tells its dataset the epoch too.

    Lightning calls ``set_epoch`` at the start of every epoch, and leaves a DistributedSampler as it is; so the order
    and the crops depend on nothing but the seed and the epoch, with one process or several.
    """

    dataset: ClipDataset

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)
