"""The sets of damage that papers report: their levels, the traps that are known of them, and the means over levels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from dataset.media import read_audio, read_video
from scripts.audit.changes import CHANGES, ORIGINAL, ROBUSTNESS, Change, ClipFile, Context, change_clip
from scripts.audit.command import choose
from scripts.audit.damage import DAMAGE, OF_AUDIO, SETS, blocks, contrast, gaussian_noise, pitch, saturation
from scripts.audit.effects import find_effects, means
from scripts.audit.report import write_audit
from scripts.audit.sentences import sentences
from tests.audit_clips import speech
from tests.audit_tables import one, score_table, shortcut_table
from tests.media_files import copy_clip

FRAME = np.random.default_rng(0).integers(60, 190, (224, 224, 3), dtype=np.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_levels_are_those_of_the_papers() -> None:
    assert len(ROBUSTNESS) == (7 + 4) * 5
    assert len({change.name for change in (*CHANGES, *ROBUSTNESS)}) == len(CHANGES) + len(ROBUSTNESS)
    types = SETS["deeperforensics"].types
    assert types["JPEG pixelation"].amounts == (2, 3, 4, 5, 6)
    assert types["VC H.264"].amounts == (30, 32, 35, 38, 40)
    assert types["GB blur"].amounts == (7, 9, 13, 17, 21)
    assert choose("deeperforensics") == tuple(change for change in ROBUSTNESS if change.kind == "deeperforensics")
    assert choose("auvire-audio, RV reverberation") == tuple(c for c in ROBUSTNESS if c.kind == "auvire-audio")
    assert choose("probes,GB blur level 3")[-1] == Change("GB blur", "level 3", "deeperforensics")
    assert choose("all") == CHANGES
    with pytest.raises(ValueError, match="known are all, probes, damage, deeperforensics, auvire-audio, leading"):
        choose("jpeg")


def test_frames_are_damaged_as_defined() -> None:
    # No chroma is left: all three channels are equal.
    grey = saturation(FRAME, 0.0, rng()).astype(int)
    assert np.ptp(grey, axis=-1).max() <= 2
    assert_array_equal(contrast(FRAME, 0.35, rng()), np.rint(0.35 * FRAME.astype(np.float32)))
    # Below 256 pixels the source would draw no block; of larger frames it draws them for each whole 256 pixels.
    for side, count in ((224, 14), (300, 16), (520, 32)):
        frame = np.zeros((side, side + 40, 3), np.uint8)
        grey = (blocks(frame, 16, rng()) == 128).all(-1).sum()
        assert 0.9 * count * 64 <= grey <= count * 64
    # A variance of 0.01 in luma is one of (25.5)² in grey levels; what is clipped hardly counts.
    luma = gaussian_noise(np.full((400, 400, 3), 128, np.uint8), 0.01, rng()) @ (0.299, 0.587, 0.114)
    assert luma.std() == pytest.approx(25.5, rel=0.05)


def test_audio_is_damaged_as_defined() -> None:
    samples = np.rint(speech(32_000)).astype(np.int16)
    power = np.mean(samples.astype(float) ** 2)
    for level, ratio in ((1, 40), (5, 10)):
        noise = DAMAGE["GN noise"](samples, f"level {level}", rng()).astype(float) - samples
        assert power / np.mean(noise**2) == pytest.approx(ratio, rel=0.1)
    tone = np.rint(8000 * np.sin(2 * np.pi * 400 * np.arange(32_000) / 16_000)).astype(np.int16)
    peak = np.argmax(np.abs(np.fft.rfft(pitch(tone, 4, rng())))) / 2
    assert min(abs(peak - 400 * 2 ** (sign * 4 / 12)) for sign in (1, -1)) < 5
    click = np.zeros(32_000, np.int16)
    click[1000] = 20_000
    tails = []
    for level in range(1, 6):
        heard = DAMAGE["RV reverberation"](click, f"level {level}", rng()).astype(float)
        assert len(heard) == len(click)
        tails.append(np.sum(heard[6000:] ** 2) / np.sum(heard**2))
    assert np.all(np.diff(tails) > 0)
    assert tails[-1] > 0.02
    mild, third = (DAMAGE["AC MP3"](samples, level, rng()) for level in ("level 1", "level 3"))
    assert_array_equal(mild, third)


@pytest.mark.parametrize("change", ROBUSTNESS[::5], ids=lambda change: change.family)
def test_changes_leave_the_other_stream_alone(reference: Path, tmp_path: Path, change: Change) -> None:
    path = copy_clip(reference, tmp_path)
    frames, samples = read_video(path, 6), read_audio(path, 6)
    media = change_clip(change, ClipFile("a", path, 6), Context())
    again = change_clip(change, ClipFile("a", path, 6), Context())
    assert_array_equal(media.frames, again.frames)
    assert_array_equal(media.samples, again.samples)
    assert media.frames.shape == frames.shape
    if change.family in OF_AUDIO:
        assert_array_equal(media.frames, frames)
        assert (media.samples != samples).any()
    else:
        assert_array_equal(media.samples, samples)
        assert (media.frames != frames).any()


def test_means_over_levels_and_types(tmp_path: Path) -> None:
    def logits(change: Change, clips: pd.DataFrame, noise: np.random.Generator) -> np.ndarray:
        level = change.amount if change.kind in SETS else 0
        weak = 0.2 if change.family == "VC H.264" else 0.05
        return 3 * (1 - weak * level) * clips["label"].to_numpy(float) + noise.normal(size=len(clips))

    changes = tuple(c for c in ROBUSTNESS if c.family in ("VC H.264", "GB blur"))
    scores = score_table(0, 30, logits, changes)
    effects = find_effects(scores, 100, 0)
    table = means(effects, "deeperforensics")
    assert list(table.index) == ["GB blur", "VC H.264", "mean"]
    whole = effects[(effects["change"] == ORIGINAL.name) & (effects["category"] == "all")].iloc[0]["after"]
    for name in ("GB blur", "VC H.264"):
        rows = effects[(effects["family"] == name) & (effects["category"] == "all")]
        assert table.loc[name, [1, 2, 3, 4, 5]].tolist() == rows["after"].tolist()
        assert table.at[name, "mean"] == pytest.approx(rows["after"].mean())
        assert table.at[name, "drop"] == pytest.approx(whole - rows["after"].mean())
    assert table.at["mean", "mean"] == pytest.approx(table["mean"].iloc[:2].mean())
    assert means(effects, "auvire-audio").empty
    shortcuts = shortcut_table(loudness=0.5)
    said = one(sentences(shortcuts, effects), "Under the deeperforensics set")
    assert f"its AUC is {table.at['mean', 'mean']:.2f} on average over 2 types" in said
    assert "lowest for VC H.264" in said
    write_audit(tmp_path, "Audit", shortcuts, effects, [], {})
    page = (tmp_path / "audit.md").read_text(encoding="utf-8")
    assert "Robustness: deeperforensics" in page
    assert "below 256 pixels the source draws no block" in page
