"""What an audit found, in plain sentences, each with the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from scripts.audit.changes import LEVELS, left_out
from scripts.audit.damage import SETS, means
from scripts.audit.effects import LOSS, ORIGINAL
from scripts.audit.shortcuts import SHORTCUTS, TOGETHER
from utils.statistics.bootstrap import rule_of_three

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
STREAMS = {"audio": "missing audio", "video": "missing video"}
FAKES = {"all": "", "B": " with fake audio (B)", "C": " with fake video (C)", "D": " with both streams fake (D)"}
KINDS = {"probe": "probes", "damage": "everyday damage"}


def sentences(shortcuts: pd.DataFrame, effects: pd.DataFrame, together: pd.DataFrame | None = None) -> list[str]:
    """Say what the corpus gives away and what the detector depends on.

    Parameters
    ----------
    shortcuts
        What :func:`scripts.audit.shortcuts.find_shortcuts` returns.
    effects
        What :func:`scripts.audit.effects.find_effects` returns.
    together
        What :func:`scripts.audit.shortcuts.go_together` returns; without it nothing is said of that.
    """
    found = Effects(effects)
    whole = found.of(ORIGINAL)
    can_tell = whole is not None and whole.matters
    told = [name for name in FAKES if (effect := found.of(ORIGINAL, [name])) is not None and effect.matters]
    said = [_detector(found.of(ORIGINAL, ["all"]), told)]
    said += _shortcuts(shortcuts, found, can_tell, together)
    if can_tell:
        said += [*_streams(found), *_synchrony(found), *_damage(effects, found), *_robustness(effects)]
    absent = not_measured(set(effects["change"]))
    return [*said, *([f"Not measured: {'; '.join(absent)}."] if absent else [])]


def named(shortcuts: pd.DataFrame) -> list[str]:
    """The shortcuts that the corpus has, by name."""
    return list(shortcuts.loc[shortcuts["named"], "shortcut"].unique())


def _detector(whole: Effect | None, told: list[str]) -> str:
    """Whether the detector tells fakes of some categories from real clips at all."""
    if whole is None:
        return "The clips are not real and fake both: nothing can be said of the detector."
    auc = f"AUC {whole.before:.2f}, {span(whole.low, whole.high)}, {whole.n} clips"
    if not told:
        # Of few clips an AUC of 1 is no more than chance may bring, and one of 0.5 no proof of chance.
        if whole.low <= 0.5 and whole.high < TELLS:
            said = f"The detector does not tell real from fake on these clips ({auc})"
        else:
            said = f"The clips are too few to tell whether the detector tells real from fake ({auc})"
        return f"{said}, so what it depends on cannot be told."
    if "all" in told:
        return f"The detector tells real from fake where nothing is done to the clips ({auc})."
    fakes = listed([FAKES[name].strip() for name in told])
    others = f"that it tells the others could not be shown ({auc} over all)"
    return f"The detector tells fakes {fakes} from real clips; {others}."


def _shortcuts(shortcuts: pd.DataFrame, found: Effects, can_tell: bool, together: pd.DataFrame | None) -> Iterator[str]:
    """A sentence for each shortcut that the corpus has or the detector reacts to, and one for all others."""
    cleared, unknown = [], []
    for name in [name for name in SHORTCUTS if name in set(shortcuts["shortcut"])]:
        rows = shortcuts[shortcuts["shortcut"] == name]
        change, without = REMEDIES[name]
        if rows["named"].any():
            effect = found.of(change, ["all", *rows.loc[rows["named"], "category"]]) if can_tell else None
            yield _of_corpus(name, rows) + _of_detector(name, effect, without, can_tell)
            continue
        if rows["auc"].isna().all():
            unknown.append(f"{name} ({rows['note'].iloc[0]})")
            continue
        largest = rows.loc[rows["auc"].idxmax()]
        why = f", {largest['note']}" if largest["note"] else ""
        cleared.append(f"{name} (AUC {largest['auc']:.2f} at most{why})")
        effect = found.of(change) if can_tell else None
        if effect is not None and effect.matters and not _is_damage(name):
            yield (
                f"The corpus does not give fakes away by {name}, but the detector's AUC{of_which(effect)} falls "
                f"from {effect.before:.2f} to {effect.after:.2f} {without}{fall(effect)}: it needs what goes with it."
            )
    if together is not None and len(together):
        yield _of_one_flaw(together)
    if cleared:
        yield f"No shortcut was found, in {shortcuts['n'].max()} clips, in {listed(cleared)}."
    if unknown:
        yield f"Not judged: {listed(unknown)}."


def _of_corpus(name: str, rows: pd.DataFrame) -> str:
    """What the corpus gives away: of all fakes, or of the category where it shows most."""
    known = rows[rows["named"]]
    row = known.iloc[0] if known["category"].iloc[0] == "all" else known.loc[known["auc"].idxmax()]
    return (
        f"SHORTCUT: {name} alone tells the fakes{FAKES[row['category']]} from real clips "
        f"(AUC {row['auc']:.2f}, {span(row['low'], row['high'])}, {row['n']} clips). "
    )


def _of_one_flaw(together: pd.DataFrame) -> str:
    """Which of the shortcuts that were named may be one flaw seen twice."""
    rows = together[together["correlation"].abs() >= TOGETHER]
    if rows.empty:
        most = together["correlation"].abs().max()
        return f"No two of these shortcuts go together as one flaw would: rank correlation {most:.2f} at most."
    pairs = [
        f"{row.shortcut} and {row.other} (rank correlation {signed(row.correlation)} over real clips and fakes"
        f"{FAKES[row.category]})"
        for row in rows.itertuples()
    ]
    return f"What goes together in the clips may be one flaw seen twice: {'; '.join(pairs)}."


def _of_detector(name: str, effect: Effect | None, without: str, can_tell: bool) -> str:
    """What the detector makes of a shortcut that the corpus has."""
    if not can_tell:
        return "Whether the detector uses it cannot be told."
    if effect is None:
        return "Whether the detector uses it was not measured."
    change = f"its AUC{of_which(effect)} goes from {effect.before:.2f} to {effect.after:.2f} {without}"
    if effect.matters and _is_damage(name):
        return f"The detector may use it: {change}{fall(effect)}, but that takes other traces away too."
    if effect.matters:
        return f"The detector USES it: {change}{fall(effect)}."
    if effect.weaker:
        uses = "may use it, beside" if _is_damage(name) else "uses it beside"
        return (
            f"The detector {uses} other cues: {change}, but the log odds of real and fake clips lie "
            f"{effect.gap_after:.1f} apart instead of {effect.gap_before:.1f}."
        )
    said = f"{change} (change {signed(effect.difference)}, {interval(effect)}, {effect.n} clips)"
    if excludes_loss(effect):
        return f"The detector does not depend on it: {said}."
    return f"No dependence of the detector could be shown: {said}{doubt(effect, 'one')}."


def _streams(found: Effects) -> Iterator[str]:
    for stream, change in STREAMS.items():
        effect = found.of(change)
        if effect is None:
            continue
        became = f"from {effect.before:.2f} to {effect.after:.2f} without it{fall(effect)}"
        if effect.matters:
            yield f"It uses the {stream}: its AUC{of_which(effect)} falls {became}."
        elif effect.weaker:
            yield f"It uses the {stream} beside other cues: its AUC goes {became}, and its scores lie less far apart."
        else:
            yield f"That it uses the {stream} could not be shown: its AUC goes {became}{doubt(effect, 'it')}."


def _synchrony(found: Effects) -> Iterator[str]:
    """Shifts, from the smallest up, and streams of another clip of the same subject.

    Another clip's stream differs in more than what it goes with, so that a fall there says less than one by a shift.
    """
    shifts = sorted(found.family("shift"), key=lambda effect: abs(float(effect.level.split()[0])))
    swaps = found.family("swap")
    if not shifts and not swaps:
        return
    first = next((effect for effect in [*shifts, *swaps] if effect.matters), None)
    worst = min([*shifts, *swaps], key=lambda effect: effect.difference)
    if first is None:
        unsure = next((why for effect in [*shifts, *swaps] if (why := doubt(effect, "it"))), "")
        yield (
            "That it uses how audio and video go together could not be shown: shifted audio and streams of other "
            f"clips change its AUC by {signed(worst.difference)} at worst ({worst.change}, {interval(worst)}){unsure}."
        )
        return
    lost = f"its AUC{of_which(first)} falls from {first.before:.2f} to {first.after:.2f}{fall(first)}"
    if first in shifts:
        yield f"It uses how audio and video go together: with a {first.change} of the audio {lost}."
    else:
        yield (
            f"With another clip's {first.level} {lost}: what is in that {first.level}, or how it goes with the rest, "
            "matters to it. That it uses how audio and video go together could not be shown by shifts."
        )


def _damage(effects: pd.DataFrame, found: Effects) -> Iterator[str]:
    """The mildest level of each everyday damage at which the detector loses something."""
    losing, standing = [], []
    for family in effects.loc[effects["kind"] == "damage", "family"].unique():
        first = next((effect for effect in found.family(family) if effect.matters), None)
        if first is None:
            standing.append(family)
        else:
            fakes = "" if first.category == "all" else f" for {first.category}"
            losing.append(f"{first.change} (AUC {first.after:.2f}{fakes})")
    if losing:
        yield f"Everyday damage costs it {LOSS:.2f} of AUC or more from {listed(losing)} on."
    if standing:
        yield f"At no level tested was such a loss shown for {listed(standing)}."


def _robustness(effects: pd.DataFrame) -> Iterator[str]:
    """What is left of the AUC under the sets of damage that papers report."""
    for name in SETS:
        table = means(effects, name)
        if len(table):
            types, whole = table.iloc[:-1], table.iloc[-1]
            worst = types["mean"].idxmin()
            yield (
                f"Under the {name} set its AUC is {whole['mean']:.2f} on average over {len(types)} types and their "
                f"levels, {whole['drop']:.2f} below that of the untouched clips; lowest for {worst} "
                f"({types.at[worst, 'mean']:.2f})."
            )


def _is_damage(shortcut: str) -> bool:
    """Whether a shortcut goes away only with encoding, which costs other traces too."""
    return shortcut.startswith("bit rate")


class Effect(NamedTuple):
    """A row of the effects: what a change did to the fakes of a category."""

    change: str
    level: str
    category: str
    n: int
    subjects: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    gap_before: float
    gap_after: float
    matters: bool
    weaker: bool


class Effects:
    """Looks up rows of what :func:`scripts.audit.effects.find_effects` returns."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    def of(self, change: str, categories: Iterable[str] | None = None) -> Effect | None:
        """What a change did: to all fakes together if it matters there or nowhere, else where it did most.

        None if the change was not made, or of no clips of both classes.
        """
        table = self.table[(self.table["change"] == change) & self.table["difference"].notna()]
        if categories is not None:
            table = table[table["category"].isin([*categories])]
        if table.empty:
            return None
        rows = [Effect(*row) for row in table[list(Effect._fields)].itertuples(index=False)]
        for shown in ("matters", "weaker"):
            found = [row for row in rows if getattr(row, shown)]
            if found:
                return next((row for row in found if row.category == "all"), min(found, key=lambda row: row.difference))
        return rows[0]

    def family(self, family: str) -> list[Effect]:
        """Effects of a family's changes, in the order of the table."""
        names = self.table.loc[self.table["family"] == family, "change"].unique()
        return [effect for name in names if (effect := self.of(name)) is not None]


