"""The clips of a fold as a dataset, the order in which an epoch visits them, and batches of them."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, DistributedSampler, default_collate, get_worker_info

from dataset.cache import CachedClip
from dataset.corpora.table import LABELS
from dataset.decoding import AS_IT_IS, Reading, decode_clip
from dataset.media import MAX_FRAMES
from dataset.transforms import centre_crop, random_crop
from utils.errors import DataError
from utils.parallel import in_threads, usable_cores

log = logging.getLogger(__name__)

TEXTS = ("file", "subject", "category", "method")


class ClipKey(NamedTuple):
    """What a sampler asks a dataset for."""

    index: int  # type: ignore[assignment]  # of the clip; not the method of tuples
    epoch: int = 0  # by which it is cropped; as it travels with the index, workers need not know it
    repeated: bool = False  # of a batch that only fills up the last round of several processes: not to count twice


@dataclass(eq=False, repr=False)
class ClipDataset(Dataset):
    """Clips read one at a time, from the cache or else from their files.

    `dataset[i]` is a dict: `file`, `subject`, `category`, `method` (str), `video` (3, T, 100, 100) uint8, `audio`
    (T, 104) float32, `v_label`, `a_label`, `c_label`, `m_label`, `mm_label` (-1 = unknown) and `id` (i itself).
    """

    clips: pd.DataFrame  # rows of the clip table
    train: bool  # crop at random and flip half of the clips; otherwise crop the centre
    # With the epoch and the clip's index, all that crop and flip depend on: neither the number of workers nor the
    # random state of the process matters.
    seed: int = 42
    max_frames: int = MAX_FRAMES  # where decoding stops
    # File → clip that lies there decoded: see `dataset.cache.ClipCache.entries`. Not a bit of an item changes.
    cache: InitVar[Mapping[str, CachedClip] | None] = None
    reading: Reading = AS_IT_IS

    def __post_init__(self, cache: Mapping[str, CachedClip] | None) -> None:
        self.clips = self.clips.reset_index(drop=True)
        # Looked up once: a row of a table takes longer to find than a short clip to load.
        self._paths = list(self.clips["path"])
        self._cached = [(cache or {}).get(file) for file in self.clips["file"]]
        self._texts = self.clips[list(TEXTS)].to_dict("records")
        self._labels = self.clips[list(LABELS)].fillna(-1).astype(int).to_dict("records")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | ClipKey) -> dict[str, Any]:
        (item,) = self.__getitems__([key])
        return item | {"video": item["video"].contiguous()}

    def __getitems__(self, keys: Sequence[int | ClipKey]) -> list[dict[str, Any]]:
        """Items of a batch, as a DataLoader asks for them.

        Their videos may be views: what a batch takes of them is copied once, when it is collated. Where there are more
        cores than workers, threads decode several clips at a time.
        """
        full = [key if isinstance(key, ClipKey) else ClipKey(int(key)) for key in keys]
        threads = 1
        if any(self._cached[key.index] is None for key in full):
            worker = get_worker_info()
            threads = min(usable_cores() // (worker.num_workers if worker else 1), len(full))
        loaded: Iterable[tuple[Tensor, Tensor]] = map(self._load, full)
        if threads > 1:
            loaded = in_threads(self._load, full, workers=threads, progress=False)
        return [self._item(key, *clip) for key, clip in zip(full, loaded, strict=True)]

    def _item(self, key: ClipKey, video: Tensor, audio: Tensor) -> dict[str, Any]:
        if self.train:
            seed = np.random.SeedSequence((self.seed, key.epoch, key.index)).generate_state(1)[0]
            video = random_crop(video, int(seed))
        else:
            video = centre_crop(video)
        return {
            "video": video,  # (3, T, 100, 100)
            "audio": audio,  # (T, 104)
            "id": key.index,
            **self._texts[key.index],
            **self._labels[key.index],
            **({"repeated": True} if key.repeated else {}),
        }

    def _load(self, key: ClipKey) -> tuple[Tensor, Tensor]:
        """Frames (3, T, 112, 112) and features (T, 104) of a clip."""
        cached = self._cached[key.index]
        if cached is not None:
            try:
                video, audio = cached.read(self.max_frames)
                return torch.from_numpy(video), torch.from_numpy(audio)
            except DataError as error:
                log.warning("%s; its clip is decoded instead", error)
                self._cached[key.index] = None
        decoded = decode_clip(self._paths[key.index], self.max_frames, self.reading)
        return torch.from_numpy(decoded.video), torch.from_numpy(decoded.audio)


class ClipSampler(DistributedSampler):
    """The keys of one process (`rank` of so many `ranks`) in one epoch, which depend on the seed and the epoch alone.

    Training clips (`shuffle`) are shuffled anew each epoch. Clips to evaluate come in the order of the table and in
    whole batches, batch k to process k mod n: what a batch holds, on which scores depend where it is cut to its
    shortest clip, does not depend on the number of processes. A process that has a batch less than others repeats one.

    `trainer` tells the epoch when an iteration begins. A worker reads ahead from that moment, which in a resumed run
    comes before Lightning calls `set_epoch`. Without a trainer `set_epoch` counts.

    Lightning leaves a DistributedSampler as it is.
    """

    dataset: ClipDataset

    def __init__(
        self,
        dataset: ClipDataset,
        ranks: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 42,
        batch_size: int = 1,
        trainer: Trainer | None = None,
    ) -> None:
        super().__init__(dataset, ranks, rank, shuffle, seed)
        self.batch_size = batch_size
        self.trainer = trainer

    def __iter__(self) -> Iterator[ClipKey]:
        if self.trainer is not None:
            # What Lightning gives to `set_epoch`; in a resumed run `current_epoch` is still that before.
            self.epoch = self.trainer.fit_loop.epoch_progress.current.processed
        if self.shuffle:
            return map(ClipKey, super().__iter__(), [self.epoch] * len(self))
        return chain.from_iterable(self._evaluation_batches())

    def __len__(self) -> int:
        return super().__len__() if self.shuffle else sum(map(len, self._evaluation_batches()))

    def _evaluation_batches(self) -> list[list[ClipKey]]:
        count = math.ceil(len(self.dataset) / self.batch_size)
        rounds = math.ceil(count / self.num_replicas)
        batches = []
        for number in range(self.rank, rounds * self.num_replicas, self.num_replicas):
            start = self.batch_size * number if number < count else 0
            end = min(start + self.batch_size, len(self.dataset))
            batches.append([ClipKey(index, self.epoch, number >= count) for index in range(start, end)])
        return batches


def collate_cut(items: Sequence[dict[str, Any]], max_frames: int = MAX_FRAMES) -> dict[str, Any]:
    """Cut the clips from their start to the shortest of them, as the authors' release does.

    A batch is a dict of `video` (B, 3, T, 100, 100) uint8, `audio` (B, 104, T) float32, `padding_mask` (B, T) bool
    (nothing is padding, so all False), `v_label`, `a_label`, `c_label`, `m_label`, `mm_label` and `id` (B,) int64;
    `file`, `subject`, `category`, `method` as lists of str; `lengths`, the B numbers of frames that are not padding (as
    plain integers, so that nobody has to ask a GPU for the mask), and `repeated` (see `ClipKey`).
    """
    return _collate(items, [min(max_frames, *(len(item["audio"]) for item in items))] * len(items))


def collate_pad(items: Sequence[dict[str, Any]], max_frames: int = MAX_FRAMES) -> dict[str, Any]:
    """Pad the clips with zeros to the longest of them: a batch as that of `collate_cut`, masked where one has ended."""
    return _collate(items, [min(max_frames, len(item["audio"])) for item in items])


COLLATE = {"cut": collate_cut, "mask": collate_pad}


def _collate(items: Sequence[dict[str, Any]], lengths: Sequence[int]) -> dict[str, Any]:
    """Batch of the first frames of each item, zero-padded to the longest length."""
    longest = max(lengths)
    fitted = []
    for item, length in zip(items, lengths, strict=True):
        video, audio = item["video"][:, :length], item["audio"][:length].T
        if length < longest:
            video = F.pad(video, (0, 0, 0, 0, 0, longest - length))
            audio = F.pad(audio, (0, longest - length))
        plain = {name: value for name, value in item.items() if name != "repeated"}
        fitted.append(plain | {"video": video, "audio": audio})
    return default_collate(fitted) | {
        "padding_mask": torch.arange(longest) >= torch.tensor(lengths)[:, None],  # (B, T)
        "lengths": tuple(lengths),
        "repeated": any("repeated" in item for item in items),
    }
