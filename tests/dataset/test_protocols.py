"""Named protocols: who is on which side, against the published lists, and what is said where that is no clean test."""

from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from dataset import FakeAVCelebDataModule, corpora, read_corpus
from dataset.corpora import table
from dataset.corpora.table import clip_table
from dataset.protocols import NAMES, Setting, default_protocol, folds, protocol, sides
from utils import options
from utils.errors import DataError

LISTS = Path(__file__).parent / "protocols"
MADE = (("A", "real"), ("B", "rtvc"), ("C", "wav2lip"), ("C", "faceswap"), ("C", "fsgan"), ("D", "wav2lip"),
        ("D", "faceswap-wav2lip"), ("D", "fsgan-wav2lip"))  # fmt: skip
TYPES = {values[0]: name for name, values in table.TYPES.items()}


def fakeavceleb(names: list[str], root: Path) -> Setting:
    """FakeAVCeleb with just these files."""
    kind = pd.Series(names).str.partition("/")[0]
    category = kind.map({name: letter for letter, name in TYPES.items()})
    clips = pd.DataFrame({"file": names, "subject": pd.Series(names).str.extract(r"/(id\d{5})/")[0]})
    clips["v_label"] = category.isin(["A", "B"]).astype(int)
    clips["a_label"] = category.isin(["A", "C"]).astype(int)
    return Setting(clip_table(clips, root), "fakeavceleb", root, lists=LISTS)


