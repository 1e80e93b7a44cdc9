"""Indicators against their definitions written as loops, and their causality."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import indicators
from simulator.synthetic import garch

BARS = garch(300, volatility=0.02, seed=1)
CLOSE = BARS.close


def test_simple_average():
    expected = [np.mean(CLOSE[t - 9 : t + 1]) for t in range(9, 300)]

    found = indicators.sma(CLOSE, 10)

    assert np.isnan(found[:9]).all()
    assert found[9:] == pytest.approx(expected, rel=1e-12)


def test_exponential_average():
    value, expected = CLOSE[0], []
    for price in CLOSE:
        value += 2 / 13 * (price - value)
        expected.append(value)

    found = indicators.ema(CLOSE, 12)

    assert np.isnan(found[:11]).all()
    assert found[11:] == pytest.approx(expected[11:], rel=1e-12)


def test_relative_strength_by_wilders_recursion():
    change = np.diff(CLOSE)
    up, down = np.maximum(change, 0), np.maximum(-change, 0)
    a, b = up[:14].mean(), down[:14].mean()
    expected = [100 * a / (a + b)]
    for t in range(14, len(change)):
        a, b = (13 * a + up[t]) / 14, (13 * b + down[t]) / 14
        expected.append(100 - 100 / (1 + a / b))

    found = indicators.rsi(CLOSE)

    assert np.isnan(found[:14]).all()
    assert found[14:] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("prices", "value"),
    [(np.full(30, 5.0), 50), (np.arange(1.0, 31), 100), (np.arange(30.0, 0, -1), 0)],
)
def test_relative_strength_at_its_ends(prices, value):
    assert indicators.rsi(prices)[-1] == value


def test_macd_is_the_difference_of_two_averages_and_its_own():
    line, signal, histogram = indicators.macd(CLOSE)

    assert line[25:] == pytest.approx(
        indicators.ema(CLOSE, 12)[25:] - indicators.ema(CLOSE, 26)[25:]
    )
    value = line[25]
    for t in range(26, 300):
        value += 0.2 * (line[t] - value)
    assert signal[-1] == pytest.approx(value, rel=1e-10)
    assert histogram[-1] == pytest.approx(line[-1] - value, rel=1e-10)
    assert np.isnan(signal[:33]).all()
    assert np.isfinite(signal[33:]).all()


def test_bollinger_bands_are_two_deviations_wide():
    lower, middle, upper = indicators.bollinger(CLOSE)

    for t in (19, 100, 299):
        window = CLOSE[t - 19 : t + 1]
        assert middle[t] == pytest.approx(window.mean())
        assert upper[t] - lower[t] == pytest.approx(4 * window.std())


def test_average_true_range():
    ranges = [BARS.high[0] - BARS.low[0]]
    for t in range(1, 300):
        high, low, before = BARS.high[t], BARS.low[t], CLOSE[t - 1]
        ranges.append(max(high - low, abs(high - before), abs(low - before)))
    value = np.mean(ranges[:14])
    for t in range(14, 300):
        value = (13 * value + ranges[t]) / 14

    assert indicators.atr(BARS.high, BARS.low, CLOSE)[-1] == pytest.approx(value, rel=1e-12)


def test_momentum_volume_ratio_and_volatility():
    assert indicators.momentum(CLOSE, 10)[50] == pytest.approx(CLOSE[50] / CLOSE[40] - 1)
    assert indicators.volume_ratio(BARS.volume)[50] == pytest.approx(
        BARS.volume[50] / BARS.volume[31:51].mean()
    )
    assert indicators.rolling_volatility(CLOSE)[50] == pytest.approx(
        np.diff(np.log(CLOSE[30:51])).std(ddof=1)
    )


FUNCTIONS = {
    "sma": lambda b: indicators.sma(b.close, 10),
    "ema": lambda b: indicators.ema(b.close, 10),
    "rsi": lambda b: indicators.rsi(b.close),
    "macd": lambda b: indicators.macd(b.close)[2],
    "bollinger": lambda b: indicators.bollinger(b.close)[2],
    "atr": lambda b: indicators.atr(b.high, b.low, b.close),
    "momentum": lambda b: indicators.momentum(b.close),
    "volume_ratio": lambda b: indicators.volume_ratio(b.volume),
    "volatility": lambda b: indicators.rolling_volatility(b.close),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_longer_series_never_changes_an_earlier_value_to_the_bit(name):
    whole = FUNCTIONS[name](BARS)

    for length in (60, 61, 137, 200, 298, 299):
        part = FUNCTIONS[name](BARS.head(length))
        assert np.array_equal(part, whole[:length], equal_nan=True)


@pytest.mark.parametrize("window", [0, -3, 2.5])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(ValueError, match="window"):
        indicators.sma(CLOSE, window)
