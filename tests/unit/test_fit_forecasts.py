"""`fit(task="forecast", horizon=...)`: the same question, scores and answers as of `run`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from engines import HyperparameterOptimizer
from engines.errors import BadInput

ROWS, HORIZON = 200, 5


def series() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    week = np.tile(random.normal(size=7) * 3, ROWS // 7 + 1)[:ROWS]
    X = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=ROWS),
            "town": np.where(random.random(ROWS) < 0.5, "Bath", "Wells"),
        }
    )
    return X, week + 20 + random.normal(size=ROWS)


def optimizer() -> HyperparameterOptimizer:
    return HyperparameterOptimizer(storage=None, console=Console(quiet=True))


@pytest.fixture(scope="module")
def fitted() -> HyperparameterOptimizer:
    return optimizer().fit(
        *series(),
        n_trials=1,
        models="ridge",
        task="forecast",
        horizon=HORIZON,
        time_column="day",
        metric="mae",
    )


def test_what_it_predicts_is_what_its_held_out_score_was_measured_on(fitted) -> None:
    X, y = series()
    assert fitted._experiment.split["horizon"] == HORIZON
    said = fitted.predict(X)
    assert said.shape == (ROWS, HORIZON)

    held_out = fitted._experiment.split["held_out_rows"]
    origins = np.arange(ROWS - HORIZON - held_out, ROWS - HORIZON)
    came = y[origins[:, None] + np.arange(1, HORIZON + 1)]
    assert np.abs(came - said[origins]).mean() == pytest.approx(fitted.held_out_score_, rel=1e-9)
    assert "baseline seasonal_naive" in {row["model"] for row in fitted.leaderboard()}


def test_a_few_rows_are_forecast_as_among_all_in_whatever_order_they_come(fitted) -> None:
    X, y = series()
    said = fitted.predict(X)
    for places in ([3, 15, 199], [3, 15], [0, 30]):
        found = fitted.predict(X.iloc[places])
        assert found == pytest.approx(said[places], rel=1e-9)
    some = X.iloc[[150, 199, 42]]
    assert fitted.predict(some) == pytest.approx(said[[150, 199, 42]], rel=1e-9)
    assert fitted.predict(some, y[[150, 199, 42]]) == pytest.approx(
        fitted.predict(some.iloc[::-1], y[[42, 199, 150]])[::-1], rel=1e-9
    )


def test_new_rows_are_forecast_from_their_target_and_from_nothing_less(fitted) -> None:
    X, y = series()
    new = X[:1].assign(day=pd.Timestamp("2024-01-01") + pd.Timedelta(days=ROWS))
    with pytest.raises(BadInput, match="with the y of these rows"):
        fitted.predict(new)
    high, low = fitted.predict(new, [y[-1] + 5]), fitted.predict(new, [y[-1] - 5])
    assert high.shape == (1, HORIZON)
    assert not np.allclose(high, low)
    with pytest.raises(BadInput, match="one y for each"):
        fitted.predict(new, [1.0, 2.0])
    with pytest.raises(BadInput, match="give it, or the target of these rows as y"):
        fitted.predict(X[["town"]])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"task": "forecast", "time_column": "day"}, "give both"),
        ({"horizon": 3, "time_column": "day"}, "give both"),
        ({"task": "regression", "horizon": 3, "time_column": "day"}, "give both"),
        ({"task": "forecast", "horizon": 2.5, "time_column": "day"}, "a whole number"),
        ({"task": "forecast", "horizon": 0, "time_column": "day"}, "at least 1"),
        ({"task": "forecast", "horizon": 3}, "as time_column"),
        ({"task": "forecast", "horizon": 195, "time_column": "day"}, "at most"),
    ],
)
def test_what_can_not_be_forecast_is_refused_in_one_line(words: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why) as told:
        optimizer().fit(*series(), n_trials=1, models="ridge", **words)
    assert "\n" not in str(told.value)


def test_a_y_beside_x_is_for_forecasts_alone() -> None:
    X, y = series()
    plain = optimizer().fit(X[["town"]].assign(a=y), y * 2 + 1, n_trials=1, models="ridge")
    with pytest.raises(BadInput, match="in a forecast alone"):
        plain.predict(X[["town"]].assign(a=y), y)