@pytest.fixture(scope="module")
def large() -> Setting:
    """200 subjects, a clip of each manipulation each."""
    rows = [
        (f"{TYPES[category]}/id{n:05d}/{method}.mp4", f"id{n:05d}", int(category in "AB"), int(category in "AC"),
         method, ("African", "Asian (East)")[n % 2], ("men", "women")[n // 2 % 2])
        for n, (category, method) in product(range(200), MADE)
    ]  # fmt: skip
    columns = ["file", "subject", "v_label", "a_label", "method", "race", "gender"]
    return Setting(clip_table(pd.DataFrame(rows, columns=columns), Path(".")), "fakeavceleb")


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_says_what_it_is(name: str) -> None:
    chosen = protocol(name)
    assert all((chosen.definition, chosen.source, chosen.not_controlled))


def test_names_and_corpora_that_do_not_fit(large: Setting) -> None:
    with pytest.raises(ValueError, match="unknown protocol 'mrdf'; known are mrdf-5fold"):
        folds("mrdf", large)
    with pytest.raises(ValueError, match="--protocol lavdf-audio is of lavdf, not of fakeavceleb"):
        sides("lavdf-audio", large)
    with pytest.raises(ValueError, match="has no fold train_8; it has train_1"):
        sides("leave-one-out", large, "train_8")
    with pytest.raises(DataError, match="--protocol factor needs --lists DIR"):
        sides("factor", large)


def test_defaults(large: Setting) -> None:
    assert default_protocol("fakeavceleb", large.clips) == "mrdf-5fold"
    assert default_protocol("csv", large.clips) == "subjects-5fold"
    assert default_protocol("csv", large.clips.assign(split="train")) == "official"


def test_subjects_70_10_20(large: Setting) -> None:
    train, val, test = sides("subjects-70-10-20", large)
    people = [set(side["subject"]) for side in (train, val, test)]
    assert [len(some) for some in people] == [140, 20, 40]
    assert len(set.union(*people)) == 200
    assert len(train) + len(val) + len(test) == len(large.clips)
    groups = test.drop_duplicates("subject").groupby(["race", "gender"]).size()
    assert list(groups) == [10] * 4


def test_random_70_30_leaks(large: Setting) -> None:
    train, val, test = sides("random-70-30", large)
    assert (len(train), val, len(test)) == (1120, None, 480)
    assert len(set(train["subject"]) & set(test["subject"])) > 180


@pytest.mark.parametrize(
    ("number", "category", "method"),
    [(n, *made) for n, made in enumerate([MADE[1], MADE[2], MADE[3], MADE[4], MADE[5], MADE[6], MADE[7]], start=1)],
)
def test_leave_one_out(large: Setting, number: int, category: str, method: str) -> None:
    fold = f"train_{number}"
    train, val, test = sides("leave-one-out", large, fold)
    for side, subjects in ((train, 140), (val, 20)):
        assert not ((side["category"] == category) & (side["method"] == method)).any()
        assert len(side) == subjects * 7
    assert len(test) == 80
    assert set(zip(test["category"], test["method"], strict=True)) == {("A", "real"), (category, method)}
    assert not set(train["subject"]) & set(test["subject"])
    assert folds("leave-one-out", large)[fold].endswith(" left out")


def test_a_clip_of_two_methods_is_trained_on_where_neither_is_left_out(large: Setting) -> None:
    clips = large.clips.copy()
    clips["method"] = clips["method"].replace("faceswap-wav2lip", "faceswap-wav2lip+wav2lip")
    setting = Setting(clips, "fakeavceleb")
    trained = {n: sides("leave-one-out", setting, f"train_{n}").train["method"] for n in (4, 5, 6)}
    assert [("faceswap-wav2lip+wav2lip" in set(methods)) for methods in trained.values()] == [True, False, False]


def test_avh_align(tmp_path: Path) -> None:
    names = [
        name.removeprefix("FakeAVCeleb/")
        for side in ("train", "val", "test")
        for name in pd.read_csv(LISTS / "avh_align" / "favc" / f"{side}_split.csv")["full_path"]
    ]
    setting = fakeavceleb([*names, "RealVideo-RealAudio/African/men/id09999/00001.mp4"], tmp_path)
    for side, count in zip(sides("avh-align", setting), (8, 8, 8), strict=True):
        assert len(side) == count
    assert list(sides("avh-align", setting).test["file"]) == names[16:]
    assert not setting.notes
    fewer = fakeavceleb(names[:-1], tmp_path)
    assert len(sides("avh-align", fewer).test) == 7
    assert "test_split.csv: 1 of 8 clips are not in the corpus" in fewer.notes[0]
    with pytest.raises(DataError, match="none of its 8 clips is in the corpus"):
        sides("avh-align", fakeavceleb(names[8:], tmp_path))


def test_avh_align_of_av_deepfake1m(tmp_path: Path) -> None:
    rows = [
        (f"{folder}/{name}", int("fake_video" not in name), int("fake_audio" not in name), folder)
        for folder, side in (("train", "train"), ("train", "val"), ("val", "test"))
        for name in pd.read_csv(LISTS / "avh_align" / "avh_sup_av1m" / f"{side}_labels.csv")["path"]
    ]
    clips = pd.DataFrame(rows, columns=["file", "v_label", "a_label", "split"])
    setting = Setting(clip_table(clips, tmp_path), "avdeepfake1m", tmp_path, lists=LISTS)
    train, val, test = sides("avh-align", setting)
    assert (len(train), len(val), len(test)) == (6, 6, 6)
    assert set(test["split"]) == {"val"}
    assert not setting.notes


@pytest.mark.parametrize("spelling", ["Asian (South)", "Asian_South"])
def test_factor(tmp_path: Path, spelling: str) -> None:
    lists = {name: list(np.load(LISTS / "factor" / f"{name}.npy")) for name in ("rvra", "rvfa", "fvfa_wl", "fvra_wl")}
    names = [name.replace("Asian (South)", spelling) for some in lists.values() for name in some]
    setting = fakeavceleb(names, tmp_path)
    assert next(iter(folds("factor", setting).values())) == "RVFA against RVRA"
    train, val, test = sides("factor", setting, "train_1")
    assert (len(train), val, len(test)) == (0, None, 8)
    assert list(test["category"]) == ["A"] * 4 + ["B"] * 4
    assert len(sides("factor", setting, "train_5").test) == 8
    with pytest.raises(DataError, match=r"fvfa_gan\.npy: none of its 4 clips"):
        sides("factor", setting, "train_4")


def test_speechforensics(tmp_path: Path) -> None:
    lines = (LISTS / "speechforensics" / "FakeAVCeleb" / "test_list.txt").read_text().splitlines()
    names = [line.rpartition(" ")[0] for line in lines]
    setting = fakeavceleb([*names, "RealVideo-RealAudio/African/men/id09999/00001.mp4"], tmp_path)
    train, _, test = sides("speechforensics", setting)
    assert train.empty
    assert set(test["file"]) == set(names)
    assert not setting.notes


def test_speechforensics_of_kodf(tmp_path: Path) -> None:
    lines = (LISTS / "speechforensics" / "KoDF" / "test_list.txt").read_text().splitlines()
    for line in lines:
        path = tmp_path / "1.Training" / line.rpartition(" ")[0]  # as AI-Hub delivers them, deeper
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    setting = Setting(read_corpus(tmp_path, "kodf"), "kodf", tmp_path, lists=LISTS)
    test = sides("speechforensics", setting).test
    assert test["m_label"].value_counts().to_dict() == {0: 8, 1: 2}
    assert not setting.notes


@pytest.mark.parametrize(
    ("name", "file", "content", "match"),
    [
        ("factor", "rvra.npy", b"", r"rvra\.npy: not a plain array of names"),
        ("factor", "rvra.npy", b"version https://git-lfs.github.com/spec/v1", r"rvra\.npy: not a plain array of names"),
        ("speechforensics", "FakeAVCeleb/test_list.txt", b"", r"test_list\.txt: names no clip"),
        (
            "speechforensics",
            "FakeAVCeleb/test_list.txt",
            b"a b.mp4\n",
            r"test_list\.txt line 1: .* is not a path, a space",
        ),
        ("speechforensics", "FakeAVCeleb/test_list.txt", b"\xe9.mp4 1\n", "none of its 1 clips is in the corpus"),
        ("avh-align", "train_split.csv", b"full_path\nx\n", r"train_split\.csv: column category is missing"),
        ("avh-align", "train_split.csv", b"full_path,category\nx,\n", r"train_split\.csv line 2: category is ''"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, name: str, file: str, content: bytes, match: str
) -> None:
    path = tmp_path / "clone" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    clips = fakeavceleb(["RealVideo-RealAudio/African/men/id09999/00001.mp4"], tmp_path).clips
    with pytest.raises(DataError, match=match):
        sides(name, Setting(clips, "fakeavceleb", tmp_path, lists=tmp_path / "clone"))


def split_table(**counts: int) -> Setting:
    """A corpus with so many clips in each split, a quarter of each category."""
    rows = [(f"{split}/{n}.mp4", split, n // 2 % 2, n % 2) for split, count in counts.items() for n in range(count)]
    return Setting(clip_table(pd.DataFrame(rows, columns=["file", "split", "v_label", "a_label"]), Path(".")), "lavdf")


def test_official() -> None:
    train, val, test = sides("official", split_table(train=8, val=4, test=12))
    assert (len(train), len(val), len(test)) == (8, 4, 12)
    train, val, test = sides("official", split_table(train=8, test=12))
    assert (len(train), val, len(test)) == (8, None, 12)
    train, val, test = sides("official", split_table(train=8, val=4))  # no test: val is tested
    assert (len(train), val, len(test)) == (8, None, 4)


def test_official_where_labels_are_withheld() -> None:
    setting = split_table(train=8, val=4, test=4)
    clips = setting.clips.copy()
    clips.loc[clips["split"] == "test", ["v_label", "a_label", "m_label"]] = pd.NA
    clips.loc[0, "m_label"] = pd.NA
    hidden = Setting(clips, "avdeepfake1m")
    train, val, test = sides("official", hidden)
    assert (len(train), val, set(test["split"])) == (7, None, {"val"})
    assert len(hidden.notes) == 2


@pytest.mark.parametrize(("name", "left"), [("lavdf-full", "ABCD"), ("lavdf-visual", "ACD"), ("lavdf-audio", "ABD")])
def test_lavdf(name: str, left: str) -> None:
    train, val, test = sides(name, split_table(train=8, val=4, test=12))
    assert (len(train), len(val), len(test)) == (8, 4, 3 * len(left))
    assert set(test["category"]) == set(left)


@pytest.mark.parametrize(
    ("name", "left"),
    [("closed", "k k"), ("open-model", "k k,k u"), ("open-language", "k k,u k"), ("open-set", "k k,k u,u k,u u")],
)
def test_mavosdd(name: str, left: str) -> None:
    names = [
        "english/memo/a.mp4",
        *(f"{spoken}/{m}/b.mp4" for spoken in ("english", "hindi") for m in ("memo", "roop")),
    ]
    clips = pd.DataFrame({"file": names, "v_label": 0, "a_label": 1, "split": ["train", *["test"] * 4]})
    test = sides(f"mavosdd-{name}", Setting(clip_table(clips, Path(".")), "mavosdd")).test
    kinds = {"english": "k", "hindi": "u", "memo": "k", "roop": "u"}
    assert {" ".join(kinds[part] for part in file.split("/")[:2]) for file in test["file"]} == set(left.split(","))


def test_the_command_line_knows_the_same_names() -> None:
    assert get_args(options.Protocol) == NAMES
    assert get_args(options.Dataset) == corpora.NAMES


def test_the_data_module_says_who_was_trained_on(original_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = FakeAVCelebDataModule(original_root, protocol="random-70-30", check=False)
    module.setup()
    assert len(module.train_dataset) == 8
    record = module.protocol_record(module.trained_subjects)
    assert record["protocol"] == "random-70-30"
    assert record["folds_of_protocol"] == ["train_1"]
    assert record["trained_subjects_tested"] == len(set(module.test_dataset.clips["subject"])) > 0
    assert "tested subjects were trained on (--protocol random-70-30)" in caplog.text
    own = FakeAVCelebDataModule(original_root, check=False)
    own.setup()
    assert own.protocol_record(own.trained_subjects)["trained_subjects_tested"] == 0
    assert own.protocol_record(None) == {
        "protocol": "mrdf-5fold", "folds_of_protocol": [f"train_{k}" for k in range(1, 6)], "fold_meaning": "",
        "trained_subjects_tested": None, "test_clips_showing_trained": None,
    }  # fmt: skip


def test_the_data_module_of_a_protocol_that_only_tests(original_root: Path, tmp_path: Path) -> None:
    lists = tmp_path / "clone" / "FakeAVCeleb"
    lists.mkdir(parents=True)
    files = read_corpus(original_root)[["file", "m_label"]].to_numpy().tolist()
    (lists / "test_list.txt").write_text("\n".join(f"{file} {label}" for file, label in files))
    given = {"protocol": "speechforensics", "lists": lists.parent, "check": False}
    module = FakeAVCelebDataModule(original_root, recipe="clean", **given)
    module.setup("test")
    assert len(module.test_dataset) == 12
    with pytest.raises(DataError, match="--protocol speechforensics only tests"):
        FakeAVCelebDataModule(original_root, recipe="clean", **given).setup("fit")


def test_only_the_papers_folds_are_cut_to_its_numbers(tmp_path: Path) -> None:
    rows = [f"{n}.mp4,s{n % 2},A,{('train', 'test')[n % 2]}" for n in range(1000)]
    (tmp_path / "clips.csv").write_text("\n".join(["file,subject,category,split", *rows]))
    train, _, test = FakeAVCelebDataModule(tmp_path, dataset="csv", check=False).sides()
    assert (len(train), len(test)) == (500, 500)
    train, _, test = FakeAVCelebDataModule(tmp_path, dataset="csv", num_train=7, num_val=5, check=False).sides()
    assert (len(train), len(test)) == (7, 5)
