"""Identities of the metrics: what must hold for all numbers, whatever they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engines.data.measures import SMALLEST_SHARE, resampled
from engines.data.resampling import Units, Whole
from engines.data.scoring import METRICS, ScoreError, check_predictions

few = settings(max_examples=40)
values = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
OF_NUMBERS = [m for m in METRICS.values() if "regression" in m.tasks]
OF_CLASSES = [m for m in METRICS.values() if m.tasks == ("classification",)]


@st.composite
def numbers(draw):
    """(y, predicted), y not all the same and nowhere 0."""
    rows = draw(st.integers(2, 40))
    y = draw(arrays.arrays(float, rows, elements=values, fill=st.nothing()))
    y[1] = y[0] + 1.0
    y[y == 0] = 0.5
    return y, draw(arrays.arrays(float, rows, elements=values, fill=st.nothing()))


@st.composite
def shares(draw):
    """(codes, shares of 2 to 5 classes), with ties, at least two classes among the codes."""
    k, rows = draw(st.integers(2, 5)), draw(st.integers(2, 40))
    y = draw(arrays.arrays(int, rows, elements=st.integers(0, k - 1)))
    y[:2] = 0, 1
    raw = draw(arrays.arrays(float, (rows, k), elements=st.integers(0, 4).map(float)))
    raw[raw.sum(axis=1) == 0] = 1.0
    return y.astype(float), raw / raw.sum(axis=1, keepdims=True)


def score(name: str, y, predicted) -> float:
    return METRICS[name].score(y, predicted)


@few
@given(numbers())
def test_the_metrics_of_numbers_hang_together(data) -> None:
    y, predicted = data
    assert score("rmse", y, predicted) == pytest.approx(math.sqrt(score("mse", y, predicted)))
    assert score("pinball", y, predicted) == pytest.approx(score("mae", y, predicted) / 2)
    assert score("mae", y, predicted) <= score("rmse", y, predicted) * (1 + 1e-9)
    assert score("r2", y, predicted) == pytest.approx(
        1 - score("mse", y, predicted) / np.var(y), rel=1e-6, abs=1e-6
    )
    assert score("r2", y, np.full(len(y), y.mean())) == pytest.approx(0.0, abs=1e-9)


@few
@given(numbers(), st.floats(0.1, 10), st.floats(-100, 100))
def test_r2_knows_no_units_and_the_others_scale_with_them(data, scale: float, shift: float) -> None:
    y, predicted = data
    there, where = y * scale + shift, predicted * scale + shift
    assert score("r2", there, where) == pytest.approx(score("r2", y, predicted), rel=1e-6, abs=1e-6)
    for name in ("rmse", "mae"):
        assert score(name, there, where) == pytest.approx(
            scale * score(name, y, predicted), rel=1e-6, abs=1e-6
        )


@few
@given(shares(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(data, random) -> None:
    y, predicted = data
    order = list(range(len(y)))
    random.shuffle(order)
    for metric in OF_CLASSES:
        shuffled = metric.score(y[order], predicted[order])
        assert shuffled == pytest.approx(metric.score(y, predicted))


@few
@given(shares())
def test_the_metrics_of_classes_stay_in_their_bounds(data) -> None:
    y, predicted = data
    for metric in OF_CLASSES:
        found = metric.score(y, predicted)
        most = -math.log(SMALLEST_SHARE) if metric.name == "log_loss" else 1.0
        assert 0 <= found <= most * (1 + 1e-9)
    perfect = np.eye(predicted.shape[1])[y.astype(int)]
    assert score("accuracy", y, perfect) == score("roc_auc", y, perfect) == 1.0
    assert score("log_loss", y, perfect) == 0.0


@few
@given(shares())
def test_only_the_ranks_of_two_classes_matter_for_the_area_under_the_curve(data) -> None:
    y, predicted = data
    y, second = np.minimum(y, 1.0), predicted[:, 1]
    area = score("roc_auc", y, np.column_stack([1 - second, second]))
    bent = second**3
    assert score("roc_auc", y, np.column_stack([1 - bent, bent])) == pytest.approx(area)
    assert score("roc_auc", y, np.column_stack([second, 1 - second])) == pytest.approx(1 - area)


@few
@given(shares(), st.integers(2, 4))
def test_rows_told_twice_change_nothing(data, times: int) -> None:
    y, predicted = data
    for metric in OF_CLASSES:
        repeated = metric.score(np.tile(y, times), np.tile(predicted, (times, 1)))
        assert repeated == pytest.approx(metric.score(y, predicted))


@few
@given(shares())
def test_balanced_accuracy_is_the_accuracy_of_balanced_classes(data) -> None:
    y, predicted = data
    counts = np.bincount(y.astype(int))
    times = math.lcm(*counts[counts > 0].tolist()) // np.maximum(counts, 1)
    assume(times.max() < 200)
    rows = np.repeat(np.arange(len(y)), times[y.astype(int)])
    assert score("balanced_accuracy", y, predicted) == pytest.approx(
        score("accuracy", y[rows], predicted[rows])
    )


@few
@given(numbers(), st.integers(0, 100))
def test_a_resample_in_sums_is_the_score_of_its_rows(data, seed: int) -> None:
    y, predicted = data
    draws = Units(len(y), None, 3, seed)
    (weights,) = list(draws.weights())
    for metric in OF_NUMBERS:
        found = resampled(metric, y, predicted, draws)
        for value, weight in zip(found, weights, strict=True):
            rows = np.repeat(np.arange(len(y)), weight.astype(int))
            expected = resampled(metric, y[rows], predicted[rows], Whole(len(rows)))[0]
            if not math.isnan(expected) and not math.isnan(value):
                assert value == pytest.approx(expected, rel=1e-3, abs=1e-6)


@few
@given(numbers())
def test_what_lies_within_the_targets_is_never_absurd(data) -> None:
    y, predicted = data
    check_predictions(np.clip(predicted, y.min(), y.max()), float(y.min()), float(y.max()))
    far = np.append(predicted, y.max() + 1.1e6 * np.ptp(y))
    with pytest.raises(ScoreError, match="predictions reach"):
        check_predictions(far, float(y.min()), float(y.max()))
