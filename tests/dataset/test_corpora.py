"""Every corpus read in its true form, with the faults that are known of it; media are empty files."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from dataset import read_corpus
from dataset.corpora import NAMES, corpus, table_digest
from dataset.corpora.table import LABELS, TEXTS
from utils.errors import DataError

SAMPLES = Path(__file__).parent / "corpora"
OF = {
    "fakeavceleb": "fakeavceleb", "lavdf": "lavdf", "avdeepfake1m": "avdeepfake1m", "avdeepfake1mpp": "avdeepfake1mpp",
    "dfdc": "dfdc", "kodf": "kodf", "deepspeak": "deepspeak_v2", "polyglotfake": "polyglotfake", "avlips": "avlips",
    "mavosdd": "mavos_dd",
}  # fmt: skip
A, B, C, D = [1, 1, 1, 1, 0], [1, 0, 0, 0, 2], [0, 1, 0, 0, 1], [0, 0, 0, 0, 3]
UNKNOWN_FAKE, UNKNOWN = [None, None, 0, 0, None], [None] * 5

Lay = Callable[..., Path]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lay a sample out as its tree.txt says."""

    def lay(sample: str, tree: str = "tree.txt") -> Path:
        source = SAMPLES / sample
        names = [line.partition("/")[2] for line in (source / tree).read_text(encoding="utf-8").splitlines() if line]
        for name in names:
            target = tmp_path / sample / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_file():
                shutil.copyfile(source / name, target)
            elif target.suffix != ".csv":
                target.touch()
        return tmp_path / sample

    return lay


def labels(clips: pd.DataFrame) -> dict[str, list[int | None]]:
    """Name of each clip's file → its five labels."""
    rows = clips[list(LABELS)].astype(object).where(clips[list(LABELS)].notna(), None).to_numpy().tolist()
    return dict(zip(clips["file"], rows, strict=True))


def of(clips: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(clips["file"].str.rpartition("/")[2], clips[column], strict=True))


@pytest.mark.parametrize("name", OF)
def test_every_corpus_has_the_same_table_and_all_its_files(lay: Lay, name: str) -> None:
    root = lay(OF[name])
    clips = read_corpus(root, name)
    assert list(clips.columns) == ["line", *TEXTS, *LABELS]
    assert set(map(str, clips[list(LABELS)].dtypes)) == {"Int64"}
    assert list(clips.index) == list(range(len(clips)))
    assert (clips["subject"] != "").all()
    assert set(clips["category"]) <= {"A", "B", "C", "D", ""}
    assert set(clips["split"]) <= {"train", "val", "test", ""}
    assert (clips["path"] == f"{root}/" + clips["file"]).all()
    on_disk = {str(path.relative_to(root)) for path in root.rglob("*.mp4")}
    assert on_disk <= set(clips["file"])
    assert any("published" in note for note in clips.attrs["notes"])
    assert table_digest(clips) == table_digest(read_corpus(root, name))


def test_the_registry_knows_what_it_reads(lay: Lay) -> None:
    assert set(NAMES) == {*OF, "csv"}
    framed = {name for name in NAMES if corpus(name).full_frames}
    assert framed == {"dfdc", "kodf", "deepspeak", "polyglotfake", "avlips"}
    assert any(note.startswith("subject is each clip") for note in read_corpus(lay("avlips"), "avlips").attrs["notes"])
    people = {name for name in NAMES if corpus(name).subjects.startswith("people")}
    assert people == {"fakeavceleb", "avdeepfake1m", "avdeepfake1mpp", "kodf", "deepspeak"}
    with pytest.raises(ValueError, match="unknown dataset 'lav-df'; known are fakeavceleb, lavdf"):
        read_corpus(".", "lav-df")


@pytest.mark.parametrize("name", NAMES)
def test_another_folder_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(DataError) as error:
            read_corpus(root, name)
        assert str(root) in str(error.value)
        assert "\n" not in str(error.value)


