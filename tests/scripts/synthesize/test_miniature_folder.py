"""The miniature's folder: the same bytes from the same seed, reuse, and leaving alone what is not its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import pandas as pd
import pytest

from dataset.inspection import inspect_clip
from scripts.synthesize import synthesize


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    content = {}
    for name, seed, workers in (("one", 5, 1), ("two", 5, 3), ("three", 6, 1)):
        synthesize(tmp_path / name, subjects=2, seconds=0.8, seed=seed, num_workers=workers)
        files = [file for file in (tmp_path / name).rglob("*") if file.is_file()]
        content[name] = {file.relative_to(tmp_path / name): file.read_bytes() for file in files}
    assert content["one"] == content["two"]
    assert content["one"].keys() != content["three"].keys()


def test_an_earlier_miniature_is_reused_or_finished(tmp_path: Path) -> None:
    options = {"subjects": 1, "seconds": 0.8}
    table = synthesize(tmp_path, **options)
    files = sorted(tmp_path.rglob("*.mp4"))
    times = {file: file.stat().st_mtime_ns for file in files}
    content = files[2].read_bytes()
    files[2].unlink()
    pd.testing.assert_frame_equal(synthesize(tmp_path, **options), table)
    assert files[2].read_bytes() == content
    assert all(file.stat().st_mtime_ns == times[file] for file in files if file != files[2])


def test_other_options_need_overwrite(tmp_path: Path) -> None:
    synthesize(tmp_path, subjects=1, seconds=0.8)
    mine = tmp_path / "notes.txt"
    mine.write_text("keep me")
    with pytest.raises(ValueError, match="overwrite"):
        synthesize(tmp_path, subjects=1, seconds=0.8, seed=1)
    table = synthesize(tmp_path, subjects=1, seconds=0.8, seed=1, overwrite=True)
    assert {file.name for file in tmp_path.rglob("*.mp4")} == set(table["path"])
    assert mine.read_text() == "keep me"


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        synthesize(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="not a folder"):
        synthesize(tmp_path / "thesis.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unreadable_marker_is_named(tmp_path: Path) -> None:
    (tmp_path / "miniature.json").write_text("{")
    with pytest.raises(ValueError, match=r"miniature\.json is damaged"):
        synthesize(tmp_path)


@pytest.mark.parametrize("option", [{"subjects": 0}, {"seconds": 0.1}, {"clips": 0}, {"num_workers": 0}])
def test_options_out_of_range_are_named(tmp_path: Path, option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        synthesize(tmp_path / "mini", **option)
    assert not (tmp_path / "mini").exists()


def test_preview_shows_the_categories_side_by_side(tmp_path: Path) -> None:
    synthesize(tmp_path, subjects=2, seconds=0.8)
    picture = cv2.imread(str(tmp_path / "preview.jpg"))
    assert picture.shape == (2 * 224, 4 * 224, 3)
    assert picture.std() > 20


def test_silence_is_planted_before_the_sound_of_fakes_alone(tmp_path: Path) -> None:
    options = {"subjects": 2, "seconds": 0.8, "seed": 5}
    for name, silence in (("clean", 0.0), ("planted", 0.2)):
        synthesize(tmp_path / name, silent_fakes=silence, **options)
    for clip in sorted((tmp_path / "clean").rglob("*.mp4")):
        planted = tmp_path / "planted" / clip.relative_to(tmp_path / "clean")
        if "RealVideo-RealAudio" in str(clip):
            assert planted.read_bytes() == clip.read_bytes()
            continue
        before, after = inspect_clip(clip), inspect_clip(planted)
        assert after.leading_silence == pytest.approx(before.leading_silence + 0.2, abs=0.05)
        assert after.frames == before.frames
        assert after.audio_seconds == before.audio_seconds
    with pytest.raises(ValueError, match="silent_fakes must be between 0 and half the length of a clip, not 1"):
        synthesize(tmp_path / "none", silent_fakes=1.0)
