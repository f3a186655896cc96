"""The six detectors against numbers that the authors' release gave (tests/reference/released_open.*)."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model import MODELS, Detector
from scripts.verify.reference import OUTPUTS, filled
from tests.reference import recipe

REFERENCE = Path(__file__).parents[1] / "reference"
EXPECTED = json.loads((REFERENCE / "released_open.json").read_text())
ARRAYS = np.load(REFERENCE / "released_open.npz")
every_detector = pytest.mark.parametrize("name", OUTPUTS)


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    return {key: torch.as_tensor(value) for key, value in recipe.detector_batch(**EXPECTED["batch"]).items()}


@pytest.fixture(scope="module", params=OUTPUTS)
def made(request: pytest.FixtureRequest) -> Detector:
    """Each detector with the weights behind the numbers; nobody changes it."""
    return filled(request.param)


def relative_error(actual: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest value expected."""
    return float(np.abs(actual.detach().numpy() - expected).max() / np.abs(expected).max())


def loss_of(detector: Detector, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    outputs = detector(batch["video"], batch["audio"], batch["padding_mask"])
    return detector.losses(outputs, batch)["loss"]


@every_detector
def test_state_dict_has_the_names_and_shapes_of_the_release(name: str) -> None:
    released = {recipe.canonical(key): shape for key, shape in EXPECTED["models"][name]["state_dict"].items()}
    with torch.device("meta"):
        detector = MODELS[name]()
    assert {key: list(value.shape) for key, value in detector.state_dict().items()} == released
    assert sum(value.numel() for value in detector.parameters()) == EXPECTED["models"][name]["parameters"]


def test_outputs_and_losses_in_eval_mode(made: Detector, batch: dict[str, torch.Tensor]) -> None:
    name, detector = type(made).__name__, copy.deepcopy(made).eval()
    with torch.no_grad():
        outputs = detector(batch["video"], batch["audio"], batch["padding_mask"])
        losses = detector.losses(outputs, batch)
    assert {field for field, value in outputs._asdict().items() if value is not None} == set(OUTPUTS[name])
    for index, field in enumerate(OUTPUTS[name]):
        assert relative_error(getattr(outputs, field), ARRAYS[f"{name}/eval/{index}"]) < 2e-5, field
    compared = {key: value for key, value in losses.items() if f"{name}/eval/{key}" in ARRAYS}
    assert "loss" in compared
    for key, value in compared.items():
        assert relative_error(value, ARRAYS[f"{name}/eval/{key}"]) < 2e-5, key


def test_loss_and_gradients_in_train_mode(made: Detector, batch: dict[str, torch.Tensor]) -> None:
    name, detector = type(made).__name__, copy.deepcopy(made).train()
    norm = detector.model.feature_extractor_video.resnet.frontend3D[1]  # of the front end, which is not trained
    before = norm.running_mean.clone()
    loss = loss_of(detector, batch)
    assert not torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 1
    assert relative_error(loss, ARRAYS[f"{name}/train/loss"]) < 2e-5
    loss.backward()
    expected = EXPECTED["models"][name]["grad_norms"]
    ours = {key: parameter.grad for key, parameter in detector.named_parameters()}
    assert ours.keys() == expected.keys()
    assert {key for key, grad in ours.items() if grad is None} == {
        key for key, norm in expected.items() if norm is None
    }
    largest = max(norm for norm in expected.values() if norm is not None)
    for key, norm in expected.items():
        if norm is not None:
            # In channels_last BatchNorm sums in one float32 chain on a CPU.
            assert float(ours[key].norm()) == pytest.approx(norm, rel=2e-3, abs=1e-7 * largest), key


# Of the others the daily run compares losses and gradients.
@pytest.mark.parametrize(
    "name", [name if name == "MRDF_CE" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_five_steps_of_adam(name: str, batch: dict[str, torch.Tensor]) -> None:
    detector = filled(name).train()
    detector.hparams.learning_rate = 2e-4
    optimizer = detector.configure_optimizers()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = loss_of(detector, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # As in SPEC of the reference: relative to the array's largest value.
    expected = np.array(EXPECTED["models"][name]["adam_losses"])
    assert np.abs(np.array(losses) - expected).max() / expected.max() < 1e-2
