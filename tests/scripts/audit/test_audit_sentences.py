"""What an audit says in words, and that it says no more than the figures bear out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from scripts.audit.changes import CHANGES, ORIGINAL, Change
from scripts.audit.effects import find_effects
from scripts.audit.report import write_audit
from scripts.audit.sentences import Effects, excludes_loss, named, not_measured, sentences
from scripts.audit.shortcuts import go_together
from tests.audit_tables import FEW, PROBES, fact_table, one, planted, row, score_table, shortcut_table

RESAMPLES = 300


@pytest.fixture(scope="module")
def effects() -> pd.DataFrame:
    """A detector that goes by the audio and a little by the silence, and not at all by the video."""
    return find_effects(score_table(3, 20, planted(silence=0.3, audio=1.0, video=0.0), FEW), RESAMPLES)


def test_sentences_on_a_detector_that_uses_a_shortcut(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(leading_silence=0.98, duration=0.52), effects)
    assert said[0].startswith("The detector tells real from fake where nothing is done to the clips (AUC 0.")
    used = one(said, "SHORTCUT")
    assert used.startswith("SHORTCUT: leading silence alone tells the fakes from real clips (AUC 0.98, 95 % 0.93 to ")
    assert "The detector USES it: its AUC" in used
    assert "with the silence cut off both streams" in used
    assert one(said, "No shortcut") == "No shortcut was found, in 160 clips, in duration (AUC 0.52 at most)."
    assert one(said, "uses the audio").startswith("It uses the audio: its AUC falls from 0.")
    assert one(said, "uses the video").startswith("That it uses the video could not be shown")
    assert "could not be shown" in one(said, "go together")
    assert "MP3" in one(said, "Everyday damage")
    assert one(said, "At no level") == "At no level tested was such a loss shown for H.264."


def test_streams_of_other_clips_alone_do_not_show_synchrony() -> None:
    effects = find_effects(score_table(3, 30, planted(silence=0.0), PROBES), RESAMPLES)
    swapped = effects["change"] == "swap audio"
    said = sentences(shortcut_table(loudness=0.5), effects.assign(matters=effects["matters"] | swapped))
    assert one(said, "go together").startswith("With another clip's audio its AUC falls from ")
    shifted = effects["change"] == "shift +80 ms"
    said = sentences(shortcut_table(loudness=0.5), effects.assign(matters=effects["matters"] | swapped | shifted))
    assert one(said, "go together").startswith(
        "It uses how audio and video go together: with a shift +80 ms of the audio its AUC falls from "
    )


def test_sentences_on_a_detector_that_does_not() -> None:
    effects = find_effects(score_table(3, 61, planted(silence=0.0), FEW), RESAMPLES)
    said = sentences(shortcut_table(leading_silence=0.98), effects)
    assert "The detector does not depend on it: " in one(said, "SHORTCUT")
    assert "95 %" in one(said, "SHORTCUT").split("depend")[1]
    cleared = sentences(shortcut_table(leading_silence=0.55), effects)
    assert not any("SHORTCUT" in sentence for sentence in cleared)
    assert named(shortcut_table(leading_silence=0.55)) == []
    assert named(shortcut_table(leading_silence=0.95, duration=0.5)) == ["leading silence"]


def test_sentences_on_what_was_not_measured(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(loudness=0.9, bit_rate_of_the_audio=0.9), effects)
    assert "Whether the detector uses it was not measured." in one(said, "SHORTCUT: loudness")
    assert "The detector may use it, beside other cues: " in one(said, "SHORTCUT: bit rate of the audio")
    of_b = (effects["change"] == "MP3 48 kbit/s") & (effects["category"] == "B")
    losing = effects.assign(matters=effects["matters"] | of_b)
    said = sentences(shortcut_table(bit_rate_of_the_audio=0.9), losing)
    assert "The detector may use it: its AUC for fakes with fake audio (B) goes from " in one(said, "SHORTCUT")
    assert "takes other traces away too" in one(said, "SHORTCUT")
    unknown = shortcut_table(loudness=0.5).assign(auc=np.nan, note="not known")
    assert "Not judged: loudness (not known)." in sentences(unknown, effects)


def test_a_detector_that_falls_though_the_corpus_is_clean(effects: pd.DataFrame) -> None:
    said = sentences(shortcut_table(leading_silence=0.5), effects)
    assert "does not give fakes away by leading silence, but the detector's AUC" in one(said, "it needs what goes")


def test_a_detector_that_tells_nothing() -> None:
    scores = score_table(5, 40, planted(silence=0.0, audio=0.0, video=0.0), FEW)
    effects = find_effects(scores, RESAMPLES)
    said = sentences(shortcut_table(leading_silence=0.98), effects)
    assert row(effects, "original")["high"] < 0.7
    assert "does not tell real from fake" in said[0]
    assert "Whether the detector uses it cannot be told." in said[1]
    assert said[2].startswith("Not measured: ")
    assert len(said) == 3


@pytest.mark.parametrize(("auc", "low", "high", "does_not"), [
    (1.0, 1.0, 1.0, False),
    (0.6, 0.51, 0.69, False),  # above chance by its interval, though not by more than chance may bring
    (0.5, 0.2, 0.8, False),  # the interval allows a good detector too
    (0.5, 0.4, 0.6, True),
    (0.5, np.nan, np.nan, False),
])  # fmt: skip
def test_too_few_clips_are_no_verdict(
    effects: pd.DataFrame, auc: float, low: float, high: float, does_not: bool
) -> None:
    untouched = effects["change"] == "original"
    found = effects.copy()
    found.loc[untouched, ["before", "low", "high", "matters"]] = (auc, low, high, False)
    said = sentences(shortcut_table(loudness=0.5), found)[0]
    assert said.startswith("The detector does not tell real from fake on these") == does_not
    assert said.startswith("The clips are too few to tell whether the detector tells real from fake (AUC ") != does_not
    assert said.endswith("80 clips), so what it depends on cannot be told.")


def test_eight_clips_in_perfect_order_are_too_few() -> None:
    effects = find_effects(score_table(1, 2, planted(noise=0.0), FEW), RESAMPLES)
    assert sentences(shortcut_table(loudness=0.5), effects)[0] == (
        "The clips are too few to tell whether the detector tells real from fake (AUC 1.00, 95 % 1.00 to 1.00, "
        "8 clips), so what it depends on cannot be told."
    )


def test_a_detector_that_tells_one_kind_of_fake() -> None:
    scores = score_table(5, 6, planted(silence=0.0, audio=0.0, video=0.0, noise=0.1), FEW)
    scores["score"] += scores["category"].map({"A": 1, "B": -1, "C": 1, "D": 0})
    scores["score"] = (scores["score"] + 1) / 3 + (scores["category"] == "D") * 0.4
    said = sentences(shortcut_table(leading_silence=0.5), find_effects(scores, RESAMPLES))
    assert said[0].startswith(
        "The detector tells fakes with fake audio (B) from real clips; that it tells the others could not be shown (AUC"
    )


def unmoved(effects: pd.DataFrame, subjects: int, low: float = 0.0, high: float = 0.0) -> pd.DataFrame:
    """Effects of changes of which none matters, with an interval of their difference, 0."""
    changed = effects["change"] != "original"
    found = effects.assign(subjects=subjects)
    found.loc[changed, ["before", "after", "difference", "low", "high"]] = (1.0, 1.0, 0.0, low, high)
    found.loc[changed, ["matters", "weaker"]] = False
    return found


@pytest.mark.parametrize(("subjects", "low", "high", "excluded"), [
    (6, 0.0, 0.0, False),
    (60, 0.0, 0.0, False),
    (61, 0.0, 0.0, True),
    (6, 0.0, 0.02, False),  # no resample shows a fall
    (6, -0.04, 0.02, True),
    (6, -0.01, -0.01, False),
    (61, -0.01, -0.01, True),
    (200, -0.06, 0.0, False),
    (200, np.nan, np.nan, False),
])  # fmt: skip
def test_an_interval_without_width_excludes_nothing(
    effects: pd.DataFrame, subjects: int, low: float, high: float, excluded: bool
) -> None:
    found = unmoved(effects, subjects, low, high)
    assert excludes_loss(Effects(found).of("leading silence")) == excluded
    said = sentences(shortcut_table(leading_silence=0.98), found)
    why = f"; {subjects} subjects are too few to exclude"
    shortcut = one(said, "SHORTCUT")
    assert ("The detector does not depend on it: " in shortcut) == excluded
    assert ("No dependence of the detector could be shown: " in shortcut) != excluded
    assert shortcut.endswith(f", 80 clips){'' if excluded else why + ' one'}.")
    for part in ("That it uses the audio", "That it uses the video", "how audio and video go together"):
        assert one(said, part).endswith(f"){'' if excluded else why + ' it'}.")
        assert "could not be shown" in one(said, part)


def test_shortcuts_that_may_be_one_flaw(effects: pd.DataFrame) -> None:
    facts = fact_table(1, 40, leading_silence=5.0)
    facts["loudness"] = -facts["leading_silence"]
    facts["audio_rate"] = np.where(facts["category"] == "B", -facts["leading_silence"], 0.0)
    named = shortcut_table(leading_silence=0.9, duration=0.9, loudness=0.9, bit_rate_of_the_audio=0.9)
    named.loc[(named["shortcut"] == "bit rate of the audio") & (named["category"] != "B"), "named"] = False
    together = go_together(facts, named).set_index(["shortcut", "other"])
    assert len(together) == 6
    of_b = together.loc[("leading silence", "bit rate of the audio")]
    chosen = facts[facts["category"].isin(["A", "B"])]
    assert of_b["category"] == "B"
    assert of_b["correlation"] == pytest.approx(spearmanr(chosen["leading_silence"], chosen["audio_rate"])[0])
    assert together.loc[("leading silence", "loudness"), "correlation"] == pytest.approx(-1)
    assert together.loc[("leading silence", "duration"), "correlation"] > 0
    said = sentences(named, effects, together.reset_index())
    assert one(said, "one flaw") == (
        "What goes together in the clips may be one flaw seen twice: leading silence and loudness (rank correlation "
        "-1.00 over real clips and fakes); leading silence and bit rate of the audio (rank correlation "
        f"{of_b['correlation']:.2f} over real clips and fakes with fake audio (B)); loudness and bit rate of the audio "
        f"(rank correlation +{-of_b['correlation']:.2f} over real clips and fakes with fake audio (B))."
    )
    # Of all fakes where they go together there, if less than elsewhere; else of those where they do.
    for disturbed, category in (("D", "all"), ("CD", "B")):
        facts["loudness"] = np.where(facts["category"].isin([*disturbed]), 0.0, -facts["leading_silence"])
        rows = go_together(facts, named).set_index(["shortcut", "other"])
        assert rows.loc[("leading silence", "loudness"), "category"] == category
    apart = together.loc[[("leading silence", "duration")]].assign(correlation=-0.3).reset_index()
    assert one(sentences(named, effects, apart), "one flaw") == (
        "No two of these shortcuts go together as one flaw would: rank correlation 0.30 at most."
    )
    alone = shortcut_table(leading_silence=0.9, loudness=0.5)
    assert go_together(facts, alone).empty
    assert not any("one flaw" in sentence for sentence in sentences(alone, effects, go_together(facts, alone)))


def test_a_note_is_that_of_its_category(effects: pd.DataFrame, tmp_path: Path) -> None:
    rate = shortcut_table(loudness=0.5, bit_rate_of_the_audio=0.6)
    rate["named"] = (rate["shortcut"] == "bit rate of the audio") & rate["category"].isin(["B", "D"])
    rate.loc[(rate["shortcut"] == "bit rate of the audio") & (rate["category"] == "all"), "note"] = "differs by 24 %"
    rate.loc[rate["shortcut"] == "loudness", "note"] = "the same in all clips"
    write_audit(tmp_path, "Audit", rate, effects, [], {})
    page = (tmp_path / "audit.md").read_text()
    assert "- bit rate of the audio, all: differs by 24 %.\n" in page
    assert "- loudness: the same in all clips.\n" in page
    rate["named"] = False
    rate.loc[(rate["shortcut"] == "bit rate of the audio") & (rate["category"] == "C"), "auc"] = 0.68
    said = one(sentences(rate, effects), "No shortcut")
    assert said.endswith("(AUC 0.50 at most, the same in all clips) and bit rate of the audio (AUC 0.68 at most).")
    rate.loc[(rate["shortcut"] == "bit rate of the audio") & (rate["category"] == "C"), "note"] = "differs by 4 %"
    assert one(sentences(rate, effects), "No shortcut").endswith("(AUC 0.68 at most, differs by 4 %).")


def test_a_tilde_is_a_fall_that_may_be_chance(effects: pd.DataFrame, tmp_path: Path) -> None:
    effects = effects.copy()
    chosen = (effects["change"] == "leading silence") & (effects["category"] == "all")
    effects.loc[chosen, ["after", "difference", "matters", "weaker"]] = (0.7, -0.3, False, True)
    write_audit(tmp_path, "Audit", shortcut_table(loudness=0.5), effects, [], {})
    page = (tmp_path / "audit.md").read_text()
    assert "| -0.30~ |" in page
    assert (
        "- ~: no star, as the AUC stands or its fall is small or may be chance, but the scores of real and fake clips "
        "come closer by 25 % at least, and by more than chance (probes).\n"
    ) in page


def test_what_was_left_out_is_said(effects: pd.DataFrame) -> None:
    def said(changes: tuple[Change, ...]) -> list[str]:
        made = {change.name for change in (ORIGINAL, *changes)}
        return [said for said in sentences(shortcut_table(loudness=0.5), effects[effects["change"].isin(made)])
                if said.startswith("Not measured")]  # fmt: skip

    assert said(FEW) == [
        "Not measured: of the probes start cut, swap, loudness and length; of the everyday damage resize, blur, noise, "
        "brightness, audio noise and band limit."
    ]
    one_less = tuple(change for change in FEW if change.kind == "probe" and change.name != "shift +40 ms")
    assert said(one_less) == [
        "Not measured: of the probes start cut, shift +40 ms, swap, loudness and length; all everyday damage."
    ]
    assert not_measured({change.name for change in CHANGES}) == []
