"""Clips padded to the longest of their batch: padding changes nothing, whatever it contains."""

import copy

import pytest
import torch
from torch import Tensor, nn

from model import MODELS, Detector, Outputs
from model.avhubert import AVHubertConfig, AVHubertModel
from model.image_encoder import ImageEncoder
from model.model import Streams, lengths_of, mean_over_time

SIZE = 16  # height and width of these videos
LENGTHS = (4, 6, 1, 3)
NARROW = {"encoder_embed_dim": 48, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}

Clip = tuple[Tensor, Tensor]


def filled(name: str, layers: int, train_frontend: bool) -> Detector:
    """A detector in float64 without dropout, every weight and running statistic of which matters."""
    torch.manual_seed(2)
    detector = MODELS[name](encoder=NARROW | {"encoder_layers": layers}, train_frontend=train_frontend).double()
    for value in detector.state_dict().values():
        if value.ndim == 1:  # of norms, slopes and biases, which start alike
            value.add_(torch.rand_like(value), alpha=0.3)
    for module in detector.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in detector.model.encoder.layers:
        layer.self_attn.dropout = 0.0
    return detector


def clips_of(lengths: tuple[int, ...] = LENGTHS) -> list[Clip]:
    """Video (3, T, SIZE, SIZE) and audio (104, T) of each clip."""
    torch.manual_seed(0)
    return [
        (torch.randn(3, T, SIZE, SIZE, dtype=torch.float64), torch.randn(104, T, dtype=torch.float64)) for T in lengths
    ]


