"""An audit as tables and sentences for a person, and as json for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Group
from rich.text import Text

from scripts.audit.effects import LOSS, ORIGINAL, WEAKER
from scripts.audit.robustness import SETS, means
from scripts.audit.sentences import named, signed
from scripts.audit.shortcuts import CATEGORIES, ERROR_RATE, NAMED
from utils.files import to_json, write_atomic
from utils.table import INTERVAL, Section, as_markdown, as_tables

WORDS = "What was found"


def write_audit(
    folder: Path,
    title: str,
    shortcuts: pd.DataFrame,
    effects: pd.DataFrame,
    said: Sequence[str],
    about: dict[str, Any],
) -> Group:
    """Write shortcuts.csv, effects.csv, audit.json and audit.md, and return what to print.

    Parameters
    ----------
    folder
        Where to write.
    title
        Heading of the page.
    shortcuts, effects
        What `find_shortcuts` and `find_effects` return.
    said
        The sentences.
    about
        What was audited, for audit.json: checkpoint, digest, fold, n and more; "notes", a list, is shown too.
    """
    for name, table in (("shortcuts", shortcuts), ("effects", effects)):
        write_atomic(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    found = {"named": named(shortcuts), "sentences": list(said)}
    rows = {"shortcuts": shortcuts.to_dict("records"), "effects": effects.to_dict("records")}
    rows |= {"robustness": {name: means(effects, name).T.to_dict() for name in SETS}}
    write_atomic(folder / "audit.json", to_json(about | found | rows))
    parts = [_shortcuts(shortcuts), *_effects(effects, about.get("notes", [])), *_sets(effects)]
    heading, _, tables = as_markdown(title, parts).partition("\n\n")
    words = [f"## {WORDS}", *(f"- {sentence}" for sentence in said), "![The audit](audit.png)"]
    page = [heading, words[0], "\n".join(words[1:-1]), words[-1], tables]
    write_atomic(folder / "audit.md", "\n\n".join(page))
    bullets = [Text(f"• {sentence}") for sentence in said]
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
        cells = [_starred(f"{row.at[one, 'auc']:.2f}", row.at[one, "named"]) for one in ("all", *single)]
        grid.append([str(name), cells[0], _range(row.loc["all"]), *cells[1:]])
        for note, of in rows[rows["note"] != ""].groupby("note", sort=False)["category"]:
            where = "" if len(of) == len(rows) else f", {', '.join(of)}"
            notes.append(f"{name}{where}: {note}.")
    return Section("Shortcuts of the corpus", grid, notes)


def _effects(table: pd.DataFrame, notes: Sequence[str]) -> list[Section]:
    """AUC after each change for all fakes, and how it changes for them and for each category."""
    single = _single(table)
    untouched = table[(table["change"] == ORIGINAL) & (table["category"] == "all")].iloc[0]
    said = [f"Untouched clips: AUC {untouched['before']:.2f}, 95 % {_range(untouched)}. 1 = real, 0 = fake."]
    parts = []
    for kind, title in (("probe", "The detector without a cue"), ("damage", "The detector and everyday damage")):
        grid = [["what is done", "AUC", "change", INTERVAL, *single]]
        for name, rows in table[table["kind"] == kind].groupby("change", sort=False):
            row = rows.set_index("category")
            cells = [_marked(row.loc[one]) for one in ("all", *single)]
            called = str(name).removesuffix(" removed")  # the screen has 80 columns
            grid.append([called, f"{row.at['all', 'after']:.2f}", cells[0], _range(row.loc["all"]), *cells[1:]])
        if len(grid) > 1:
            parts.append(Section(title, grid, said))
    legend = [
        "Changes of AUC on the same clips: of all fakes with a paired 95 % interval, and of each category.",
        f"*: lower by {LOSS} at least, and by more than chance; all probes are judged together.",
        "~: no star, as the AUC stands or its fall is small or may be chance, but the scores of real and fake clips "
        f"come closer by {100 * WEAKER:g} % at least, and by more than chance (probes).",
    ]
    return [*parts[:-1], *(part._replace(notes=[*said, *legend, *notes]) for part in parts[-1:])]


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
    return [name for name in CATEGORIES if name != "all" and name in set(table["category"])]


def _marked(row: pd.Series) -> str:
    text = _starred(signed(row["difference"]), row["matters"])
    return f"{text}~" if row["weaker"] and not row["matters"] and row["kind"] == "probe" else text


def _starred(text: str, is_found: bool) -> str:
    return f"{text}*" if is_found else text


def _range(row: pd.Series) -> str:
    return "" if row["low"] != row["low"] else f"{row['low']:.2f} to {row['high']:.2f}"
