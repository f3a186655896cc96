"""The clips that a detector is most wrong about."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from scripts.report.clips import Corpus, kind_of
from scripts.report.markup import Cell, Html, code, element, join, paragraph, table
from scripts.report.runs import Run

COUNT = 8  # of each class
CLASSES = {1: "real", 0: "fake"}


def hardest(clips: pd.DataFrame, label: int, count: int = COUNT) -> pd.DataFrame:
    """Return the clips of a class with the highest loss, the highest first, with the column loss.

    Parameters
    ----------
    clips
        One row a clip, with the columns label, score (probability of real) and file.
    label
        1 = real, 0 = fake.
    count
        How many at most.

    Notes
    -----
    The loss is -log of the probability given to the truth, and infinite where that is 0.
    """
    clips = clips[clips["label"] == label]
    score = clips["score"].to_numpy(float)
    with np.errstate(divide="ignore"):
        loss = -np.log(score) if label == 1 else -np.log1p(-score)
    # + 0.0 makes 0 of -0; ties go by name, so that the rows of the file may be in any order
    return clips.assign(loss=loss + 0.0).sort_values(["loss", "file"], ascending=[False, True]).head(count)


def hardest_clips(run: Run, corpus: Corpus) -> Html:
    """List the hardest clips of a run, and show them where the corpus is at hand."""
    if run.clips.empty:
        return paragraph("No scores.csv can be read, so that no clip can be named.")
    chosen = pd.concat([hardest(run.clips, label) for label in CLASSES])
    parts = [
        paragraph(
            f"Up to {COUNT} real and {COUNT} fake of all n = {len(run.clips):,} test clips, those with the highest "
            "loss: minus the logarithm of the probability given to the truth. The score is the probability of real."
        ),
        table(f"{run.name}: hardest clips", ["file", *_COLUMNS], [_row(clip) for _, clip in chosen.iterrows()]),
    ]
    for label, name in CLASSES.items():
        if not (chosen["label"] == label).any():
            parts.append(paragraph(f"There is no {name} test clip."))
    return join([*parts, _gallery(chosen, run, corpus)])


def _gallery(chosen: pd.DataFrame, run: Run, corpus: Corpus) -> Html:
    """Frames and sound of the clips, or why there are none."""
    if corpus.root is None:
        return paragraph("Frames and sound are not shown: ", code("--data_root"), " says where the corpus lies.")
    known = next(iter(run.configs.values()), {})  # of another fold, where that of a clip is missing
    configs = [run.configs.get(fold, known) for fold in chosen["fold"]]
    shown = [corpus.show(file, config) for file, config in zip(chosen["file"], configs, strict=True)]
    if not any(shown):
        problems = [corpus.problems[kind] for kind in sorted(set(map(kind_of, configs))) if kind in corpus.problems]
        if problems:
            return paragraph("Frames and sound are not shown: ", "; ".join(problems), ".")
        return paragraph("Frames and sound are not shown: ", code(str(corpus.root)), " has none of these clips.")
    absent = element("div", "The clip is not in this corpus.", class_="absent")
    cards = [_card(clip, media or absent) for (_, clip), media in zip(chosen.iterrows(), shown, strict=True)]
    return element("div", *cards, class_="clips")


_COLUMNS = ["truth", "subject", "category", "method", "fold", "score", "loss"]


def _row(clip: pd.Series) -> list[object]:
    texts = [clip[name] for name in ("subject", "category", "method", "fold")]
    numbers = [Cell(f"{clip['score']:.4f}", clip["score"]), Cell(_loss(clip["loss"]), clip["loss"])]
    return [code(clip["file"]), CLASSES[clip["label"]], *texts, *numbers]


def _card(clip: pd.Series, media: Html) -> Html:
    caption = element(
        "figcaption",
        paragraph(code(clip["file"])),
        paragraph(
            f"{CLASSES[clip['label']]} ({clip['category']}, {clip['method'] or 'method not given'}), "
            f"subject {clip['subject']}, {clip['fold']}; score {clip['score']:.4f}, loss {_loss(clip['loss'])}"
        ),
    )
    return element("figure", media, caption)


def _loss(loss: float) -> str:
    return f"{loss:.3f}" if math.isfinite(loss) else "∞"
