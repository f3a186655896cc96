"""Corpora as they are really met: cut downloads, copies that other programs have saved, cells that are empty."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from dataset import read_corpus
from dataset.folds import read_fold
from dataset.protocols import Setting, sides
from utils.errors import DataError

HEADER = "source,target1,target2,method,category,type,race,gender,path,"
TYPES = {"A": "RealVideo-RealAudio", "B": "RealVideo-FakeAudio", "D": "FakeVideo-FakeAudio"}
PERSON, OTHER = "0e105f8ec5146f9737d0", "c9f5c37976afa879c834"


def write(path: Path, text: str | bytes = b"") -> Path:
    """A file in folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def told(clips: pd.DataFrame) -> str:
    return "\n".join(clips.attrs["notes"])


def labels(clips: pd.DataFrame) -> dict[str, str]:
    """Name of each file → what is known of the clip, of its video and of its audio."""
    letters = clips[["m_label", "v_label", "a_label"]].astype(str).replace({"1": "r", "0": "f", "<NA>": "?"})
    return dict(zip(clips["file"].str.rpartition("/")[2], letters.agg("".join, axis=1), strict=True))


def original_csv() -> str:
    rows = [HEADER]
    for category, name, method in (("A", "1.mp4", "real"), ("B", "1_fake.mp4", "rtvc")):
        folder = f"{TYPES[category]}/Asian (East)/men/id00056"
        rows.append(f"id00056,-,-,{method},{category},{TYPES[category]},Asian (East),men,{name},FakeAVCeleb/{folder}")
    return "\n".join(rows) + "\n"


FILES = [
    "RealVideo-RealAudio/Asian (East)/men/id00056/1.mp4",
    "RealVideo-FakeAudio/Asian (East)/men/id00056/1_fake.mp4",
]


@pytest.mark.parametrize("saved", ["as it is", "with an index", "without an index", ";", "\t", "Windows", "v1.2"])
def test_fakeavceleb_saved_by_another_program(tmp_path: Path, saved: str) -> None:
    path = write(tmp_path / "meta_data.csv", original_csv())
    if "index" in saved:
        pd.read_csv(path).to_csv(path, index=saved == "with an index")
    elif saved in ";\t":
        path.write_text(path.read_text().replace(",", saved))
    elif saved == "Windows":
        path.write_text(path.read_text().replace("/", "\\"), newline="\r\n")
    elif saved == "v1.2":
        path.write_text(path.read_text().replace("FakeAVCeleb/", "FakeAVCeleb_v1.2/"))
    assert list(read_corpus(tmp_path)["file"]) == FILES


@pytest.mark.parametrize(("cell", "column"), [("id00056,-,-,rtvc", "source"), ("1_fake.mp4", "path")])
def test_fakeavceleb_with_an_empty_cell(tmp_path: Path, cell: str, column: str) -> None:
    write(
        tmp_path / "meta_data.csv",
        original_csv().replace(cell, cell.replace("id00056", "NaN").replace("1_fake.mp4", "")),
    )
    with pytest.raises(DataError, match=rf"meta_data\.csv line 3: {column} is empty"):
        read_corpus(tmp_path)


def lavdf(root: Path, *changes: dict[str, object]) -> Path:
    row = {"file": "train/000000.mp4", "modify_video": False, "modify_audio": False, "split": "train", "original": None,
           "duration": 4.2, "fake_periods": []}  # fmt: skip
    write(root / "metadata.min.json", json.dumps([row | change for change in changes]))
    return root


def test_lavdf_with_odd_values(tmp_path: Path) -> None:
    odd = [[]], [[1.0, None]], [["1", "9"]], [1.0, 9.0], None, "none"
    clips = read_corpus(
        lavdf(tmp_path, *({"file": f"train/{n}.mp4", "fake_periods": p} for n, p in enumerate(odd))), "lavdf"
    )
    assert len(clips) == len(odd)
    assert "go past" not in told(clips)
    rows = [("TRAIN", "true"), ("Dev", 0), (None, None), ("left out", False)]
    changes = ({"file": f"test\\{n}.mp4", "split": split, "modify_video": fake} for n, (split, fake) in enumerate(rows))
    clips = read_corpus(lavdf(tmp_path, *changes), "lavdf")
    assert list(clips["split"]) == ["train", "val", "test", ""]
    assert labels(clips) == {"0.mp4": "ffr", "1.mp4": "rrr", "2.mp4": "??r", "3.mp4": "rrr"}
    assert "1 clips are of no known split (such as 'left out')" in told(clips)
    assert "1 clips are not labelled (such as test/2.mp4)" in told(clips)


def test_lavdf_without_clips_or_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"metadata\.min\.json: holds no entry"):
        read_corpus(lavdf(tmp_path), "lavdf")
    with pytest.raises(DataError, match=r"metadata\.min\.json: no entry has modify_audio"):
        read_corpus(lavdf(tmp_path, {"modify_audio": None}), "lavdf")