def test_fakeavceleb_as_received(lay: Lay) -> None:
    clips = read_corpus(lay("fakeavceleb"))
    assert len(clips) == 13
    twice = clips[clips["file"].str.endswith("00109_10_id01076_wavtolip.mp4")]
    assert list(twice["method"]) == ["faceswap-wav2lip+wav2lip"]
    assert any(note.startswith("a file has more than one row") for note in clips.attrs["notes"])
    assert [clips["category"][clips["file"].str.endswith("/00027.mp4")].tolist()] == [["A", "C"]]
    # Only identities are targets, not tails of names; the voice of D is one.
    assert set(clips["target1"]) == {"", "id00166", "id01683", "id00476", "id00192", "id00183", "id01076"}
    assert set(clips["target2"]) == {"", "id00225"}


@pytest.mark.parametrize("variant", ["filename_path", "nine_columns", "vid_path"])
def test_fakeavceleb_in_other_copies(tmp_path: Path, variant: str) -> None:
    shutil.copyfile(SAMPLES / "fakeavceleb" / "variants" / f"meta_data.{variant}.csv", tmp_path / "meta_data.csv")
    clips = read_corpus(tmp_path)
    assert clips["file"][0] == "RealVideo-RealAudio/African/men/id00076/00109.mp4"
    assert "RealVideo-FakeAudio/African/men/id00076/00109_fake.mp4" in set(clips["file"])
    assert set(clips["race"]) <= {"African", "Asian (East)"}


@pytest.mark.parametrize("spelling", ["Asian_East", "Asian-East", "Asian (East)"])
def test_fakeavceleb_with_renamed_folders(lay: Lay, spelling: str) -> None:
    root = lay("fakeavceleb")
    (root / "FakeVideo-RealAudio" / "Asian (East)").rename(root / "FakeVideo-RealAudio" / spelling)
    clips = read_corpus(root)
    assert all(Path(path).is_file() for path in clips["path"])
    assert clips["file"][6] == "FakeVideo-RealAudio/Asian (East)/men/id00056/00028_id01683_HJYEPsPyfAw.mp4"


def test_lavdf(lay: Lay) -> None:
    root = lay("lavdf")
    clips = read_corpus(root, "lavdf")
    assert labels(clips) == {
        "train/000000.mp4": A, "train/000001.mp4": C, "train/000002.mp4": B, "train/000003.mp4": D,
        "dev/078703.mp4": A, "test/110204.mp4": A, "test/110205.mp4": D,
    }  # fmt: skip
    assert list(clips["split"]) == ["train"] * 4 + ["val", "test", "test"]
    # 000003 comes from 000002, which comes from 000000.
    assert list(clips["subject"][:4]) == ["train/000000.mp4"] * 4
    (root / "metadata.min.json").unlink()
    assert list(read_corpus(root, "lavdf")["file"]) == ["train/000000.mp4", "train/000001.mp4", "train/000002.mp4"]


def test_lavdf_with_odd_originals(lay: Lay) -> None:
    root = lay("lavdf")
    rows = json.loads((root / "metadata.min.json").read_text())
    rows[0]["original"], rows[1]["original"] = "train/000001.mp4", "train/000000.mp4"  # each other's
    rows[3]["original"] = None  # a fake without one
    (root / "metadata.min.json").write_text(json.dumps(rows))
    clips = read_corpus(root, "lavdf")
    assert clips["subject"][0] == clips["subject"][1]
    assert clips["subject"][3] == "train/000003.mp4"


def test_avdeepfake1m(lay: Lay) -> None:
    root = lay("avdeepfake1m")
    clips = read_corpus(root, "avdeepfake1m")
    assert list(labels(clips).values()) == [A, C, B, D, A, B, *[UNKNOWN] * 4]
    assert clips["file"][0] == "train/id00012/21Uxsk56VDQ/00001/real.mp4"
    assert list(clips["subject"][:6]) == ["id00012"] * 4 + ["id01591"] * 2
    assert list(clips["method"]) == ["real", "TalkLip", "vits", "TalkLip+yourtts", "real", "vits", *[""] * 4]
    assert list(clips["split"]) == ["train"] * 4 + ["val"] * 2 + ["test"] * 4


