"""AV-HuBERT: the encoder that every detector shares."""

from model.avhubert.config import AVHubertConfig
from model.avhubert.model import AVHubertModel

__all__ = ["AVHubertConfig", "AVHubertModel"]
