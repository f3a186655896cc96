"""What a reviewer would object to, in plain words, and the flag that avoids it; only what applies."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from utils.results import CATEGORIES
from utils.runs import PUBLISHED_CORPUS, Run, differing, of_other_folds
from utils.table import counted, ends, percent

# A test fold of the paper: 100 subjects with a clip of each category.
FEW_SUBJECTS, FEW_CLIPS = 100, 400
ROUNDING = 1e-9


class Caution(NamedTuple):
    """An objection: what it is, what follows from it, how to avoid it (what is typed is between backquotes).

    `find` says where it applies in a run: a sentence or, if in all of it, an empty string; None if it does not.
    """

    title: str
    meaning: str
    remedy: str
    find: Callable[[Run], str | None]


def cautions(runs: Sequence[Run]) -> list[tuple[Caution, dict[str, str]]]:
    """Return the objections that apply, each with the runs it applies to and where in them."""
    found = []
    for caution in CAUTIONS:
        places = {run.name: where for run in runs if (where := caution.find(run)) is not None}
        if places:
            found.append((caution, places))
    return found


def _where(applies: Callable[[dict[str, Any]], bool]) -> Callable[[Run], str | None]:
    """To find the folds of whose metrics.json something is so; they are named, unless they are all."""

    def find(run: Run) -> str | None:
        found = [fold for fold, metrics in run.metrics.items() if applies(metrics)]
        named = ", ".join(found) if len(found) < len(run.metrics) else ""
        return named if found else None

    return find


def _setting(name: str, value: Any) -> Callable[[Run], str | None]:
    return _where(lambda metrics: metrics["config"].get(name) == value)


def _is_balanced(metrics: dict[str, Any]) -> bool:
    hard, balanced = metrics.get("auc_hard"), metrics.get("balanced_acc")
    return hard is not None and balanced is not None and abs(hard - balanced) < ROUNDING


def _few(run: Run) -> str | None:
    subjects = run.pooled["subjects"] if run.pooled else None
    if not run.folds or (run.n_clips >= FEW_CLIPS and (subjects is None or subjects >= FEW_SUBJECTS)):
        return None
    if not run.pooled:
        return counted(run.n_clips, "clip")
    words = f"{counted(run.pooled['n'], 'clip')} of {counted(subjects, 'subject')}"
    interval = run.pooled["bootstrap"]["intervals"]["auc"]
    return f"{words}, 95 % interval of the AUC {ends(interval)}" if interval else words


def _below_chance(run: Run) -> str | None:
    aucs = {fold: metrics.get("auc") for fold, metrics in run.metrics.items()}
    if run.pooled:
        aucs["all clips"] = run.pooled["auc"]
    below = [f"{name}: {percent(auc)}" for name, auc in aucs.items() if auc is not None and auc < 0.5]
    return ", ".join(below) or None


def _other_corpus(run: Run) -> str | None:
    names = dict.fromkeys(str(config.get("corpus") or "corpus not recorded") for config in run.configs.values())
    return ", ".join(name for name in names if name != PUBLISHED_CORPUS) or None


def _absent(run: Run) -> str | None:
    found = []
    for fold in run.folds:
        if fold in run.scores:
            present = set(run.scores[fold]["category"])
        else:
            present = {name for name, values in run.metrics[fold]["per_category"].items() if values.get("n")}
        absent = [name for name in CATEGORIES if name not in present]
        if absent:
            is_class = "no real clip" if absent[0] == "A" else "no fake clip" if absent == ["B", "C", "D"] else ""
            found.append(f"{fold}: {is_class or 'no clip of ' + ', '.join(absent)}")
    return "; ".join(found) or None


def skipped(run: Run) -> dict[str, str]:
    """Return the clips that a run went on without, and why."""
    clips: dict[str, str] = {}
    for config in run.configs.values():
        entries = config.get("skipped")
        for entry in entries if isinstance(entries, list) else []:
            file, *why = entry if isinstance(entry, list) and entry else [entry]
            clips[str(file)] = ", ".join(map(str, why))
    return clips


CAUTIONS = (
    Caution(
        "The epoch was picked on the test fold",
        "Its metrics are those of the best of many tries on the very clips that they are of, so they are optimistic.",
        "`--validation subjects`, which `--recipe clean` sets too",
        _setting("validation", "test"),
    ),
    Caution(
        "How it was trained is not recorded",
        "metrics.json does not say how the epoch was picked, as after testing a checkpoint of the authors' release.",
        "train it with `train.py`, which records every setting",
        _where(lambda metrics: "validation" not in metrics["config"]),
    ),
    Caution(
        "The hard AUC equals the balanced accuracy",
        "It is that of the 0/1 decisions, as in the paper, and says nothing about how well the scores rank clips.",
        "judge by the AUC of the scores, and pick the epoch by it with `--selection auc`",
        _where(_is_balanced),
    ),
    Caution(
        "The visual front end was not trained",
        "Its first convolution stays at its random start, as in the authors' release.",
        "`--train_frontend`",
        _setting("train_frontend", False),
    ),
    Caution(
        "There is no transformer layer",
        "The encoder that the paper describes has 12; the authors' release has none.",
        "`--encoder_layers 12`, or `--pretrained FILE`",
        _setting("encoder_layers", 0),
    ),
    Caution(
        "Scores depend on the batch",
        "The clips of a batch are cut to its shortest, so that a clip's score changes with its neighbours.",
        "`--padding mask`",
        _setting("padding", "cut"),
    ),
    Caution(
        "There are few clips or subjects",
        f"Fewer than {FEW_CLIPS} clips or {FEW_SUBJECTS} subjects, which is one test fold of the paper: the "
        "intervals are wide.",
        "test more folds (`--folds 1,2,3,4,5`), a larger corpus, or more clips of it (`--num_val`)",
        _few,
    ),
    Caution(
        "Folds are missing",
        "The mean is not that of all folds of the protocol.",
        "train or test them, for instance `train.py --folds 2,3`",
        lambda run: ", ".join(run.missing) or None,
    ),
    Caution(
        "The folds are of different configurations",
        "They are not of one experiment.",
        "train all folds with the same flags, for instance with `main.py reproduce`",
        lambda run: ", ".join(differing(run.configs)) or None,
    ),
    Caution(
        "Corpora or protocols are mixed",
        "The folds were not tested on the same: there is no mean of them, and nothing of all clips together.",
        "test other corpora into runs of their own, with `--save_name`",
        lambda run: run.mixture or None,
    ),
    Caution(
        "A fold was tested with another fold's checkpoint",
        "That may have been trained on the subjects that it was tested on.",
        "test each fold with its own, for instance with `main.py reproduce`",
        lambda run: ", ".join(f"{fold}: {name}" for fold, name in of_other_folds(run.configs).items()) or None,
    ),
    Caution(
        "An AUC of the scores is below 50",
        "Real clips get lower scores than fake ones, which is worse than chance.",
        "see that scores are probabilities of real, and train longer (`--max_epochs`)",
        _below_chance,
    ),
    Caution(
        f"The corpus is not {PUBLISHED_CORPUS}",
        "No metric here is comparable with a published one.",
        f"`--data_root` with the folder of {PUBLISHED_CORPUS} v1.2",
        _other_corpus,
    ),
    Caution(
        "A class or a category is absent",
        "Metrics and figures that need it are not there, and the others are of fewer kinds of clips.",
        "test clips of all four categories: a larger `--num_val`, or another split",
        _absent,
    ),
    Caution(
        "Clips were skipped",
        "They are missing or do not decode, so that others who have them get other metrics.",
        "mend the corpus (`main.py prepare` names what is wrong) and leave out `--skip_bad`",
        lambda run: counted(len(skipped(run)), "clip") if skipped(run) else None,
    ),
)
