"""Metrics by name, and what counts as a score."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from engines.data.scoring import METRICS, ScoreError, find_metric, finite
from engines.errors import BadInput

NUMBERS = [1, 1.5, -0.0, np.float64(1.5), np.float32(1.5), np.int64(3), np.array(1.5)]
NUMBERS += [Decimal("1.5"), Fraction(3, 2)]
NO_NUMBERS = [
    *(None, "1.5", b"1.5", bytearray(b"1.5"), memoryview(b"1.5"), True, False, np.True_),
    *((1.5,), [1.5], {"score": 1.5}, np.array([1.5]), np.array([1.0, 2.0]), 1j, object()),
    *(np.array([]), np.datetime64("2026-01-01"), np.str_("1.5"), lambda: 1.5, 10**400),
]
NOT_FINITE = [float("nan"), float("inf"), float("-inf"), np.float64("nan"), np.float32("inf")]


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
    with pytest.raises(BadInput, match="No metric `auc`: one of r2, rmse, mae"):
        find_metric("auc")


def test_metrics_are_what_they_say_by_hand() -> None:
    y, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 3.0])

    scores = {name: metric.score(y, predicted) for name, metric in METRICS.items()}

    assert scores["mse"] == pytest.approx(5 / 3)
    assert scores["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert scores["mae"] == pytest.approx(1.0)
    assert scores["mape"] == pytest.approx((0 + 1 + 1 / 4) / 3)
    assert scores["r2"] == pytest.approx(1 - 5 / (14 / 3))


@pytest.mark.parametrize("name", list(METRICS))
def test_a_perfect_prediction_beats_a_poor_one_in_every_metric(name: str) -> None:
    metric = METRICS[name]
    y = np.array([1.0, 2.0, 4.0])

    perfect, poor = metric.score(y, y), metric.score(y, y + 3.0)

    assert (perfect > poor) == metric.maximize
    assert metric.direction == ("maximize" if metric.maximize else "minimize")
