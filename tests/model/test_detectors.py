"""Decisions of the detectors, the step they share, and that they can learn."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dataset import FakeAVCelebDataModule
from model import MODELS, Detector, Outputs, Verdict


def decide(name: str, **logits: list[list[float]]) -> Verdict:
    outputs = Outputs(**{key: torch.tensor(value) for key, value in logits.items()})
    return MODELS[name].decide(None, outputs)


def close(actual: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["AVDF", "MRDF_Margin"])
def test_decision_by_one_head(name: str) -> None:
    verdict = decide(name, logits=[[0.0, 1.0], [2.0, 0.0]])
    close(verdict.score, [0.7311, 0.1192])
    assert verdict.decision.tolist() == [1, 0]
    assert verdict.video_score is None
    assert verdict.audio_score is None


def test_decision_of_mrdf_ce_is_that_of_the_fused_head() -> None:
    verdict = decide("MRDF_CE", logits=[[0.0, 1.0]], video_logits=[[1.0, 0.0]], audio_logits=[[3.0, 0.0]])
    close(verdict.score, [0.7311])
    assert verdict.decision.tolist() == [1]
    close(verdict.video_score, [0.2689])
    close(verdict.audio_score, [0.0474])


def test_ensemble_is_real_when_both_are() -> None:
    real, fake = [0.0, 1.0], [1.0, 0.0]
    verdict = decide(
        "AVDF_Ensemble", video_logits=[real, real, fake, fake], audio_logits=[[0.0, 2.0], fake, real, fake]
    )
    assert verdict.decision.tolist() == [1, 0, 0, 0]
    close(verdict.score, [0.7311, 0.2689, 0.2689, 0.2689])
    assert torch.equal(verdict.score >= 0.5, verdict.decision == 1)


def test_multilabel_is_real_when_both_sigmoids_reach_a_half() -> None:
    verdict = decide("AVDF_Multilabel", logits=[[0.0, 3.0], [-0.1, 3.0], [3.0, -0.1]])  # audio, video
    assert verdict.decision.tolist() == [1, 0, 0]
    close(verdict.score, [0.5, 0.4750, 0.4750])
    close(verdict.audio_score, [0.5, 0.4750, 0.9526])
    close(verdict.video_score, [0.9526, 0.9526, 0.4750])


def test_multiclass_is_real_when_class_0_is_the_likeliest() -> None:
    verdict = decide("AVDF_Multiclass", logits=[[1.0, 0.9, 0.9, 0.9], [1.0, 2.0, 0.0, 0.0]])
    assert verdict.decision.tolist() == [1, 0]
    close(verdict.score, [0.2693, 0.2245])


@pytest.mark.parametrize("missing", ["build_heads", "heads", "losses", "decide"])
def test_a_detector_without_a_method_names_it(missing: str) -> None:
    class Unfinished(Detector):
        pass

    arguments = {"build_heads": (8,), "losses": (Outputs(), {})}.get(missing, (Outputs(),))
    with pytest.raises(NotImplementedError, match=f"Unfinished has no method {missing}"):
        getattr(Unfinished, missing)(object.__new__(Unfinished), *arguments)


# All six differ in heads and losses alone, so every day the two of the paper do.
@pytest.mark.parametrize(
    "name", [name if name == "MRDF_CE" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_overfits_one_batch_of_real_clips(name: str, prepared_root: Path) -> None:
    torch.manual_seed(0)
    data = FakeAVCelebDataModule(prepared_root, batch_size=4, num_train=1, max_frames=2, check=False)
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert sorted(batch["mm_label"].tolist()) == [0, 1, 2, 3]
    detector = MODELS[name](learning_rate=1e-3).train()
    optimizer = detector.configure_optimizers()
    for _ in range(15):
        optimizer.zero_grad()
        outputs = detector(batch["video"], batch["audio"], batch["padding_mask"])
        losses = detector.losses(outputs, batch)
        losses["loss"].backward()
        optimizer.step()
    assert detector.decide(outputs).decision.tolist() == batch["m_label"].tolist()
    # What is left may be the margin terms, which fall slowly.
    assert losses.get("mm_loss", losses["loss"]) < 0.1


def test_the_release_trains_no_transformer_and_other_encoders_can_be_had() -> None:
    assert len(MODELS["AVDF"]().model.encoder.layers) == 0
    detector = MODELS["AVDF"](encoder_layers=2, train_frontend=True).eval()
    assert len(detector.model.encoder.layers) == 2
    outputs = detector(torch.randn(1, 3, 4, 100, 100), torch.randn(1, 104, 4), torch.zeros(1, 4, dtype=torch.bool))
    outputs.logits.sum().backward()
    assert detector.model.feature_extractor_video.resnet.frontend3D[0].weight.grad is not None
    assert detector.model.encoder.layers[0].self_attn.q_proj.weight.grad is not None


@pytest.mark.parametrize("name", MODELS)
def test_clips_of_unknown_labels_teach_nothing(name: str) -> None:
    """As DFDC's fakes, whose streams are not told, and clips of which nothing is known."""
    torch.manual_seed(0)
    detector = MODELS[name]().eval()
    video, audio = torch.randn(4, 3, 2, 20, 20), torch.randn(4, 104, 2)
    outputs = detector(video, audio)
    labels = {"m_label": [1, 0, -1, 0], "v_label": [1, -1, -1, 0], "a_label": [1, -1, -1, 1], "c_label": [1, 0, -1, 0]}
    batch = {key: torch.tensor(values) for key, values in (labels | {"mm_label": [0, -1, -1, 1]}).items()}
    known = [0, 1, 3]
    expected = detector.losses(
        type(outputs)(*(None if value is None else value[known] for value in outputs)),
        {key: value[known] for key, value in batch.items()},
    )
    for term, value in detector.losses(outputs, batch).items():
        assert float(value.detach()) == pytest.approx(float(expected[term].detach()), rel=1e-5), term
    loss = detector.losses(outputs, {key: torch.full_like(value, -1) for key, value in batch.items()})["loss"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert not any(parameter.grad.any() for parameter in detector.parameters() if parameter.grad is not None)
