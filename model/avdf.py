"""AVDF: one binary classifier on the fused embedding."""

from typing import Any

from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, mm_head, probability
from utils.loss import cross_entropy


class AVDF(Detector):
    """Real or fake from the fused embedding, trained by cross entropy on `m_label`."""

    def build_heads(self, dim: int) -> None:
        self.mm_classifier = mm_head(dim, classes=2)

    def heads(self, streams: Streams) -> Outputs:
        return Outputs(logits=self.mm_classifier(self.fused(streams)))

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"loss": cross_entropy(outputs.logits, batch["m_label"])}

    def decide(self, outputs: Outputs) -> Verdict:
        return Verdict(probability(outputs.logits), outputs.logits.argmax(dim=-1))
