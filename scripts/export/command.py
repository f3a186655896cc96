"""The command `main.py export`: weights, settings and model card in a folder, as the Hugging Face Hub takes it."""

import logging
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save

from model import Detector, detector_of, read_checkpoint, weights_file
from model.checkpoint import CONFIG, WEIGHTS
from model.threshold import threshold_of
from scripts.card.command import build
from scripts.card.facts import Facts, read_facts
from utils.errors import DataError
from utils.files import file_digest, to_json, write_atomic
from utils.statistics.bootstrap import RESAMPLES, SEED

log = logging.getLogger(__name__)

CARD = "README.md"
POLARITY = "score: the probability that a clip is real; labels and decisions: 1 = real, 0 = fake"
PREPROCESSING = {
    "video": {
        "input": "face crops of a clip, frames (T, 224, 224, 3), RGB, 25 a second",
        "steps": [
            "resize each frame to 112 x 112, bilinear (cv2.INTER_LINEAR)",
            "centre crop to 100 x 100",
            "divide by 255, subtract 0.421, divide by 0.165",
            "order as (clips, 3, frames, 100, 100), float32",
        ],
        "frame_rate": 25, "resize": 112, "crop": 100, "mean": 0.421, "std": 0.165,
    },
    "audio": {
        "input": "audio of the same seconds, mono, 16,000 samples a second, int16; sample 0 at the first frame",
        "steps": [
            "log mel filterbank energies as python_speech_features.logfbank gives them with its defaults (26 bands, "
            "25 ms window, 10 ms step), float32",
            "zero-pad to a multiple of 4 and stack by 4: (T, 104), 25 a second",
            "cut or zero-pad to the number of frames",
            "normalise each frame over its 104 values: (x - mean) / sqrt(variance + 1e-5)",
            "order as (clips, 104, frames), float32",
        ],
        "sample_rate": 16_000, "bands": 26, "stack": 4,
    },
}  # fmt: skip
# Of the configuration of training, what is of one machine and no one else's affair.
PRIVATE = {
    "data_root", "outputs", "cache_dir", "resume", "pretrained", "lists", "logger", "num_workers", "checkpoint", "gpus",
    "accelerator", "environment", "test_environment", "config", "skipped",
}  # fmt: skip
UNTESTED = (
    "# {name}\n\nA {kind} detector of audio-visual deepfakes (MRDF, ICASSP 2024). Not tested: its results were not "
    "found when it was exported, so nothing is known of how often it is right. Its score is the probability that a "
    "clip is real.\n"
)


def export(
    checkpoint: Path,
    *,
    out: Path | None = None,
    model_type: str | None = None,
    onnx: bool = False,
    outputs: Path = Path("outputs"),
) -> None:
    """Make a folder of a checkpoint's weights, settings and card that anybody can load without opening a pickle.

    test.py, main.py predict and model.load_detector take the folder in place of a checkpoint. It can be uploaded to the
    Hugging Face Hub as it is; nothing is uploaded here.

    Parameters
    ----------
    checkpoint
        A checkpoint that train.py or the authors' release wrote.
    out
        The folder, which must be new or one that this command has made. It must be given.
    model_type
        Detector in the checkpoint; needed only where the file does not tell.
    onnx
        Add model.onnx, checked against PyTorch, and an example that runs it without PyTorch.
    outputs
        Folder of the outputs, in which the results are that the card tells.
    """
    if out is None:
        raise DataError("--out is missing: the folder to write")
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / CONFIG).is_file())):
        raise DataError(f"--out {out}: is there and not a folder that main.py export has made; choose another")
    contents = read_checkpoint(checkpoint)
    detector = detector_of(contents, checkpoint, model_type)
    if onnx and (version := torch.__version__) < "2.7":
        raise DataError(f"--onnx: PyTorch {version} cannot export the detectors, that of requirements.txt can")
    try:
        facts = read_facts(checkpoint, outputs, RESAMPLES, SEED)
    except FileNotFoundError as error:
        log.warning("no results for the card, which says so: %s", error)
        facts = None
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / WEIGHTS, save({name: value.contiguous() for name, value in detector.state_dict().items()}))
    write_atomic(out / CONFIG, to_json(settings(detector, contents, file_digest(weights_file(checkpoint)))))
    name = str((contents.get("config") or {}).get("save_name") or checkpoint.stem)
    text = UNTESTED.format(name=name, kind=type(detector).__name__) if facts is None else build(facts)
    write_atomic(out / CARD, front_matter(name, facts) + text)
    if onnx:
        from scripts.export.onnx_model import write_onnx  # which needs packages that nothing else does

        write_onnx(detector, out)
    log.info("exported: %s", out)


def settings(detector: Detector, contents: dict[str, Any], digest: str) -> dict[str, Any]:
    """What config.json holds: all but the weights that a detector needs, and the checkpoint's digest (SHA-256)."""
    trained = contents.get("config") or {}
    return {
        "model_type": type(detector).__name__,
        "hyper_parameters": dict(detector.hparams) | {"compile_encoder": False},
        "polarity": POLARITY,
        "preprocessing": PREPROCESSING,
        "threshold": contents.get("threshold"),
        "threshold_in_words": threshold_of(contents)._asdict(),
        **{name: contents.get(name) for name in ("calibration", "audio_calibration", "video_calibration")},
        "protocol": trained.get("protocol"),
        "config": {name: value for name, value in trained.items() if name not in PRIVATE},
        "epoch": contents.get("epoch"),
        "made_from": {"sha256": digest},
    }


def front_matter(name: str, facts: Facts | None) -> str:
    """What the Hub reads at the top of a card; results only where there are any, with their intervals."""
    head: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": "pytorch",
        "pipeline_tag": "video-classification",
        "tags": ["deepfake-detection", "audio-visual", "mrdf", "talking-face"],
        "metrics": ["accuracy", "roc_auc"],
    }
    if facts is not None:
        corpus = str(facts.config.get("corpus") or facts.config.get("dataset") or "unknown")
        head["datasets"] = [corpus]
        head["model-index"] = [{"name": name, "results": [_result(corpus, facts)]}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n"


def _result(corpus: str, facts: Facts) -> dict[str, Any]:
    found = facts.run.pooled or {}
    intervals = found.get("bootstrap", {}).get("intervals", {})
    metrics = []
    for key, kind, title in (
        ("acc", "accuracy", "ACC"),
        ("balanced_acc", "balanced_accuracy", "balanced ACC"),
        ("auc", "roc_auc", "AUC of the scores"),
        ("eer", "eer", "EER"),
    ):
        if found.get(key) is not None:
            ends = intervals.get(key)
            told = f", 95 % interval {ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
            metrics.append({"type": kind, "name": title + told, "value": round(float(found[key]), 6)})
    protocol = facts.config.get("protocol")
    return {
        "task": {"type": "video-classification", "name": "audio-visual deepfake detection"},
        "dataset": {"name": f"{corpus}, {protocol + ', ' if protocol else ''}{facts.fold}", "type": corpus},
        "metrics": metrics,
    }
