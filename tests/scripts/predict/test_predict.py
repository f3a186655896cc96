"""The parts of main.py predict, on clips that are made up: what they are is written in their files."""

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dataset.faces import ClipFault, Survey, Window
from dataset.transforms import normalise
from model import Verdict
from model.scorer import Scorer
from model.threshold import Threshold
from scripts.predict.arguments import FoundClip, find_clips
from scripts.predict.batching import score_clips
from scripts.predict.command import PredictOptions
from scripts.predict.prediction import ClipResult, Decision
from scripts.predict.preview import THUMBNAILS, Preview
from scripts.predict.reading import ClipReader, End, read_ahead
from utils.errors import DataError


def made_up(folder: Path, name: str, **facts: Any) -> Path:
    """A file that says what clip it is."""
    path = folder / name
    path.write_text(json.dumps({"frames": 10, "fault": None} | facts))
    return path


def survey(path: Path, detector: Any, framing: str) -> Survey:
    facts = json.loads(path.read_text())
    if facts["fault"] == "no face":
        raise ClipFault("no face", f"{path}: no face")
    if facts["fault"] == "disk":
        raise OSError(5, "Input/output error")
    if facts["fault"] == "bug":
        raise TypeError("an error of the program")
    if facts["fault"] == "long":
        while True:
            detector(None)
    return Survey(facts["frames"] / 25, facts["frames"], True, 1, ())


def windows(path: Path, found: Survey, length: int, hop: int) -> Iterator[Window]:
    last = max(0, found.frames - length)
    for start in sorted({*range(0, last, hop), last}):
        frames = torch.arange(start, min(start + length, found.frames))
        video = frames.to(torch.uint8)[None, :, None, None].expand(3, -1, 100, 100)
        yield Window(start / 25, video, frames[:, None].expand(-1, 104).float(), frames / 1000)


def reader(length: int = 4, hop: int = 2, **more: Any) -> ClipReader:
    return ClipReader(lambda frame: time.sleep(0.001), length, hop, survey=survey, windows=windows, **more)


class Toy(torch.nn.Module):
    """Its score is the mean of the frames' numbers over 100, of the audio if not of the video."""

    def forward(self, video: Tensor, audio: Tensor, mask: Tensor | None, lengths: list[int]) -> tuple[Tensor, Tensor]:
        mask = torch.zeros(len(video), video.shape[2], dtype=torch.bool) if mask is None else mask
        assert lengths == (~mask).sum(1).tolist()
        real = (~mask).sum(1)
        pixels = ((video.mean((1, 3, 4)) * 0.165 + 0.421) * 255).masked_fill(mask, 0)  # (B, T), as they were
        return pixels.sum(1) / real / 100, audio.mean(1).masked_fill(mask, 0).sum(1) / real / 100

    def decide(self, outputs: tuple[Tensor, Tensor]) -> Verdict:
        return Verdict(outputs[0], outputs[0] > 0.5, outputs[0], outputs[1])


def run(paths: list[Path], batch_size: int = 3, readers: int = 2) -> dict[int, ClipResult]:
    scorer = Scorer(Toy(), torch.device("cpu"), normalise)
    with closing(read_ahead(paths, [reader() for _ in range(readers)], room=batch_size)) as steps:
        return {index: result for index, result, _ in score_clips(steps, scorer, batch_size)}


def test_clips_come_from_files_folders_and_lists(tmp_path: Path) -> None:
    for name in ("a/b/2.MKV", "a/b/1.mp4", "a/.2.mp4", "a/notes.txt", "a/1.mp4", "c/1.mp4", "odd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = tmp_path / "list.txt"
    listed.write_text(f"# mine\n\n{tmp_path}/odd\n{tmp_path}/gone.mp4\n{tmp_path}/c\n")
    found = find_clips([tmp_path / "a", Path(f"@{listed}"), tmp_path / "a" / "1.mp4"])
    assert [str(clip.path.relative_to(tmp_path)) for clip in found] == [
        "a/1.mp4", "a/b/1.mp4", "a/b/2.MKV", "odd", "gone.mp4", "c/1.mp4"
    ]  # fmt: skip
    assert [str(clip.name) for clip in found] == ["1.mp4", "b/1.mp4", "b/2.MKV", "odd", "gone.mp4", "1 (2).mp4"]


def test_folders_behind_links_are_searched_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a/1.mp4", "elsewhere/2.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "deep" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "far").symlink_to(tmp_path / "elsewhere")
    found = find_clips([tmp_path / "a"])
    assert [str(clip.name) for clip in found] == ["1.mp4", "far/2.mp4"]

    def walk(path: Path, onerror: Any, followlinks: bool) -> Iterator[Any]:
        onerror(PermissionError(13, "Permission denied", f"{path}/locked"))
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.walk", walk)
        with pytest.raises(DataError, match="no clip"):
            find_clips([tmp_path / "a"])
    assert f"{tmp_path}/a/locked: cannot be searched (Permission denied)" in caplog.text


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "gone")
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    paths = {
        tmp_path / "pipe.mp4": "no file, but a pipe, a socket or a device",
        Path("/dev/null"): "no file, but a pipe, a socket or a device",
        tmp_path: "a folder",
        tmp_path / "nowhere.mp4": "a link that leads nowhere",
        tmp_path / "circle.mp4": "too many levels of symbolic links",
        tmp_path / ("a" * 300): "file name too long",
        tmp_path / "gone.mp4": "no such file",
    }
    results = run(list(paths))
    assert [result.message for _, result in sorted(results.items())] == [
        f"{path}: {why}" for path, why in paths.items()
    ]
    (tmp_path / "locked.mp4").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        assert run([tmp_path / "locked.mp4"])[0].message.endswith("you have no permission to read it")