def test_rows_of_a_file_that_contradict_each_other(tmp_path: Path) -> None:
    clips = read_corpus(lavdf(tmp_path, {"modify_video": True}, {"split": "test"}), "lavdf")
    assert labels(clips) == {"000000.mp4": "ffr"}
    assert list(clips["method"]) == [""]
    assert "1 of them are real in one row and fake in another (such as train/000000.mp4)" in told(clips)
    assert "1 of them are of two splits" in told(clips)


def test_avdeepfake1m_with_the_json_of_some_clips(tmp_path: Path) -> None:
    folder = "id00012/x/00001"
    for name in ("real", "fake_video_fake_audio", "other"):
        write(tmp_path / "val" / folder / f"{name}.mp4")
    row = {"file": f"{folder}/real.mp4", "modify_type": "real", "audio_model": 5}
    write(tmp_path / "val_metadata" / folder / "real.json", json.dumps(row))
    write(tmp_path / "val_metadata" / folder / "._real.json", b"\0\5\x16")
    clips = read_corpus(tmp_path, "avdeepfake1m")
    assert labels(clips) == {"real.mp4": "rrr", "fake_video_fake_audio.mp4": "fff", "other.mp4": "???"}
    assert "2 clips are labelled by their names" in told(clips)
    write(tmp_path / "val_metadata" / folder / "x.json", "[]")
    with pytest.raises(DataError, match=r"x\.json: has no file"):
        read_corpus(tmp_path, "avdeepfake1m")


def dfdc_part(folder: Path, **clips: str) -> None:
    entries = {f"{name}.mp4": {"label": label, "split": "train"} for name, label in clips.items()}
    write(folder / "metadata.json", json.dumps(entries))
    for name in clips:
        write(folder / f"{name}.mp4")


def test_dfdc_with_double_rows_and_clips_without_a_row(tmp_path: Path) -> None:
    write(tmp_path / "validation" / "labels.csv", "filename,label\na.mp4,0\nb.mp4,1\nb.mp4,1\nc.mp4,\n")
    write(tmp_path / "validation" / "d.mp4")
    clips = read_corpus(tmp_path, "dfdc")
    assert labels(clips) == {"a.mp4": "rrr", "b.mp4": "f??", "c.mp4": "???", "d.mp4": "???"}
    assert set(clips["split"]) == {"val"}
    assert "2 clips are not labelled" in told(clips)
    assert "1 fake clips do not tell which of their streams are fake" in told(clips)


@pytest.mark.parametrize("deeper", ["", "DFDC", "data/DFDC"])
def test_dfdc_however_deep(tmp_path: Path, deeper: str) -> None:
    dfdc_part(tmp_path / deeper / "train" / "dfdc_train_part_0" / "dfdc_train_part_0", a="REAL", b="Fake")
    write(tmp_path / deeper / "test" / "labels.csv", "filename,label\nt.mp4,1.0\n")
    write(tmp_path / deeper / "test" / "videos" / "t.MP4")
    clips = read_corpus(tmp_path, "dfdc")
    assert labels(clips) == {"t.MP4": "f??", "a.mp4": "rrr", "b.mp4": "f??"}
    assert dict(zip(clips["file"].str.rpartition("/")[2], clips["split"], strict=True)) == {
        "t.MP4": "test", "a.mp4": "train", "b.mp4": "train"
    }  # fmt: skip
    assert list(read_corpus(tmp_path / deeper / "test", "dfdc")["split"]) == ["test"]


def test_kodf_whose_csv_and_folders_are_not_whole(tmp_path: Path) -> None:
    fakes = f"영상ID,타겟UUID,소스UUID,변조모델\n{PERSON}_{OTHER}_3_0001.MP4,{PERSON},{OTHER},\n"
    write(tmp_path / "변조영상_training_메타데이터.csv", fakes)
    for name in ("A", "B"):  # unpacked twice
        write(tmp_path / name / f"{PERSON}_{OTHER}_3_0001.mp4")
    write(tmp_path / "original_videos" / "x" / "odd.mp4")
    write(tmp_path / "synthesized_videos" / "fo" / "odder.mp4")
    clips = read_corpus(tmp_path, "kodf")
    assert labels(clips) == {f"{PERSON}_{OTHER}_3_0001.mp4": "ffr", "odd.mp4": "rrr", "odder.mp4": "ffr"}
    assert list(clips["method"]) == ["", "real", "fo"]
    assert "1 media files have the name of another" in told(clips)
    write(tmp_path / "변조영상_training_메타데이터.csv", fakes + f",{PERSON},{OTHER},fo\n")
    with pytest.raises(DataError, match=r"메타데이터\.csv line 3: 영상ID is empty"):
        read_corpus(tmp_path, "kodf")


def test_deepspeak_that_does_not_tell_a_voice(tmp_path: Path) -> None:
    write(
        tmp_path / "annotations-fake.csv",
        "video-file,engine,identity-source,identity-target,audio-config\nmemo-1-2-x.mp4,memo,7,7,\n",
    )
    write(tmp_path / "train" / "real" / "77-1.mp4")  # which no annotation names
    clips = read_corpus(tmp_path, "deepspeak")
    assert labels(clips) == {"memo-1-2-x.mp4": "ff?", "77-1.mp4": "rrr"}
    assert list(clips["subject"]) == ["7", "77"]


