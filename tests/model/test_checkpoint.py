"""Reading checkpoints: the release's own, ours, and files that are neither."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset import FakeAVCelebDataModule
from model import MODELS, CheckpointError, Detector, load_detector, read_checkpoint, threshold_of
from tests.reference import recipe


@pytest.fixture(scope="module")
def released(released_checkpoint: Path) -> Detector:
    return load_detector(released_checkpoint)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def test_outputs_of_a_released_checkpoint(released: Detector, reference: Path) -> None:
    assert type(released).__name__ == "MRDF_CE"
    assert not released.training
    expected = np.load(reference / "released_mrdf_ce.npz")
    batch = {key: torch.as_tensor(value) for key, value in recipe.detector_batch(32, 3, 14).items()}
    with torch.no_grad():
        outputs = released(batch["video"], batch["audio"], batch["padding_mask"])
    for index, name in enumerate(["logits", "video_cross", "audio_cross", "video_logits", "audio_logits"]):
        assert relative_error(getattr(outputs, name).numpy(), expected[str(index)]) < 2e-5, name


@pytest.mark.parametrize(("batch_size", "key"), [(4, "clips_batched"), (1, "clips_single")])
def test_scores_of_the_four_test_clips(
    released: Detector, reference: Path, prepared_root: Path, batch_size: int, key: str
) -> None:
    data = FakeAVCelebDataModule(prepared_root, train_fold="train_1.txt", batch_size=batch_size)
    data.setup("test")
    probabilities = []
    with torch.no_grad():
        for raw in data.test_dataloader():
            batch = data.on_after_batch_transfer(raw, 0)
            outputs = released(batch["video"], batch["audio"], batch["padding_mask"])
            probabilities.append(outputs.logits.softmax(dim=-1))
            torch.testing.assert_close(released.decide(outputs).score, probabilities[-1][:, 1])
    expected = np.load(reference / "released_mrdf_ce.npz")[key]
    assert relative_error(torch.cat(probabilities).numpy(), expected) < 2e-5


@pytest.mark.usefixtures("small_detectors")
@pytest.mark.parametrize("name", MODELS)
def test_our_own_checkpoint_comes_back_with_its_type_and_layers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = MODELS[name](encoder_layers=1, margin_audio=0.25)
    path = save(tmp_path / "ours.ckpt", detector, model_type=name, hyper_parameters=dict(detector.hparams))
    loaded = load_detector(path)
    assert type(loaded) is MODELS[name]
    assert loaded.hparams.margin_audio == 0.25
    assert len(loaded.model.encoder.layers) == 1
    for key, value in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_a_file_without_a_threshold_has_that_of_half(released_checkpoint: Path) -> None:
    assert threshold_of(read_checkpoint(released_checkpoint)) == (0.5, "default", "", 0)


def save(path: Path, detector: Detector, **more: object) -> Path:
    torch.save({"state_dict": detector.state_dict(), **more}, path)
    return path


@pytest.mark.usefixtures("small_detectors")
def test_types_that_look_alike_have_to_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "margin.ckpt", MODELS["MRDF_Margin"]())
    with pytest.raises(CheckpointError, match="AVDF, AVDF_Multilabel, MRDF_Margin look alike"):
        load_detector(path)
    assert type(load_detector(path, "MRDF_Margin")) is MODELS["MRDF_Margin"]
    for name in ("MRDF_CE", "AVDF_Ensemble", "AVDF_Multiclass"):
        assert type(load_detector(save(tmp_path / "told.ckpt", MODELS[name]()))) is MODELS[name]


def test_another_model_type_and_an_unknown_one(released_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="holds MRDF_CE, not AVDF;"):
        load_detector(released_checkpoint, "AVDF")
    with pytest.raises(CheckpointError, match=r"'Foo' is unknown; use one of AVDF, .*MRDF_CE"):
        load_detector(released_checkpoint, "Foo")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = MODELS["AVDF"]().state_dict()
    name = "mm_classifier.0.weight"
    for changed, message in (
        ({key: value for key, value in weights.items() if key != name}, f"{name} of AVDF is missing"),
        (weights | {name: torch.zeros(3, 768)}, rf"{name} is \(3, 768\), but AVDF needs \(768, 768\)"),
        (weights | {"extra.weight": torch.zeros(1)}, "extra.weight does not belong to AVDF"),
    ):
        torch.save({"state_dict": changed}, tmp_path / "odd.ckpt")
        with pytest.raises(CheckpointError, match=message):
            load_detector(tmp_path / "odd.ckpt", "AVDF")


class RunsCode:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "config": RunsCode(tmp_path / "ran")}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match=r"evil\.ckpt: refused, reading it would run code .*mkdir"):
        load_detector(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_checkpoint(tmp_path: Path, released_checkpoint: Path) -> None:
    cut = released_checkpoint.read_bytes()[:1_000_000]
    for content in (b"", b"broken", b"hello world", b"PK\x03\x04", b"]R.", b"\x80\x02X\xff\xff\xff\xff.", cut):
        path = tmp_path / "odd.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"odd\.ckpt: not a PyTorch checkpoint"):
            load_detector(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        load_detector(path)
    torch.save({"state_dict": {"some.weight": torch.zeros(2)}}, path)
    with pytest.raises(CheckpointError, match="not those of any of"):
        load_detector(path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        load_detector(tmp_path / "absent.ckpt")
    with pytest.raises(FileNotFoundError, match=r"is a folder without config\.json"):
        load_detector(tmp_path)
