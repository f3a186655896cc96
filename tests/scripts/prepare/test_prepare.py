"""`main.py prepare`: what it reports, what it chooses, and what it does again."""

import shutil
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import main
from dataset import FakeAVCelebDataModule, check, read_corpus
from dataset.cache import ClipCache
from dataset.corpora.fakeavceleb import CSV_NAME
from dataset.corpora.table import LABELS
from dataset.features import log_filterbank
from dataset.folds import read_fold
from dataset.media import Clip
from dataset.prepared import FORMAT
from scripts.prepare import report

CHEAP = "RealVideo-RealAudio/African/men/id00076/00100.mp4"


def prepare(*args: str | Path) -> None:
    assert main.main(["prepare", *map(str, args)]) == 0


def read_report(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report.csv", keep_default_na=False)


def add_rows(root: Path, *rows: str) -> None:
    with (root / CSV_NAME).open("a") as csv:
        csv.writelines(f"{row}\n" for row in rows)


def content(folder: Path) -> dict[str, bytes]:
    """Every file in a folder but locks."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def faulty_root(original_root: Path) -> Path:
    """The reference corpus with a clip missing, one cut short, one that two rows name, and one that none does."""
    (original_root / "RealVideo-FakeAudio/Asian (East)/men/id00113/00101_fake.mp4").unlink()
    short = original_root / "FakeVideo-FakeAudio/Asian (South)/men/id00150/00102_2_wavtolip.mp4"
    short.write_bytes(short.read_bytes()[:50_000])
    # Another clip of the same subject and category, which can stand in for the short one.
    shutil.copyfile(original_root / CHEAP, short.with_name("späre 東 (1).mp4"))
    folder = "FakeAVCeleb/FakeVideo-FakeAudio/Asian (South)/men/id00150"
    row = f"id00150,id00902,-,wav2lip,D,FakeVideo-FakeAudio,Asian (South),men,späre 東 (1).mp4,{folder}"
    add_rows(original_root, row, row)
    shutil.copyfile(original_root / CHEAP, original_root / "RealVideo-RealAudio" / "stray clip.mp4")
    csv = original_root / CSV_NAME
    csv.write_bytes(b"\xef\xbb\xbf" + csv.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n"))
    return original_root


def test_report_of_a_audio_corpus(original_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("--data_root", original_root)
    table = read_report(original_root / "prepare")
    clips = read_corpus(original_root)
    for column in ("line", "file", "subject", "category", "method", "race", "gender"):
        assert list(table[column]) == list(clips[column])
    assert set(table["state"]) == {"ok"}
    first = table.iloc[0]
    assert (first["frames"], first["fps"], first["width"], first["height"]) == (39, 25, 224, 224)
    assert (first["audio"], first["sample_rate"], first["channels"]) == ("mp4", 44_100, 2)
    assert first["bytes"] == (original_root / CHEAP).stat().st_size
    assert first["seconds_apart"] == pytest.approx(first["audio_seconds"] - first["video_seconds"], abs=1e-6)

    printed = capsys.readouterr().out
    assert printed.strip() == (original_root / "prepare" / "summary.md").read_text().strip()
    assert "12 rows, 12 of them with a clip that can be used" in printed
    assert "10,835" in printed  # what papers report
    assert "each of the 3 is tested in exactly one" in printed
    for what in ("not on disk", "cannot be used", "name a file twice", "no row names"):
        assert f"{what}: none." in printed


def test_report_of_a_faulty_corpus(faulty_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("--data_root", faulty_root)
    table = read_report(faulty_root / "prepare").set_index("line")
    assert len(table) == 13
    assert list(table["state"].value_counts().sort_index().items()) == [("broken", 1), ("missing", 1), ("ok", 11)]
    assert table.loc[6, "reason"] == "no such file"
    assert table.loc[6, "frames"] == ""
    assert table.loc[13, "reason"].startswith("truncated, ")
    printed = capsys.readouterr().out
    for line in (
        "Clips that are not on disk: 1.",
        "- line 6: RealVideo-FakeAudio/Asian (East)/men/id00113/00101_fake.mp4: no such file",
        "Clips that cannot be used: 1.",
        "- line 13: FakeVideo-FakeAudio/Asian (South)/men/id00150/00102_2_wavtolip.mp4: truncated, ",
        "- a file has more than one row (such as FakeVideo-FakeAudio/Asian (South)/men/id00150/späre 東 (1).mp4)",
        "Media files that no row names: 1.\n\n- RealVideo-RealAudio/stray clip.mp4\n",
    ):
        assert line in printed


def test_subset_does_without_clips_that_cannot_be_used(faulty_root: Path) -> None:
    prepare("--data_root", faulty_root)
    subset = pd.read_csv(faulty_root / "prepare" / "subset.csv", keep_default_na=False)
    assert len(subset) == 11
    assert "FakeVideo-FakeAudio/Asian (South)/men/id00150/späre 東 (1).mp4" in set(subset["file"])
    assert set(subset["test_fold"]) == {"train_1", "train_2", "train_3"}
    summary = (faulty_root / "prepare" / "summary.md").read_text()
    assert "id00113 has no clip of category B that can be used" in summary

    module = FakeAVCelebDataModule(faulty_root)  # without skip_bad: nothing is wrong with these
    module.setup()
    both = pd.concat([module.train_dataset.clips, module.test_dataset.clips])
    assert set(both["file"]) == set(subset["file"])
    tested = subset.loc[subset["test_fold"] == "train_1", "file"]
    assert set(module.test_dataset.clips["file"]) == set(tested)
    for name in ("train_1", "train_2", "train_3"):
        training = read_fold(faulty_root / f"{name}.txt")
        assert not set(training) & set(subset.loc[subset["test_fold"] == name, "subject"])


def test_only_what_is_left_is_done(faulty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspected: list[str] = []

    def note(path: str) -> object:
        inspected.append(Path(path).name)
        return inspect(path)

    inspect = report.inspect_clip
    monkeypatch.setattr(report, "inspect_clip", note)
    folder = faulty_root / "prepare"
    prepare("--data_root", faulty_root)
    assert len(inspected) == len(set(inspected)) == 12  # 13 files are named, one of which is missing
    before = content(folder)
    inspected.clear()
    prepare("--data_root", faulty_root)
    assert not inspected
    assert content(folder) == before

    # A run that was killed: the last line was cut short, the table was not written yet.
    state = folder / "state.jsonl"
    lines = state.read_bytes().split(b"\n")
    state.write_bytes(b"\n".join(lines[:6]) + b"\n" + lines[6][:40])
    (folder / "report.csv").unlink()
    prepare("--data_root", faulty_root)
    assert len(inspected) == 12 - 5
    assert content(folder) == before

    inspected.clear()
    (faulty_root / CHEAP).touch()
    prepare("--data_root", faulty_root)
    assert inspected == ["00100.mp4"]
    # What an older version found is not believed.
    now = f'"format": {FORMAT}'.encode()
    assert now in state.read_bytes()
    state.write_bytes(state.read_bytes().replace(now, b'"format": 1'))
    inspected.clear()
    prepare("--data_root", faulty_root)
    assert len(inspected) == 12


def test_training_does_not_check_again(faulty_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("--data_root", faulty_root)
    read: list[str] = []
    monkeypatch.setattr(check, "read_clip", lambda path: read.append(path) or Clip(None, None, ()))
    FakeAVCelebDataModule(faulty_root).setup()
    assert not read
    (faulty_root / CHEAP).touch()
    FakeAVCelebDataModule(faulty_root).setup()
    assert read == [str(faulty_root / CHEAP)]


def test_csv_that_changed_since(faulty_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("--data_root", faulty_root)
    add_rows(faulty_root, "id00999,-,-,real,A,RealVideo-RealAudio,African,men,new.mp4,FakeAVCeleb/x")
    module = FakeAVCelebDataModule(faulty_root, skip_bad=True)
    module.setup()
    assert "its metadata have changed since: it is not used" in capsys.readouterr().err
    assert "new.mp4" in {Path(bad.file).name for bad in module.skipped}


def test_no_clip_can_be_used(original_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for clip in original_root.rglob("*.mp4"):
        clip.unlink()
    assert main.main(["prepare", "--data_root", str(original_root)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("none of its 12 clips can be used; report.csv says why")
    assert set(read_report(original_root / "prepare")["state"]) == {"missing"}


def test_outputs_and_folders_of_other_corpora(
    original_root: Path, prepared_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = tmp_path / "my outputs"
    prepare("--data_root", original_root, "--outputs", outputs, "--cache")
    assert not (original_root / "prepare").exists()
    assert not (original_root / "cache").exists()
    assert {path.name for path in outputs.iterdir()} == {"prepare", "cache"}
    assert main.main(["prepare", "--data_root", str(prepared_root), "--outputs", str(outputs)]) == 2
    assert "holds the report of another table" in capsys.readouterr().err
    module = FakeAVCelebDataModule(original_root, prepare_dir=outputs / "prepare", check=False)
    module.setup()
    assert len(module.train_dataset) + len(module.test_dataset) == 12


def test_prepared_layout_keeps_its_folds(prepared_root: Path) -> None:
    folds = {path.name: path.read_bytes() for path in prepared_root.glob("train_*.txt")}
    for name in ("train_3.txt", "train_4.txt"):  # the reference has three of five
        (prepared_root / name).write_bytes(folds["train_1.txt"])
    folds |= dict.fromkeys(("train_3.txt", "train_4.txt"), folds["train_1.txt"])
    prepare("--data_root", prepared_root)
    assert {path.name: path.read_bytes() for path in prepared_root.glob("train_*.txt")} == folds
    assert set(read_report(prepared_root / "prepare")["audio"]) == {"wav"}


def test_wavs_are_those_of_ffmpeg(original_root: Path, reference: Path) -> None:
    prepare("--data_root", original_root, "--write_wav")
    expected = np.load(reference / "data_open_original.npz")
    for clip in read_corpus(original_root).itertuples():
        with wave.open(str(Path(clip.path).with_suffix(".wav"))) as audio:
            assert audio.getparams()[:3] == (1, 2, 16_000)
            samples = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
        assert len(samples) == expected[f"{clip.file}|samples"]
        head = expected[f"{clip.file}|wav_head"]
        assert_allclose(samples[: len(head)].astype(int), head, rtol=0, atol=1)
        bank = expected[f"{clip.file}|logfbank"]
        assert_allclose(log_filterbank(samples), bank, rtol=0, atol=0.005)
    wavs = sorted(original_root.rglob("*.wav"))
    assert len(wavs) == 12
    assert set(read_report(original_root / "prepare")["audio"]) == {"wav"}
    times = {path: path.stat().st_mtime_ns for path in wavs}
    prepare("--data_root", original_root, "--write_wav")
    assert times == {path: path.stat().st_mtime_ns for path in wavs}


def test_strict_identities(original_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = original_root / CSV_NAME
    text = csv.read_text()
    csv.write_text(text.replace("id00076,id00900", "id00076,id00113"))  # who is tested in another fold
    prepare("--data_root", original_root)
    leaks = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| a face seen in training as a")]
    assert sum(int(cell) for cell in leaks[0].split("|")[2:-1]) == 4  # the clips of id00113, as id00076 shows it too
    one, other = original_root / "train_1.txt", original_root / "train_2.txt"
    first, second = one.read_text(), other.read_text()
    one.write_text(second)
    other.write_text(first)
    assert main.main(["prepare", "--data_root", str(original_root), "--strict_identities"]) == 2
    assert "lie there already, and are not the strict folds" in capsys.readouterr().err

    for fold in original_root.glob("train_*.txt"):
        fold.unlink()
    prepare("--data_root", original_root, "--strict_identities")
    printed = capsys.readouterr().out
    leaks = [line for line in printed.splitlines() if line.startswith(("| a face seen in", "| anybody seen in"))]
    assert len(leaks) == 2
    assert all(
        set(line.split("|")[2:-1]) <= {cell for cell in line.split("|")[2:-1] if int(cell) == 0} for line in leaks
    )
    assert "2 subjects have no clip of a category any more: id00076 C, id00076 D" in printed
    prepare("--data_root", original_root, "--strict_identities")  # the folds are its own
    module = FakeAVCelebDataModule(original_root, check=False)
    module.setup()
    assert len(module.train_dataset) + len(module.test_dataset) == 10


def test_a_table(original_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = read_corpus(original_root)
    table = clips[["file", "subject", "category", "method"]].assign(split=["train"] * 6 + ["test"] * 6)
    table.to_csv(original_root / "clips.csv", index=False)
    prepare("--dataset", "csv", "--data_root", original_root / "clips.csv")
    printed = capsys.readouterr().out
    assert "10,835" not in printed
    assert "WARNING: subjects on both sides in train_1 (3)" in printed
    assert not list(original_root.glob("train_*.txt"))
    subset = pd.read_csv(original_root / "prepare" / "subset.csv", keep_default_na=False)
    assert list(subset["test_fold"]) == [""] * 6 + ["train_1"] * 6
    assert main.main(
        ["prepare", "--dataset", "csv", "--data_root", str(original_root), "--strict_identities"]
    ) == 2  # fmt: skip
    assert "the table has a split" in capsys.readouterr().err


def test_same_numbers_either_way(original_root: Path, tmp_path: Path) -> None:
    """Audio from the mp4 or from a wav, decoded or from the cache: the same rows, labels, frames and features."""
    with_wavs = shutil.copytree(original_root, tmp_path / "with wavs")
    prepare("--data_root", original_root, "--cache")
    prepare("--data_root", with_wavs, "--write_wav", "--cache")
    items = []
    for root in (original_root, with_wavs):
        for cache in (None, ClipCache(root / "cache")):
            module = FakeAVCelebDataModule(root, cache=cache)
            module.setup()
            assert len(module.train_dataset) + len(module.test_dataset) == 12
            items.append([*module.train_dataset, *module.test_dataset])
    plain, cached, wav, cached_wav = items
    for decoded, kept in ((plain, cached), (wav, cached_wav)):
        for one, other in zip(decoded, kept, strict=True):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)
    for one, other in zip(plain, wav, strict=True):
        assert all(one[name] == other[name] for name in ("file", *LABELS))
        assert np.array_equal(one["video"], other["video"])
        assert_allclose(one["audio"], other["audio"], rtol=0, atol=0.005)
