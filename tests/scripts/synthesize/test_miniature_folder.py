"""The miniature's folder: the same bytes from the same seed, reuse, and leaving alone what is not its own."""

import json
from pathlib import Path

import av
import cv2
import pandas as pd
import pytest

from dataset.check import inspect_clip
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
    image = cv2.imread(str(tmp_path / "preview.jpg"))
    assert image.shape == (2 * 224, 4 * 224, 3)
    assert image.std() > 20


def test_silence_is_planted_before_the_audio_of_fakes_alone(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match=r"silent_fakes must be between 0 and 0\.6, not 1"):
        synthesize(tmp_path / "none", silent_fakes=1.0)


@pytest.mark.slow
def test_a_second_make_as_other_corpora(tmp_path: Path) -> None:
    """Other people, voices, fakes and codecs, laid out as LAV-DF and as a csv; splits part the subjects."""
    options = {"subjects": 5, "seconds": 0.8, "make": "second"}
    table = synthesize(tmp_path / "lavdf", layout="lavdf", **options)
    rows = json.loads((tmp_path / "lavdf" / "metadata.min.json").read_text())
    assert [row["file"] for row in rows] == list(table["file"])
    assert {f"{path.parent.name}/{path.name}" for path in tmp_path.rglob("*.mp4")} == set(table["file"])
    assert table["split"].value_counts().to_dict() == {"train": 12, "dev": 4, "test": 4}
    assert (table["file"].str.split("/").str[0] == table["split"]).all()
    fakes = table[table["n_fakes"] == 1]
    assert (fakes["modify_video"] | fakes["modify_audio"]).all()
    assert (fakes["original"].str.split("/").str[0] == fakes["split"]).all()
    with av.open(str(tmp_path / "lavdf" / rows[0]["file"])) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.average_rate) == ("mpeg4", 256, 30)
        assert video.frames == rows[0]["video_frames"]
        assert audio.codec_context.name.startswith("mp3")
    assert synthesize(tmp_path / "lavdf", layout="lavdf", **options).equals(table)
    rows = synthesize(tmp_path / "csv", layout="csv", **options)
    assert pd.read_csv(tmp_path / "csv" / "clips.csv").equals(rows)
    assert (rows.groupby("subject")["split"].nunique() == 1).all()
    assert set(rows["method"]) == {"real", "griffin-lim", "faceswap"}
    first = synthesize(tmp_path / "first", subjects=5, seconds=0.8)
    assert not set(first["source"]) & set(rows["subject"])