def test_no_clip_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no clip in it; looked for .*\.mp4"):
        find_clips([tmp_path])
    with pytest.raises(DataError, match=r"list\.txt: the list cannot be read \(No such file"):
        find_clips([Path("@list.txt")])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("readers", [1, 3])
def test_no_score_depends_on_the_batch(tmp_path: Path, batch_size: int, readers: int) -> None:
    lengths = (3, 11, 4, 2, 9)
    results = run([made_up(tmp_path, f"{n}.mp4", frames=n) for n in lengths], batch_size, readers)
    for index, length in enumerate(lengths):
        last = max(0, length - 4)
        starts = sorted({*range(0, last, 2), last})
        ends = [min(start + 4, length) for start in starts]
        expected = [(start + end - 1) / 200 for start, end in zip(starts, ends, strict=True)]
        assert [window.start for window in results[index].windows] == [start / 25 for start in starts]
        assert [window.end for window in results[index].windows] == [end / 25 for end in ends]
        for column in ("score", "audio_score", "video_score"):
            assert [getattr(window, column) for window in results[index].windows] == pytest.approx(expected, abs=1e-5)
        assert results[index].mean() == pytest.approx(sum(expected) / len(expected), abs=1e-5)
        assert Decision(Threshold()).judge("", results[index]).lowest.start == 0
        assert (results[index].seconds, results[index].faces, results[index].crop) == (length / 25, 1, True)


def test_a_bad_file_stops_no_other(tmp_path: Path) -> None:
    paths = [
        made_up(tmp_path, "a"),
        made_up(tmp_path, "b", fault="no face"),
        tmp_path / "gone",
        made_up(tmp_path, "c", fault="disk"),
        tmp_path,
        made_up(tmp_path, "e"),
    ]
    results = run(paths)
    assert [results[index].reason for index in range(6)] == [
        "", "no face", "no such file", "unreadable", "no clip", ""
    ]  # fmt: skip
    assert results[0].mean() == results[5].mean() is not None
    assert results[1].mean() is None
    assert results[3].message == f"{paths[3]}: cannot be read ([Errno 5] Input/output error)"
    # What may be otherwise the next time is not remembered.
    assert [results[index].lasting for index in range(6)] == [True, True, False, False, False, True]


def test_a_score_that_is_no_number_is_no_score(tmp_path: Path) -> None:
    class Broken(Toy):
        def decide(self, outputs: tuple[Tensor, Tensor]) -> Verdict:
            return Verdict(outputs[0] * float("nan"), outputs[0] > 0.5)

    with closing(read_ahead([made_up(tmp_path, "a")], [reader()], 1)) as steps:
        results = list(score_clips(steps, Scorer(Broken(), torch.device("cpu"), normalise), 1))
    assert results[0][1].reason == "no number"
    assert results[0][1].windows == []


