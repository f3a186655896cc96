"""FakeAVCeleb's meta_data.csv and csv files of one's own: what is read, and rows that are wrong."""

import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from dataset import FakeAVCelebDataModule, read_corpus
from dataset.corpora import corpus_folder, fold_numbers
from dataset.corpora.csv import read as read_table
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


def test_the_whole_table_takes_less_than_a_second_of_a_core(tmp_path: Path) -> None:
    rows = [row(f"FakeAVCeleb/{TYPES[0]}/Asian (East)/men/id{n // 43:05d}", f"{n}.mp4") for n in range(21_500)]
    for header in (ORIGINAL, PREPARED):
        write_csv(tmp_path, header, *rows)
        start = time.process_time()
        assert len(read_corpus(tmp_path)) == 21_500
        assert time.process_time() - start < 1


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


HEADER = "file,subject,category,method,split"


def write_table(folder: Path, *rows: str, header: str = HEADER, name: str = "clips.csv") -> Path:
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder / name


def table_of(root: Path, split: dict[str, str] | None = None) -> pd.DataFrame:
    """The reference corpus as a table, with a split by subject if one is given."""
    clips = read_corpus(root)
    table = clips[["file", "subject", "category", "method"]].copy()
    if split is not None:
        table["split"] = table["subject"].map(split)
    table.to_csv(root / "clips.csv", index=False)
    return clips


def test_columns_and_labels_are_those_of_fakeavceleb(original_root: Path) -> None:
    clips = table_of(original_root)
    table = read_table(original_root)
    assert list(table.columns) == list(clips.columns)
    for column in ("line", "file", "path", "subject", "category", "method", "v_label", "a_label", "mm_label"):
        assert list(table[column]) == list(clips[column]), column
    assert set(table["layout"]) == {"table"}
    assert set(table["split"] + table["race"] + table["target1"]) == {""}


def test_the_csv_itself_or_its_folder(tmp_path: Path) -> None:
    csv = write_table(tmp_path, "a (1).mp4,Zoë,FakeVideo-RealAudio,wav2lip,", name="mine.csv")
    assert read_table(csv)["path"][0] == str(tmp_path / "a (1).mp4")
    assert read_table(csv)[["subject", "category", "v_label", "a_label"]].to_numpy().tolist() == [["Zoë", "C", 0, 1]]
    assert corpus_folder(csv, "csv") == tmp_path == corpus_folder(tmp_path, "csv")
    with pytest.raises(DataError, match=r"clips\.csv: no such file; --dataset csv needs a table"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("splits", "read", "folds"),
    [
        (("train", "Dev", "TEST"), ["train", "val", "test"], (1,)),
        (("training", "validation", "testing"), ["train", "val", "test"], (1,)),
        (("test", "test", "test"), ["test"] * 3, (1,)),
        (("3", "1", "1"), ["3", "1", "1"], (1, 3)),
        (("", "", ""), [""] * 3, (1, 2, 3, 4, 5)),
    ],
)
def test_splits(tmp_path: Path, splits: tuple[str, ...], read: list[str], folds: tuple[int, ...]) -> None:
    write_table(tmp_path, *(f"{k}.mp4,s{k},A,real,{split}" for k, split in enumerate(splits)))
    clips = read_corpus(tmp_path, "csv")
    assert list(clips["split"]) == read
    assert fold_numbers(clips) == folds


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.mp4,s,E,x,train", r"clips\.csv line 3: unknown category 'E'; known are A = RealVideo-RealAudio"),
        ("b.mp4,s,fake,x,train", r"line 3: unknown category 'fake'"),
        ("b.mp4,s,A,x,1", r"line 3: split '1' does not go with 'train' of the first row"),
        ("b.mp4,s,A,x,", r"line 3: split '' does not go with 'train'"),
        (",s,A,x,train", r"line 3: file is empty"),
        ("b.mp4,,A,x,train", r"line 3: subject is empty"),
        ("../b.mp4,s,A,x,train", r"clips\.csv line 3: the path '\.\./b\.mp4' leaves the data folder"),
        ("/b.mp4,s,A,x,train", r"leaves the data folder"),
    ],
)
def test_rows_that_are_wrong(tmp_path: Path, row: str, message: str) -> None:
    write_table(tmp_path, "a.mp4,s,A,x,train", row)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


def test_first_split_and_columns_that_are_wrong(tmp_path: Path) -> None:
    write_table(tmp_path, "a.mp4,s,A,x,sometimes")
    with pytest.raises(DataError, match=r"line 2: unknown split 'sometimes'"):
        read_table(tmp_path)
    write_table(tmp_path, "a.mp4,A", header="file,category")
    with pytest.raises(DataError, match=r"clips\.csv: column subject is missing"):
        read_table(tmp_path)


def test_fixed_split(original_root: Path) -> None:
    table_of(original_root, {"id00076": "train", "id00113": "val", "id00150": "test"})
    module = FakeAVCelebDataModule(original_root, dataset="csv", num_train=None, num_val=None)
    module.prepare_data()
    module.setup()
    assert set(module.train_dataset.clips["subject"]) == {"id00076"}
    assert set(module.test_dataset.clips["subject"]) == {"id00150"}
    assert module.corpus == "original"
    assert not list(original_root.glob("train_*.txt"))
    with pytest.raises(DataError, match="--protocol official has no fold train_2; it has train_1"):
        FakeAVCelebDataModule(original_root, "train_2.txt", dataset="csv").setup()


def test_numbered_folds(original_root: Path) -> None:
    table_of(original_root, {"id00076": "1", "id00113": "2", "id00150": "2"})
    module = FakeAVCelebDataModule(original_root, "train_2.txt", dataset="csv", check=False)
    module.setup()
    assert len(module.train_dataset) == 4
    assert len(module.test_dataset) == 8
    with pytest.raises(DataError, match="--protocol official has no fold train_5; it has train_1, train_2"):
        FakeAVCelebDataModule(original_root, "train_5.txt", dataset="csv", check=False).setup()


def test_folds_by_subject_with_long_names(original_root: Path) -> None:
    clips = read_corpus(original_root)
    names = {"id00076": "celebrity number 1", "id00113": "celebrity number 2", "id00150": "celebrity number 3"}
    clips[["file", "category"]].assign(subject=clips["subject"].map(names)).to_csv(original_root / "c.csv", index=False)
    module = FakeAVCelebDataModule(original_root / "c.csv", dataset="csv", check=False)
    module.setup()
    assert module.train_dataset.clips["subject"].nunique() == 2
    assert module.test_dataset.clips["subject"].nunique() == 1


def test_a_table_of_test_clips_only(original_root: Path) -> None:
    table_of(original_root, dict.fromkeys(("id00076", "id00113", "id00150"), "test"))
    module = FakeAVCelebDataModule(original_root, dataset="csv")
    module.setup("test")
    assert len(module.test_dataset) == 12
    with pytest.raises(DataError, match=r"no training clip of train_1\.txt"):
        module.setup("fit")


def test_items_are_those_of_fakeavceleb(original_root: Path) -> None:
    table_of(original_root, {"id00076": "train", "id00113": "train", "id00150": "test"})
    (original_root / "train_1.txt").write_text("fold 1\nid00076\nid00113\n")
    modules = [FakeAVCelebDataModule(original_root, dataset=name, check=False) for name in ("csv", "fakeavceleb")]
    for module in modules:
        module.setup()
    for one, other in zip(modules[0].train_dataset, modules[1].train_dataset, strict=True):
        assert one["file"] == other["file"]
        assert torch.equal(one["video"], other["video"])
        assert torch.equal(one["audio"], other["audio"])
