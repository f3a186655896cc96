"""Official checkpoints that ask for more than they hold, weights that are no numbers, and fields that are not known."""

import math
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fairseq import CheckpointError
from model.avhubert import read_avhubert
from tests.fairseq.test_fairseq_attacks import as_zip, text
from tests.model.test_avhubert_official import SMALL, hollow, save

FC1 = "encoder.layers.0.fc1.weight"


@pytest.fixture(scope="module")
def small() -> dict[str, Tensor]:
    return hollow(**SMALL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "avhubert.pt"


def test_weights_that_lie_over_one_another_are_refused(file: Path) -> None:
    """Each by itself is whole, but all are parts of one storage, so that the model would be larger than the file."""
    wide = SMALL | {"encoder_embed_dim": 512, "encoder_ffn_embed_dim": 2048, "encoder_layers": 8}
    weights = hollow(**wide)
    one = torch.zeros(512 * 2048)
    for name, value in weights.items():
        if name.startswith("encoder.layers."):
            weights[name] = one[: value.numel()].view(value.shape)
    save(file, weights, {"model": wide})
    with pytest.raises(CheckpointError, match="its weights share memory: together they are larger than the file"):
        read_avhubert(file)


def test_a_tensor_under_two_names_is_no_fault(small: dict[str, Tensor], file: Path) -> None:
    weights = small | {"label_embs_concat": small[FC1], "encoder.layers.1.fc1.weight": small[FC1]}
    _, read = read_avhubert(save(file, weights, {"model": SMALL}))
    assert torch.equal(read["encoder.layers.1.fc1.weight"], small[FC1].float())


@pytest.mark.parametrize("layers", [257, 5000])
def test_more_layers_than_any_model_has(layers: int, small: dict[str, Tensor], file: Path) -> None:
    one = torch.zeros(1)
    weights = small | {f"encoder.layers.{layer}.fc1.bias": one for layer in range(layers)}
    save(file, weights, {"model": SMALL | {"encoder_layers": layers}})
    start = time.process_time()
    with pytest.raises(CheckpointError, match=f"says encoder_layers={layers}, which is not a whole number from 0 to"):
        read_avhubert(file)
    assert time.process_time() - start < 5  # building so many takes minutes


def test_a_head_that_the_file_leaves_out_cannot_be_huge(small: dict[str, Tensor], file: Path) -> None:
    weights = {name: value for name, value in small.items() if not name.startswith("final_proj")}
    save(file, weights, {"model": SMALL | {"final_dim": 10**6}})
    with pytest.raises(CheckpointError, match="final_dim=1000000, which is not a whole number from 0 to 16384"):
        read_avhubert(file)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [FC1, "feature_extractor_video.resnet.frontend3D.1.running_var"])
def test_weights_that_are_no_numbers(bad: float, name: str, small: dict[str, Tensor], file: Path) -> None:
    value = small[name].clone()
    value.view(-1)[3] = bad
    save(file, small | {name: value}, {"model": SMALL})
    with pytest.raises(CheckpointError, match=rf"avhubert\.pt: {name} holds values that are NaN or infinite"):
        read_avhubert(file)


@pytest.mark.parametrize("odd", [torch.zeros(48, 32).to_sparse(), torch.empty(48, 32, device="meta")])
def test_weights_without_values(odd: Tensor, small: dict[str, Tensor], file: Path) -> None:
    save(file, small | {FC1: odd}, {"model": SMALL})
    with pytest.raises(CheckpointError, match=rf"avhubert\.pt: {FC1} is a Tensor, not a tensor that holds all its"):
        read_avhubert(file)


def test_parameters_are_plain_tensors(small: dict[str, Tensor], file: Path) -> None:
    save(file, small | {FC1: torch.nn.Parameter(torch.zeros(48, 32))}, {"model": SMALL})
    assert not read_avhubert(file)[1][FC1].requires_grad


def test_a_weight_too_large_for_single_precision(small: dict[str, Tensor], file: Path) -> None:
    save(file, small | {FC1: torch.full((48, 32), 1e300, dtype=torch.float64)}, {"model": SMALL})
    with pytest.raises(CheckpointError, match=f"{FC1} holds values that are NaN or infinite"):
        read_avhubert(file)


def test_unknown_fields_that_are_off_are_left_aside(
    small: dict[str, Tensor], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    off = {"wav_input": False, "rate": 0, "share": 0.0, "path": "", "none": None, "items": [], "table": {}}
    config, _ = read_avhubert(save(file, small, {"model": SMALL | off}))
    assert config.encoder_layers == 2
    names = ", ".join(map(repr, sorted(off)))
    assert f"{file}: its cfg.model has fields that are not known, all off or empty: {names}" in caplog.messages


@pytest.mark.parametrize("value", [True, 1, 0.5, "conformer", [0], {"a": None}, torch.zeros(1), math.nan])
def test_unknown_fields_that_are_on_are_an_error(value: Any, small: dict[str, Tensor], file: Path) -> None:
    save(file, small, {"model": SMALL | {"layer_type": value}})
    with pytest.raises(CheckpointError, match="has 'layer_type', which AV-HuBERT does not know"):
        read_avhubert(file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"celsewhere\nrun\nK\x01\x85R", r"refused, .* \(it asks for a call of elsewhere\.run\)"),
        (b"celsewhere\nrun\nK\x01\x85\x81", r"dropout=a run, which is not a number from 0 to 1"),
    ],
)
def test_no_call_or_object_becomes_a_value(value: bytes, message: str, small: dict[str, Tensor], file: Path) -> None:
    """Neither as a call nor as a new object of what is not known."""
    cfg = pickle.dumps(SMALL, 2)[2:-1] + text("dropout") + value + b"s"
    model = text("model") + b"}" + text("mask_emb") + b"Nss"
    as_zip(file, b"\x80\x02}" + text("cfg") + b"}" + text("model") + cfg + b"ss" + model + b".")
    with pytest.raises(CheckpointError, match=message):
        read_avhubert(file)
