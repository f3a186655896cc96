"""The parts of a card on the detector, its data and the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dataset.media import FRAME_RATE
from model.threshold import Threshold
from scripts.card.facts import Facts, day
from scripts.report.cautions import skipped
from utils.files import markdown_table
from utils.options import RECIPES
from utils.results import CATEGORIES
from utils.runs import AUC_EXPLAINED
from utils.statistics.evaluation import NOT_GIVEN
from utils.table import counted

ABSENT = "not recorded"
LISTED = 5  # clips that are named at most
KINDS = {
    "AVDF": "one classifier looks at picture and sound together and says real or fake",
    "AVDF_Ensemble": "a classifier for the picture and one for the sound; a clip is real if both say so",
    "AVDF_Multilabel": "one classifier on both streams with two answers, sound real and picture real; a clip is real "
    "if both are",
    "AVDF_Multiclass": "one classifier on both streams that tells the four categories apart; a clip is real if A is "
    "the likeliest",
    "MRDF_Margin": "one classifier on both streams, trained so that real sound and picture agree (cross-modality) and "
    "real and fake streams lie apart by a margin (within-modality)",
    "MRDF_CE": "one classifier on both streams, trained so that real sound and picture agree (cross-modality), and a "
    "classifier for each stream (within-modality)",
}
RECIPE_WORDS = {
    "released": "does what the authors' release does when it is run, which is not always what the paper says",
    "clean": "the paper's transformer, and nothing that looks at the test fold",
}
FRONTEND = {True: "trained", False: "not trained: it stays at its start, as in the authors' release"}
PICKED_ON = {
    "test": "the test fold of its corpus",
    "subjects": "validation subjects, who are neither trained on nor tested",
}
PICKED_BY = {
    "released": "the release's criterion (accuracy + hard AUC, batch by batch)",
    "acc_auc": "accuracy + hard AUC",
    "auc": "AUC of the scores",
}
PADDING = {
    "cut": "clips of a batch were cut to its shortest, so that the scores here depend on the batch",
    "mask": "clips of a batch were padded and masked, so that no score depends on the batch",
}


def quoted(text: object) -> str:
    """A name from outside as code, in which Markdown has no signs of its own."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def plain(text: object) -> str:
    """A sentence from outside, in which Markdown sees no HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def what_it_is(facts: Facts) -> list[str]:
    """The detector, how it was made, and which file it is."""
    choices, trained = facts.choices, facts.trained
    layers = choices["encoder_layers"]
    made = trained.get("environment") or facts.config.get("environment") or {}
    start = trained.get("pretrained")
    pretrained = f"the weights of AV-HuBERT in {quoted(Path(start).name)}" if start else "random weights"
    items = {
        "Detector": f"{facts.kind}: {KINDS[facts.kind]}",
        "Parameters": f"{facts.parameters:,}",
        "Encoder": f"{counted(layers, 'transformer layer') if layers else 'no transformer layer'}; visual front end "
        f"{FRONTEND[choices['train_frontend']] if trained else ABSENT}",
        "Started from": pretrained if trained else ABSENT,
        "Recipe": _recipe(trained),
        "Training": _training(trained),
        "Epoch kept": str(facts.epoch or ABSENT),
        "Training time": _time(facts.config.get("environment") or {}),
        "Date": f"checkpoint {day(facts.path)}, test {day(facts.folder / 'metrics.json')} (of the files, UTC)",
        "Commit": quoted(made["commit"]) if made.get("commit") else ABSENT,
        "Versions": ", ".join(f"{name} {number}" for name, number in (made.get("versions") or {}).items()) or ABSENT,
        "Hardware": ", ".join(made[name] for name in ("gpu", "cpu") if made.get(name)) or ABSENT,
        "File": f"{quoted(facts.path.name)}, {facts.path.stat().st_size:,} bytes, SHA-256 `{facts.sha256}`",
    }
    return [f"- {name}: {text}." for name, text in items.items()]


def _recipe(trained: Mapping[str, Any]) -> str:
    name = trained.get("recipe")
    if name not in RECIPES:
        return ABSENT
    changed = [
        f"{option} {trained[option]} instead of {value}"
        for option, value in RECIPES[name].items()
        if option in trained and trained[option] != value
    ]
    return f"{name} ({RECIPE_WORDS[name]})" + (f"; changed: {', '.join(changed)}" if changed else "")


def _training(trained: Mapping[str, Any]) -> str:
    if not trained:
        return ABSENT
    names = ("optimizer", "learning_rate", "weight_decay", "schedule", "batch_size", "accumulate", "max_epochs")
    names += ("precision", "seed")
    return ", ".join(f"{name} {trained.get(name, ABSENT)}" for name in names)


def _time(made: Mapping[str, Any]) -> str:
    hours, epochs = made.get("hours"), made.get("epochs")
    # A run that was resumed when training had ended counts no epoch.
    return f"{hours:.2f} hours for {counted(epochs, 'epoch')}" if hours is not None and epochs else ABSENT


def data(facts: Facts) -> list[str]:
    """Which corpus, how many clips on which side, and what was left out."""
    trained, tested = (corpus(config) for config in (facts.trained, facts.config))
    lines = [f"- Trained on: {trained}.", f"- Tested on: {tested}, fold {quoted(facts.fold)}.", ""]
    grid = [["clips", "n", "subjects", *CATEGORIES]]
    sides = facts.sides or {"training": None, "validation": None}
    for name, clips in (sides | {"test": facts.scores}).items():
        grid.append([name, *_counts(clips)])
    lines += [*markdown_table(grid), ""]
    lines += [f"- {name}: {meaning}." for name, meaning in CATEGORIES.items()]
    methods = sorted({method or NOT_GIVEN for method in facts.scores.loc[facts.scores["label"] == 0, "method"]})
    imitated = ", imitated by drawing" if facts.config.get("corpus") == "miniature" else ""
    lines.append(f"- Methods of the fake test clips{imitated}: {', '.join(map(quoted, methods)) or 'no fake clip'}.")
    if facts.sides is None:
        limit = facts.trained.get("num_train")
        most = f" There were {limit} of each category at most." if limit else ""
        lines.append(f"- ?: not known, as the corpus of training was not to be read.{most}")
    else:
        lines += _relations(facts.sides)
    return [*lines, *_skipped(facts)]


def corpus(config: Mapping[str, Any]) -> str:
    """What a configuration calls its clips."""
    name = config.get("corpus")
    if name == "miniature":
        return "the synthetic miniature of FakeAVCeleb"
    return quoted(name) if name else ABSENT


def _counts(clips: pd.DataFrame | None) -> list[str]:
    if clips is None:
        return ["?"] * (2 + len(CATEGORIES))
    of_each = [(clips["category"] == name).sum() for name in CATEGORIES]
    return [f"{count:,}" for count in (len(clips), clips["subject"].nunique(), *of_each)]


def _relations(sides: Mapping[str, pd.DataFrame]) -> list[str]:
    """How the sides share clips and subjects."""
    files, subjects = ({name: set(clips[column]) for name, clips in sides.items()} for column in ("file", "subject"))
    both = subjects["test"] & subjects["training"]
    lines = ["- The validation clips are the test clips."] if files["validation"] == files["test"] else []
    shared = f"{counted(len(both), 'test subject')} also in training" if both else "no test subject is in training"
    return [*lines, f"- Split by subject: {shared}."]


def _skipped(facts: Facts) -> list[str]:
    if "skipped" not in {**facts.trained, **facts.config}:
        return [f"- Skipped clips: {ABSENT}."]
    clips = skipped(facts.run)
    clips |= {str(entry[0]): ", ".join(map(str, entry[1:])) for entry in facts.trained.get("skipped") or []}
    named = [f"{quoted(file)} ({plain(why)})" for file, why in list(clips.items())[:LISTED]]
    more = f" and {len(clips) - LISTED} more" if len(clips) > LISTED else ""
    listed = f": {', '.join(named)}{more}" if clips else ""
    return [f"- Skipped, as missing or not decoding: {counted(len(clips), 'clip')}{listed}."]


def protocol(facts: Facts) -> list[str]:
    """How the epoch was picked, what a score is, and where the threshold comes from."""
    trained, config = facts.trained, facts.config
    threshold = facts.threshold
    picked_on, picked_by = PICKED_ON.get(trained.get("validation")), PICKED_BY.get(trained.get("selection"))
    frames = config.get("max_frames")
    lines = [
        "Score of a clip: the probability that it is real; 1 = real, 0 = fake.",
        f"The epoch was picked on {picked_on}, by {picked_by}." if picked_on else f"How it was picked: {ABSENT}.",
        f"Batches of the test: {PADDING.get(config.get('padding'), PADDING['cut'])}.",
        f"Of each clip the first {frames} frames at most were used ({frames / FRAME_RATE:.1f} s)."
        if frames
        else f"Frames used of a clip: {ABSENT}.",
        "ACC and hard AUC are of the detector's own decision: the likelier class, at no fitted threshold.",
        f"{AUC_EXPLAINED}.",
    ]
    lines.append(f"`main.py predict` calls a clip real from a score of {threshold.value:.4f} on: {_rule(threshold)}.")
    if facts.scores["audio_score"].notna().any():
        lines.append("It calls the sound, and the picture, real from a score of 0.5 on.")
    return [f"- {line}" for line in lines]


def _rule(threshold: Threshold) -> str:
    if threshold.rule == "default":
        return "the file holds no threshold that was chosen on clips"
    return f"where the two error rates meet on {counted(threshold.clips, 'clip')}, {threshold.on}"