@pytest.mark.parametrize("left", ["json of each clip", "names"])
def test_avdeepfake1m_without_its_lists(lay: Lay, left: str) -> None:
    root = lay("avdeepfake1m")
    expected = read_corpus(root, "avdeepfake1m")
    for file in root.glob("*_metadata.json"):
        file.unlink()
    (root / "test_files.txt").unlink()
    if left == "names":
        shutil.rmtree(root / "train_metadata")
        shutil.rmtree(root / "val_metadata")
    clips = read_corpus(root, "avdeepfake1m")
    assert labels(clips) == labels(expected)
    assert any("train_metadata.json is missing" in note for note in clips.attrs["notes"])


def test_avdeepfake1m_with_odd_text(lay: Lay) -> None:
    root = lay("avdeepfake1m")
    path = root / "train_metadata.json"
    text = path.read_text().replace("both_modified", "both-modified").replace('"vits"', '"vi\x01ts"')
    path.write_text(text)
    clips = read_corpus(root, "avdeepfake1m")
    assert labels(clips)["train/id00012/21Uxsk56VDQ/00001/fake_video_fake_audio.mp4"] == D
    assert clips["method"][2] == "vi\x01ts"
    path.write_text(text[:200])
    with pytest.raises(DataError, match=r"train_metadata\.json: not a JSON file"):
        read_corpus(root, "avdeepfake1m")
    path.write_text('[{"file": "../../x.mp4", "modify_type": "real"}]')
    with pytest.raises(DataError, match="leaves the data folder"):
        read_corpus(root, "avdeepfake1m")


def test_avdeepfake1mpp(lay: Lay) -> None:
    clips = read_corpus(lay("avdeepfake1mpp"), "avdeepfake1mpp")
    val = clips[clips["split"] == "val"].set_index("file")
    assert val.at["val/silent_videos/subject_17_ddvyjnjfad_vid_2_6/fake.mp4", "method"] == "diff2lip"
    assert val.at["val/lrs3/uhRhtFFhNzQ/00033/fake_video_fake_audio_p1.mp4", "category"] == "D"
    assert set(val["subject"]) == {"id01358", "ue2ZEmTJSXo", "uhRhtFFhNzQ", "subject_17"}
    tests = clips[clips["split"] == "test"]
    assert list(tests["file"].str.partition("/")[0]) == ["testA"] * 3 + ["testB"] * 2
    assert tests[list(LABELS)].isna().all().all()
    assert "testA_files.txt" in " ".join(clips.attrs["notes"])  # two of its three clips are not there


