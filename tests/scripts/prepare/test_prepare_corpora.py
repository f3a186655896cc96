"""`main.py prepare` on other corpora: what it counts, and faces that are cropped once, into the cache."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import dataset.faces
import main
from dataset import FakeAVCelebDataModule
from dataset.cache import ClipCache
from dataset.decoding import Reading
from dataset.media import Clip, read_audio, read_video
from utils.errors import DataError

REAL, FAKE = "RealVideo-RealAudio", "FakeVideo-RealAudio"


@pytest.fixture
def avlips(original_root: Path, tmp_path: Path) -> Path:
    """AVLips of three real and three fake clips, one of which shows no face and one two."""
    root = tmp_path / "AVLips"
    for kind, folder in ((REAL, "0_real"), (FAKE, "1_fake")):
        (root / folder).mkdir(parents=True)
        for number, path in enumerate(sorted(original_root.glob(f"{kind}/**/*.mp4"))):
            shutil.copyfile(path, root / folder / f"{number}.mp4")
    return root


@pytest.fixture
def cropped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A face finder that says more of some clips, and the clips that it was asked to crop."""
    asked: list[str] = []

    def crop_clip(path: Path, max_frames: int) -> tuple[Clip, SimpleNamespace]:
        name = "/".join(Path(path).parts[-2:])
        asked.append(name)
        if name == "1_fake/1.mp4":
            raise DataError(f"{path}: no face was found")
        frames, samples = read_video(path, max_frames)[..., ::-1], read_audio(path, max_frames)
        two = name == "0_real/2.mp4"
        notes = ("2 faces: the larger one is followed",) if two else ()
        return Clip(frames, samples, notes), SimpleNamespace(people=1 + two, is_crop=not two)

    monkeypatch.setattr(dataset.faces, "crop_clip", crop_clip, raising=False)
    return asked


def prepare(root: Path, *more: str) -> int:
    return main.main(["prepare", "--dataset", "avlips", "--data_root", str(root), *more])


def module(root: Path, **options: object) -> FakeAVCelebDataModule:
    cache = ClipCache(root / "cache") if (root / "cache").exists() else None
    return FakeAVCelebDataModule(root, dataset="avlips", cache=cache, num_train=None, num_val=None, **options)


def test_faces_are_cropped_once(avlips: Path, cropped: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(avlips) == 0
    assert sorted(cropped) == [f"{folder}/{n}.mp4" for folder in ("0_real", "1_fake") for n in range(3)]
    printed = capsys.readouterr().out
    for line in (
        "| a face was found                  |   5 |    3 |    2 |       0 |",
        "| no face was found                 |   1 |    0 |    1 |       0 |",
        "| several people                    |   1 |    1 |    0 |       0 |",
        "| cropped around the face           |   1 |    1 |    0 |       0 |",
        "| taken as they are, a crop already |   4 |    2 |    2 |       0 |",
        "Coverage: 83.3% of 6 clips that decode.",
        "| real  |    3 |      3 |     3,396 |",
        "1_fake/1.mp4: no face was found",
    ):
        assert line in printed
    report = pd.read_csv(avlips / "prepare" / "report.csv", keep_default_na=False).set_index("file")
    assert report.loc["1_fake/1.mp4", ["state", "faces"]].tolist() == ["broken", 0]
    assert report.loc["0_real/2.mp4", ["faces", "framing"]].tolist() == [2, "face"]
    assert "2 faces: the larger one is followed" in report.loc["0_real/2.mp4", "notes"]
    before = (avlips / "prepare" / "report.csv").read_bytes()

    cropped.clear()
    assert prepare(avlips) == 0
    assert cropped == []  # the one without a face neither
    assert (avlips / "prepare" / "report.csv").read_bytes() == before


def test_training_reads_the_crops_alone(avlips: Path, cropped: list[str]) -> None:
    with pytest.raises(DataError, match=r"6 of 6 clips are full frames .*there is no cache .*prepare --dataset avlips"):
        module(avlips).setup()
    assert prepare(avlips) == 0
    cropped.clear()
    with pytest.raises(DataError, match=r"1_fake/1\.mp4: no face was found"):
        module(avlips).setup()
    data = module(avlips, skip_bad=True)
    data.setup()
    assert [bad.file for bad in data.skipped] == ["1_fake/1.mp4"]
    assert data.notes["0_real/2.mp4"][-1] == "2 faces: the larger one is followed"
    clips = {item["file"]: item for item in (*data.train_dataset, *data.test_dataset)}
    assert len(clips) == 5
    tested = next(iter(data.test_dataset))
    frames = read_video(avlips / tested["file"])[..., ::-1].transpose(3, 0, 1, 2)[:, :, 6:106, 6:106]
    assert torch.equal(tested["video"], torch.from_numpy(np.ascontiguousarray(frames)))
    assert cropped == []
    with pytest.raises(DataError, match=r"5 of 6 clips are full frames .*are not in the cache .*--trim_silence"):
        module(avlips, skip_bad=True, trim_silence=True).setup()


def test_a_part_of_a_corpus(avlips: Path, cropped: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(avlips, "--split", "test") == 2
    assert "has no such clip" in capsys.readouterr().err
    assert cropped == []


def test_all_clips_are_cached_on_request(original_root: Path) -> None:
    clips = pd.read_csv(original_root / "meta_data.csv", dtype=str)
    second = original_root / "RealVideo-RealAudio" / "African" / "men" / "id00076" / "00999.mp4"
    shutil.copyfile(next(second.parent.glob("*.mp4")), second)
    row = clips.iloc[0].copy()
    row["path"] = second.name
    clips = pd.concat([clips, row.to_frame().T])
    text = clips.to_csv(index=False).replace(clips.columns[-1], "", 1)
    (original_root / "meta_data.csv").write_text(text, encoding="utf-8")
    for more, count in (((), 12), (("--all_clips",), 13)):
        assert main.main(["prepare", "--data_root", str(original_root), "--cache", *more]) == 0
        assert len(list((original_root / "cache").rglob("*.safetensors"))) == count


def test_trimmed_clips_are_cached_for_trimmed_reading(original_root: Path) -> None:
    assert main.main(["prepare", "--data_root", str(original_root), "--cache", "--trim_silence"]) == 0
    data = FakeAVCelebDataModule(original_root, trim_silence=True, check=False)
    data.setup()
    clips = pd.concat([data.train_dataset.clips, data.test_dataset.clips])
    entries = ClipCache(original_root / "cache").entries(clips, reading=Reading(trim_silence=True))
    assert len(entries) == 12


def test_verify_finds_a_damaged_clip(original_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["prepare", "--data_root", str(original_root), "--cache"]) == 0
    path = next((original_root / "cache").rglob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-99] ^= 1
    path.write_bytes(data)
    assert main.main(["prepare", "--data_root", str(original_root), "--cache"]) == 0
    assert path.read_bytes() == bytes(data)
    capsys.readouterr()
    assert main.main(["prepare", "--data_root", str(original_root), "--verify"]) == 0
    assert "is damaged; it was decoded again" in capsys.readouterr().err
    assert path.read_bytes() != bytes(data)
