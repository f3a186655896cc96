"""Reading meta_data.csv: both layouts, odd files, and rows that are wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataset import read_corpus
from utils.errors import DataError

ORIGINAL = "source,target1,target2,method,category,type,race,gender,path,"
PREPARED = "source,target1,target2,method,category,type,race,gender,vid,path"
TYPES = ("RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio")


def write_csv(root: Path, *lines: str, newline: str = "\n", encoding: str = "utf-8") -> Path:
    root.mkdir(exist_ok=True)
    (root / "meta_data.csv").write_bytes((newline.join(lines) + newline).encode(encoding))
    return root


def row(folder: str, name: str = "a.mp4", category: str = "A", kind: str = TYPES[0]) -> str:
    return f"id00001,-,-,real,{category},{kind},Asian (East),men,{name},{folder}"


def test_labels_of_each_type(tmp_path: Path) -> None:
    rows = [row("FakeAVCeleb/x", f"{c}.mp4", c, kind) for c, kind in zip("ABCD", TYPES, strict=True)]
    clips = read_corpus(write_csv(tmp_path, ORIGINAL, *rows))
    assert clips[["v_label", "a_label", "c_label", "m_label", "mm_label"]].to_numpy().tolist() == [
        [1, 1, 1, 1, 0],
        [1, 0, 0, 0, 2],
        [0, 1, 0, 0, 1],
        [0, 0, 0, 0, 3],
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, newline: str, encoding: str) -> None:
    lines = (ORIGINAL, row("FakeAVCeleb/Ünï çode (x)"), "", row("FakeAVCeleb/b", "b (1).mp4"))
    clips = read_corpus(write_csv(tmp_path, *lines, newline=newline, encoding=encoding))
    assert list(clips["file"]) == ["Ünï çode (x)/a.mp4", "b/b (1).mp4"]
    assert list(clips["path"]) == [f"{tmp_path}/Ünï çode (x)/a.mp4", f"{tmp_path}/b/b (1).mp4"]


def test_only_a_leading_fakeavceleb_is_removed(tmp_path: Path) -> None:
    clips = read_corpus(write_csv(tmp_path / "FakeAVCeleb", ORIGINAL, row("FakeAVCeleb/x/FakeAVCeleb/y"), row("z")))
    assert list(clips["file"]) == ["x/FakeAVCeleb/y/a.mp4", "z/a.mp4"]


def test_prepared_names_on_disk(tmp_path: Path) -> None:
    clips = read_corpus(write_csv(tmp_path, PREPARED, row("Asian (East)/men", "a (1).mp4")))
    assert clips["file"][0] == "Asian (East)/men/a (1).mp4"
    assert clips["path"][0] == f"{tmp_path}/Asian-East/men/a-1.mp4"
    (tmp_path / "Asian (East)" / "men").mkdir(parents=True)
    (tmp_path / "Asian (East)" / "men" / "a (1).mp4").touch()
    assert read_corpus(tmp_path)["path"][0] == f"{tmp_path}/Asian (East)/men/a (1).mp4"


def test_the_whole_table_takes_less_than_a_second(tmp_path: Path) -> None:
    rows = [row(f"FakeAVCeleb/{TYPES[0]}/Asian (East)/men/id{n // 43:05d}", f"{n}.mp4") for n in range(21_500)]
    for header in (ORIGINAL, PREPARED):
        write_csv(tmp_path, header, *rows)
        start = time.perf_counter()
        assert len(read_corpus(tmp_path)) == 21_500
        assert time.perf_counter() - start < 1


@pytest.mark.parametrize("missing", ["source", "category", "type", "race", "path"])
def test_missing_column_is_named(tmp_path: Path, missing: str) -> None:
    names = ORIGINAL.split(",")
    keep = [i for i, name in enumerate(names) if name != missing]
    lines = [",".join(line.split(",")[i] for i in keep) for line in (ORIGINAL, row("FakeAVCeleb/x"))]
    with pytest.raises(DataError, match=f"column {missing} is missing"):
        read_corpus(write_csv(tmp_path, *lines))


def test_without_the_nameless_column_the_others_tell_the_folder(tmp_path: Path) -> None:
    lines = [line.rpartition(",")[0] for line in (ORIGINAL, row("FakeAVCeleb/x"))]
    assert list(read_corpus(write_csv(tmp_path, *lines))["file"]) == [f"{TYPES[0]}/Asian (East)/men/id00001/a.mp4"]


def test_csv_one_folder_deeper(tmp_path: Path) -> None:
    write_csv(tmp_path / "FakeAVCeleb_v1.2", ORIGINAL, row("FakeAVCeleb/x"))
    with pytest.raises(DataError, match=r"no meta_data\.csv in it; there is one in .*/FakeAVCeleb_v1\.2$"):
        read_corpus(tmp_path)


def test_no_folder_and_no_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no meta_data\.csv"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("lines", [(), ("",), (ORIGINAL,), (ORIGINAL, row("x") + ",one,too,many")])
def test_csv_that_is_not_one(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"meta_data\.csv"):
        read_corpus(write_csv(tmp_path, *lines))


@pytest.mark.parametrize(("category", "kind"), [("B", TYPES[0]), ("A", "RealVideo"), ("E", TYPES[0]), ("", "")])
def test_contradiction_names_its_line(tmp_path: Path, category: str, kind: str) -> None:
    rows = (row("FakeAVCeleb/x"), "", row("FakeAVCeleb/x", category=category, kind=kind))
    with pytest.raises(DataError, match="line 4: category"):
        read_corpus(write_csv(tmp_path, ORIGINAL, *rows))


def test_row_cut_short_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3"):
        read_corpus(write_csv(tmp_path, ORIGINAL, row("FakeAVCeleb/x"), "id00001,-"))


@pytest.mark.parametrize("header", [ORIGINAL, PREPARED])
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("../x", "a.mp4"),
        ("FakeAVCeleb/../../x", "a.mp4"),
        ("FakeAVCeleb/x", "../../a.mp4"),
        ("/etc", "a.mp4"),
        ("", ".."),
    ],
)
def test_path_that_leaves_the_root_names_its_line(tmp_path: Path, header: str, folder: str, name: str) -> None:
    with pytest.raises(DataError, match=r"line 3: the path .* leaves the data folder"):
        read_corpus(write_csv(tmp_path, header, row("FakeAVCeleb/x"), row(folder, name)))
