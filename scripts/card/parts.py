"""What a card says of a checkpoint: the values that `card.md` puts into words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dataset.media import FRAME_RATE
from scripts.audit.changes import CHANGES, LEVELS, left_out
from scripts.audit.sentences import KINDS as CHANGE_KINDS
from scripts.audit.sentences import listed
from scripts.card.facts import Facts, day
from scripts.evaluate.tables import calibration_section, kinds_sections, metrics_section, people_sections
from scripts.report.cautions import Caution, cautions, skipped
from utils.files import markdown_table
from utils.options import RECIPES
from utils.results import CATEGORIES
from utils.runs import AUC_EXPLAINED, PUBLISHED_CORPUS
from utils.statistics.evaluation import NOT_GIVEN, group_metrics
from utils.summary import calibration_notes
from utils.table import Section, counted, ends, explained, percent, section_lines, used
from utils.templates import templates_in

MINIATURE = (
    "**Trained or tested on the synthetic miniature, drawn faces with synthetic voices: no number here says anything "
    "about real clips.**"
)
ABSENT = "not recorded"
LISTED = 5  # clips that are named at most
KINDS = {
    "AVDF": "one classifier looks at video and audio together and says real or fake",
    "AVDF_Ensemble": "a classifier for the video and one for the audio; a clip is real if both say so",
    "AVDF_Multilabel": "one classifier on both streams with two answers, audio real and video real; a clip is real "
    "if both are",
    "AVDF_Multiclass": "one classifier on both streams that tells the four categories apart; a clip is real if A is "
    "the likeliest",
    "MRDF_Margin": "one classifier on both streams, trained so that real audio and video agree (cross-modality) and "
    "real and fake streams lie apart by a margin (within-modality)",
    "MRDF_CE": "one classifier on both streams, trained so that real audio and video agree (cross-modality), and a "
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
AT_THRESHOLD = {
    "acc": "ACC",
    "false_rejection": "real clips rejected (false rejection)",
    "false_acceptance": "fake clips accepted (false acceptance)",
}
# Objections to a run that are none to one fold of it.
OF_SEVERAL_FOLDS = {"Folds are missing", "The folds are of different configurations"}
PICKED_ON_TEST = "The epoch was picked on the test fold"


def build(facts: Facts) -> str:
    """Put the card together."""
    # A card is Markdown: what comes from outside goes through `quoted` or `plain`.
    environment = templates_in(Path(__file__).parent, markup=False)
    environment.filters |= {"quoted": quoted, "plain": plain, "corpus": corpus, "counted": counted}
    text = environment.get_template("card.md").render(**_values(facts))
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def quoted(text: object) -> str:
    """Show a name from outside as code, in which Markdown has no signs of its own."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def plain(text: object) -> str:
    """Show a sentence from outside, in which Markdown sees no HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def corpus(name: str | None) -> str:
    """Return what a configuration calls its clips."""
    if name == "miniature":
        return "the synthetic miniature of FakeAVCeleb"
    return quoted(name) if name else ABSENT


def _values(facts: Facts) -> dict[str, Any]:
    trained, config, scores, run = facts.trained, facts.config, facts.scores, facts.run
    pooled = run.pooled
    whole = metrics_section(pooled, {"resamples": run.resamples, "seed": run.seed})
    results = [whole, _at_threshold(facts), *kinds_sections(pooled)]
    return {
        **{name: getattr(facts, name) for name in ("run", "fold", "path", "threshold", "audit", "no_audit")},
        "trained": trained,
        "config": config,
        "corpora": {trained.get("corpus"), config.get("corpus")},
        "miniature": MINIATURE,
        "identity": _identity(facts),
        "counts": _counts(facts),
        "categories": CATEGORIES,
        "methods": sorted({method or NOT_GIVEN for method in scores.loc[scores["label"] == 0, "method"]}),
        "relations": _relations(facts),
        "skipped": _skipped(facts),
        "picked_on": PICKED_ON.get(trained.get("validation")),
        "picked_by": PICKED_BY.get(trained.get("selection")),
        "padding": PADDING.get(config.get("padding"), PADDING["cut"]),
        "frame_rate": FRAME_RATE,
        "auc_explained": AUC_EXPLAINED,
        "has_heads": scores["audio_score"].notna().any(),
        "results": _lines(explained(results)),
        "people": _lines(explained(people_sections(pooled))),
        "calibration": _lines([_calibration(facts)]),
        "measured": _measured(facts.changes),
        "shortcuts": _shortcuts(facts.audit),
        "cautions": _cautions(facts),
        "damage": _damage(facts),
        "share_real": (scores["label"] == 1).mean(),
        "start": Path(trained.get("pretrained") or "").name,
        "published_corpus": PUBLISHED_CORPUS,
    }


def _identity(facts: Facts) -> dict[str, str]:
    """The detector, how it was made, and which file it is."""
    choices, trained = facts.choices, facts.trained
    layers = choices["encoder_layers"]
    made = trained.get("environment") or facts.config.get("environment") or {}
    start = trained.get("pretrained")
    pretrained = f"the weights of AV-HuBERT in {quoted(Path(start).name)}" if start else "random weights"
    return {
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
    return ", ".join(f"{name} {trained.get(name, ABSENT)}" for name in (*names, "precision", "seed"))


def _time(made: Mapping[str, Any]) -> str:
    hours, epochs = made.get("hours"), made.get("epochs")
    # A run that was resumed when training had ended counts no epoch.
    return f"{hours:.2f} hours for {counted(epochs, 'epoch')}" if hours is not None and epochs else ABSENT


def _counts(facts: Facts) -> str:
    """Clips, subjects and categories of each side, as a table."""
    grid = [["clips", "n", "subjects", *CATEGORIES]]
    sides = facts.sides or {"training": None, "validation": None}
    for name, clips in (sides | {"test": facts.scores}).items():
        if clips is None:
            grid.append([name, *["?"] * (2 + len(CATEGORIES))])
            continue
        of_each = [(clips["category"] == key).sum() for key in CATEGORIES]
        grid.append([name, *(f"{count:,}" for count in (len(clips), clips["subject"].nunique(), *of_each))])
    return "\n".join(markdown_table(grid))


def _relations(facts: Facts) -> list[str]:
    """How the sides share clips and subjects."""
    if facts.sides is None:
        limit = facts.trained.get("num_train")
        most = f" There were {limit} of each category at most." if limit else ""
        return [f"?: not known, as the corpus of training was not to be read.{most}"]
    sides = facts.sides
    files, subjects = ({name: set(clips[column]) for name, clips in sides.items()} for column in ("file", "subject"))
    both = subjects["test"] & subjects["training"]
    lines = ["The validation clips are the test clips."] if files["validation"] == files["test"] else []
    shared = f"{counted(len(both), 'test subject')} also in training" if both else "no test subject is in training"
    return [*lines, f"Split by subject: {shared}."]


def _skipped(facts: Facts) -> str:
    if "skipped" not in {**facts.trained, **facts.config}:
        return f"Skipped clips: {ABSENT}"
    clips = skipped(facts.run)
    clips |= {str(entry[0]): ", ".join(map(str, entry[1:])) for entry in facts.trained.get("skipped") or []}
    named = [f"{quoted(file)} ({plain(why)})" for file, why in list(clips.items())[:LISTED]]
    more = f" and {len(clips) - LISTED} more" if len(clips) > LISTED else ""
    listed_ = f": {', '.join(named)}{more}" if clips else ""
    return f"Skipped, as missing or not decoding: {counted(len(clips), 'clip')}{listed_}"


def _at_threshold(facts: Facts) -> Section:
    """The errors where `main.py predict` draws the line, which is not where the detector itself does."""
    threshold = facts.threshold
    table = facts.scores.assign(decision=(facts.scores["score"] >= threshold.value).astype(int))
    found = group_metrics(table, facts.run.resamples, facts.run.seed)
    grid = [["metric", "%", "95 %"]]
    for name, heading in AT_THRESHOLD.items():
        interval = ends(found["intervals"][name], name in found["rule_of_three"])
        grid.append([heading, percent(found[name]) or "no such clip", interval])
    notes = ["The threshold was chosen on these very clips, which makes it look better than it is."]
    chosen_here = threshold.rule == "eer" and facts.trained.get("validation") == "test" and facts.same_corpus
    return Section(f"At the threshold of main.py predict, {threshold.value:.4f}", grid, notes if chosen_here else [])


def _calibration(facts: Facts) -> Section:
    """ECE and Brier score of the raw scores, and what the calibration of the checkpoint does to them."""
    section = calibration_section(facts.run.pooled["calibration"])
    notes = ["ECE, Brier: how far the score is from the share of real clips; 0 is best."]
    record = facts.run.metrics[facts.fold].get("calibration")
    if not record:
        return section._replace(notes=[*notes, "The checkpoint holds no calibration, so that a score is all there is."])
    head, *rows = section.grid
    keys = ("ece", "ece_equal_mass", "brier")
    values = [[f"{record[when][key]:.4f}" for when in ("before", "after")] for key in keys]
    body = [[row[0], *pair] for row, pair in zip(rows, values, strict=True)]
    return section._replace(grid=[[head[0], "score", "calibrated"], *body], notes=[*notes, *calibration_notes(record)])


def _shortcuts(audit: Mapping[str, Any] | None) -> str:
    rows = [row for row in (audit or {}).get("shortcuts", []) if isinstance(row, Mapping)]
    if not rows:
        return ""
    grid = [["shortcut", "category", "n", "AUC", "95 %", "named", "note"]]
    for row in rows:
        count = "" if row.get("n") is None else f"{row['n']:,}"
        interval = None if None in (row.get("low"), row.get("high")) else (row["low"], row["high"])
        said = ["yes" if row.get("named") else "", str(row.get("note") or "")]
        grid.append([str(row["shortcut"]), str(row["category"]), count, percent(row["auc"]), ends(interval), *said])
    notes = [
        "AUC: of a logistic regression on this alone, without the detector, the fake clips of a category against the "
        "real ones, of training too. What lies well above 50 tells the fakes of this corpus without looking at them."
    ]
    return "\n".join(section_lines(Section("Shortcuts, in percent", used(grid), notes), level=3))


def _cautions(facts: Facts) -> list[tuple[Caution, str]]:
    """The objections of `scripts.report.cautions` that apply to this fold, and where."""
    left = OF_SEVERAL_FOLDS if facts.same_corpus else OF_SEVERAL_FOLDS | {PICKED_ON_TEST}
    found = [(caution, "".join(places.values())) for caution, places in cautions([facts.run])]
    return [(caution, where) for caution, where in found if caution.title not in left]


def _measured(made: Collection[str] | None) -> str:
    """How many changes of each kind an audit made."""
    if made is None:
        return "not recorded"
    parts = []
    for kind, word in CHANGE_KINDS.items():
        names = [change.name for change in CHANGES if change.kind == kind]
        count = sum(name in made for name in names)
        share = f"all {count}" if count == len(names) else f"{count or 'none'} of {len(names)}"
        parts.append(f"{word}, {share}")
    return "; ".join(parts)


def _damage(facts: Facts) -> str:
    """Whether the audit says what damage does to the scores, and what damage."""
    absent = None if facts.changes is None else left_out(facts.changes, "damage")
    if absent is None or absent == [*LEVELS["damage"]]:
        return "by how much was not measured"
    if not absent:
        return "by how much the audit says, for the damage that it does to clips"
    return f"by how much the audit says in part; it left out {listed(absent)}"


def _lines(parts: list[Section]) -> str:
    """Lines of the tables; one that is alone in its part, without a heading of its own."""
    lines = [line for part in parts for line in section_lines(part, level=3)]
    return "\n".join(lines[2:] if len(parts) == 1 else lines).rstrip()
