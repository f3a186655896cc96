"""What an audit found, in plain sentences, each with the numbers that it rests on; `sentences.txt` has the words."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from scripts.audit.changes import LEVELS, ORIGINAL, left_out
from scripts.audit.damage import SETS
from scripts.audit.effects import LOSS, means
from scripts.audit.shortcuts import BIT_RATES, SHORTCUTS, TOGETHER
from utils.statistics.bootstrap import rule_of_three
from utils.templates import templates_in

TELLS = 0.7  # AUC that a detector has at least which tells real from fake

# The change that takes a shortcut away, and how to say that.
REMEDIES = {
    "leading silence": ("leading silence", "with the silence cut off both streams"),
    "duration": ("length equalised", "with all clips cut to one length"),
    "loudness": ("loudness", "with all clips equally loud"),
    "length difference": ("length difference removed", "with audio and video equally long"),
    "bit rate of the video": ("H.264 CRF 28", "with all video encoded anew (H.264, CRF 28)"),
    "bit rate of the audio": ("MP3 48 kbit/s", "with all audio encoded anew (MP3, 48 kbit/s)"),
}
FAKES = {"all": "", "B": " with fake audio (B)", "C": " with fake video (C)", "D": " with both streams fake (D)"}
KINDS = {"probe": "probes", "damage": "everyday damage"}


def sentences(shortcuts: pd.DataFrame, effects: pd.DataFrame, together: pd.DataFrame | None = None) -> list[str]:
    """Say what the corpus gives away and what the detector depends on.

    Of what `find_shortcuts`, `find_effects` and `go_together` return; without the last nothing is said of that.
    """
    by_change = Effects(effects)
    told_apart = [
        name for name in FAKES if (effect := by_change.of(ORIGINAL.name, [name])) is not None and effect.matters
    ]
    by_name = {name: shortcuts[shortcuts["shortcut"] == name] for name in SHORTCUTS}
    rows = [_row_to_tell(table) for table in by_name.values() if len(table)]
    judged = []
    for row in rows:
        change, without = REMEDIES[row.shortcut]
        named_for = shortcuts.loc[(shortcuts["shortcut"] == row.shortcut) & shortcuts["named"], "category"]
        effect = by_change.of(change, ["all", *named_for] if row.named else None) if told_apart else None
        # Bit rates even out only with encoding, which costs other traces too.
        judged.append((row.shortcut, row, effect, without, row.shortcut in BIT_RATES))
    damaging = effects.loc[effects["kind"] == "damage", "family"].unique()
    damage = {family: by_change.family(family) for family in damaging}
    losses = {family: next((effect for effect in levels if effect.matters), None) for family, levels in damage.items()}
    pairs = [] if together is None else [*together.itertuples()]
    tables = {name: table for name in SETS if len(table := means(effects, name))}
    environment = templates_in(Path(__file__).parent, markup=False)
    environment.tests["excluding_loss"] = excludes_loss
    text = environment.get_template("sentences.txt").render(
        whole=by_change.of(ORIGINAL.name, ["all"]),
        told_apart=told_apart,
        shortcuts=judged,
        flaws=[pair for pair in pairs if abs(pair.correlation) >= TOGETHER],
        correlated=max((abs(pair.correlation) for pair in pairs), default=None),
        cleared=[row for row in rows if not row.named and row.auc == row.auc],
        unknown=[row for row in rows if not row.named and row.auc != row.auc],
        clips=shortcuts["n"].max(),
        streams=[(stream, by_change.of(f"missing {stream}")) for stream in ("audio", "video")],
        shifts=sorted(by_change.family("shift"), key=lambda effect: abs(float(effect.level.split()[0]))),
        swaps=by_change.family("swap"),
        losing=[effect for effect in losses.values() if effect],
        standing=[family for family, effect in losses.items() if not effect],
        sets=[(name, table[:-1], table.iloc[-1], table["mean"][:-1].idxmin()) for name, table in tables.items()],
        absent=not_measured(set(effects["change"])),
        FAKES=FAKES,
        TELLS=TELLS,
        LOSS=LOSS,
        signed=signed,
        listed=listed,
    )
    return [" ".join(sentence.split()) for sentence in f"\n{text}".split("\n- ")[1:]]


def named(shortcuts: pd.DataFrame) -> list[str]:
    """The shortcuts that the corpus has, by name."""
    return list(shortcuts.loc[shortcuts["named"], "shortcut"].unique())


def _row_to_tell(rows: pd.DataFrame) -> Any:
    """The row of a shortcut that a sentence tells: of all fakes if it is named for them, else where it shows most."""
    named_rows = rows[rows["named"]]
    if len(named_rows) and named_rows["category"].iloc[0] == "all":
        return next(named_rows.itertuples())
    rows = named_rows if len(named_rows) else rows
    return next(rows.sort_values("auc", ascending=False, kind="stable").itertuples())


class Effects:
    """Looks up rows of what :func:`scripts.audit.effects.find_effects` returns."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table[table["difference"].notna()]

    def of(self, change: str, categories: Iterable[str] | None = None) -> Any:
        """What a change did: to all fakes together if it matters there or nowhere, else where it did most.

        None if the change was not made, or of no clips of both classes.
        """
        chosen = self.table["change"] == change
        if categories is not None:
            chosen &= self.table["category"].isin([*categories])
        rows = [*self.table[chosen].itertuples(index=False)]
        for judgement in ("matters", "weaker"):
            judged = [row for row in rows if getattr(row, judgement)]
            if judged:
                return next(
                    (row for row in judged if row.category == "all"), min(judged, key=lambda row: row.difference)
                )
        return rows[0] if rows else None

    def family(self, family: str) -> list[Any]:
        """Effects of a family's changes, in the order of the table."""
        return [self.of(name) for name in self.table.loc[self.table["family"] == family, "change"].unique()]


def excludes_loss(effect: Any) -> bool:
    """Whether a loss of ``LOSS`` lies outside the interval of a change.

    Where no resample shows a fall, or all agree, resampling says nothing of other subjects: see
    `utils.statistics.bootstrap.rule_of_three`. The lower end then counts as -3 / n at best, so that fewer than 60
    subjects exclude nothing.
    """
    unseen = effect.low >= 0 or effect.low == effect.high
    return (min(effect.low, -rule_of_three(effect.subjects)) if unseen else effect.low) > -LOSS


def not_measured(made: Collection[str]) -> list[str]:
    """Which changes are not among those of these names, kind by kind."""
    absent = {kind: left_out(made, kind) for kind in KINDS}
    return [
        f"all {word}" if absent[kind] == [*LEVELS[kind]] else f"of the {word} {listed(absent[kind])}"
        for kind, word in KINDS.items()
        if absent[kind]
    ]


def signed(value: float) -> str:
    """A difference with its sign; 0.00 has none."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def listed(parts: list[str]) -> str:
    """Parts as words are: one, another and a third."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
