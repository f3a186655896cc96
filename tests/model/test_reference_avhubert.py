"""AV-HuBERT's encoder against features that the official code gave (tests/reference/avhubert.*)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.avhubert import AVHubertConfig, AVHubertModel
from tests.reference import recipe

REFERENCE = Path(__file__).parents[1] / "reference"
EXPECTED = json.loads((REFERENCE / "avhubert.json").read_text())
ARRAYS = np.load(REFERENCE / "avhubert.npz")
UNUSED = {"label_embs_concat"}  # of the pre-training loss


@pytest.fixture(scope="module", params=EXPECTED)
def case(request: pytest.FixtureRequest) -> tuple[str, AVHubertModel, torch.Tensor, torch.Tensor]:
    """A model with the reference's weights, and its inputs."""
    name = request.param
    expected = EXPECTED[name]
    model = AVHubertModel(AVHubertConfig(**expected["cfg"])).eval()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            weight = recipe.weight(key, tuple(value.shape), expected["weights_seed"])
            value.copy_(torch.zeros_like(value) if value.dtype == torch.int64 else torch.as_tensor(weight))
    video, audio = recipe.avhubert_inputs(**expected["inputs"])
    return name, model, torch.as_tensor(video), torch.as_tensor(audio)


def agree(actual: torch.Tensor, key: str) -> None:
    expected = ARRAYS[key]
    assert actual.shape == expected.shape
    assert np.abs(actual.detach().numpy() - expected).max() < 2e-5 * np.abs(expected).max(), key


def mask_of(audio: torch.Tensor) -> torch.Tensor:
    """Clip 1 is padding from frame 12, clip 2 from frame 5."""
    mask = torch.zeros(audio.shape[0], audio.shape[2], dtype=torch.bool)
    mask[1, 12:] = True
    mask[2, 5:] = True
    return mask


@pytest.mark.parametrize("name", EXPECTED)
def test_names_and_shapes_are_the_official_ones(name: str) -> None:
    model = AVHubertModel(AVHubertConfig(**EXPECTED[name]["cfg"]))
    official = {key: shape for key, shape in EXPECTED[name]["state_dict"].items() if key not in UNUSED}
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == official


@torch.no_grad()
def test_features_under_a_padding_mask(case: tuple[str, AVHubertModel, torch.Tensor, torch.Tensor]) -> None:
    name, model, video, audio = case
    mask = mask_of(audio)
    actual = model.extract_features(audio, video, mask)
    agree(actual, f"{name}/av_masked")
    changed = audio + mask[:, None] * torch.randn_like(audio)
    torch.testing.assert_close(model.extract_features(changed, video, mask)[~mask], actual[~mask])


def test_bad_requests_are_refused() -> None:
    model = AVHubertModel(AVHubertConfig(encoder_layers=1, encoder_embed_dim=32, encoder_attention_heads=2, conv_pos=8))
    with pytest.raises(ValueError, match="audio, video or both"):
        model.extract_features()
    with pytest.raises(ValueError, match="output_layer 2 is not between 1 and 1"):
        model.extract_features(torch.randn(1, 104, 5), output_layer=2)
    with pytest.raises(ValueError, match="resnet_relu_type='relu', which is not prelu"):
        AVHubertModel(AVHubertConfig(resnet_relu_type="relu"))
    with pytest.raises(ValueError, match="activation_fn='tanh', which is not gelu or relu"):
        AVHubertModel(AVHubertConfig(activation_fn="tanh"))
