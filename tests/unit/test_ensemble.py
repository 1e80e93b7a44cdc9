"""The greedy ensemble: what it takes, what it leaves, and when it is no ensemble at all."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engines.analysis import blends, ensemble
from engines.analysis.ensemble import Candidate, greedy, predict
from engines.data.scoring import METRICS, ScoreError, selection_score

R2 = METRICS["r2"]


def noisy(seed: int, rows: int, folds: int, errors: list[float]) -> tuple[list, list[Candidate]]:
    """Targets, and candidates that see them with independent errors of these sizes."""
    rng = np.random.default_rng(seed)
    y = [rng.normal(size=rows) for _ in range(folds)]
    candidates = [
        Candidate("x/m", i, [part + rng.normal(scale=error, size=rows) for part in y])
        for i, error in enumerate(errors)
    ]
    return y, candidates


def test_independent_errors_average_out() -> None:
    y, candidates = noisy(1, 400, 5, [0.5, 0.5, 0.5, 0.5])

    made = greedy(y, candidates, R2)

    assert made.best_score == pytest.approx(0.75, abs=0.05)
    assert made.score == pytest.approx(1 - 0.25 / 4, abs=0.02)
    assert sorted(index for index, _ in made.members) == [0, 1, 2, 3]
    for _, weight in made.members:
        assert weight == pytest.approx(0.25, abs=0.08)


def test_who_is_better_weighs_more_and_who_is_useless_nothing() -> None:
    y, candidates = noisy(2, 2000, 5, [0.9, 0.3, 0.5, 30.0])

    made = greedy(y, candidates, R2)

    weights = dict(made.members)
    # Inverse variances: 11 %, 100 % and 36 % of the best.
    assert weights[1] > weights[2] > weights[0]
    assert weights[1] == pytest.approx(1 / (1 + 0.36 + 0.11), abs=0.06)
    assert 3 not in weights
    assert [w for _, w in made.members] == sorted(weights.values(), reverse=True)


def test_two_that_err_the_opposite_way_beat_the_best_alone() -> None:
    rng = np.random.default_rng(3)
    y = [rng.normal(size=50) for _ in range(3)]
    shift = [rng.normal(size=50) for _ in range(3)]
    candidates = [
        Candidate("x/best", 0, [part + 0.2 * rng.normal(size=50) for part in y]),
        Candidate("x/up", 0, [part + s for part, s in zip(y, shift, strict=True)]),
        Candidate("x/down", 0, [part - s for part, s in zip(y, shift, strict=True)]),
    ]

    # With replacement one at a time: it is up and down together that are perfect.
    made = greedy(y, candidates, METRICS["rmse"])

    assert made.best == 0
    assert made.score < 0.75 * made.best_score


def test_the_score_is_that_of_the_weighted_mean() -> None:
    y, candidates = noisy(4, 100, 5, [0.5, 0.6, 0.7])

    made = greedy(y, candidates, R2)

    weights = [weight for _, weight in made.members]
    mean = [
        predict([candidates[i].folds[fold] for i, _ in made.members], weights) for fold in range(5)
    ]
    assert made.score == selection_score(R2, list(zip(y, mean, strict=True)))


def test_one_candidate_is_the_ensemble() -> None:
    y, candidates = noisy(5, 30, 5, [0.5])

    made = greedy(y, candidates, R2)

    assert made.members == ((0, 1.0),)
    assert made.score == made.best_score


@pytest.mark.parametrize("folds", [1, 5])
def test_where_every_fold_left_out_is_against_it_there_is_no_ensemble(folds: int) -> None:
    refused = made = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y = [rng.normal(size=60 // folds) for _ in range(folds)]
        # Constants near the mean, as models have that found nothing; the best one is luck.
        candidates = [
            Candidate("x/m", i, [np.full(len(part), level) for part in y])
            for i, level in enumerate(rng.normal(scale=0.3, size=20))
        ]
        free = len(greedy(y, candidates, METRICS["mse"], guard=False).members) > 1
        guarded = len(greedy(y, candidates, METRICS["mse"]).members) > 1
        refused += free and not guarded
        made += guarded

    assert refused >= 1
    assert made >= 10


def test_the_check_is_made_on_folds_that_chose_nothing() -> None:
    # Each candidate is perfect on one fold and poor on the others: whoever is chosen on four of
    # them is poor on the fifth.
    rng = np.random.default_rng(7)
    y = [rng.normal(size=40) for _ in range(5)]
    candidates = [
        Candidate("x/m", i, [part if fold == i else np.zeros(40) for fold, part in enumerate(y)])
        for i in range(5)
    ]

    made = greedy(y, candidates, METRICS["mse"])

    assert made.checked is not None
    assert made.checked > made.score
    assert made.checked == pytest.approx(np.mean([np.mean(part**2) for part in y]))


def test_without_the_guard_nothing_is_checked() -> None:
    y, candidates = noisy(8, 30, 5, [0.5, 0.5])

    made = greedy(y, candidates, R2, guard=False)

    assert (made.checked, made.checked_best) == (None, None)
    assert len(made.members) == 2


def test_a_single_fold_is_checked_in_blocks() -> None:
    y, candidates = noisy(9, 500, 1, [0.5, 0.5, 0.5])

    made = greedy(y, candidates, R2)

    assert made.checked is not None
    assert made.checked == pytest.approx(made.score, abs=0.05)
    assert len(made.members) == 3


def test_where_no_fold_can_be_scored_alone_the_single_best_is_taken() -> None:
    rng = np.random.default_rng(10)
    y = [np.zeros(20), np.ones(20)]

    def shares(part: np.ndarray) -> np.ndarray:
        up = np.clip(0.3 + 0.4 * part + rng.normal(scale=0.3, size=20), 0, 1)
        return np.column_stack([1 - up, up])

    candidates = [Candidate("x/m", i, [shares(part) for part in y]) for i in range(4)]

    made = greedy(y, candidates, METRICS["roc_auc"])

    assert made.checked is None
    assert made.members == ((made.best, 1.0),)


def test_of_equal_candidates_the_one_with_the_first_name_is_the_best() -> None:
    y, (one, _) = noisy(17, 30, 5, [0.5, 0.5])
    twins = [
        Candidate(study, number, one.folds) for study, number in (("b", 0), ("a", 9), ("a", 2))
    ]

    assert greedy(y, twins, R2).best == 2
    assert greedy(y, twins[::-1], R2).best == 0


def test_each_class_counts_the_same_in_balanced_accuracy_however_rare_it_is() -> None:
    y = [np.array([0.0] * 8 + [1.0] * 2)]
    finds_all_of_0 = np.column_stack([np.full(10, 0.9), np.full(10, 0.1)])
    finds_half_of_each = np.tile([[0.1, 0.9], [0.9, 0.1]], (5, 1))
    table = blends.tabulate(
        METRICS["balanced_accuracy"], [(y[0], [finds_all_of_0, finds_half_of_each])]
    )
    blend = table.blend([0])

    np.testing.assert_allclose(blend.scores_with(), [0.5, 0.5], atol=1e-6)


def test_candidates_without_a_score_are_left_out() -> None:
    y, candidates = noisy(11, 30, 5, [0.5, 0.5])
    broken = Candidate("x/broken", 0, [np.full(30, np.nan)] * 5)

    made = greedy(y, [broken, *candidates], R2)

    assert sorted(index for index, _ in made.members) == [1, 2]
    assert made.best in (1, 2)


def test_without_any_score_there_is_no_ensemble() -> None:
    y, _ = noisy(12, 30, 5, [])

    with pytest.raises(ScoreError, match="none of 1 candidates has a r2"):
        greedy(y, [Candidate("x/m", 0, [np.full(30, np.inf)] * 5)], R2)
    with pytest.raises(ScoreError, match="none of 0 candidates"):
        greedy(y, [], R2)


def test_predictions_of_other_folds_are_refused() -> None:
    y, candidates = noisy(13, 30, 5, [0.5])

    with pytest.raises(ValueError, match="x/m 0: folds that are not those of y"):
        greedy(y[:4], candidates, R2)


@pytest.mark.parametrize("name", [m.name for m in METRICS.values() if "classification" in m.tasks])
def test_shares_of_classes_are_averaged_for_every_metric(name: str) -> None:
    rng = np.random.default_rng(14)
    y = [rng.integers(0, 3, 150).astype(float) for _ in range(3)]

    def shares(part: np.ndarray) -> np.ndarray:
        odds = rng.normal(size=(150, 3))
        odds[np.arange(150), part.astype(int)] += 1.0
        return np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)

    candidates = [Candidate("x/m", i, [shares(part) for part in y]) for i in range(6)]

    made = greedy(y, candidates, METRICS[name])

    gain = made.score - made.best_score
    assert (gain if METRICS[name].maximize else -gain) > 0.05
    weights = [weight for _, weight in made.members]
    mean = predict([candidates[i].folds[0] for i, _ in made.members], weights)
    np.testing.assert_allclose(mean.sum(axis=1), 1.0, rtol=1e-12)


def test_a_metric_that_is_slow_is_asked_of_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "MOST_SLOW_CANDIDATES", 2)
    monkeypatch.setattr(ensemble, "MOST_SLOW_MEMBERS", 3)
    rng = np.random.default_rng(15)
    y = [np.tile([0.0, 1.0], 50)]

    def shares() -> np.ndarray:
        up = np.clip(0.3 + 0.4 * y[0] + rng.normal(scale=0.3, size=100), 0, 1)
        return np.column_stack([1 - up, up])

    candidates = [Candidate("x/m", i, [shares()]) for i in range(6)]

    made = greedy(y, candidates, METRICS["roc_auc"], guard=False)

    assert len(made.members) <= 2
    assert {round(3 * weight, 6) % 1 for _, weight in made.members} <= {0.0, 0.5}


def test_predictions_are_averaged_by_weight() -> None:
    mean = predict([np.array([1.0, np.nan]), np.array([4.0, 1.0])], [2.0, 1.0])

    np.testing.assert_allclose(mean, [2.0, np.nan])


@pytest.mark.parametrize(
    ("predictions", "weights"),
    [([], []), ([np.ones(2)], [0.5, 0.5]), ([np.ones(2), np.ones((2, 1))], [0.5, 0.5])],
)
def test_predictions_that_do_not_fit_together_are_refused(
    predictions: list, weights: list[float]
) -> None:
    with pytest.raises(ValueError, match=r"weights|one shape"):
        predict(predictions, weights)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae"])
def test_a_hundred_candidates_on_ten_thousand_rows_take_less_than_a_second(name: str) -> None:
    y, candidates = noisy(16, 2000, 5, [1 + i / 100 for i in range(100)])

    begun = time.process_time()
    made = greedy(y, candidates, METRICS[name])
    took = time.process_time() - begun

    assert len(made.members) > 30
    assert took < 1.0
