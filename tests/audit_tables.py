"""Tables of an audit made by hand: facts of clips, and scores of a detector that is what a test wants it to be."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import expit

from scripts.audit.changes import CHANGES, ORIGINAL, Change
from scripts.audit.shortcuts import SHORTCUTS

PROBES = tuple(change for change in CHANGES if change.kind == "probe")
FEW = tuple(change for change in CHANGES if change.family in ("leading silence", "missing", "shift", "H.264", "MP3"))

Effect = Callable[[Change, pd.DataFrame, np.random.Generator], np.ndarray]


def fact_table(seed: int, subjects: int, effect: float = 0.7, **shifts: float) -> pd.DataFrame:
    """A clip of each category for every subject, whose facts have an offset in common; fakes of a fact are shifted."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({
        "file": [f"{k}.mp4" for k in range(4 * subjects)],
        "subject": np.repeat([f"id{k:05d}" for k in range(subjects)], 4),
        "category": list("ABCD") * subjects,
    })  # fmt: skip
    for column in SHORTCUTS.values():
        values = effect * np.repeat(rng.normal(size=subjects), 4) + rng.normal(size=4 * subjects)
        table[column] = values + shifts.get(column, 0.0) * (table["category"] != "A")
    return table


def score_table(seed: int, subjects: int, logits: Effect, changes: tuple[Change, ...] = CHANGES) -> pd.DataFrame:
    """Scores of a made-up corpus, a clip of each category for every subject."""
    clips = fact_table(seed, subjects)[["file", "subject", "category"]]
    return scores_of(clips.assign(label=(clips["category"] == "A").astype(int)), seed, logits, changes)


def scores_of(clips: pd.DataFrame, seed: int, logits: Effect, changes: tuple[Change, ...] = CHANGES) -> pd.DataFrame:
    """Scores as scripts.audit.scores has them; `logits` gives those of a change for the clips."""
    parts = []
    for change in (ORIGINAL, *changes):
        logit = logits(change, clips, np.random.default_rng((seed, len(parts))))
        names = {"change": change.name, "family": change.family, "level": change.level, "kind": change.kind}
        parts.append(clips[["file", "subject", "category", "label"]].assign(**names, score=expit(logit)))
    return pd.concat(parts, ignore_index=True)


def planted(silence: float = 1.0, audio: float = 1.0, video: float = 1.0, noise: float = 0.5) -> Effect:
    """A detector that adds up what it makes of silence, audio and video, each with its weight.

    The silence of every fake is gone when it is trimmed, the cues of a stream when this is missing or damaged.
    """

    def logits(change: Change, clips: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        fixed = np.random.default_rng(7).normal(size=len(clips))  # what a clip is like, whatever is done to it
        streams = {"audio": clips["category"].isin(["B", "D"]), "video": clips["category"].isin(["C", "D"])}
        cues = silence * 4.0 * (clips["label"] - 1) * (change.family != "leading silence")
        for stream, weight in (("audio", audio), ("video", video)):
            damaged = {"audio": ("MP3", "audio noise", "band limit"), "video": ("H.264", "resize", "blur", "noise")}
            left = 1.0
            if change.family == "missing" and change.level == stream:
                left = 0.0
            elif change.family in damaged[stream]:
                family = [one for one in CHANGES if one.family == change.family]
                left = 1 - family.index(change) / 4
            cues = cues - 4.0 * weight * left * streams[stream]
        return cues.to_numpy(float) + 2.0 + fixed + noise * rng.normal(size=len(clips))

    return logits


def shortcut_table(**aucs: float) -> pd.DataFrame:
    """Shortcuts as `find_shortcuts` gives them, by the AUC of all fakes; those of 0.7 and more are named."""
    rows = []
    for name, auc in aucs.items():
        for category in ("all", "B", "C", "D"):
            facts = {"auc": auc, "low": auc - 0.05, "high": auc + 0.05, "bound": auc - 0.1, "n": 160}
            note = {"named": auc >= 0.7, "note": ""}
            rows.append({"shortcut": name.replace("_", " "), "category": category, **facts, **note})
    return pd.DataFrame(rows)


def row(effects: pd.DataFrame, change: str, category: str = "all") -> pd.Series:
    return effects[(effects["change"] == change) & (effects["category"] == category)].iloc[0]


def one(said: list[str], part: str) -> str:
    (found,) = [sentence for sentence in said if part in sentence]
    return found
