"""Intervals that cover as often as they say, and comparisons that luck rarely wins."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engines.analysis.report import BEATS
from engines.data.confidence import beats, interval, selection_interval
from engines.data.resampling import Blocks, Units, block_length
from engines.data.scoring import METRICS, ScoreError, selection_score

OF_NUMBERS = [m.name for m in METRICS.values() if "regression" in m.tasks]
OF_CLASSES = [m.name for m in METRICS.values() if m.tasks == ("classification",)]


def rows(name: str, n: int, seed: int = 0, *, strength: float = 1.0) -> tuple[Any, Any, Any]:
    """(y, predictions that know something, predictions that know nothing) for a metric."""
    random = np.random.default_rng(seed)
    if name in OF_NUMBERS:
        signal = random.normal(size=n)
        y = strength * signal + random.normal(size=n) + 10.0
        return y, strength * signal + 10.0, np.full(n, 10.0)
    y = random.integers(0, 3, n)
    raw = random.random((n, 3)) + strength * np.eye(3)[y] * random.random((n, 1))
    return y.astype(float), raw / raw.sum(axis=1, keepdims=True), np.full((n, 3), 1 / 3)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", [*OF_NUMBERS, *OF_CLASSES])
def test_an_interval_holds_the_score_and_follows_from_its_seed(name: str, ordered: bool) -> None:
    y, predicted, _ = rows(name, 400)
    metric = METRICS[name]

    low, high = interval(metric, y, predicted, seed=1, ordered=ordered, embargo=5)

    assert low < metric.score(y, predicted) < high
    assert interval(metric, y, predicted, seed=1, ordered=ordered, embargo=5) == (low, high)


@pytest.mark.parametrize("name", ["rmse", "accuracy", "roc_auc"])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(name: str) -> None:
    truth = METRICS[name].score(*rows(name, 200_000, seed=99)[:2])
    held = 0
    for seed in range(200):
        y, predicted, _ = rows(name, 120, seed=seed)
        low, high = interval(METRICS[name], y, predicted, seed=seed, resamples=200)
        held += low <= truth <= high

    # 95 % of 200 is 190; fewer than 176 has a probability below 1e-4 at a true 92 %.
    assert held >= 176


def test_an_interval_of_many_rows_is_that_of_the_same_rows_one_by_one() -> None:
    y, predicted, _ = rows("rmse", 40_000)
    low, high = interval(METRICS["rmse"], y, predicted, seed=1)

    # The standard error of the mean square error, through the root.
    errors = (y - predicted) ** 2
    half = 1.96 * errors.std() / math.sqrt(len(y)) / (2 * math.sqrt(errors.mean()))
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_whole_groups_are_drawn_so_that_alike_rows_count_once() -> None:
    y, predicted, _ = rows("mae", 60)
    twenty = np.repeat(np.arange(60), 20)

    alone = interval(METRICS["mae"], y, predicted, seed=1)
    copied = interval(METRICS["mae"], y[twenty], predicted[twenty], seed=1, groups=twenty)
    fooled = interval(METRICS["mae"], y[twenty], predicted[twenty], seed=1)

    assert copied == pytest.approx(alone)
    assert fooled[1] - fooled[0] < (alone[1] - alone[0]) / 3


def test_rows_in_order_that_hang_together_have_a_wider_interval() -> None:
    random = np.random.default_rng(3)
    error = np.zeros(2000)
    for at in range(1, 2000):
        error[at] = 0.95 * error[at - 1] + random.normal()

    apart = interval(METRICS["mae"], error, np.zeros(2000), seed=1)
    blocks = interval(METRICS["mae"], error, np.zeros(2000), seed=1, ordered=True, embargo=60)

    assert blocks[1] - blocks[0] > 2 * (apart[1] - apart[0])


def test_the_selection_interval_is_around_the_mean_over_folds() -> None:
    parts = [rows("r2", 100, seed=seed, strength=seed)[:2] for seed in (1, 2, 3)]

    low, high = selection_interval(METRICS["r2"], parts, seed=1)

    assert low < selection_score(METRICS["r2"], parts) < high


def test_the_selection_interval_of_a_pooled_metric_is_that_of_all_rows() -> None:
    parts = [rows("roc_auc", 100, seed=seed)[:2] for seed in (1, 2)]
    together = [np.concatenate(side) for side in zip(*parts, strict=True)]

    low_high = selection_interval(METRICS["roc_auc"], parts, seed=1)

    assert low_high == interval(METRICS["roc_auc"], *together, seed=1)


def test_resamples_without_a_score_are_left_out_and_none_with_one_is_an_error() -> None:
    y, predicted = np.array([0.0] * 29 + [1.0]), np.full((30, 2), 0.5)
    predicted[-1] = 0.1, 0.9
    assert interval(METRICS["roc_auc"], y, predicted, seed=1) == (1.0, 1.0)

    with pytest.raises(ScoreError, match="roc_auc is not defined: all scored rows are of one"):
        interval(METRICS["roc_auc"], np.zeros(30), predicted, seed=1)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae", "mse", "accuracy"])
def test_an_interval_of_ten_thousand_rows_takes_less_than_half_a_second(name: str) -> None:
    y, predicted, _ = rows(name, 10_000)
    took = []
    for _ in range(3):  # the best of three: others use this machine too
        begun = time.process_time()
        interval(METRICS[name], y, predicted, seed=1)
        took.append(time.process_time() - begun)

    assert min(took) < 0.5


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", [*OF_NUMBERS, *OF_CLASSES])
def test_a_model_that_knows_something_beats_one_that_knows_nothing(
    name: str, ordered: bool
) -> None:
    y, predicted, nothing = rows(name, 500)

    assert beats(METRICS[name], y, predicted, nothing, ordered=ordered) < BEATS
    assert beats(METRICS[name], y, nothing, predicted, ordered=ordered) > 0.5


@pytest.mark.parametrize(
    ("name", "ordered"),
    [
        *(("r2", False), ("r2", True), ("mae", False), ("mae", True), ("accuracy", False)),
        *(("accuracy", True), ("balanced_accuracy", False), ("roc_auc", False)),
    ],
)
def test_luck_alone_rarely_beats_anything(name: str, ordered: bool) -> None:
    won = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        y, one, _ = rows(name, 120, seed=seed, strength=0.0)
        other = random.permutation(one)
        if name in OF_NUMBERS:
            one, other = random.normal(10, 0.3, 120), random.normal(10, 0.3, 120)
        won += beats(METRICS[name], y, one, other, ordered=ordered) < 0.05

    # Of 40 at 5 %: 2 expected, and 8 or more one time in a thousand.
    assert won < 8


def test_the_comparison_of_unordered_rows_is_the_paired_t_test() -> None:
    y, predicted, nothing = rows("mae", 500, strength=0.1)

    ours = beats(METRICS["mae"], y, predicted, nothing)

    theirs = stats.ttest_rel(np.abs(y - nothing), np.abs(y - predicted), alternative="greater")
    assert ours == pytest.approx(float(theirs.pvalue))


def test_a_model_that_is_nearly_right_everywhere_wins_on_few_rows() -> None:
    """A t-test gives 0.011 here, because of a few rows far from the mean."""
    y = np.random.default_rng(2).standard_t(3, size=24)
    predicted = y + np.random.default_rng(3).normal(scale=0.1, size=24)

    assert beats(METRICS["r2"], y, predicted, np.full(24, y.mean())) < 0.001
    assert beats(METRICS["r2"], y, predicted[::-1].copy(), np.full(24, y.mean())) > 0.05


def test_copies_of_rows_are_no_more_evidence_when_they_are_groups() -> None:
    y, predicted, nothing = rows("mae", 500, seed=1, strength=0.1)
    tenfold = np.repeat(np.arange(500), 10)

    alone = beats(METRICS["mae"], y, predicted, nothing)
    copied = [side[tenfold] for side in (y, predicted, nothing)]

    assert beats(METRICS["mae"], *copied, groups=tenfold) == pytest.approx(alone)
    assert beats(METRICS["mae"], *copied) < alone / 10


def test_a_rare_class_counts_in_balanced_accuracy_as_much_as_a_common_one() -> None:
    """Found half of the rare class, for a few of the common one: worse by rows, better by class."""
    y = np.repeat([0.0, 1.0], [950, 50])
    majority = np.tile([0.95, 0.05], (1000, 1))
    model = majority.copy()
    model[950:975] = model[:50] = [0.2, 0.8]

    assert beats(METRICS["balanced_accuracy"], y, model, majority) < BEATS
    assert beats(METRICS["accuracy"], y, model, majority) > 0.9


def test_gains_that_hang_together_in_time_are_not_counted_as_so_many() -> None:
    apart = in_order = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=600)
        gain = np.zeros(600)
        for at in range(1, 600):
            gain[at] = 0.9 * gain[at - 1] + noise[at]
        level = np.abs(gain).max()
        y, one, other = np.zeros(600), np.full(600, level), level + gain
        apart += beats(METRICS["mae"], y, one, other) < 0.05
        in_order += beats(METRICS["mae"], y, one, other, ordered=True, embargo=40) < 0.05

    assert in_order < 12 < apart


def test_too_few_rows_say_nothing() -> None:
    one, two = np.array([1.0]), np.array([2.0])
    assert beats(METRICS["mae"], one, one, two) == 1.0
    assert beats(METRICS["mae"], one, one, two, ordered=True) == 1.0
    assert beats(METRICS["mae"], np.ones(5), np.ones(5), np.ones(5)) == 1.0
    # The same everywhere: nothing says that it knows one row from another.
    assert beats(METRICS["mae"], np.ones(5), np.ones(5), np.zeros(5)) == 1.0


def test_a_comparison_by_a_metric_without_a_value_says_so() -> None:
    with pytest.raises(ScoreError, match="mape is not defined"):
        beats(METRICS["mape"], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("kind", ["rows", "groups", "blocks"])
def test_sums_and_weights_tell_of_the_same_resamples(kind: str) -> None:
    random = np.random.default_rng(1)
    statistics = random.normal(size=(57, 2))
    groups = random.integers(0, 9, 57) if kind == "groups" else None
    draws = Blocks(57, 4, 30, seed=3) if kind == "blocks" else Units(57, groups, 30, seed=3)

    weights = np.concatenate(list(draws.weights()))

    assert weights.shape == (30, 57)
    np.testing.assert_allclose(draws.sums(statistics), weights @ statistics, atol=1e-9)
    codes = random.integers(-1, 3, 57)
    expected = np.column_stack([weights[:, codes == c].sum(axis=1) for c in range(3)])
    np.testing.assert_allclose(draws.counts(codes, 3), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("n", "embargo", "length"), [(1000, 0, 10), (1000, 50, 50), (10, 50, 5), (1, 5, 1)]
)
def test_blocks_are_as_long_as_neighbours_are_alike(n: int, embargo: int, length: int) -> None:
    assert block_length(n, embargo) == length
