"""AV-HuBERT: the encoder that every detector shares."""

from model.avhubert.config import AVHubertConfig
from model.avhubert.load import load_avhubert, read_avhubert
from model.avhubert.model import AVHubertModel

__all__ = ["AVHubertConfig", "AVHubertModel", "load_avhubert", "read_avhubert"]
