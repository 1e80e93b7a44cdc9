"""Features that know the future are refused, and those that don't are not."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import indicators
from simulator.causality import check_column, check_function
from simulator.errors import LookAhead, SimulatorError
from simulator.features import BOUND, BUILT_IN, build_features
from simulator.synthetic import garch, geometric_brownian, ornstein_uhlenbeck

BARS = garch(400, volatility=0.02, seed=3)


def shifted(values, by):
    return np.r_[values[by:], np.full(by, values[-1])]


LEAKS = {
    "next return": lambda b: shifted(b.returns, 1),
    "return in 5 bars": lambda b: shifted(b.returns, 5),
    "next close": lambda b: shifted(b.close, 1),
    "next high": lambda b: shifted(b.high, 1),
    "score over the whole sample": lambda b: (b.close - b.close.mean()) / b.close.std(),
    "rank over the whole sample": lambda b: b.close.argsort().argsort() / len(b),
    "scaled by the highest": lambda b: b.close / b.close.max(),
    "centred average": lambda b: np.convolve(b.close, np.ones(5) / 5, "same"),
    "filled backwards": lambda b: np.maximum.accumulate(b.close[::-1])[::-1],
    "smoothed both ways": lambda b: indicators.ema(indicators.ema(b.close, 5)[::-1], 5)[::-1],
    "last close of the week": lambda b: b.close[
        np.minimum(np.arange(len(b)) // 5 * 5 + 4, len(b) - 1)
    ],
    "one bar in a hundred": lambda b: np.where(
        np.arange(len(b)) % 100 == 99, shifted(b.returns, 1), 0.0
    ),
    "a trend fitted to all": lambda b: np.polyval(
        np.polyfit(np.arange(len(b)), b.close, 1), np.arange(len(b))
    ),
    "depends on the length": lambda b: b.close * len(b),
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("bars", [BARS, geometric_brownian(301, seed=1)], ids=["garch", "brownian"])
def test_a_planted_leak_is_refused_with_the_first_bar_that_differs(name, bars):
    with pytest.raises(LookAhead, match=r"looks ahead: its value at bar \d+") as raised:
        check_function(name, LEAKS[name], bars)

    assert 0 <= raised.value.bar < len(bars)


def test_the_first_bar_that_differs_is_the_first():
    def leak(bars):
        values = bars.close.copy()
        values[250:-1] = bars.close[251:]
        return values

    with pytest.raises(LookAhead) as raised:
        check_function("late leak", leak, BARS)

    assert raised.value.bar in range(250, 300)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_features_pass(name):
    check_function(name, BUILT_IN[name], BARS)


def test_the_built_in_features_are_finite_bounded_and_of_order_one():
    features = build_features(BARS)
    seen = features.values[features.first :]

    assert np.isfinite(seen).all()
    assert np.abs(seen).max() <= BOUND
    assert (np.abs(seen).mean(axis=0) > 0.05).all()
    assert (np.abs(seen).mean(axis=0) < 4).all()


def test_a_market_that_stands_still_still_has_features():
    from tests.unit.simulator.markets import still

    features = build_features(still(200))

    assert np.isfinite(features.values[features.first :]).all()


COLUMN_LEAKS = {
    "next return": lambda b: shifted(b.returns, 1),
    "return over 5 bars": lambda b: shifted(b.close, 5) / b.close - 1,
    "next close": lambda b: shifted(b.close, 1),
    "next high": lambda b: shifted(b.high, 1),
    "minus the next return": lambda b: -shifted(b.returns, 1),
    "noisy next return": lambda b: (
        shifted(b.returns, 1)
        + 0.2 * b.returns.std() * np.random.default_rng(0).standard_normal(len(b))
    ),
}


@pytest.mark.parametrize("name", COLUMN_LEAKS)
@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_follows_later_prices_is_refused(name, seed):
    bars = garch(500, seed=seed)

    with pytest.raises(LookAhead, match=r"looks ahead: from bar \d+ on it follows"):
        check_column(name, COLUMN_LEAKS[name](bars), bars)


@pytest.mark.parametrize("seed", range(10))
def test_honest_columns_pass(seed):
    for bars in (garch(500, seed=seed), ornstein_uhlenbeck(500, seed=seed)):
        honest = [function(bars) for function in BUILT_IN.values()]
        honest += [bars.close, bars.returns, bars.high, np.ones(500)]
        honest += [np.sign(honest[0]), *bars.columns.values()]
        for values in honest:
            check_column("honest", values, bars)


def test_a_smooth_price_foretells_itself_and_is_no_leak():
    from tests.unit.simulator.markets import bars_of

    prices = 100 + 10 * np.sin(np.arange(300) / 20)
    bars = bars_of(*[(p, p, p, p) for p in prices])

    check_column("yesterday's move", np.r_[0, np.diff(prices)], bars)


def test_a_feature_that_fails_or_has_another_length_is_named():
    with pytest.raises(SimulatorError, match=r"feature 'broken' fails on 400 bars: KeyError"):
        check_function("broken", lambda bars: {}["x"], BARS)
    with pytest.raises(SimulatorError, match=r"shape \(399,\) for 400 bars"):
        check_function("short", lambda bars: bars.close[1:], BARS)


def test_a_feature_that_is_random_is_refused():
    rng = np.random.default_rng(0)

    with pytest.raises(SimulatorError, match="two calls differ"):
        check_function("dice", lambda bars: rng.random(len(bars)), BARS)


def test_users_functions_and_columns_become_features():
    bars = ornstein_uhlenbeck(300, seed=1)

    by_function = build_features(bars, {"mine": lambda b: indicators.momentum(b.close, 3)})
    by_name = build_features(bars, ["signal", "rsi"])

    assert by_function.names == ("mine",)
    assert by_function.first == 3
    assert by_name.values[:, 0] == pytest.approx(np.clip(bars.columns["signal"], -10, 10))


def test_unknown_names_holes_and_large_numbers_are_said():
    with pytest.raises(SimulatorError, match="no feature or column 'mystery'; there are return_1"):
        build_features(BARS, ["mystery"])
    hole = np.where(np.arange(400) == 200, np.nan, 1.0)
    with pytest.raises(SimulatorError, match="feature 'hole' is nan at row 201; fill it"):
        build_features(BARS, {"hole": lambda b: hole[: len(b)]})
    assert "beyond" in build_features(BARS, {"price": lambda b: b.close}).notices[0]
