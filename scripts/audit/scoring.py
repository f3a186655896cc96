"""Changed clips in padded batches, and what a detector makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from dataset.features import audio_features
from dataset.transforms import centre_crop, normalise
from model import Detector
from model.model import Streams
from scripts.audit.changes import ORIGINAL, Change, change_clip
from scripts.audit.clip import Clip, Context
from scripts.audit.damage import SOUND
from utils.errors import DataError

SCORES = ("score", "video_score", "audio_score")
LEFT_OUT = "left out: "


class Item(NamedTuple):
    """A changed clip; without frames if the change could not be made, and then `remark` says why.

    Attributes
    ----------
    video
        (T, 3, 100, 100), uint8.
    audio
        (T, 104), float32.
    remark
        See :class:`scripts.audit.clip.Media`.
    picture
        Digest of the video.
    """

    video: Tensor
    audio: Tensor
    remark: str
    picture: bytes = b""


class ChangedClips(Dataset):
    """Clips after one change, decoded one at a time, as :class:`dataset.clips.ClipDataset` gives them for a test."""

    def __init__(self, clips: Sequence[Clip], change: Change, context: Context) -> None:
        self.clips = clips
        self.change = change
        self.context = context

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Item:
        try:
            media = change_clip(self.change, self.clips[index], self.context)
        except DataError as error:
            reason = str(error).removeprefix(f"{self.clips[index].path}: ")
            return Item(torch.empty(0), torch.empty(0), f"{LEFT_OUT}{reason}")
        video = centre_crop(torch.from_numpy(media.frames).permute(0, 3, 1, 2)).contiguous()  # (T, 3, 100, 100)
        audio = audio_features(media.samples, len(video))  # (T, 104)
        return Item(video, audio, media.remark, hashlib.sha256(video.numpy()).digest())


class Scorer:
    """Scores clips in padded batches, so that none depends on the others.

    What the image encoder, by far the slowest part, makes of an untouched picture is kept for the changes of the sound:
    3 kB a frame on the detector's device.

    Parameters
    ----------
    detector
        In eval mode, on the device that shall compute.
    batch_size, num_workers
        As in :class:`torch.utils.data.DataLoader`.
    """

    def __init__(self, detector: Detector, batch_size: int, num_workers: int) -> None:
        self.detector = detector
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._kept: dict[bytes, Tensor] = {}

    def __call__(self, data: ChangedClips, advance: Callable[[int], None]) -> pd.DataFrame:
        """Score clips, and tell `advance` how many are done after each batch.

        Returns
        -------
        One row a clip, in order: ``SCORES``, NaN where there is none, and ``remark``.
        """
        loader = DataLoader(
            data, self.batch_size, num_workers=self.num_workers, collate_fn=list, worker_init_fn=_one_thread
        )
        keep = data.change == ORIGINAL or data.change.family in SOUND
        rows = []
        for items in loader:
            usable = [item for item in items if len(item.video)]
            scores = iter(self._forward(usable, keep) if usable else ())
            rows += [(*(next(scores) if len(item.video) else (float("nan"),) * 3), item.remark) for item in items]
            advance(len(items))
        return pd.DataFrame(rows, columns=[*SCORES, "remark"])

    @torch.inference_mode()
    def _forward(self, items: Sequence[Item], keep: bool) -> list[tuple[float, ...]]:
        """``SCORES`` of each clip of a batch."""
        mask = self._mask(items)
        audio = pad_sequence([item.audio for item in items], batch_first=True).transpose(1, 2)  # (B, 104, T)
        audio_stream = self.detector.model.feature_extractor_audio(audio.to(self.detector.device), mask)  # (B, T, D)
        video_stream = pad_sequence(self._video_streams(items, keep), batch_first=True)  # (B, T, D)
        verdict = self.detector.decide(self.detector.heads(Streams(video_stream, audio_stream, mask)))
        heads = (verdict.score, verdict.video_score, verdict.audio_score)
        columns = [[float("nan")] * len(items) if head is None else head.double().tolist() for head in heads]
        return list(zip(*columns, strict=True))

    def _video_streams(self, items: Sequence[Item], keep: bool) -> list[Tensor]:
        """Embeddings (T, D) of each clip's picture."""
        new = [item for item in items if item.picture not in self._kept]
        streams = dict(self._kept)
        if new:
            video = pad_sequence([item.video for item in new], batch_first=True).transpose(1, 2)  # (B, 3, T, 100, 100)
            found = self.detector.model.feature_extractor_video(
                normalise(video.to(self.detector.device)), [len(item.video) for item in new]
            )  # (B, T, D)
            streams |= {item.picture: row[: len(item.video)].clone() for item, row in zip(new, found, strict=True)}
        if keep:
            self._kept = streams
        return [streams[item.picture] for item in items]

    def _mask(self, items: Sequence[Item]) -> Tensor | None:
        """Where clips have ended (B, T); None if all are as long."""
        lengths = torch.tensor([len(item.video) for item in items])
        mask = torch.arange(int(lengths.max())) >= lengths[:, None]
        return mask.to(self.detector.device) if mask.any() else None


def _one_thread(_worker: int) -> None:
    """OpenCV's own threads do not survive the fork that starts a worker."""
    cv2.setNumThreads(0)