def padded(clips: list[Clip], filling: float = float("nan"), extra: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Video, audio and mask of a batch whose padding is all `filling`, `extra` frames longer than its longest clip."""
    T = max(audio.shape[1] for _, audio in clips) + extra
    video = torch.full((len(clips), 3, T, SIZE, SIZE), filling, dtype=torch.float64)
    audio = torch.full((len(clips), 104, T), filling, dtype=torch.float64)
    mask = torch.ones(len(clips), T, dtype=torch.bool)
    for row, (frames, samples) in enumerate(clips):
        real = samples.shape[1]
        video[row, :, :real], audio[row, :, :real], mask[row, :real] = frames, samples, False
    return video, audio, mask


def labels_of(count: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    v_label, a_label = torch.randint(0, 2, (2, count))
    c_label = v_label * a_label
    mm_label = (1 - v_label) + 2 * (1 - a_label)
    return {"v_label": v_label, "a_label": a_label, "c_label": c_label, "m_label": c_label, "mm_label": mm_label}


def plain_outputs(detector: Detector, clips: list[Clip]) -> Outputs:
    """Outputs from PyTorch's modules on the clips' frames put together, the rest clip by clip."""
    model = detector.model
    resnet = model.feature_extractor_video.resnet
    with torch.set_grad_enabled(resnet.train_frontend):
        convolved = torch.cat([resnet.frontend3D[0](video[None])[0].transpose(0, 1) for video, _ in clips])
        x = resnet.frontend3D[1:](convolved[:, :, None])[:, :, 0]  # (N, 64, H / 4, W / 4)
    for layer in resnet.trunk.children():
        for block in layer:
            x = block(x)
    frames = model.feature_extractor_video.proj(x.mean(dim=(2, 3)))  # (N, D)
    outputs = []
    for (_, audio), video_stream in zip(clips, frames.split([audio.shape[1] for _, audio in clips]), strict=True):
        audio_stream = model.feature_extractor_audio(audio[None])
        outputs.append(detector.heads(Streams(video_stream[None], audio_stream, None)))
    return Outputs(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*outputs, strict=True)))


def same(actual: Outputs, expected: Outputs, tolerance: float = 1e-9) -> None:
    for field, value in expected._asdict().items():
        assert (getattr(actual, field) is None) == (value is None)
        if value is not None:
            torch.testing.assert_close(getattr(actual, field), value, rtol=tolerance, atol=tolerance)


def rows(outputs: Outputs, wanted: list[int]) -> Outputs:
    return Outputs(*(None if value is None else value[wanted] for value in outputs))


@pytest.mark.parametrize(("name", "layers"), [*((name, 2) for name in MODELS), ("MRDF_CE", 0)])
def test_a_clip_gives_the_same_alone_and_in_any_batch(name: str, layers: int) -> None:
    detector = filled(name, layers, train_frontend=True).eval()
    clips = clips_of()
    with torch.no_grad():
        alone = [detector(video[None], audio[None]) for video, audio in clips]
        together = Outputs(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*alone, strict=True)))
        same(detector(*padded(clips)), together)
        for order, filling, extra in (([3, 1, 0, 2], 1e3, 0), ([2, 0], -5.0, 3), ([3, 2], float("inf"), 1)):
            batch = padded([clips[index] for index in order], filling, extra)
            same(detector(*batch), rows(together, order))
    same(detector(*padded(clips)), together)  # with a graph


def test_scores_in_single_precision_do_not_depend_on_the_batch() -> None:
    detector = filled("MRDF_CE", 2, train_frontend=False).float().eval()
    clips = [(video.float(), audio.float()) for video, audio in clips_of()]
    with torch.no_grad():
        alone = [detector(video[None], audio[None]) for video, audio in clips]
        video, audio, mask = padded(clips)
        together = detector(video.float(), audio.float(), mask)
    for row, outputs in enumerate(alone):
        same(rows(together, [row]), outputs, tolerance=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_detector_learns_from_the_real_frames_alone(name: str) -> None:
    learns_from_real_frames_alone(name, layers=1, train_frontend=True)


@pytest.mark.parametrize(("layers", "train_frontend"), [(0, True), (2, False)])
def test_training_is_that_of_the_real_frames(layers: int, train_frontend: bool) -> None:
    learns_from_real_frames_alone("MRDF_CE", layers, train_frontend)


def learns_from_real_frames_alone(name: str, layers: int, train_frontend: bool) -> None:
    """Outputs, gradients and running statistics are those of PyTorch's modules on the real frames."""
    detector = filled(name, layers, train_frontend).train()
    reference = copy.deepcopy(detector)
    clips, labels = clips_of(), labels_of(len(LENGTHS))
    outputs = detector(*padded(clips))
    expected = plain_outputs(reference, clips)
    same(outputs, expected)
    detector.losses(outputs, labels)["loss"].backward()
    reference.losses(expected, labels)["loss"].backward()
    largest = max(float(theirs.grad.abs().max()) for theirs in reference.parameters() if theirs.grad is not None)
    for (key, ours), theirs in zip(detector.named_parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), key
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8 * largest, msg=key)
    for (key, ours), theirs in zip(detector.named_buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize("train", [True, False])
def test_a_mask_without_padding_is_no_mask(train: bool) -> None:
    detector = filled("MRDF_Margin", 2, train_frontend=True).train(train)
    video, audio, mask = padded(clips_of((3, 3)))
    for ours, theirs in zip(detector(video, audio, mask), detector(video, audio), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


@pytest.mark.parametrize("train", [True, False])
def test_lengths_beside_the_mask_change_nothing(train: bool) -> None:
    detector = filled("MRDF_CE", 1, train_frontend=True).train(train)
    batch = padded(clips_of(), extra=2)
    for ours, theirs in zip(detector(*batch, LENGTHS), detector(*batch), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


def test_embeddings_of_padding_are_zeros() -> None:
    encoder = ImageEncoder(3).double().eval()
    video, _, mask = padded(clips_of((3, 1, 2)), extra=2)
    with torch.no_grad():
        embedded = encoder(video, (3, 1, 2))
    assert embedded.shape == (3, 5, 512)
    assert torch.equal(embedded.abs().sum(dim=-1) == 0, mask)


def test_features_ignore_the_audio_of_padding() -> None:
    torch.manual_seed(0)
    model = AVHubertModel(AVHubertConfig(encoder_layers=1, encoder_embed_dim=32, encoder_attention_heads=2, conv_pos=8))
    audio, mask = torch.randn(2, 104, 6), torch.zeros(2, 6, dtype=torch.bool)
    assert torch.equal(model.eval().extract_features(audio, padding_mask=mask), model.extract_features(audio))
    mask[1, 4:] = True
    alone = model.extract_features(audio[1:, :, :4])
    features = model.extract_features(audio.masked_fill(mask[:, None], float("nan")), padding_mask=mask)
    torch.testing.assert_close(features[1:, :4], alone)
    features[~mask].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_means_and_masks() -> None:
    x = torch.tensor([[[1.0], [2.0], [9.0]], [[3.0], [4.0], [5.0]]])
    mask = torch.tensor([[False, False, True], [False, False, False]])
    assert mean_over_time(x, mask).tolist() == [[1.5], [4.0]]
    assert mean_over_time(x, None).tolist() == [[4.0], [4.0]]
    assert lengths_of(mask) == (2, 3)
    for clip, wrong in ((0, [[True, False], [False, True]]), (1, [[False, True], [True, True]])):
        with pytest.raises(ValueError, match=f"padding_mask of clip {clip} of the batch"):
            lengths_of(torch.tensor(wrong))
