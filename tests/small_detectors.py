"""Detectors that are as always but for their size, for tests of what is around them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model.avhubert import AVHubertConfig
from model.avhubert.config import encoder_config
from model.image_encoder import BasicBlock, Trunk
from scripts.verify.reference import filled

ENCODER = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4}
ENCODER |= {"conv_pos": 8, "conv_pos_groups": 2}


class SmallTrunk(Trunk):
    """One block of 8 channels in place of eight of 64 to 512."""

    def __init__(self, checkpoint_activations: bool = False) -> None:
        nn.Module.__init__(self)
        self.checkpoint_activations = checkpoint_activations
        self.layer1 = nn.Sequential(BasicBlock(64, 8, stride=4))
        self.layer2, self.layer3 = nn.Sequential(), nn.Sequential()
        self.layer4 = nn.Sequential(nn.Conv2d(8, 512, 1))


def small_config(encoder: dict[str, Any] | None = None, encoder_layers: int | None = None) -> AVHubertConfig:
    """The configuration that `encoder_config` gives, but of a small encoder where none is given."""
    return encoder_config(encoder or ENCODER | {"encoder_layers": encoder_layers or 0}, encoder_layers)


@contextmanager
def making_them_small() -> Iterator[None]:
    """Every detector that is made or loaded within has 0.2 million parameters in place of 20 million."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.model.encoder_config", small_config)
        patch.setattr("model.image_encoder.Trunk", SmallTrunk)
        yield


def save_small(path: Path) -> Path:
    """Save a small MRDF_CE whose every weight matters."""
    with making_them_small():
        detector = filled("MRDF_CE")
    torch.save({"state_dict": detector.state_dict(), "model_type": "MRDF_CE", "hyper_parameters": {}}, path)
    return path
