"""An exported folder gives the scores of its checkpoint, without a pickle and, as ONNX, without PyTorch."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dataset.decoding import decode_clip
from dataset.transforms import centre_crop, normalise
from main import main
from model import MODELS, CheckpointError, load_detector, read_checkpoint, threshold_of
from model.threshold import calibration_of
from tests import report_files
from tests.reference import recipe
from tests.score_tables import random_table
from utils.metrics import evaluate
from utils.results import write_fold

NARROW = {"encoder_layers": 1, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
NEW = torch.__version__ >= "2.7"  # that exports to ONNX
needs_onnx = pytest.mark.skipif(not NEW, reason="PyTorch before 2.7 cannot export the detectors")
PLATT = {"slope": 2.0, "intercept": -1.0, "prior": 0.75, "clips": 40}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose fold was tested, and the folders that were exported from it."""
    outputs = tmp_path_factory.mktemp("outputs")
    torch.manual_seed(0)
    detector = MODELS["MRDF_CE"](encoder=NARROW, train_frontend=True)
    config = report_files.config("train_1", model_type="MRDF_CE", save_name="run", data_root="/somebody/s/data")
    checkpoint = outputs / "run_train_1.ckpt"
    contents = {
        "state_dict": detector.state_dict(),
        "hyper_parameters": dict(detector.hparams),
        "model_type": "MRDF_CE",
        "epoch": 3,
        "config": config,
        "threshold": {"value": 0.31, "rule": "eer", "clips": 40},
        "calibration": PLATT,
    }
    torch.save(contents, checkpoint)
    table = random_table(1, 40)
    write_fold(outputs / "results/run/train_1", table, evaluate(table), config | {"checkpoint": str(checkpoint)})
    arguments = ["export", str(checkpoint), "--out", str(outputs / "folder"), "--outputs", str(outputs)]
    assert main([*arguments, "--onnx"] if NEW else arguments) == 0
    return outputs


def test_the_folder_gives_the_same_scores_and_no_pickle_is_opened(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_detector(outputs / "run_train_1.ckpt")
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    detector = load_detector(outputs / "folder")
    assert not detector.training
    batch = recipe.detector_batch(3, 2, 4)
    video, audio = torch.as_tensor(batch["video"]), torch.as_tensor(batch["audio"])
    with torch.no_grad():
        assert torch.equal(detector(video, audio).logits, expected(video, audio).logits)
    contents = read_checkpoint(outputs / "folder")
    assert threshold_of(contents).value == 0.31
    assert calibration_of(contents)._asdict() == PLATT
    with pytest.raises(CheckpointError, match="holds MRDF_CE, not AVDF"):
        load_detector(outputs / "folder", "AVDF")


def test_what_config_json_says(outputs: Path) -> None:
    text = (outputs / "folder" / "config.json").read_text(encoding="utf-8")
    config = json.loads(text)
    assert config["hyper_parameters"]["encoder"]["encoder_embed_dim"] == 48
    assert config["preprocessing"]["video"]["mean"] == 0.421
    assert "1 = real, 0 = fake" in config["polarity"]
    assert config["config"]["fold"] == "train_1"
    assert re.fullmatch("[0-9a-f]{64}", config["made_from"]["sha256"])
    assert "/somebody" not in text


def test_the_card_begins_with_what_the_hub_reads(outputs: Path) -> None:
    _, head, text = (outputs / "folder" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["license"] == "apache-2.0"
    assert found["pipeline_tag"] == "video-classification"
    assert {"tags", "datasets", "metrics"} <= found.keys()
    (result,) = found["model-index"][0]["results"]
    auc = next(metric for metric in result["metrics"] if metric["type"] == "roc_auc")
    assert auc["value"] == pytest.approx(evaluate(random_table(1, 40))["auc"], abs=1e-5)
    assert re.search(r"95 % interval 0\.\d{4} to [01]\.\d{4}", auc["name"])
    assert text.strip().startswith("# Model card: `run`")


@needs_onnx
def test_onnx_takes_any_number_of_clips_and_frames(outputs: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(outputs / "folder" / "model.onnx"))
    detector = load_detector(outputs / "folder")
    for clips, frames in ((1, 3), (4, 6)):
        batch = recipe.detector_batch(clips, clips, frames)
        video, audio = torch.as_tensor(batch["video"]), torch.as_tensor(batch["audio"])
        with torch.no_grad():
            verdict = detector.decide(detector(video, audio))
        found = session.run(["score", "video_score", "audio_score"], {"video": video.numpy(), "audio": audio.numpy()})
        for ours, theirs in zip(found, (verdict.score, verdict.video_score, verdict.audio_score), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)


@needs_onnx
def test_the_example_scores_a_clip_without_pytorch(outputs: Path, reference: Path) -> None:
    example = outputs / "folder" / "example.py"
    assert "torch" not in example.read_text().replace("PyTorch", "")
    clip = min((reference / "corpus" / "original").rglob("*.mp4"))
    done = subprocess.run([sys.executable, example, clip], capture_output=True, text=True, check=True)
    decoded = decode_clip(clip)
    detector = load_detector(outputs / "folder")
    with torch.no_grad():
        video = normalise(centre_crop(torch.as_tensor(decoded.video)))[None]
        audio = torch.as_tensor(decoded.audio).T[None]
        score = float(detector.decide(detector(video, audio)).score)
    assert float(done.stdout.removeprefix("probability of real: ")) == pytest.approx(score, abs=1e-3)


def test_what_cannot_be_exported_or_loaded(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(outputs / "run_train_1.ckpt")
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", checkpoint, "--out", str(tmp_path)]) == 2
    assert "is there and not a folder that main.py export has made" in capsys.readouterr().err
    if not NEW:
        assert main(["export", checkpoint, "--out", str(tmp_path / "new"), "--onnx"]) == 2
        assert "cannot export the detectors" in capsys.readouterr().err
    assert main(["export", checkpoint]) == 2
    assert "--out is missing" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"a folder without config\.json and model\.safetensors"):
        load_detector(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "AVDF"}')
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_detector(tmp_path)
