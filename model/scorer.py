"""Inference on clips of any lengths together, each scored as if it were alone."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model.fast import autocast_dtype, for_inference
from model.model import Detector, Streams


class Scores(NamedTuple):
    """Probabilities of real; None without a head for the audio or the video."""

    score: float
    audio_score: float | None = None
    video_score: float | None = None


class Scorer:
    """A detector on its device, which scores clips or windows of any lengths, each as if it were alone.

    `normalise` turns uint8 pixels, on the device, into what detectors take: `dataset.transforms.normalise`. `precision`
    is as in test.py: 16 and 16-mixed are float32 on a CPU; as an attribute, it is what that comes to.
    """

    def __init__(
        self,
        detector: Detector,
        device: torch.device,
        normalise: Callable[[Tensor], Tensor],
        precision: str = "32",
        compiled: bool = False,
    ) -> None:
        self.detector = for_inference(detector, compiled).to(device)
        self.device, self.normalise = device, normalise
        half = autocast_dtype(precision)
        if device.type == "cpu" and half is torch.float16:
            half = None
        self.precision = str(half or torch.float32).removeprefix("torch.")
        self._kept: dict[bytes, Tensor] = {}
        self.autocast = torch.autocast(device.type, half, enabled=half is not None)

    @torch.inference_mode()
    def __call__(
        self, videos: Sequence[Tensor], audios: Sequence[Tensor], keys: Sequence[bytes] = (), keep: bool = False
    ) -> list[Scores]:
        """Score some videos (3, T, 100, 100), uint8, each with audio features (T, 104) of its length.

        `keys` are a digest of each video, for who scores one with several audios: what the image encoder, by far the
        slowest part, makes of it is taken from what was kept. `keep` keeps what is new of that: 3 kB a frame on the
        device.
        """
        lengths = [len(audio) for audio in audios]
        mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
        mask = mask.to(self.device) if mask.any() else None
        audio = _padded(audios).transpose(1, 2).to(self.device)  # (B, 104, T)
        with self.autocast:
            if keys:
                audio_stream = self.detector.model.feature_extractor_audio(audio, mask)
                video_stream = _padded(self._embeddings(videos, keys, keep))
                outputs = self.detector.heads(Streams(video_stream, audio_stream, mask))
            else:
                outputs = self.detector(self._normalised(videos), audio, mask, lengths)
            verdict = self.detector.decide(outputs)
        columns = [
            [None] * len(lengths) if scores is None else scores.float().tolist()
            for scores in (verdict.score, verdict.audio_score, verdict.video_score)
        ]
        return [Scores(*row) for row in zip(*columns, strict=True)]

    def _embeddings(self, videos: Sequence[Tensor], keys: Sequence[bytes], keep: bool) -> list[Tensor]:
        """Embeddings (T, D) of each video."""
        new = {key: video for key, video in zip(keys, videos, strict=True) if key not in self._kept}
        known = dict(self._kept)
        if new:
            lengths = [video.shape[1] for video in new.values()]
            found = self.detector.model.feature_extractor_video(self._normalised([*new.values()]), lengths)  # (B, T, D)
            known |= {key: row[:length].clone() for key, row, length in zip(new, found, lengths, strict=True)}
        if keep:
            self._kept = known
        return [known[key] for key in keys]

    def _normalised(self, videos: Sequence[Tensor]) -> Tensor:
        video = _padded([video.transpose(0, 1) for video in videos]).transpose(1, 2).contiguous()
        return self.normalise(video.to(self.device))


def _padded(clips: Sequence[Tensor]) -> Tensor:
    """Stack clips (T, …), each followed by zeros to the length of the longest (B, T, …)."""
    return pad_sequence(list(clips), batch_first=True)
