"""An audit as tables, sentences and a figure on one page for a person, and as json for programs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Group
from rich.text import Text

from scripts.audit.changes import ORIGINAL
from scripts.audit.damage import SETS
from scripts.audit.effects import LOSS, WEAKER, means
from scripts.audit.sentences import named, signed
from scripts.audit.shortcuts import ERROR_RATE, NAMED
from utils.figures.style import CATEGORY_LOOKS, Look, caption, new_figure, say, tidy
from utils.files import to_json, write_atomic
from utils.table import INTERVAL, Section, as_tables, section_lines

WORDS = "What was found"
LOOKS = {
    "all": Look("black", "o"),
    "B": CATEGORY_LOOKS["B"]._replace(dashes=(0, (6, 1.5))),
    "C": CATEGORY_LOOKS["C"]._replace(dashes=(0, (2, 1.2))),
    "D": CATEGORY_LOOKS["D"]._replace(dashes=(0, (6, 1.5, 1.2, 1.5))),
}
FAKES = {"all": "all fakes", "B": "B fake audio", "C": "C fake video", "D": "D both fake"}
ROW = 0.2  # inches of a row of dots
CURVES = 4  # panels in a line
EDGE: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": "black", "markeredgewidth": 0.5}


def write_audit(
    folder: Path,
    title: str,
    shortcuts: pd.DataFrame,
    effects: pd.DataFrame,
    sentences: Sequence[str],
    about: dict[str, Any],
) -> Group:
    """Write shortcuts.csv, effects.csv, audit.json and audit.md, and return what to print.

    The tables and sentences are what `find_shortcuts`, `find_effects` and `sentences` return; `about` is what was
    audited, for audit.json: checkpoint, digest, fold, n and more. Its "notes", a list, are shown too.
    """
    for name, table in (("shortcuts", shortcuts), ("effects", effects)):
        write_atomic(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    findings = {
        "named": named(shortcuts),
        "sentences": list(sentences),
        "shortcuts": shortcuts.to_dict("records"),
        "effects": effects.to_dict("records"),
        "robustness": {name: means(effects, name).T.to_dict() for name in SETS},
    }
    write_atomic(folder / "audit.json", to_json(about | findings))
    parts = [_shortcuts(shortcuts), *_effects(effects, about.get("notes", [])), *_sets(effects)]
    lines = [f"# {title}", "", *section_lines(Section(WORDS, [], list(sentences))), "![The audit](audit.png)", ""]
    lines += [line for part in parts for line in section_lines(part)]
    write_atomic(folder / "audit.md", "\n".join(lines).rstrip() + "\n")
    bullets = [Text(f"• {sentence}") for sentence in sentences]
    return Group(as_tables(title, parts), Text(), Text(WORDS, style="bold"), *bullets)


def _shortcuts(table: pd.DataFrame) -> Section:
    """A row a shortcut: its AUC for each category, with a star where it is named."""
    single = _single(table)
    grid = [["fact", "all", INTERVAL, *single]]
    notes = [
        "AUC of a logistic regression on that fact alone, for subjects that it has not seen; fakes against clips of A.",
        f"*: named: {NAMED} at least, and more than chance gives in all but {100 * ERROR_RATE:g} % of clean corpora.",
    ]
    for name, rows in table.groupby("shortcut", sort=False):
        row = rows.set_index("category")
        cells = [f"{row.at[one, 'auc']:.2f}{'*' * bool(row.at[one, 'named'])}" for one in ("all", *single)]
        grid.append([str(name), cells[0], _range(row.loc["all"]), *cells[1:]])
        for note, of in rows[rows["note"] != ""].groupby("note", sort=False)["category"]:
            where = "" if len(of) == len(rows) else f", {', '.join(of)}"
            notes.append(f"{name}{where}: {note}.")
    return Section("Shortcuts of the corpus", grid, notes)


def _effects(table: pd.DataFrame, notes: Sequence[str]) -> list[Section]:
    """AUC after each change for all fakes, and how it changes for them and for each category."""
    single = _single(table)
    untouched = table[(table["change"] == ORIGINAL.name) & (table["category"] == "all")].iloc[0]
    auc_untouched = f"Untouched clips: AUC {untouched['before']:.2f}, 95 % {_range(untouched)}. 1 = real, 0 = fake."
    parts = []
    for kind, title in (("probe", "The detector without a cue"), ("damage", "The detector and everyday damage")):
        grid = [["what is done", "AUC", "change", INTERVAL, *single]]
        for name, rows in table[table["kind"] == kind].groupby("change", sort=False):
            row = rows.set_index("category")
            cells = [_marked(row.loc[one]) for one in ("all", *single)]
            called = str(name).removesuffix(" removed")  # the screen has 80 columns
            grid.append([called, f"{row.at['all', 'after']:.2f}", cells[0], _range(row.loc["all"]), *cells[1:]])
        if len(grid) > 1:
            parts.append(Section(title, grid, [auc_untouched]))
    legend = [
        "Changes of AUC on the same clips: of all fakes with a paired 95 % interval, and of each category.",
        f"*: lower by {LOSS} at least, and by more than chance; all probes are judged together.",
        "~: no star, as the AUC stands or its fall is small or may be chance, but the scores of real and fake clips "
        f"come closer by {100 * WEAKER:g} % at least, and by more than chance (probes).",
    ]
    if parts:
        parts[-1] = parts[-1]._replace(notes=[auc_untouched, *legend, *notes])
    return parts


def _sets(effects: pd.DataFrame) -> Iterator[Section]:
    """The sets of damage that were made, as papers report them."""
    for name, one in SETS.items():
        table = means(effects, name)
        if len(table):
            grid = [["type", *map(str, range(1, 6)), "mean", "drop"]]
            for kind, row in table.iterrows():
                cells = [*row[:-1].map(lambda value: "" if pd.isna(value) else f"{value:.2f}"), signed(row["drop"])]
                grid.append([str(kind), *cells])
            notes = ["AUC of all fakes at each level, its mean, and how far that lies below the untouched clips' AUC."]
            yield Section(f"Robustness: {name}", grid, [*notes, *one.notes])


def _single(table: pd.DataFrame) -> list[str]:
    return [name for name in table["category"].unique() if name != "all"]


def _marked(row: pd.Series) -> str:
    mark = "*" if row["matters"] else "~" if row["weaker"] and row["kind"] == "probe" else ""
    return f"{signed(row['difference'])}{mark}"


def _range(row: pd.Series) -> str:
    return "" if row["low"] != row["low"] else f"{row['low']:.2f} to {row['high']:.2f}"


def draw_audit(shortcuts: pd.DataFrame, effects: pd.DataFrame, title: str) -> Figure:
    """Draw what `find_shortcuts` and `find_effects` return."""
    probes = effects[effects["kind"] == "probe"]
    untouched = effects[effects["change"] == ORIGINAL.name]
    damage = effects[~effects["kind"].isin(["probe", ORIGINAL.kind])]
    families = list(damage["family"].unique())
    lines = -(-len(families) // CURVES)
    rows = max(shortcuts["shortcut"].nunique() * 2, probes["change"].nunique(), 6)
    heights = [ROW * rows + 0.6, *[1.45] * lines]
    figure = new_figure(sum(heights) + 1.5, title)
    # Figures of their own, as long names beside the dots would push the curves apart.
    upper, lower = figure.subfigures(2, 1, height_ratios=(heights[0] + 0.3, sum(heights[1:]) or 0.01))
    left, right = upper.subplots(1, 2)
    tidy(left, "What single facts give away", xlabel="AUC on other subjects")
    stars = shortcuts.groupby("shortcut", sort=False)["named"].any()
    _draw_rows(left, shortcuts.rename(columns={"shortcut": "row", "auc": "value"}), 0.5)
    left.set_yticks(range(len(stars)), [f"{'★ ' * bool(star)}{_wrapped(name)}" for name, star in stars.items()])
    left.set_xlim(min(0.35, np.nanmin([*shortcuts["low"], 0.35])), 1.02)
    tidy(right, "What the detector loses without it", xlabel="change of its AUC")
    _draw_rows(right, probes.rename(columns={"change": "row", "difference": "value"}), 0)
    names = list(probes["change"].unique())
    right.set_yticks(range(len(names)), [_wrapped(name) for name in names])
    if probes.empty:
        say(right, "no probe was made")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dashes, label=FAKES[name], **EDGE)
        for name, look in LOOKS.items()
        if name in set(effects["category"])
    ]
    upper.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8, frameon=False, handlelength=3.5)
    if families:
        panels = lower.subplots(lines, CURVES, sharey=True, squeeze=False).flat
        for family, axes in zip(families, panels, strict=False):  # families first, which leaves all other panels
            _draw_damage(axes, damage[damage["family"] == family], untouched)
            axes.set_ylim(min(0.45, damage["after"].min()) - 0.03, 1.04)
            axes.set_ylabel("AUC" if axes.get_subplotspec().is_first_col() else "", fontsize=8)
        for axes in panels:
            axes.axis("off")
    caption(
        figure,
        "Fakes of a category against the real clips; whiskers and the band: 95 %, by subject.",
        f"Shortcuts: n = {shortcuts['n'].max()} clips; those with a star are named.",
        f"Detector: n = {untouched['n'].max()} clips.",
        "Damage: AUC from mild to severe; the marks at the left are the untouched clips." if families else "",
    )
    return figure


def _draw_rows(axes: Axes, table: pd.DataFrame, chance: float) -> None:
    """A dot with its whisker for each row and category, the first row on top."""
    names = {name: k for k, name in enumerate(table["row"].unique())}
    categories = [name for name in LOOKS if name in set(table["category"])]
    axes.axvline(chance, color="0.5", linewidth=1)
    for k, category in enumerate(categories):
        chosen = table[(table["category"] == category) & table["value"].notna()]
        height = chosen["row"].map(names) + (k - (len(categories) - 1) / 2) * 0.2
        look = LOOKS[category]
        axes.hlines(height, chosen["low"], chosen["high"], color=look.colour, linewidth=1.2)
        axes.plot(chosen["value"], height, look.marker, color=look.colour, **EDGE)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.grid(axis="y", visible=False)


def _draw_damage(axes: Axes, damage: pd.DataFrame, untouched: pd.DataFrame) -> None:
    """AUC of each category over the levels of one damage, from mild to severe."""
    levels = list(damage["level"].unique())
    places = range(len(levels) + 1)
    for category in damage["category"].unique():
        chosen, look = damage[damage["category"] == category], LOOKS[category]
        curve = [*untouched.loc[untouched["category"] == category, "after"], *chosen["after"]]
        axes.plot(places, curve, color=look.colour, marker=look.marker, linestyle=look.dashes, markersize=3,
                  linewidth=1.6 if category == "all" else 1)  # fmt: skip
        if category == "all":
            low, high = (chosen["before"] + chosen[end] for end in ("low", "high"))
            axes.fill_between(places[1:], low, high.clip(upper=1), color="0.85", linewidth=0)
    labels = [re.sub(r"^0\.", ".", re.sub(r"[^\d.]", "", level)) for level in levels]
    unit = " ".join(re.sub(r"[\d.]+", "", levels[0]).split())
    tidy(axes, damage["family"].iloc[0], xlabel=unit)
    axes.set_xticks(places, ["", *labels])
    axes.set_xlim(-0.3, len(levels) + 0.3)
    axes.tick_params(labelsize=6.5)
    axes.xaxis.label.set_fontsize(8)
    axes.axhline(0.5, color="0.5", linewidth=0.8)


def _wrapped(name: str) -> str:
    return name.replace(" of the ", "\nof the ").replace(" difference removed", "\ndifference removed")
