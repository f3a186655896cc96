"""Figures of a fold against hand-computed cases, plain definitions and scikit-learn."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import distributed, multiprocessing
from torch.utils.data import DistributedSampler
from torchmetrics.classification import BinaryAUROC

from utils.errors import DataError
from utils.metrics import (
    FoldScores,
    equal_error_rate,
    equal_error_threshold,
    evaluate,
    per_method,
    release_criterion,
    require_scores,
)

NAMES = {
    "acc", "balanced_acc", "auc", "auc_hard", "ap_real", "ap_fake", "eer", "f1_real", "recall_real", "precision_real",
    "f1_fake", "recall_fake", "precision_fake", "audio_auc", "video_auc", "per_category", "n",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def table_of(category: str, score: list[float], **columns) -> pd.DataFrame:
    score = np.asarray(score, dtype=np.float32)
    table = pd.DataFrame({"category": list(category), "score": score, "video_score": np.nan, "audio_score": np.nan})
    table["label"] = (table["category"] == "A").astype(int)
    table["decision"] = (table["score"] >= 0.5).astype(int)
    return table.assign(**columns)


def random_table(seed: int, levels: int | None, n: int = 60) -> pd.DataFrame:
    """Scores on few levels have many ties."""
    rng = np.random.default_rng(seed)
    category = "ABCD" + "".join(rng.choice(list("ABCD"), n - 4))
    draw = (lambda: rng.random(n)) if levels is None else (lambda: rng.integers(0, levels, n) / (levels - 1))
    return table_of(category, draw(), video_score=draw(), audio_score=draw())


def auc_by_pairs(positive: np.ndarray, score: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, a tie being half a pair."""
    difference = score[positive == 1][:, None] - score[positive == 0][None]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def eer_by_bisection(label: np.ndarray, score: np.ndarray) -> float:
    """Walk along the ROC, as a line through its points, to where both error rates are equal."""
    thresholds = [np.inf, *np.unique(score)[::-1]]
    misses = [np.mean(score[label == 1] < threshold) for threshold in thresholds]
    false_alarms = [np.mean(score[label == 0] >= threshold) for threshold in thresholds]
    low, high = 0.0, len(thresholds) - 1.0
    steps = np.arange(len(thresholds))
    for _ in range(80):
        middle = (low + high) / 2
        above = np.interp(middle, steps, misses) > np.interp(middle, steps, false_alarms)
        low, high = (middle, high) if above else (low, middle)
    return float(np.interp(low, steps, false_alarms))


def test_hand_computed_fold() -> None:
    table = table_of("AABC", [0.9, 0.4, 0.6, 0.1], audio_score=[0.8, 0.3, 0.2, 0.1], video_score=[0.5, 0.5, 0.5, 0.4])
    figures = evaluate(table)
    expected = {
        "n": 4, "acc": 1 / 2, "balanced_acc": 1 / 2, "auc": 3 / 4, "auc_hard": 1 / 2, "ap_real": 5 / 6,
        "ap_fake": 5 / 6, "eer": 1 / 2, "f1_real": 1 / 2, "recall_real": 1 / 2, "precision_real": 1 / 2,
        "f1_fake": 1 / 2, "recall_fake": 1 / 2, "precision_fake": 1 / 2,
        "audio_auc": 2 / 3,  # audio is real in A, A, C: 0.8 and 0.3 lie above 0.2, 0.1 does not
        "video_auc": 1.0,  # video is real in A, A, B
    }  # fmt: skip
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["per_category"] == {
        "A": {"n": 2, "acc": 0.5},
        "B": {"n": 1, "acc": 0.0, "auc": 0.5},
        "C": {"n": 1, "acc": 1.0, "auc": 1.0},
        "D": {"n": 0, "acc": None, "auc": None},
    }


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        ([0.9, 0.8], [0.2, 0.1], 0.0),
        ([0.2, 0.1], [0.9, 0.8], 1.0),
        ([0.5, 0.5], [0.5, 0.5], 1 / 2),
        ([0.9, 0.8, 0.3], [0.7, 0.1], 1 / 3),  # no threshold has equal rates: 1/3 missed, false alarms go from 0 to 1/2
        ([0.5, 0.5], [0.5, 0.1], 1 / 3),  # along the slope from (0, 0) to (1/2, 1)
    ],
)
def test_hand_computed_equal_error_rate(real: list[float], fake: list[float], expected: float) -> None:
    label = np.array([1] * len(real) + [0] * len(fake))
    assert equal_error_rate(label, np.array(real + fake)) == pytest.approx(expected, abs=1e-12)


