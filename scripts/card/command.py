"""The command `main.py card`: a model card of a checkpoint, as Mitchell et al. ask for (Model Cards, FAT* 2019).

Its sentences stand in card.md, among which the tables and lists made here are put.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dataset.media import FRAME_RATE
from scripts.audit.changes import CHANGES, LEVELS, left_out
from scripts.audit.sentences import KINDS, listed
from scripts.card.facts import Facts, read_facts
from scripts.evaluate.tables import CALIBRATION, calibration_section, kinds_sections, metrics_section, people_sections
from scripts.report.cautions import Caution, cautions, skipped
from utils.files import markdown_table, write_atomic
from utils.options import RECIPES
from utils.results import CATEGORIES
from utils.runs import PUBLISHED_CORPUS
from utils.statistics.bootstrap import RESAMPLES, SEED, require_not_negative
from utils.statistics.evaluation import NOT_GIVEN, group_metrics
from utils.summary import calibration_notes
from utils.table import AUC_EXPLAINED, Section, counted, ends, percent, section_lines
from utils.templates import templates_in

log = logging.getLogger(__name__)

FILE = "MODEL_CARD.md"
MINIATURE = (
    "**Trained or tested on the synthetic miniature, drawn faces with synthetic voices: no number here says anything "
    "about real clips.**"
)
AT_THRESHOLD = {
    "acc": "ACC",
    "false_rejection": "real clips rejected (false rejection)",
    "false_acceptance": "fake clips accepted (false acceptance)",
}
# Objections to a run that are none to one fold of it.
OF_SEVERAL_FOLDS = {"Folds are missing", "The folds are of different configurations"}
PICKED_ON_TEST = "The epoch was picked on the test fold"


def card(
    checkpoint: Path,
    out: Path | None = None,
    outputs: Path = Path("outputs"),
    bootstrap: int = RESAMPLES,
    seed: int = SEED,
) -> None:
    """Write the model card of a checkpoint: what it is, its data and results, its limits and what it is not for.

    Parameters
    ----------
    checkpoint
        Checkpoint whose fold has been tested by train.py or by test.py, or a folder that main.py export wrote, which
        test.py has tested.
    out
        The file to write; by default MODEL_CARD.md beside the results of the fold.
    outputs
        Folder of the outputs, in which the results are.
    bootstrap
        Resamples of the subjects, from which the intervals come; 0 for none.
    seed
        Of the resamples.

    Raises
    ------
    FileNotFoundError, DataError
        If there is no such checkpoint, its fold has not been tested, an option is out of range, a file cannot be read,
        or the results are not those of the checkpoint.
    """
    require_not_negative(bootstrap=bootstrap, seed=seed)
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder, but must be a file, such as {out / FILE}")
    facts = read_facts(checkpoint, outputs, bootstrap, seed)
    out = out or facts.folder / FILE
    write_atomic(out, build(facts))
    log.info("card: %s", out)
    if facts.audit is None:
        log.warning("%s: %s, which the card says; main.py audit makes one", checkpoint, facts.no_audit)


def build(facts: Facts) -> str:
    """Put the card together."""
    # A card is Markdown: what comes from outside goes through `quoted` or `plain`.
    environment = templates_in(Path(__file__).parent, markup=False)
    environment.filters |= {"quoted": quoted, "plain": plain, "counted": counted, "day": _day, "tables": _tables}
    run, scores = facts.run, facts.scores
    whole = metrics_section(run.pooled, {"resamples": run.resamples, "seed": run.seed})
    text = environment.get_template("card.md").render(
        vars(facts),
        config=facts.config,
        scores=scores,
        folder=facts.folder,
        start=Path(facts.trained.get("pretrained") or "").name,
        miniature=MINIATURE,
        made=facts.trained.get("environment") or facts.config.get("environment") or {},
        tested=facts.config.get("environment") or {},
        changed=_changed(facts.trained),
        clips=_counts(facts),
        validated_on_test=facts.sides and set(facts.sides["validation"]["file"]) == set(facts.sides["test"]["file"]),
        seen=facts.sides and len({*facts.sides["test"]["subject"]} & {*facts.sides["training"]["subject"]}),
        categories=CATEGORIES,
        methods=sorted({method or NOT_GIVEN for method in scores.loc[scores["label"] == 0, "method"]}),
        skipped=_skipped(facts),
        frame_rate=FRAME_RATE,
        auc_explained=AUC_EXPLAINED,
        results=[whole, _at_threshold(facts), *kinds_sections(run.pooled)],
        people=people_sections(run.pooled),
        calibration=_calibration(facts),
        measured=_measured(facts.changes),
        shortcuts=_shortcuts(facts.audit),
        cautions=_cautions(facts),
        damage=_damage(facts.changes),
        published_corpus=PUBLISHED_CORPUS,
    )
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def quoted(text: object) -> str:
    """Show a name from outside as code, in which Markdown has no signs of its own."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def plain(text: object) -> str:
    """Show a sentence from outside, in which Markdown sees no HTML."""
    return " ".join(str(text).split()).replace("<", "&lt;")