def excludes_loss(effect: Effect) -> bool:
    """Whether a loss of ``LOSS`` lies outside the interval of a change.

    Where no resample shows a fall, or all agree, resampling says nothing of other subjects: see
    `utils.statistics.bootstrap.rule_of_three`. The lower end then counts as -3 / n at best, so that fewer than 60
    subjects exclude nothing.
    """
    unseen = effect.low >= 0 or effect.low == effect.high
    return (min(effect.low, -rule_of_three(effect.subjects)) if unseen else effect.low) > -LOSS


def doubt(effect: Effect, what: str) -> str:
    """Why what could not be shown is not excluded either, if it is not."""
    return "" if excludes_loss(effect) else f"; {effect.subjects} subjects are too few to exclude {what}"


def not_measured(made: Collection[str]) -> list[str]:
    """Which changes are not among those of these names, kind by kind."""
    absent = {kind: left_out(made, kind) for kind in KINDS}
    return [
        f"all {word}" if absent[kind] == [*LEVELS[kind]] else f"of the {word} {listed(absent[kind])}"
        for kind, word in KINDS.items()
        if absent[kind]
    ]


def signed(value: float) -> str:
    """A difference with its sign, which a nought has not."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def of_which(effect: Effect) -> str:
    """Of which fakes an AUC is, if not of all."""
    return f" for fakes{FAKES[effect.category]}" if FAKES[effect.category] else ""


def fall(effect: Effect) -> str:
    return f" (change {signed(effect.difference)}, {interval(effect)})"


def interval(effect: Effect) -> str:
    return f"95 % {signed(effect.low)} to {signed(effect.high)}" if effect.low == effect.low else "no interval"


def span(low: float, high: float) -> str:
    return f"95 % {low:.2f} to {high:.2f}" if low == low else "no interval"


def listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
