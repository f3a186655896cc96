"""MRDF_CE: AVDF with both regularisations, the within-modality one as a cross entropy for each modality."""

from typing import Any

from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, mm_head, probability, within_head
from utils.loss import cross_entropy, cross_modality_loss


class MRDF_CE(Detector):
    """Cross entropy on `m_label` + cross entropy of each modality + contrast of the cross embeddings."""

    def build_heads(self, dim: int) -> None:
        self.mm_classifier = mm_head(dim, classes=2)
        self.video_classifier = within_head(dim)
        self.audio_classifier = within_head(dim)

    def heads(self, streams: Streams) -> Outputs:
        video_cross, audio_cross = self.cross(streams)
        video_within, audio_within = self.within(streams)
        return Outputs(
            logits=self.mm_classifier(self.fused(streams)),
            video_logits=self.video_classifier(video_within),
            audio_logits=self.audio_classifier(audio_within),
            video_cross=video_cross,
            audio_cross=audio_cross,
        )

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        terms = {
            "mm_loss": cross_entropy(outputs.logits, batch["m_label"]),
            "audio_loss": cross_entropy(outputs.audio_logits, batch["a_label"]),
            "video_loss": cross_entropy(outputs.video_logits, batch["v_label"]),
            "contrast_loss": cross_modality_loss(
                outputs.video_cross, outputs.audio_cross, batch["c_label"], self.hparams.margin_contrast
            ),
        }
        return self.with_total(terms)

    def decide(self, outputs: Outputs) -> Verdict:
        return Verdict(
            probability(outputs.logits),
            outputs.logits.argmax(dim=-1),
            video_score=probability(outputs.video_logits),
            audio_score=probability(outputs.audio_logits),
        )
