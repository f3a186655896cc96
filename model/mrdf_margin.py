"""MRDF_Margin: AVDF with both regularisations, the within-modality one as a margin loss over pairs."""

from typing import Any

from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, mm_head, probability
from utils.loss import cross_entropy, cross_modality_loss, of_all_processes, within_modality_loss


class MRDF_Margin(Detector):
    """Cross entropy on `m_label` + margin losses on the within embeddings + contrast of the cross embeddings."""

    def build_heads(self, dim: int) -> None:
        self.mm_classifier = mm_head(dim, classes=2)

    def heads(self, streams: Streams) -> Outputs:
        video_cross, audio_cross = self.cross(streams)
        video_within, audio_within = self.within(streams)
        return Outputs(
            logits=self.mm_classifier(self.fused(streams)),
            video_cross=video_cross,
            audio_cross=audio_cross,
            video_within=video_within,
            audio_within=audio_within,
        )

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        terms = {
            "mm_loss": cross_entropy(outputs.logits, batch["m_label"]),
            "audio_loss": self._pairs_loss(outputs.audio_within, batch["a_label"], self.hparams.margin_audio),
            "video_loss": self._pairs_loss(outputs.video_within, batch["v_label"], self.hparams.margin_visual),
            "contrast_loss": cross_modality_loss(
                outputs.video_cross, outputs.audio_cross, batch["c_label"], self.hparams.margin_contrast
            ),
        }
        return self.with_total(terms)

    def _pairs_loss(self, embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
        """The within-modality term: in training over the pairs of all processes, else of this process's batch alone."""
        if self.training:
            embeddings, labels = of_all_processes(embeddings, labels)
        return within_modality_loss(embeddings, labels, margin)

    def decide(self, outputs: Outputs) -> Verdict:
        return Verdict(probability(outputs.logits), outputs.logits.argmax(dim=-1))
