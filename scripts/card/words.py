"""The parts of a card in words: limits, what it is for and what not, licences and citation."""

from __future__ import annotations

from pathlib import Path

from dataset.media import FRAME_RATE
from scripts.audit.changes import LEVELS, left_out
from scripts.audit.sentences import listed
from scripts.card.details import plain, quoted
from scripts.card.facts import Facts
from scripts.report.cautions import cautions
from utils.runs import PUBLISHED_CORPUS

# Objections to a run that are none to one fold of it.
OF_SEVERAL_FOLDS = {"Folds are missing", "The folds are of different configurations"}
PICKED_ON_TEST = "The epoch was picked on the test fold"
INTENDED = (
    "Research: comparing detectors on the same fold, repeating the paper, studying where and why a detector fails.",
    "A hint, one among several, for a person who is trained to look at such clips and can get at other evidence: the "
    "source, the original, the context.",
)
NOT_FOR = (
    "Evidence by itself. A score is no proof, in court or elsewhere, whatever its value.",
    "Decisions about people without a human who can and does decide otherwise: moderation, hiring, admission, "
    "insurance, policing.",
    "Surveillance, identification or any other biometric use: it says nothing about who somebody is.",
    'A claim that a clip is authentic. "Real" means that nothing of what it was trained on was found.',
    "Anything but a talking face with its sound: no face, no sound, a dubbed or translated clip, a still picture, a "
    "picture without speech, a voice without a face.",
)
CITATION = """```bibtex
@inproceedings{zou2024mrdf,
  title     = {Cross-Modality and Within-Modality Regularization for Audio-Visual DeepFake Detection},
  author    = {Zou, Heqing and Shen, Meng and Hu, Yuchen and Chen, Chen and Chng, Eng Siong and Rajan, Deepu},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing (ICASSP)},
  year      = {2024}
}
```"""


def limits(facts: Facts) -> list[str]:
    """What applies of the objections in `scripts.report.cautions`, and what holds for any such detector."""
    left_out = OF_SEVERAL_FOLDS if facts.same_corpus else OF_SEVERAL_FOLDS | {PICKED_ON_TEST}
    lines = []
    for caution, places in cautions([facts.run]):
        if caution.title not in left_out:
            where = "".join(places.values())
            detail = f" ({plain(where)})" if where else ""
            lines.append(f"- **{caution.title}**{detail}. {caution.meaning} To avoid it: {caution.remedy}.")
    return [*lines, *(f"- **{title}.** {text}" for title, text in _general(facts).items())]


def _general(facts: Facts) -> dict[str, str]:
    frames = facts.trained.get("max_frames")
    seconds = f" It was trained on the first {frames / FRAME_RATE:.1f} s of clips at most." if frames else ""
    share = (facts.scores["label"] == 1).mean()
    return {
        "Face crops": "It expects one face that fills the picture, as in the clips that it was trained on; "
        f"`main.py predict` cuts other clips so, and what it does not find it cannot judge.{seconds}",
        "Unseen fakes": "Only the methods named under Data were tested. Newer generators may pass unnoticed, and no "
        "figure here says how many do.",
        "Languages and recordings": "Which languages, microphones and cameras the clips have is not recorded; in "
        "others the errors may be different.",
        "Codecs and damage": "The figures are of clips as the corpus has them. Compressing, scaling, filtering or "
        f"recording them again changes scores; {_damage(facts)}.",
        "Deliberate deception": "It was not tested against clips that were made to deceive it.",
        "How rare fakes are": f"{100 * share:.0f} % of the test clips are real. Where fakes are rarer than here, a "
        "larger part of the clips that it calls fake is real.",
        "Scores are not odds": "A score is calibrated at best on clips like those of the test; see Calibration.",
    }


def _damage(facts: Facts) -> str:
    """Whether the audit says what damage does to the scores, and what damage."""
    absent = None if facts.changes is None else left_out(facts.changes, "damage")
    if absent is None or absent == [*LEVELS["damage"]]:
        return "by how much was not measured"
    if not absent:
        return "by how much the audit says, for the damage that it does to clips"
    return f"by how much the audit says in part; it left out {listed(absent)}"


def uses() -> dict[str, list[str]]:
    """Title of a part → its lines: what the detector is for, and what it must not be used for."""
    return {
        "Intended use": [f"- {line}" for line in INTENDED],
        "It must not be used for": [f"- {line}" for line in NOT_FOR],
    }


def licences(facts: Facts) -> list[str]:
    """Licences of what it was made from, as far as they are known, and what to cite."""
    trained = facts.trained
    start = trained.get("pretrained")
    corpora = dict.fromkeys((trained.get("corpus"), facts.config.get("corpus")))
    lines = ["- Of the checkpoint itself no licence is recorded; whoever passes it on has to name one."]
    if start:
        lines.append(
            f"- It started from {quoted(Path(start).name)}; AV-HuBERT's weights are under Meta's own licence, for "
            "non-commercial research."
        )
    if PUBLISHED_CORPUS in corpora:
        lines.append(
            f"- {PUBLISHED_CORPUS} is under the terms that its users sign, and may not be passed on (Khalid et al., "
            "FakeAVCeleb: A Novel Audio-Video Multimodal Deepfake Dataset, NeurIPS Datasets and Benchmarks 2021)."
        )
    if "miniature" in corpora:
        lines.append("- The miniature is drawn and voiced by this software; nobody's face or voice is in it.")
    lines.append("- The form of this card: Mitchell et al., Model Cards for Model Reporting, FAT* 2019.")
    return [*lines, "", *CITATION.splitlines()]
