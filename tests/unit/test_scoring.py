"""Metrics by name, what they are worth by hand and by scikit-learn, and what counts as a score."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from engines.data.scoring import (
    METRICS,
    ScoreError,
    check_predictions,
    default_metric,
    find_metric,
    finite,
    selection_score,
)
from engines.errors import BadInput

NUMBERS = [1, 1.5, -0.0, np.float64(1.5), np.float32(1.5), np.int64(3), np.array(1.5)]
NUMBERS += [Decimal("1.5"), Fraction(3, 2)]
NO_NUMBERS = [
    *(None, "1.5", b"1.5", bytearray(b"1.5"), memoryview(b"1.5"), True, False, np.True_),
    *((1.5,), [1.5], {"score": 1.5}, np.array([1.5]), np.array([1.0, 2.0]), 1j, object()),
    *(np.array([]), np.datetime64("2026-01-01"), np.str_("1.5"), lambda: 1.5, 10**400),
]
NOT_FINITE = [float("nan"), float("inf"), float("-inf"), np.float64("nan"), np.float32("inf")]
OF_NUMBERS = [m.name for m in METRICS.values() if "regression" in m.tasks]
OF_CLASSES = [m.name for m in METRICS.values() if m.tasks == ("classification",)]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_a_number_of_any_kind_is_a_score(value: object) -> None:
    number = finite(value)

    assert type(number) is float
    assert number == float(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda v: type(v).__name__)
def test_what_is_no_number_is_no_score(value: object) -> None:
    with pytest.raises(ScoreError, match=r"^the score must be a number, got \w+ "):
        finite(value)


@pytest.mark.parametrize("value", NOT_FINITE, ids=repr)
def test_what_is_not_finite_is_no_score(value: object) -> None:
    with pytest.raises(ScoreError, match=r"^the score is -?(nan|inf), not a finite number$"):
        finite(value)


def test_the_reason_is_short_however_long_the_value_is() -> None:
    with pytest.raises(ScoreError, match=r"got str 'x{39}\.\.\.$"):
        finite("x" * 10**6)


@pytest.mark.parametrize(
    ("typed", "name"), [("r2", "r2"), ("R2", "r2"), ("r2_score", "r2"), ("RMSE", "rmse")]
)
def test_a_metric_is_found_as_people_type_it(typed: str, name: str) -> None:
    assert find_metric(typed).name == name


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="No metric `auc`: one of r2, rmse, mae.*log_loss"):
        find_metric("auc")
    with pytest.raises(BadInput, match="No metric `auc`: one of accuracy, .*log_loss"):
        find_metric("auc", "classification")


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_every_task_has_a_metric_without_a_word_and_refuses_those_of_the_other(task: str) -> None:
    assert task in find_metric(default_metric(task), task).tasks
    for metric in METRICS.values():
        if task in metric.tasks:
            assert find_metric(metric.name, task) is metric
        else:
            with pytest.raises(BadInput, match=f"--metric {metric.name} can't score {task}: one "):
                find_metric(metric.name, task)


def test_regression_metrics_are_what_they_say_by_hand() -> None:
    y, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 3.0])

    scores = {name: METRICS[name].score(y, predicted) for name in OF_NUMBERS}

    assert scores == pytest.approx(
        {
            "r2": 1 - 5 / (14 / 3),
            "rmse": math.sqrt(5 / 3),
            "mae": 1.0,
            "mse": 5 / 3,
            "mape": (0 + 1 + 1 / 4) / 3,
            "pinball": 0.5,
        }
    )


def test_classification_metrics_are_what_they_say_by_hand() -> None:
    # Class 1 ranks above class 0 in three of four pairs, and above 0.5 in one row of two.
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
    shares = np.array([0.1, 0.4, 0.3, 0.9, 0.2])
    predicted = np.column_stack([1 - shares, shares])

    scores = {name: METRICS[name].score(y, predicted) for name in OF_CLASSES}

    assert scores == pytest.approx(
        {
            "accuracy": 4 / 5,
            "balanced_accuracy": (1 + 1 / 2) / 2,
            "f1": 2 * 1 / (2 * 1 + 1),
            "roc_auc": 5 / 6,
            "log_loss": -np.log([0.9, 0.6, 0.3, 0.9, 0.8]).mean(),
        }
    )


THEIRS = {
    "r2": sklearn_metrics.r2_score,
    "rmse": sklearn_metrics.root_mean_squared_error,
    "mae": sklearn_metrics.mean_absolute_error,
    "mse": sklearn_metrics.mean_squared_error,
    "mape": sklearn_metrics.mean_absolute_percentage_error,
    "pinball": sklearn_metrics.mean_pinball_loss,
    "accuracy": lambda y, p: sklearn_metrics.accuracy_score(y, p.argmax(axis=1)),
    "balanced_accuracy": lambda y, p: sklearn_metrics.balanced_accuracy_score(y, p.argmax(axis=1)),
    "f1": lambda y, p: sklearn_metrics.f1_score(
        y, p.argmax(axis=1), average="binary" if p.shape[1] == 2 else "macro"
    ),
    "roc_auc": lambda y, p: sklearn_metrics.roc_auc_score(
        y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"
    ),
    "log_loss": lambda y, p: sklearn_metrics.log_loss(y, p, labels=range(p.shape[1])),
}


def shares(rows: int, k: int, seed: int, *, coarse: bool = False) -> tuple[Any, Any]:
    """Codes of k classes and shares that know something of them; `coarse` has many ties."""
    random = np.random.default_rng(seed)
    y = random.integers(0, k, rows)
    raw = random.random((rows, k)) + 0.5 * np.eye(k)[y]
    raw = np.ceil(raw * 3) if coarse else raw
    return y.astype(float), raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_classes_are_scored_as_by_scikit_learn(name: str, k: int, coarse: bool) -> None:
    y, predicted = shares(300, k, seed=k, coarse=coarse)

    assert METRICS[name].score(y, predicted) == pytest.approx(THEIRS[name](y, predicted))


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_are_scored_as_by_scikit_learn(name: str, shift: float) -> None:
    random = np.random.default_rng(5)
    y = random.normal(size=200) + shift
    predicted = y + random.normal(size=200)

    assert METRICS[name].score(y, predicted) == pytest.approx(THEIRS[name](y, predicted))


@pytest.mark.parametrize("name", [*OF_NUMBERS, *OF_CLASSES])
def test_a_perfect_prediction_beats_a_poor_one_in_every_metric(name: str) -> None:
    metric = METRICS[name]
    if name in OF_CLASSES:
        y = np.array([0.0, 1.0, 2.0, 1.0])
        right, wrong = np.eye(3)[[0, 1, 2, 1]], np.eye(3)[[1, 2, 0, 0]]
    else:
        y = np.array([1.0, 2.0, 4.0])
        right, wrong = y, y + 3.0

    perfect, poor = metric.score(y, right), metric.score(y, wrong)

    assert (perfect > poor) == metric.maximize
    assert metric.direction == ("maximize" if metric.maximize else "minimize")


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_class_that_is_absent_from_the_scored_rows_is_no_obstacle(name: str) -> None:
    y, predicted = shares(90, 4, seed=1)
    y = np.where(y == 2, 0.0, y)

    assert math.isfinite(METRICS[name].score(y, predicted))


def test_the_lowest_code_wins_a_tie() -> None:
    assert METRICS["accuracy"].score([0, 1, 1], np.full((3, 2), 0.5)) == pytest.approx(1 / 3)


def test_a_share_of_zero_for_the_true_class_is_a_large_loss_and_not_an_infinite_one() -> None:
    assert METRICS["log_loss"].score([0, 1], np.eye(2)[[1, 1]]) == pytest.approx(
        -math.log(1e-15) / 2
    )


@pytest.mark.parametrize(
    ("name", "y", "predicted", "remedy"),
    [
        ("r2", [0.1] * 7, [0.3] * 7, "the same in all scored rows; use rmse or mae"),
        ("mape", [1.0, 0.0], [1.0, 1.0], "the target is 0 in some scored rows; use mae"),
        ("roc_auc", [1, 1], [[0.2, 0.8], [0.6, 0.4]], "of one class; use accuracy or log_loss"),
    ],
)
def test_a_metric_without_a_value_says_why_and_what_to_use(
    name: str, y: list[float], predicted: list[Any], remedy: str
) -> None:
    with pytest.raises(ScoreError, match=f"{name} is not defined: .*{remedy}"):
        METRICS[name].score(y, predicted)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*OF_NUMBERS, *OF_CLASSES])
def test_a_prediction_that_is_not_finite_never_becomes_a_score(name: str, value: float) -> None:
    y, predicted = shares(10, 2, seed=2)
    if name in OF_NUMBERS:
        predicted = predicted[:, 0]
    predicted[3] = value

    with pytest.raises(ScoreError, match="1 of 10 predictions are not finite"):
        METRICS[name].score(y, predicted)


def test_predictions_whose_squares_overflow_never_become_a_score() -> None:
    with pytest.raises(ScoreError, match="the score is -?inf"):
        METRICS["rmse"].score([1.0, 2.0], [1e200, 1.0])


@pytest.mark.parametrize(
    ("name", "y", "predicted"),
    [
        ("r2", [1.0, 2.0], [1.0]),
        ("r2", [1.0, 2.0], [[1.0], [2.0]]),
        ("accuracy", [0, 1], [0, 1]),
        ("accuracy", [0, 2], np.eye(2)),
        ("accuracy", [], np.empty((0, 2))),
    ],
)
def test_shapes_that_do_not_fit_are_the_programmer_s_error(
    name: str, y: list[float], predicted: Any
) -> None:
    with pytest.raises(ValueError, match="`predicted`|`y_true`") as caught:
        METRICS[name].score(y, predicted)
    assert not isinstance(caught.value, ScoreError)


def test_the_selection_score_is_the_mean_over_folds() -> None:
    parts = [(np.array([1.0, 2.0]), np.array([1.0, 2.0])), (np.array([1.0]), np.array([4.0]))]

    assert selection_score(METRICS["mae"], parts) == pytest.approx(1.5)


def test_the_selection_score_of_a_pooled_metric_is_that_of_all_folds_together() -> None:
    parts = [shares(40, 3, seed=seed) for seed in (1, 2)]
    together = [np.concatenate(side) for side in zip(*parts, strict=True)]

    assert METRICS["roc_auc"].pooled
    assert selection_score(METRICS["roc_auc"], parts) == METRICS["roc_auc"].score(*together)


def test_a_pooled_metric_needs_both_classes_only_in_all_folds_together() -> None:
    parts = [(np.array([0.0]), np.array([[0.9, 0.1]])), (np.array([1.0]), np.array([[0.2, 0.8]]))]

    assert selection_score(METRICS["roc_auc"], parts) == 1.0


def test_a_fold_without_a_score_leaves_the_trial_without_one() -> None:
    parts = [([1.0, 2.0], [1.0, 2.0]), ([3.0, 3.0], [3.0, 3.0])]
    with pytest.raises(ScoreError, match="r2 is not defined"):
        selection_score(METRICS["r2"], parts)


def test_predictions_near_the_targets_pass() -> None:
    check_predictions(np.array([-1e6, 0.5, 1e6]), 0.0, 1.0)
    check_predictions(np.array([5.0, 1e3]), 5.0, 5.0)
    check_predictions(np.array([7.0]), 0.0, 0.0)
    check_predictions(np.array([[0.2, 0.8], [1.0, 0.0]]), 0.0, 1.0, shares=True)
    check_predictions(np.array([[2.0, 3.0]]), 0.0, 1.0)  # a forecast of two steps
    check_predictions(np.empty(0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("predicted", "reason"),
    [
        ([0.1, 3.7e16], r"predictions reach 3.7e\+16 where the target lies in 0 to 5"),
        ([0.1, -3.7e16], r"predictions reach -3.7e\+16 where the target lies in 0 to 5"),
        ([0.1, np.nan, np.inf], "2 of 3 predictions are not finite"),
        ([[0.5, np.nan], [0.5, 0.5]], "1 of 2 predictions are not finite"),
        ([[-0.5, 1.5], [0.5, 0.5]], "at least 0 and sum to 1, got -0.5 as the least"),
        ([[0.5, 0.5], [0.5, 1.5]], "got 0.5 as the least and 2 as a sum"),
    ],
)
def test_predictions_that_no_working_model_makes_are_refused(
    predicted: list[Any], reason: str
) -> None:
    values = np.array(predicted)
    with pytest.raises(ScoreError, match=reason):
        check_predictions(values, 0.0, 5.0, shares=values.ndim == 2)