def test_a_million_clips_are_read_in_less_than_a_minute(tmp_path: Path) -> None:
    row = (
        '{"file": "id%05d/x/%05d/%s.mp4", "original": null, "split": "train", "modify_type": "%s", '
        '"audio_model": null, "fake_segments": [[2.04, 2.48]], "video_frames": 282, "audio_frames": 180224}'
    )
    kinds = (("real", "real"), ("fake_video_real_audio", "visual_modified"))
    rows = [row % (n // 500, n // 2, *kinds[n % 2]) for n in range(100_000)]
    (tmp_path / "train_metadata.json").write_text("[" + ", ".join(rows) + "]")
    start = time.process_time()
    clips = read_corpus(tmp_path, "avdeepfake1m")
    assert time.process_time() - start < 6  # a tenth of them in a tenth of a minute
    assert clips["m_label"].mean() == 0.5


def test_dfdc(lay: Lay) -> None:
    root = lay("dfdc")
    clips = read_corpus(root, "dfdc")
    assert len(clips) == 22
    known = labels(clips)
    assert known["train/dfdc_train_part_12/qsrwgwmwfl.mp4"] == UNKNOWN_FAKE
    assert known["train/dfdc_train_part_12/ibcmlunspy.mp4"] == A
    assert known["validation/abcdefghij.mp4"] == A
    assert known["validation/bcdefghijk.mp4"] == UNKNOWN_FAKE
    assert known["test/videos/aalscayrfi.mp4"] == A
    assert set(clips["split"]) == {"train", "val", "test"}
    assert clips["split"].value_counts().to_dict() == {"train": 12, "test": 7, "val": 3}
    siblings = clips[clips["subject"] == "train/dfdc_train_part_17/nlgklygytj.mp4"]
    assert len(siblings) == 2


def test_dfdc_with_files_missing(lay: Lay) -> None:
    root = lay("dfdc")
    (root / "test" / "labels.csv").unlink()
    (root / "train" / "dfdc_train_part_12" / "metadata.json").unlink()
    (root / "train" / "dfdc_train_part_17" / "zghcedasdd.mp4").unlink()
    clips = read_corpus(root, "dfdc")
    known = labels(clips)
    assert known["test/videos/aaoqanfmgd.mp4"] == UNKNOWN_FAKE
    assert known["train/dfdc_train_part_12/ibcmlunspy.mp4"] == UNKNOWN
    assert known["train/dfdc_train_part_17/zghcedasdd.mp4"] == UNKNOWN_FAKE
    told = " ".join(clips.attrs["notes"])
    assert "6 clips have no label (train/dfdc_train_part_12)" in told
    assert "1 clips that the metadata names are not on disk" in told


def test_dfdc_whose_two_test_files_disagree(lay: Lay) -> None:
    root = lay("dfdc")
    path = root / "test" / "labels.csv"
    path.write_text(path.read_text().replace("aalscayrfi.mp4,0", "aalscayrfi.mp4,1"))
    clips = read_corpus(root, "dfdc")
    assert labels(clips)["test/videos/aalscayrfi.mp4"] == UNKNOWN
    assert any("real in one file and fake in another" in note for note in clips.attrs["notes"])


def test_dfdc_preview(tmp_path: Path) -> None:
    shutil.copyfile(SAMPLES / "dfdc" / "preview" / "dataset.json", tmp_path / "dataset.json")
    clips = read_corpus(tmp_path, "dfdc")
    assert list(clips["file"]) == [
        "original_videos/1/1_A_000_A.mp4", "method_A/2_1/2_1_A_001.mp4", "method_B/3_4/3_4_B_000.mp4"
    ]  # fmt: skip
    assert list(clips["method"]) == ["real", "method_A", "method_B"]
    assert list(clips["split"]) == ["train", "train", "test"]
    assert list(labels(clips).values()) == [A, UNKNOWN_FAKE, UNKNOWN_FAKE]


def test_kodf_unpacked(lay: Lay) -> None:
    clips = read_corpus(lay("kodf"), "kodf")
    assert clips["category"].value_counts().to_dict() == {"C": 9, "A": 3}
    assert of(clips, "method")["c9f5c37976afa879c834_a3a0c332c36e8d6206e9_3_0001.mp4"] == "fsgan"
    assert of(clips, "subject")["169273_103564_5_0680.mp4"] == "169273"
    assert of(clips, "target1")["169273_103564_5_0680.mp4"] == "103564"
    assert set(clips["split"]) == {""}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949"])
def test_kodf_of_ai_hub(lay: Lay, encoding: str) -> None:
    root = lay("kodf", "tree_aihub.txt")
    folder = root / "1.Training" / "[라벨링]train_meta" / "train_meta_data"
    for name in ("원본영상", "변조영상"):
        source = SAMPLES / "kodf" / "라벨링데이터" / "validate_meta_data" / f"{name}_validation_메타데이터.csv"
        (folder / f"{name}_training_메타데이터.csv").write_text(
            source.read_text(encoding="utf-8-sig"), encoding=encoding
        )
    clips = read_corpus(root, "kodf")
    assert len(clips) == 12
    assert set(clips["split"]) == {"train"}
    assert of(clips, "gender")["f1dbcec5c952245f832d_126.mp4"] == "men"
    assert of(clips, "method")["169273_103564_5_0680.mp4"] == "audio-driven"
    assert clips["category"].value_counts().to_dict() == {"C": 9, "A": 3}


def test_kodf_sample_pack_with_two_splits(lay: Lay) -> None:
    root = lay("kodf", "tree_aihub.txt")
    shutil.copytree(SAMPLES / "kodf" / "라벨링데이터", root / "라벨링데이터")
    (root / "1.Training" / "[원천][원본]원본1" / "f1dbcec5c952245f832d" / "f1dbcec5c952245f832d_126.mp4").unlink()
    clips = read_corpus(root, "kodf")
    assert len(clips) == 12
    splits = of(clips, "split")
    assert splits["169273_103564_5_0680.mp4"] == "train"  # in both csv files; it lies in 1.Training
    assert splits["169273_103564_5_0690.mp4"] == "val"
    assert any("1 clips that the csv files names" in note for note in clips.attrs["notes"])


def test_deepspeak_v1(lay: Lay) -> None:
    clips = read_corpus(lay("deepspeak_v1_1"), "deepspeak")
    assert of(clips, "category")["retalking--0-0--4350-4952--1.mp4"] == "D"
    assert of(clips, "category")["retalking--0-0--4095-4867--0.mp4"] == "C"
    assert of(clips, "subject")["facefusion--0-1--4095-4931--0.mp4"] == "1"
    assert of(clips, "target1")["facefusion--0-1--4095-4931--0.mp4"] == "0"
    assert of(clips, "split")["wav2lip--10-10--4701-5812--0.mp4"] == "test"


def test_deepspeak_v2(lay: Lay) -> None:
    clips = read_corpus(lay("deepspeak_v2"), "deepspeak")
    known = labels(clips)
    assert known["train/fake/hellomeme-6862-6873-elevenlabs.mp4"] == [0, None, 0, 0, None]
    assert known["train/fake/hellomeme-6892-6863-real.mp4"] == C
    assert known["train/fake/memo-6889-6872-speechify.mp4"] == D
    assert of(clips, "method")["diff2lip-6868-6860-playht.mp4"] == "diff2lip+playht"
    assert any("hellomeme" in note for note in clips.attrs["notes"])


def test_deepspeak_without_annotations_of_real_clips(lay: Lay) -> None:
    root = lay("deepspeak_v2")
    (root / "annotations-real.csv").unlink()
    (root / "annotations-split-def.csv").unlink()
    clips = read_corpus(root, "deepspeak")
    assert labels(clips)["test/real/483-6862.mp4"] == A
    assert of(clips, "split")["483-6862.mp4"] == "test"


def test_both_versions_of_deepspeak(lay: Lay, tmp_path: Path) -> None:
    lay("deepspeak_v1_1")
    lay("deepspeak_v2")
    clips = read_corpus(tmp_path, "deepspeak")
    assert len(clips) == 21
    assert {"deepspeak_v1_1/0", "deepspeak_v2/284"} <= set(clips["subject"])


def test_polyglotfake(lay: Lay) -> None:
    root = lay("polyglotfake")
    (root / "real" / "en" / "en_3.mp4").unlink()
    clips = read_corpus(root, "polyglotfake")
    assert clips["category"].value_counts().to_dict() == {"D": 5, "A": 4}
    assert of(clips, "subject")["en_1_to_zh_xtts.mp4"] == "en_1"
    assert of(clips, "method")["fr_7_to_en_vallex.mp4"] == "vallex"
    assert of(clips, "gender")["en_2.mp4"] == "men"
    assert of(clips, "gender")["fr_7.mp4"] == ""  # two people
    assert any("1 clips that real_json_files names" in note for note in clips.attrs["notes"])


def test_avlips(lay: Lay) -> None:
    root = lay("avlips")
    assert labels(read_corpus(root, "avlips")) == {f"0_real/{n}.mp4": A for n in range(3)} | {
        f"1_fake/{n}.mp4": C for n in range(3)
    }
    shutil.rmtree(root / "1_fake")
    assert "1_fake holds no clip" in read_corpus(root, "avlips").attrs["notes"]


def test_mavosdd(lay: Lay) -> None:
    root = lay("mavos_dd")
    clips = read_corpus(root, "mavosdd")
    assert list(clips["category"]) == ["C", "A", "D", "A", "C", "C", "A", "C"]
    assert list(clips["split"]) == ["train", "train", "val", *["test"] * 5]
    assert clips["method"][2] == "memo+xtts_v2"
    assert list(clips["subject"][:3]) == ["I-B_Oa6_eNU", "-aDPCjQeWQs", "Jy-bPwwFxhk"]
    (root / "state.json").unlink()
    assert len(read_corpus(root, "mavosdd")) == 8
    (root / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not an Arrow file"):
        read_corpus(root, "mavosdd")
