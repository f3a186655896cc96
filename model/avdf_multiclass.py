"""AVDF_Multiclass: one head with a class for each of the four kinds of clip."""

from typing import Any

from torch import Tensor

from model.model import Detector, Outputs, Streams, Verdict, mm_head, probability
from utils.loss import cross_entropy

RVRA = 0  # the class of `mm_label` in which video and audio are real


class AVDF_Multiclass(Detector):
    """RVRA, FVRA, RVFA or FVFA, trained by cross entropy on `mm_label`; a clip is real when RVRA is the likeliest."""

    def build_heads(self, dim: int) -> None:
        self.mm_classifier = mm_head(dim, classes=4)

    def heads(self, streams: Streams) -> Outputs:
        return Outputs(logits=self.mm_classifier(self.fused(streams)))

    def losses(self, outputs: Outputs, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"loss": cross_entropy(outputs.logits, batch["mm_label"])}

    def decide(self, outputs: Outputs) -> Verdict:
        return Verdict(probability(outputs.logits, RVRA), (outputs.logits.argmax(dim=-1) == RVRA).long())
