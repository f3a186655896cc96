"""The data against what the authors' release makes of the same twelve clips."""

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from numpy.testing import assert_allclose

from dataset import ClipDataset, FakeAVCelebDataModule, read_corpus
from dataset.corpora.table import LABELS
from dataset.features import audio_features, fit_length, log_filterbank, stack_frames
from dataset.media import read_audio, read_video
from dataset.transforms import normalise

LEVEL = 1 / 255 / 0.165  # one step of a pixel, after normalisation


@pytest.fixture
def expected(reference: Path) -> NpzFile:
    return np.load(reference / "data_open.npz")


@pytest.fixture
def expected_audio(reference: Path) -> NpzFile:
    return np.load(reference / "data_open_original.npz")


@pytest.fixture
def prepared(prepared_root: Path) -> FakeAVCelebDataModule:
    module = FakeAVCelebDataModule(prepared_root, batch_size=4)
    module.setup()
    return module


@pytest.mark.parametrize("layout", ["original_root", "prepared_root"])
def test_rows_of_a_fold(layout: str, reference: Path, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    (root / "train_1.txt").write_text("fold 1\nid00113\nid00150\n")
    module = FakeAVCelebDataModule(root)
    module.setup()
    rows = json.loads((reference / "data_open.json").read_text())["train_1.txt"]
    assert list(module.train_dataset.clips["file"]) == rows["train"]
    assert list(module.test_dataset.clips["file"]) == rows["test"]


def test_items(prepared: FakeAVCelebDataModule, expected: NpzFile) -> None:
    for index in range(4):
        item = prepared.test_dataset[index]
        file = item["file"]
        assert [item[name] for name in LABELS] == list(expected[f"{file}|labels"])
        assert [item["video"].shape[1], len(item["audio"])] == list(expected[f"{file}|len"])
        audio = expected[f"{file}|audio"]
        assert_allclose(item["audio"], audio, rtol=0, atol=1e-4 * np.abs(audio).max())
        video = normalise(item["video"])  # (3, T, 100, 100)
        assert_allclose(video.mean((0, 2, 3)), expected[f"{file}|video_mean"], rtol=0, atol=1e-4)
        frames = expected[f"{file}|video_frames"]  # the first, middle and last, (3, 100, 100, 3)
        picked = video[:, [0, video.shape[1] // 2, -1]].permute(1, 2, 3, 0)
        assert_allclose(picked, frames, rtol=0, atol=0.01 * LEVEL)  # the very same pixels
        assert item["video"].dtype == torch.uint8
        assert item["video"].is_contiguous()


def test_batch(prepared: FakeAVCelebDataModule, expected: NpzFile) -> None:
    batch = next(iter(prepared.test_dataloader()))
    assert batch["video"].dtype == torch.uint8
    audio = expected["train_1.txt|collated_audio"]
    assert_allclose(batch["audio"], audio, rtol=0, atol=1e-4 * np.abs(audio).max())
    assert list(batch["video"].shape) == list(expected["train_1.txt|collated_video_shape"])
    assert batch["padding_mask"].any() == expected["train_1.txt|mask_any"][0]
    assert batch["padding_mask"].shape == (4, 32)
    assert batch["id"].tolist() == [0, 1, 2, 3]
    assert batch["category"] == ["A", "B", "C", "D"]
    for position, name in enumerate(LABELS):
        assert batch[name].tolist() == [int(expected[f"{file}|labels"][position]) for file in batch["file"]]
        assert batch[name].dtype == torch.int64

    video = prepared.on_after_batch_transfer(batch, 0)["video"]
    assert video.dtype == torch.float32
    assert_allclose(video.mean((1, 3, 4)), expected["train_1.txt|collated_video_mean"], rtol=0, atol=1e-4)


def test_audio_from_the_mp4(original_root: Path, expected_audio: NpzFile) -> None:
    for clip in read_corpus(original_root).itertuples():
        samples = read_audio(clip.path)
        assert samples.dtype == np.int16
        assert len(samples) == expected_audio[f"{clip.file}|samples"]
        head = expected_audio[f"{clip.file}|wav_head"].astype(int)
        assert np.abs(samples[:4000] - head).max() <= 1
        bank = expected_audio[f"{clip.file}|logfbank"]
        assert_allclose(log_filterbank(samples), bank, rtol=0, atol=0.005)

        features = stack_frames(log_filterbank(samples))
        n_frames = len(read_video(clip.path))
        wanted = torch.layer_norm(torch.from_numpy(fit_length(stack_frames(bank), n_frames)), (104,))
        assert_allclose(audio_features(samples, n_frames), wanted, rtol=0, atol=0.005)
        assert features.shape == (-(-len(bank) // 4), 104)


def test_both_layouts_hold_the_same_rows(original_root: Path, prepared_root: Path) -> None:
    original, prepared = read_corpus(original_root), read_corpus(prepared_root)
    assert original["layout"].unique() == ["original"]
    assert prepared["layout"].unique() == ["prepared"]
    columns = ["file", "subject", "category", "method", "race", "gender", *LABELS]
    assert original[columns].equals(prepared[columns])


def test_both_layouts_give_the_same_items(original_root: Path, tmp_path: Path) -> None:
    # The two reference corpora were encoded apart, so that the same clips have to be laid out here.
    prepared_root = prepare(original_root, tmp_path / "laid out")
    original, prepared = (ClipDataset(read_corpus(root), train=False) for root in (original_root, prepared_root))
    for mine, theirs in zip(original, prepared, strict=True):
        assert mine["file"] == theirs["file"]
        assert torch.equal(mine["video"], theirs["video"])
        assert_allclose(mine["audio"], theirs["audio"], rtol=0, atol=0.005)


def prepare(original_root: Path, root: Path) -> Path:
    """Lay out a corpus as the authors' scripts do: renamed folders, a wav beside each mp4."""
    text = (original_root / "meta_data.csv").read_text()
    root.mkdir()
    (root / "meta_data.csv").write_text(text.replace("gender,path,", "gender,vid,path").replace("FakeAVCeleb/", ""))
    for mp4 in original_root.rglob("*.mp4"):
        target = root / str(mp4.relative_to(original_root)).replace(" (", "-").replace(")", "")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mp4, target)
        with wave.open(str(target.with_suffix(".wav")), "wb") as audio:
            audio.setparams((1, 2, 16_000, 0, "NONE", ""))
            audio.writeframes(read_audio(mp4).tobytes())
    return root
