"""AVDF_Ensemble: one classifier for the video and one for the audio; a clip is real when both say so."""

from typing import Any

import torch
from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, probability, within_head
from utils.loss import cross_entropy


class AVDF_Ensemble(Detector):
    """Two independent binary decisions, trained by cross entropy on `a_label` and on `v_label`."""

    def build_heads(self, dim: int) -> None:
        self.video_classifier = within_head(dim)
        self.audio_classifier = within_head(dim)

    def heads(self, streams: Streams) -> Outputs:
        video, audio = self.within(streams)
        return Outputs(video_logits=self.video_classifier(video), audio_logits=self.audio_classifier(audio))

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        audio_loss = cross_entropy(outputs.audio_logits, batch["a_label"])
        video_loss = cross_entropy(outputs.video_logits, batch["v_label"])
        return {"loss": audio_loss + video_loss, "audio_loss": audio_loss, "video_loss": video_loss}

    def decide(self, outputs: Outputs) -> Verdict:
        video, audio = probability(outputs.video_logits), probability(outputs.audio_logits)
        decision = outputs.video_logits.argmax(dim=-1) * outputs.audio_logits.argmax(dim=-1)
        return Verdict(torch.minimum(video, audio), decision, video, audio)