def _day(path: Path) -> str:
    """The date of a file, in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).date().isoformat()


def _tables(parts: list[Section]) -> str:
    """Lines of the tables; one that is alone in its part, without a heading of its own."""
    lines = [line for part in parts for line in section_lines(part, level=3)]
    return "\n".join(lines[2:] if len(parts) == 1 else lines).rstrip()


def _changed(trained: Mapping[str, Any]) -> str:
    """What differs from the recipe that is named."""
    recipe = RECIPES.get(trained.get("recipe") or "", {})
    differing = {name: usual for name, usual in recipe.items() if name in trained and trained[name] != usual}
    return ", ".join(f"{name} {trained[name]} instead of {usual}" for name, usual in differing.items())


def _counts(facts: Facts) -> str:
    """Clips, subjects and categories of each side, as a table."""
    grid = [["clips", "n", "subjects", *CATEGORIES]]
    for name, clips in ((facts.sides or {"training": None, "validation": None}) | {"test": facts.scores}).items():
        cells = ["?"] * (2 + len(CATEGORIES))
        if clips is not None:
            of_each = [(clips["category"] == key).sum() for key in CATEGORIES]
            cells = [f"{count:,}" for count in (len(clips), clips["subject"].nunique(), *of_each)]
        grid.append([name, *cells])
    return "\n".join(markdown_table(grid))


def _skipped(facts: Facts) -> dict[str, str] | None:
    """Clips that training or the test went on without, and why; None where that is not recorded."""
    if "skipped" not in {**facts.trained, **facts.config}:
        return None
    in_training = facts.trained.get("skipped") or []
    return skipped(facts.run) | {str(entry[0]): ", ".join(map(str, entry[1:])) for entry in in_training}


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
    return Section.of(f"At the threshold of main.py predict, {threshold.value:.4f}", grid, notes if chosen_here else [])


def _calibration(facts: Facts) -> Section:
    """ECE and Brier score of the raw scores, and what the calibration of the checkpoint does to them."""
    section = calibration_section(facts.run.pooled["calibration"])
    notes = ["ECE, Brier: how far the score is from the share of real clips; 0 is best."]
    record = facts.run.metrics[facts.fold].get("calibration")
    if not record:
        return section._replace(notes=[*notes, "The checkpoint holds no calibration, so that a score is all there is."])
    grid = [["metric", "score", "calibrated"]]
    for key, text in CALIBRATION.items():
        grid.append([text, *(f"{record[when][key]:.4f}" for when in ("before", "after"))])
    return section._replace(grid=grid, notes=[*notes, *calibration_notes(record)])


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
    return "\n".join(section_lines(Section.of("Shortcuts, in percent", grid, notes), level=3))


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
    for kind, word in KINDS.items():
        names = [change.name for change in CHANGES if change.kind == kind]
        count = sum(name in made for name in names)
        parts.append(f"{word}, " + (f"all {count}" if count == len(names) else f"{count or 'none'} of {len(names)}"))
    return "; ".join(parts)


def _damage(made: Collection[str] | None) -> str:
    """Whether the audit says what damage does to the scores, and what damage."""
    absent = [*LEVELS["damage"]] if made is None else left_out(made, "damage")
    if absent == [*LEVELS["damage"]]:
        return "by how much was not measured"
    if not absent:
        return "by how much the audit says, for the damage that it does to clips"
    return f"by how much the audit says in part; it left out {listed(absent)}"