def test_deepspeak_without_its_fakes(tmp_path: Path) -> None:
    write(tmp_path / "annotations-real.csv", "video-file,identity\n7-1.mp4,7\n")
    clips = read_corpus(tmp_path, "deepspeak")
    assert labels(clips) == {"7-1.mp4": "rrr"}
    assert (list(clips["subject"]), list(clips["target1"]), list(clips["method"])) == (["7"], [""], ["real"])


@pytest.mark.parametrize("people", [None, {}, ["male"], {"sex": "male"}, [{"sex": None}]])
def test_polyglotfake_with_odd_characters(tmp_path: Path, people: object) -> None:
    write(tmp_path / "real" / "en" / "en_1.mp4")
    write(tmp_path / "real_json_files" / "._en.json", b"\0\5\x16")
    path = write(
        tmp_path / "real_json_files" / "en.json", json.dumps({"videos": [{"filename": "en_1", "characters": people}]})
    )
    clips = read_corpus(tmp_path, "polyglotfake")
    assert (list(clips["file"]), list(clips["gender"])) == (["real/en/en_1.mp4"], [""])
    path.write_text('{"videos": [{"filename": "Interview.mp4"}]}')  # not on disk, and of another form
    clips = read_corpus(tmp_path, "polyglotfake")
    assert (list(clips["file"]), list(clips["v_label"])) == (["real/en/en_1.mp4", "interview.mp4"], [1, 1])
    path.write_text('{"videos": [{"source": "x"}]}')
    with pytest.raises(DataError, match=r"en\.json: video 1 has no filename"):
        read_corpus(tmp_path, "polyglotfake")


def mavosdd(path: Path, *rows: tuple[str, str, bool, bool]) -> Path:
    """Rows: (path, split, unknown language, unknown model)."""
    table = pa.Table.from_pylist([
        {"video_path": file, "label": "fake", "split": split, "generative_method": "memo",
         "audio_generative_method": "real", "open_set_language": language, "open_set_model": model}
        for file, split, language, model in rows
    ])  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path.parent


def test_mavosdd_in_part(tmp_path: Path) -> None:
    root = mavosdd(tmp_path / "MAVOS-DD" / "data-0.arrow", ("english/memo/1.mp4", "train", False, False))
    write(
        root / "state.json", json.dumps({"_data_files": [{"filename": "data-0.arrow"}, {"filename": "data-1.arrow"}]})
    )
    assert "1 of the 2 Arrow files" in told(read_corpus(root, "mavosdd"))
    with pytest.raises(DataError, match=r"there is one in .*MAVOS-DD"):
        read_corpus(tmp_path, "mavosdd")
    mavosdd(root / "data-0.arrow", (None, "train", False, False))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="row 1 has no video_path"):
        read_corpus(root, "mavosdd")


@pytest.mark.parametrize(
    ("name", "kept"), [("closed", "1"), ("open-model", "13"), ("open-language", "12"), ("open-set", "1234")]
)
@pytest.mark.parametrize("folder", ["", "test"])
def test_mavosdd_tests_what_its_owners_call_unknown(tmp_path: Path, folder: str, name: str, kept: str) -> None:
    test = [(f"english/memo/{n}.mp4", "test", n in (2, 4), n in (3, 4)) for n in (1, 2, 3, 4)]
    write(tmp_path / "._data-0.arrow", b"\0\5\x16")
    mavosdd(tmp_path / folder / "data-0.arrow", ("russian/real/0.mp4", "train", False, False), *test)
    setting = Setting(read_corpus(tmp_path, "mavosdd"), "mavosdd", tmp_path)
    assert "".join(Path(file).stem for file in sides(f"mavosdd-{name}", setting).test["file"]) == kept


@pytest.mark.parametrize("separator", ",;\t")
def test_csv_by_another_program(tmp_path: Path, separator: str) -> None:
    rows = [("File", "Subject", "Category"), ("x\\a.mp4", "s", "a"), (".\\x\\a.mp4", "s", "A")]
    path = write(tmp_path / "clips.csv", "\r\n".join(separator.join(row) for row in rows))
    clips = read_corpus(path, "csv")
    assert list(clips["file"]) == ["x/a.mp4"]
    write(path, "file,subject,category\na.mp4,s,A\nnan,s,A\n")
    with pytest.raises(DataError, match=r"clips\.csv line 3: file is empty"):
        read_corpus(path, "csv")


def test_lists_that_are_no_utf_8(tmp_path: Path) -> None:
    write(tmp_path / "test_files.txt", b"000001.mp4\n\xe9.mp4\n")
    assert len(read_corpus(tmp_path, "avdeepfake1m")) == 2
    assert read_fold(write(tmp_path / "train_1.txt", b"pli \xe9\nid00001\n")) == ["id00001"]
