"""Shortcuts of a corpus: facts of real files, AUCs over resamples of subjects, and which shortcuts are named."""

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from scripts.audit import shortcuts as facts_module
from scripts.audit.shortcuts import SHORTCUTS, ends, find_shortcuts, held_out, read_facts
from tests.audit_tables import fact_table
from tests.media_files import even_times, tone, write_clip
from tests.score_tables import random_table
from utils.statistics.bootstrap import Resamples, WeightedMetrics, chance_error, resampled, spread

RESAMPLES = 200


def shift_for(auc: float, effect: float = 0.7) -> float:
    """By how much a fact of `fact_table` is shifted for this AUC."""
    return norm.ppf(auc) * np.sqrt(2 * (1 + effect**2))


def named_of(facts: pd.DataFrame, seed: int = 42) -> dict[str, list[str]]:
    table = find_shortcuts(facts, RESAMPLES, seed)
    rows = table[table["named"]]
    return {name: list(group["category"]) for name, group in rows.groupby("shortcut")}


def only(facts: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Facts without the others, which then cost no time."""
    return facts[["subject", "category", *columns]].copy()


@pytest.mark.parametrize("levels", [None, 4])
def test_aucs_are_those_of_the_slow_bootstrap(levels: int | None) -> None:
    table = random_table(3, 12, levels=levels)
    subject, label, score = (table[name].to_numpy() for name in ("subject", "label", "score"))
    drawn = Resamples(subject, 50, seed=5)
    auc, values = drawn.auc(score, label)
    (slow,) = resampled([WeightedMetrics.of(table)], subject, 50, seed=5)
    assert auc == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert values == pytest.approx(slow["auc"], abs=1e-12)
    assert ends(values) == pytest.approx(np.percentile(slow["auc"], [2.5, 97.5]).tolist(), abs=1e-12)


def test_aucs_within_groups() -> None:
    label, group = np.array([1, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1])
    drawn = Resamples(list("abcde"), 0, seed=0)
    # Of the pairs within a group two are won, one is a tie; 0.9 and 0.1 of different groups are not compared.
    assert drawn.auc(np.array([0.5, 0.5, 0.2, 0.9, 0.1]), label, group)[0] == pytest.approx(2.5 / 3)
    assert np.isnan(drawn.auc(np.zeros(5), np.ones(5, int))[0])
    # Mann and Whitney: 1 real and 2 fakes, 1 and 1.
    assert chance_error(label, group) == pytest.approx(np.sqrt(2 * 4 / 12 + 3 / 12) / 3)
    assert np.isnan(chance_error(np.ones(3, int)))


def test_resampled_means() -> None:
    drawn = Resamples(["a", "a", "b"], 40, seed=1)
    values = np.array([1.0, 2.0, 6.0])
    counts = drawn.counts[:, [0, 0, 1]]
    expected = (counts * values).sum(1) / counts.sum(1)
    assert drawn.mean(values, np.ones(3, bool)) == pytest.approx(expected)
    only = drawn.mean(values, np.array([False, False, True]))
    assert set(only[np.isfinite(only)]) == {6.0}
    assert np.isnan(only).any()
    assert np.isnan(spread(np.array([1.0, np.nan])))
    assert np.isnan(ends(np.array([np.nan]))).all()


def test_held_out_subjects_are_scored_by_others() -> None:
    facts = fact_table(0, 10, leading_silence=3.0)
    label, subject = (facts["category"] == "A").to_numpy(int), np.repeat(np.arange(10), 4)
    score, fold = held_out(facts["leading_silence"].to_numpy(), label, subject, seed=1)
    assert (pd.Series(fold).groupby(subject).nunique() == 1).all()
    assert len(set(fold)) == 5
    # Labels of a subject do not matter to its own scores.
    other = label.copy()
    other[subject == 3] = 1 - other[subject == 3]
    again, _ = held_out(facts["leading_silence"].to_numpy(), other, subject, seed=1)
    same = fold == fold[subject == 3][0]
    assert (again[same] == score[same]).all()


@pytest.mark.parametrize("seed", range(2))
def test_a_clean_corpus_is_cleared(seed: int) -> None:
    table = find_shortcuts(fact_table(seed, 40), RESAMPLES, seed)
    assert not table["named"].any()
    assert (table["n"] == np.tile([160, 80, 80, 80], len(SHORTCUTS))).all()
    assert 0.4 < table["auc"].mean() < 0.6


def test_a_planted_shortcut_is_named_and_no_other() -> None:
    assert named_of(fact_table(11, 40, leading_silence=shift_for(0.85))).keys() == {"leading silence"}


@pytest.mark.parametrize(("name", "column"), list(SHORTCUTS.items())[1:])
def test_each_shortcut_can_be_planted(name: str, column: str) -> None:
    facts = only(fact_table(11, 40, **{column: -shift_for(0.85)}), column)
    facts[column] = np.exp(facts[column])  # a bit rate is positive
    assert "all" in named_of(facts)[name]


def test_a_shortcut_of_one_category() -> None:
    facts = only(fact_table(4, 40, leading_silence=4.0), "leading_silence")
    facts.loc[facts["category"] != "B", "leading_silence"] -= 4.0 * (facts["category"] != "A")
    named = named_of(facts)
    assert named.keys() == {"leading silence"}
    assert "B" in named["leading silence"]
    assert not {"C", "D"} & set(named["leading silence"])


def test_a_shortcut_on_both_sides() -> None:
    facts = only(fact_table(5, 40), "length_difference")
    fake = facts["category"] != "A"
    facts.loc[fake, "length_difference"] += np.where(np.arange(fake.sum()) % 2, 4.0, -4.0)
    named = named_of(facts)
    assert named == {"length difference": ["all", "B", "C", "D"]}


def test_an_outlier_hides_nothing() -> None:
    facts = only(fact_table(6, 40, duration=shift_for(0.9)), "duration")
    facts.loc[[0, 5], "duration"] = 1e6
    assert "duration" in named_of(facts)


def test_few_subjects_need_overwhelming_evidence() -> None:
    facts = fact_table(7, 7, leading_silence=50.0)
    named = named_of(facts)
    assert named["leading silence"][0] == "all"
    assert named.keys() == {"leading silence"}
    two = find_shortcuts(only(fact_table(8, 2, leading_silence=50.0), "leading_silence"), RESAMPLES)
    assert not two["named"].any()


def test_bit_rates_that_follow_from_the_content_are_not_named() -> None:
    facts = only(fact_table(9, 40), "audio_rate")
    fake = facts["category"] != "A"
    rng = np.random.default_rng(9)
    for scale, named in ((0.92, {}), (0.6, {"bit rate of the audio": ["all", "B", "C", "D"]})):
        facts["audio_rate"] = 64 * np.exp(0.02 * rng.normal(size=len(facts))) * np.where(fake, scale, 1)
        assert named_of(facts) == named
    facts["audio_rate"] *= np.where(fake, 0.92 / 0.6, 1)
    rows = find_shortcuts(facts, RESAMPLES)
    row = rows[(rows["shortcut"] == "bit rate of the audio") & (rows["category"] == "all")].iloc[0]
    assert row["auc"] > 0.95
    assert row["note"] == "it differs by 8 %, no more than what is seen and heard can bring"


def test_facts_that_tell_nothing() -> None:
    facts = fact_table(1, 6)[["subject", "category", "length_difference"]].assign(duration=4.0, loudness=np.nan)
    facts.loc[3, "length_difference"] = np.nan
    table = find_shortcuts(facts, RESAMPLES).set_index(["shortcut", "category"])
    constant, unknown = table.loc[("duration", "all")], table.loc[("loudness", "all")]
    assert (constant["auc"], constant["named"], constant["note"]) == (0.5, False, "the same in all clips")
    assert np.isnan(unknown["auc"])
    assert unknown["note"] == "not known"
    assert np.isfinite(table.loc[("length difference", "all"), "auc"])
    real = find_shortcuts(facts[facts["category"].isin(["B", "D"])], RESAMPLES)
    assert set(real["category"]) == {"all", "B", "D"}
    assert set(real["note"]) == {"needs real and fake clips of two subjects"}


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """Three clips of one second, whose audio begins after 0, 0.3 and 0.3 s; the last is half as long and four times
    as loud; and one that is no clip."""
    for k, (silence, seconds, level) in enumerate([(0.0, 1.0, 4000), (0.3, 1.0, 4000), (0.3, 0.5, 16000)]):
        audio = tone(seconds, 16_000, level=level)
        audio[: round(16_000 * silence)] = 0
        write_clip(tmp_path / f"{k}.mkv", even_times(25, 25), audio=(audio, 16_000), audio_codec="pcm_s16le")
    (tmp_path / "broken.mkv").write_bytes(b"no clip")
    names = ["0.mkv", "1.mkv", "2.mkv", "broken.mkv"]
    return pd.DataFrame({
        "file": names, "path": [str(tmp_path / name) for name in names], "subject": list("abcd"), "category": "A"
    })  # fmt: skip


def test_facts_of_files(clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        facts = read_facts(clips, tmp_path / "facts.csv")
    assert "broken.mkv: left out of the shortcuts" in caplog.text
    assert list(facts["file"]) == ["0.mkv", "1.mkv", "2.mkv"]
    assert facts["leading_silence"].tolist() == pytest.approx([0, 0.3, 0.3], abs=0.002)
    assert facts["duration"].tolist() == pytest.approx([1, 1, 1], abs=0.002)
    assert facts["length_difference"].tolist() == pytest.approx([0, 0, -0.5], abs=0.002)
    # The silence before does not count: a sine of 4000 has -21.3 dB, one of 16000 is 12 dB louder.
    level = 20 * np.log10(4000 / 32768 / np.sqrt(2))
    assert facts["loudness"].tolist() == pytest.approx([level, level, level + 12.04], abs=0.1)
    assert facts["audio_rate"].tolist() == pytest.approx([256] * 3, rel=1e-3)  # 16 bits of 16 kHz
    assert (facts["video_rate"] > 1).all()


def test_facts_are_kept(clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "kept" / "facts.csv"
    first = read_facts(clips, cache)
    looked = []
    inspect = facts_module.inspect_clip
    monkeypatch.setattr(facts_module, "inspect_clip", lambda path: looked.append(Path(path).name) or inspect(path))
    pd.testing.assert_frame_equal(read_facts(clips, cache), first)
    assert looked == []
    os.utime(tmp_path / "1.mkv", (1, 1))
    pd.testing.assert_frame_equal(read_facts(clips, cache), first)
    assert looked == ["1.mkv"]
    cache.write_text("damaged")
    pd.testing.assert_frame_equal(read_facts(clips[:2], cache), first[:2])
    assert looked[1:] == ["0.mkv", "1.mkv"]


def test_what_was_looked_at_is_kept_when_it_stops(
    clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = facts_module.inspect_clip

    def stop(path: str) -> object:
        if path.endswith("2.mkv"):
            raise KeyboardInterrupt
        return inspect(path)

    monkeypatch.setattr(facts_module, "inspect_clip", stop)
    with pytest.raises(KeyboardInterrupt):
        read_facts(clips, tmp_path / "facts.csv")
    assert len(pd.read_csv(tmp_path / "facts.csv")) == 2


def test_of_a_large_corpus_some_subjects_are_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(facts_module, "MOST_CLIPS", 10)
    monkeypatch.setattr(facts_module, "_look", lambda path: ("", facts_module.Facts(*[1.0] * 6)))
    clips = fact_table(0, 6)[["file", "subject", "category"]]
    clips["path"] = clips["file"]
    drawn = read_facts(clips, tmp_path / "a.csv")
    assert len(drawn) == 8
    assert set(drawn["subject"].value_counts()) == {4}
    assert set(read_facts(clips, tmp_path / "b.csv", seed=2)["subject"]) != set(drawn["subject"])