def test_hand_computed_ties() -> None:
    figures = evaluate(table_of("AABB", [0.5, 0.5, 0.5, 0.1]))
    assert figures["auc"] == 3 / 4
    assert figures["ap_real"] == pytest.approx(2 / 3)  # all three of 0.5 at once: precision 2/3 at recall 1


@pytest.mark.parametrize("levels", [None, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_random_folds_follow_the_definitions(seed: int, levels: int | None) -> None:
    table = random_table(seed, levels)
    label, score, decision = (table[name].to_numpy() for name in ("label", "score", "decision"))
    figures = evaluate(table)
    hits = {name: np.sum((label == k) & (decision == k)) for name, k in (("real", 1), ("fake", 0))}
    assert figures["acc"] == pytest.approx(np.mean(label == decision))
    assert figures["auc"] == pytest.approx(auc_by_pairs(label, score))
    assert figures["auc_hard"] == pytest.approx(auc_by_pairs(label, decision))
    assert figures["auc_hard"] == pytest.approx(figures["balanced_acc"])
    assert figures["balanced_acc"] == pytest.approx((hits["real"] / label.sum() + hits["fake"] / (1 - label).sum()) / 2)
    assert figures["eer"] == pytest.approx(eer_by_bisection(label, score), abs=1e-9)
    for name, k in (("real", 1), ("fake", 0)):
        recall, precision = hits[name] / np.sum(label == k), hits[name] / np.sum(decision == k)
        assert figures[f"recall_{name}"] == pytest.approx(recall)
        assert figures[f"precision_{name}"] == pytest.approx(precision)
        assert figures[f"f1_{name}"] == pytest.approx(2 * recall * precision / (recall + precision))
    for name, real in (("audio", "AC"), ("video", "AB")):
        positive = table["category"].isin(list(real)).to_numpy(int)
        assert figures[f"{name}_auc"] == pytest.approx(auc_by_pairs(positive, table[f"{name}_score"].to_numpy()))
    for category in "BCD":
        rows = table["category"].isin(["A", category]).to_numpy()
        assert figures["per_category"][category]["auc"] == pytest.approx(auc_by_pairs(label[rows], score[rows]))


@pytest.mark.parametrize("levels", [None, 4])
def test_random_folds_against_scikit_learn(levels: int | None) -> None:
    table = random_table(7, levels, n=200)
    label, score, decision = (table[name].to_numpy() for name in ("label", "score", "decision"))
    figures = evaluate(table)
    assert figures["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(label, score))
    assert figures["ap_real"] == pytest.approx(sklearn_metrics.average_precision_score(label, score))
    assert figures["ap_fake"] == pytest.approx(sklearn_metrics.average_precision_score(label == 0, 1 - score))
    assert figures["f1_fake"] == pytest.approx(sklearn_metrics.f1_score(label, decision, pos_label=0))
    assert figures["precision_real"] == pytest.approx(sklearn_metrics.precision_score(label, decision))


def test_names_and_types_are_those_of_metrics_json() -> None:
    figures = evaluate(random_table(0, None))
    assert figures.keys() == NAMES
    assert type(figures["n"]) is int
    assert all(type(figures[name]) is float for name in NAMES - {"n", "per_category"})
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.parametrize(("category", "present", "absent"), [("AAA", "real", "fake"), ("BCD", "fake", "real")])
def test_one_class_only(category: str, present: str, absent: str) -> None:
    figures = evaluate(table_of(category, [0.9, 0.8, 0.2]))
    undefined = ["auc", "auc_hard", "balanced_acc", "ap_real", "ap_fake", "eer"]
    undefined += [f"{name}_{absent}" for name in ("f1", "recall", "precision")]
    assert [figures[name] for name in undefined] == [None] * len(undefined)
    assert figures["acc"] == pytest.approx(2 / 3 if present == "real" else 1 / 3)
    assert figures[f"recall_{present}"] == figures["acc"]
    assert figures[f"precision_{present}"] == 1.0


def test_class_never_decided_for_has_no_precision() -> None:
    figures = evaluate(table_of("AABB", [0.1, 0.2, 0.3, 0.4]))
    assert figures["precision_real"] is None
    assert (figures["recall_real"], figures["f1_real"]) == (0.0, 0.0)
    assert (figures["recall_fake"], figures["precision_fake"]) == (1.0, 0.5)


def test_absent_or_broken_scores_leave_their_figures_undefined() -> None:
    figures = evaluate(table_of("ABCD", [0.9, 0.1, np.nan, 0.1], audio_score="", video_score=None))
    assert [figures[name] for name in ("auc", "ap_real", "eer", "audio_auc", "video_auc")] == [None] * 5
    assert figures["per_category"]["B"]["auc"] == 1.0
    assert figures["acc"] == 1.0


def test_fold_without_clips() -> None:
    figures = evaluate(table_of("", []))
    assert figures.pop("n") == 0
    assert {entry["n"] for entry in figures.pop("per_category").values()} == {0}
    assert set(figures.values()) == {None}


def batch_of(ids: list[int]) -> dict[str, torch.Tensor]:
    ids = torch.tensor(ids)
    score = torch.tensor([0.1, 0.2, 0.3, 0.4, 1 - 2**-24])[ids]
    v_label, a_label = torch.tensor([1, 1, 0, 0, 1])[ids], torch.tensor([1, 0, 1, 0, 1])[ids]
    labels = {"m_label": v_label * a_label, "v_label": v_label, "a_label": a_label}
    return {"id": ids, "score": score, "decision": (score >= 0.5).long(), **labels}


def check_five_clips(table: pd.DataFrame) -> None:
    assert table["id"].tolist() == [0, 1, 2, 3, 4]
    assert table["score"].dtype == np.float32
    assert table["score"].tolist() == batch_of([0, 1, 2, 3, 4])["score"].tolist()
    assert table["label"].tolist() == [1, 0, 0, 0, 1]
    assert table["decision"].tolist() == [0, 0, 0, 0, 1]
    assert "".join(table["category"]) == "ABCDA"
    assert evaluate(table)["acc"] == pytest.approx(4 / 5)


def test_fold_scores_hold_each_clip_once_in_order() -> None:
    scores = FoldScores()
    for ids in ([3, 1], [4, 2], [0, 3]):
        scores.update(**batch_of(ids), video_score=None, audio_score=torch.ones(2))
    table = scores.compute()
    check_five_clips(table)
    assert table["video_score"].isna().all()
    assert (table["audio_score"] == 1).all()


def test_fold_scores_keep_the_first_row_of_a_repeated_clip_and_reset() -> None:
    scores = FoldScores()
    for value in (0.25, 0.75):
        batch = batch_of([2]) | {"score": torch.tensor([value])}
        scores.update(**batch, video_score=None, audio_score=None)
    assert scores.compute()["score"].tolist() == [0.25]
    scores.reset()
    scores.update(**batch_of([1]), video_score=None, audio_score=None)
    assert scores.compute()["id"].tolist() == [1]


def test_fold_scores_take_half_precision_and_drop_the_graph() -> None:
    scores = FoldScores()
    score = torch.tensor([0.1, 0.9], dtype=torch.bfloat16, requires_grad=True)
    scores.update(**batch_of([0, 1]) | {"score": score}, video_score=score, audio_score=None)
    table = scores.compute()
    assert table["score"].tolist() == table["video_score"].tolist() == score.float().tolist()


def score_share(rank: int, folder: str) -> None:
    """One of two processes: score the clips that the distributed sampler gives it."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    scores = FoldScores()
    for k in DistributedSampler(range(5), num_replicas=2, rank=rank, shuffle=False):
        scores.update(**batch_of([k]), video_score=None, audio_score=None)
    scores.compute().to_pickle(f"{folder}/{rank}.pkl")
    distributed.destroy_process_group()


def test_fold_scores_of_two_processes_are_those_of_the_whole_fold(tmp_path: Path) -> None:
    multiprocessing.start_processes(score_share, args=(str(tmp_path),), nprocs=2, start_method="fork")
    for rank in range(2):
        check_five_clips(pd.read_pickle(tmp_path / f"{rank}.pkl"))


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        ([0.9, 0.8], [0.1, 0.4], 0.6),  # apart: the middle of the gap
        ([0.9, 0.3], [0.1, 0.5], 0.4),  # one of two wrong on both sides
        ([0.2, 0.3], [0.7, 0.9], 0.5),  # the wrong way round: both rates are 1
        ([0.5, 0.5], [0.5, 0.5], 0.5),  # nothing to tell them apart
    ],
)
def test_the_threshold_of_equal_errors(real: list[float], fake: list[float], expected: float) -> None:
    label, score = np.array([1, 1, 0, 0]), np.array(real + fake)
    assert equal_error_threshold(label, score) == pytest.approx(expected)


def test_at_the_threshold_of_equal_errors_the_rates_are_those_of_the_eer() -> None:
    rng = np.random.default_rng(5)
    label = np.repeat([1, 0], [100, 300])
    score = 1 / (1 + np.exp(-rng.normal(label, 1)))
    decision = score >= equal_error_threshold(label, score)
    missed, passed = (~decision[label == 1]).mean(), decision[label == 0].mean()
    assert abs(missed - passed) < 0.01
    assert (missed + passed) / 2 == pytest.approx(equal_error_rate(label, score), abs=0.01)


def test_no_threshold_without_both_classes() -> None:
    assert equal_error_threshold(np.ones(3), np.array([0.1, 0.2, 0.3])) is None
    assert equal_error_threshold(np.array([0, 1]), np.array([0.1, np.nan])) is None


def by_torchmetrics(label: np.ndarray, decision: np.ndarray, batch_size: int) -> float:
    """Accuracy + AUROC of each batch as the release computes them, averaged by the batches' sizes."""
    values, sizes = [], []
    for truth, said in zip(
        torch.tensor(label).split(batch_size), torch.tensor(decision).split(batch_size), strict=True
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a batch of one class, whose AUROC is 0
            auc = BinaryAUROC()(said.float(), truth)
        values.append(float((truth == said).float().mean() + auc))
        sizes.append(len(truth))
    return float(np.average(values, weights=sizes))


@pytest.mark.parametrize("batch_size", [1, 7, 8, 64, 1000])
def test_the_criterion_of_the_release_batch_by_batch(batch_size: int) -> None:
    rng = np.random.default_rng(batch_size)
    for label in (np.repeat([1, 0], [20, 60]), rng.integers(0, 2, 67), np.ones(10, int), np.zeros(10, int)):
        for rate in (0.0, 0.1, 0.5, 1.0):
            decision = np.where(rng.random(label.size) < rate, 1 - label, label)
            expected = by_torchmetrics(label, decision, batch_size)
            assert release_criterion(label, decision, batch_size) == pytest.approx(expected, abs=1e-6)


def test_what_the_criterion_of_the_release_prefers() -> None:
    """Values of torchmetrics on 100 real and 300 fake clips, and two epochs that a sum over the whole fold swaps."""
    label = np.repeat([1, 0], [100, 300])
    for decision, expected in ((np.zeros(400), 0.83), (label, 1.16), (np.ones(400), 0.33)):
        assert release_criterion(label, decision, 64) == pytest.approx(expected, abs=1e-9)

    def with_errors(real: int, fake: int) -> np.ndarray:
        decision = label.copy()
        decision[:real], decision[400 - fake :] = 0, 1
        return decision

    first, second = with_errors(14, 8), with_errors(6, 22)
    sums = [float(np.mean(label == one)) + sklearn_metrics.roc_auc_score(label, one) for one in (first, second)]
    assert sums[0] < sums[1]
    assert release_criterion(label, first, 64) > release_criterion(label, second, 64)


def test_unknown_labels_count_for_nothing_in_the_criterion_of_the_release() -> None:
    label, decision = np.array([1, -1, 0, 1, -1, 0]), np.array([1, 1, 0, 0, 0, 0])
    # Of batches of three: {1, 0} both right, {1, 0} one right with an AUC of 0.5.
    assert release_criterion(label, decision, 3) == pytest.approx((2 * 2.0 + 2 * 1.0) / 4)


def test_unknown_labels_are_left_out() -> None:
    table = table_of("AABCD", [0.9, 0.4, 0.6, 0.1, 0.2], audio_score=[0.8, 0.3, 0.2, 0.1, 0.5], method="m")
    fakes_of_unknown_streams = table_of("DD", [0.7, 0.3], audio_score=0.9, method="dfdc").assign(category="")
    unlabelled = table_of("A", [0.0], audio_score=0.0, label=-1, method="x").assign(category="")
    known, more = evaluate(table), pd.concat([table, fakes_of_unknown_streams])
    figures = evaluate(pd.concat([more, unlabelled]))
    assert figures["n"] == 7
    assert figures["auc"] == auc_by_pairs(more["label"].to_numpy(), more["score"].to_numpy())
    assert figures["audio_auc"] == known["audio_auc"]
    assert figures["per_category"] == known["per_category"]
    assert set(per_method(pd.concat([more, unlabelled]))) == {"m", "dfdc"}
    assert evaluate(fakes_of_unknown_streams)["audio_auc"] is None


def test_fold_scores_with_unknown_labels() -> None:
    scores = FoldScores()
    unknown = {"v_label": torch.tensor([-1, 1]), "a_label": torch.tensor([0, -1])}
    scores.update(**batch_of([0, 1]) | unknown, video_score=None, audio_score=None)
    assert scores.compute()["category"].tolist() == ["", ""]


def test_scores_that_are_no_numbers_are_named() -> None:
    table = table_of("AB", [0.5, 0.5], file=["a.mp4", "b.mp4"])
    require_scores(table)
    with pytest.raises(DataError, match=r"^the score of a\.mp4, b\.mp4 is not a number"):
        require_scores(table.assign(score=[np.nan, np.inf]))
    with pytest.raises(DataError, match=r"the score of b\.mp4 is not a number"):
        require_scores(table.assign(score=[0.1, np.nan]))
