"""Clips of any lengths are scored together as each would be alone, and videos that were seen are not seen again."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dataset.transforms import normalise
from model import Detector, load_detector
from model.avhubert.model import VisualStream
from model.scorer import Scorer

LENGTHS = (7, 12, 4)
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("small_detectors")


@pytest.fixture
def detector(small_checkpoint: Path) -> Detector:
    return load_detector(small_checkpoint)


@pytest.fixture
def clips() -> tuple[list[Tensor], list[Tensor]]:
    """Videos (3, T, 100, 100), uint8, and audio features (T, 104)."""
    noise = torch.Generator().manual_seed(0)
    videos = [torch.randint(256, (3, length, 100, 100), dtype=torch.uint8, generator=noise) for length in LENGTHS]
    return videos, [torch.randn(length, 104, generator=noise) for length in LENGTHS]


def test_each_clip_is_scored_as_if_it_were_alone(detector: Detector, clips: tuple[list[Tensor], list[Tensor]]) -> None:
    together = Scorer(detector, CPU, normalise)(*clips)
    for scores, video, audio in zip(together, *clips, strict=True):
        with torch.inference_mode():
            verdict = detector.decide(detector(normalise(video[None]), audio.T[None]))
        alone = [float(value) for value in (verdict.score, verdict.audio_score, verdict.video_score)]
        assert list(scores) == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) == len(LENGTHS)


def test_a_video_that_is_kept_is_not_encoded_again(
    detector: Detector, clips: tuple[list[Tensor], list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    forward = VisualStream.forward

    def counting(self: VisualStream, video: Tensor, *more: object) -> Tensor:
        encoded.append(len(video))
        return forward(self, video, *more)

    monkeypatch.setattr(VisualStream, "forward", counting)
    videos, audios = clips
    plain, scorer = Scorer(detector, CPU, normalise)(videos, audios), Scorer(detector, CPU, normalise)
    encoded.clear()
    keys = [b"a", b"b", b"c"]
    for keep, seen in ((False, [3]), (True, [3, 3]), (True, [3, 3])):
        scores = scorer(videos, audios, keys, keep=keep)
        assert encoded == seen
        assert [list(row) for row in scores] == [pytest.approx(list(row), abs=1e-5) for row in plain]
    scorer([videos[0], videos[2]], [audios[0], audios[2]], [b"a", b"new"])
    assert encoded == [3, 3, 1]


@pytest.mark.parametrize(("precision", "used"), [("32", "float32"), ("16", "float32"), ("bf16", "bfloat16")])
def test_precision_on_a_cpu(detector: Detector, precision: str, used: str) -> None:
    assert Scorer(detector, CPU, normalise, precision).precision == used