def test_an_error_of_the_program_is_not_taken_for_a_bad_file(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(TypeError, match="an error of the program"):
        run([made_up(tmp_path, "a"), made_up(tmp_path, "b", fault="bug")])
    assert threading.active_count() == before


def test_windows_are_read_only_as_they_are_taken(tmp_path: Path) -> None:
    taken, given = 0, 0

    def counted(*arguments: Any) -> Iterator[Window]:
        nonlocal given
        for window in windows(*arguments):
            given += 1
            yield window

    path = made_up(tmp_path, "long", frames=250)
    readers = [ClipReader(None, 4, 1, survey=survey, windows=counted)]
    with closing(read_ahead([path], readers, room=5)) as steps:
        for _, step in steps:
            taken += isinstance(step, Window)
            assert given <= taken + 5 + 2  # waiting, and in the thread's hands
            time.sleep(0.0005)
    assert taken == given == 247


def test_threads_end_when_nobody_waits_any_more(tmp_path: Path) -> None:
    """Also in the middle of a survey, which may take minutes."""
    before = threading.active_count()
    paths = [made_up(tmp_path, "a", frames=200), made_up(tmp_path, "b", fault="long")]
    began = time.monotonic()
    with closing(read_ahead(paths, [reader(), reader()], room=1)) as steps:
        next(steps)
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
    assert time.monotonic() - began < 5


def test_a_preview_keeps_a_few_frames_and_the_loudness() -> None:
    preview = Preview(seconds=4.0)
    for start in (0, 25, 75):  # overlapping, and a gap from 50 to 75
        frames = torch.arange(start, start + (25 if start == 25 else 30 if start == 0 else 25))
        video = frames.to(torch.uint8)[None, :, None, None].expand(3, -1, 100, 100)
        preview.see(Window(start / 25, video, torch.zeros(len(frames), 104), frames / 1000))
    assert len(preview.levels) == 100
    assert preview.levels[:50] == pytest.approx([frame / 1000 for frame in range(50)])
    assert all(level != level for level in preview.levels[50:75])
    assert preview.levels[75:] == pytest.approx([frame / 1000 for frame in range(75, 100)])
    assert THUMBNAILS == 8
    assert {moment: int(frame[0, 0, 0]) for moment, frame in preview.frames.items()} == {
        0.25: 6, 0.75: 18, 1.25: 31, 1.75: 43, 3.25: 81, 3.75: 93
    }  # fmt: skip
    assert preview.frames[0.25].shape == (100, 100, 3)


def test_windows_are_as_long_as_in_training() -> None:
    assert PredictOptions().frames(500) == (500, 250)
    assert PredictOptions(window=4).frames(500) == (100, 50)
    assert PredictOptions(window=4, hop=4).frames(500) == (100, 100)
    assert PredictOptions().frames(1) == (1, 1)
    with pytest.raises(ValueError, match=r"--hop 5: longer than a window of 4 s"):
        PredictOptions(window=4, hop=5).frames(500)


@pytest.mark.parametrize("flag", ["window", "hop"])
def test_windows_of_no_length(flag: str) -> None:
    with pytest.raises(ValueError, match=f"--{flag} inf: give a number of seconds"):
        PredictOptions(**{flag: math.inf}).frames(500)


def test_a_clip_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0 ftypisom")
    with pytest.raises(DataError, match=r"clip\.mp4: is no list.*name a clip without @"):
        find_clips([Path(f"@{path}")])


@pytest.mark.parametrize(("level", "note"), [(0.0, ["the audio is silent"]), (0.01, [])])
def test_silent_audio_is_noted(level: float, note: list[str]) -> None:
    found = Survey(0.4, 10, True, 1, ())
    window = Window(0, torch.zeros(3, 10, 100, 100, dtype=torch.uint8), torch.zeros(10, 104), torch.full((10,), level))
    steps = [(0, found), (0, window), (0, End())]
    ((_, result, _),) = score_clips(steps, Scorer(Toy(), torch.device("cpu"), normalise), 1)
    assert result.notes == note


def test_where_figures_go(tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).touch()
    both, one = find_clips([tmp_path]), find_clips([tmp_path / "one.mp4"])

    def figures(clips: list[FoundClip], plot: str | None) -> list[Path | None]:
        return [clip.figure for clip in PredictOptions(plot=plot and Path(plot)).with_figures(clips)]

    assert figures(both, None) == [None, None]
    assert figures(both, "p") == [Path("p/one.mp4.png"), Path("p/two.mp4.png")]
    assert figures(one, "p.png") == [Path("p.png")]
    with pytest.raises(ValueError, match="is one file, but there are 2 clips"):
        figures(both, "p.png")
    long = find_clips([Path("ä" * 118 + "a.mp4"), Path("ä" * 118 + "b.mp4")])
    names = {figure.name for figure in figures(long, "p")}
    assert len(names) == 2
    assert max(len(name.encode()) for name in names) <= 210
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        PredictOptions(json=str(tmp_path / "a.json"))
    with pytest.raises(ValueError, match=r"--csv a.json: must be a file that ends in .csv"):
        PredictOptions(csv="a.json")
    with pytest.raises(ValueError, match="one of them can go to the standard output"):
        PredictOptions(csv="-", json="-")
