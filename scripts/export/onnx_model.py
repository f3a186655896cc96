"""A detector as an ONNX model, checked against PyTorch when it is made, and an example that needs no PyTorch."""

import logging
import warnings
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from model import Detector, for_inference
from utils.errors import DataError
from utils.files import replacing, write_atomic

log = logging.getLogger(__name__)

FILE, EXAMPLE = "model.onnx", "example.py"
TOLERANCE = 1e-4  # between scores of onnxruntime and of PyTorch
SHAPES = ((2, 9), (1, 1), (3, 30))  # clips and frames that are compared; the first is exported
TEXT = '''"""Scores a face crop of 224 x 224 at 25 frames a second, without PyTorch: python example.py clip.mp4"""

import sys
from pathlib import Path

import av
import cv2
import numpy as np
import onnxruntime
from python_speech_features import logfbank

with av.open(sys.argv[1]) as file:
    frames = [cv2.resize(f.to_ndarray(format="rgb24"), (112, 112)) for f in file.decode(video=0)][:500]
with av.open(sys.argv[1]) as file:
    to_mono = av.AudioResampler("s16", "mono", 16000)
    parts = [part for frame in file.decode(audio=0) for part in to_mono.resample(frame)] + to_mono.resample(None)
samples = np.concatenate([part.to_ndarray()[0] for part in parts])

video = np.stack(frames)[:, 6:106, 6:106].astype(np.float32) / 255
video = ((video - 0.421) / 0.165).transpose(3, 0, 1, 2)[None]  # (1, 3, T, 100, 100)

bands = logfbank(samples, 16000).astype(np.float32)  # (windows, 26)
bands = np.pad(bands, ((0, -len(bands) % 4), (0, 0))).reshape(-1, 104)[: len(frames)]
bands = np.pad(bands, ((0, len(frames) - len(bands)), (0, 0)))
bands = (bands - bands.mean(1, keepdims=True)) / np.sqrt(bands.var(1, keepdims=True) + 1e-5)

model = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
score = model.run(["score"], {"video": video, "audio": bands.T[None]})[0][0]
print(f"probability of real: {score:.6f}")
'''


class _Scores(nn.Module):
    """A detector whose outputs are those of its scores that there are."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, ...]:
        verdict = self.detector.decide(self.detector(video, audio))
        return tuple(value for name, value in verdict._asdict().items() if name != "decision" and value is not None)


def write_onnx(detector: Detector, folder: Path) -> None:
    """Write model.onnx, with any number of clips and frames, and example.py into a folder.

    It is a DataError if onnxruntime's scores are not those of PyTorch.
    """
    scores = _Scores(for_inference(detector)).eval()
    clips, frames = torch.export.Dim("clips", min=1), torch.export.Dim("frames", min=1)
    inputs = [_noise(*shape) for shape in SHAPES]
    with torch.no_grad():
        expected = [scores(*given) for given in inputs]
    names = ["score", "video_score", "audio_score"][: len(expected[0])]
    with warnings.catch_warnings():  # PyTorch's exporter has much to say about its own insides
        warnings.simplefilter("ignore")
        for library in ("onnxscript", "onnx_ir"):
            logging.getLogger(library).setLevel(logging.WARNING)
        program = torch.onnx.export(
            scores,
            inputs[0],
            dynamo=True,
            dynamic_shapes=({0: clips, 2: frames}, {0: clips, 2: frames}),
            input_names=["video", "audio"],
            output_names=names,
            verbose=False,
        )
    with replacing(folder / FILE) as temporary:
        program.save(temporary)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        for (video, audio), wanted in zip(inputs, expected, strict=True):
            found = session.run(names, {"video": video.numpy(), "audio": audio.numpy()})
            pairs = zip(map(torch.as_tensor, found), wanted, strict=True)
            error = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
            if not error <= TOLERANCE:
                raise DataError(
                    f"{folder / FILE}: not written, scores of onnxruntime differ by {error:.1e} from PyTorch's; "
                    "export without --onnx"
                )
    write_atomic(folder / EXAMPLE, TEXT)
    log.info("%s: agrees with PyTorch within %.0e", folder / FILE, TOLERANCE)


def _noise(clips: int, frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(clips)
    video = torch.randn(clips, 3, frames, 100, 100, generator=generator)
    return video, torch.randn(clips, 104, frames, generator=generator)
