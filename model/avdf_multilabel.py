"""AVDF_Multilabel: one head with two independent outputs, audio real and video real."""

from typing import Any

import torch
from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, mm_head
from utils.loss import binary_cross_entropy


class AVDF_Multilabel(Detector):
    """Logits [audio, video], trained by binary cross entropy; a clip is real when both sigmoids reach 0.5."""

    def build_heads(self, dim: int) -> None:
        self.mm_classifier = mm_head(dim, classes=2)

    def heads(self, streams: Streams) -> Outputs:
        return Outputs(logits=self.mm_classifier(self.fused(streams)))

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        target = torch.stack([batch["a_label"], batch["v_label"]], dim=-1)  # (B, 2)
        return {"loss": binary_cross_entropy(outputs.logits, target)}

    def decide(self, outputs: Outputs) -> Verdict:
        audio, video = outputs.logits.float().sigmoid().unbind(dim=-1)  # (B,), (B,)
        score = torch.minimum(audio, video)
        return Verdict(score, (score >= 0.5).long(), video, audio)
