"""Indicators: each value at bar t uses bars up to t and nothing else.

All take and return float64 (bars,), oldest bar first. The first values, for which there are too
few bars, are NaN. Means and variances over windows come from pandas' rolling sums, which run from
the first bar on: a longer series never changes an earlier value, to the bit.

No indicator library is used: each of these is a line or two over pandas, which is here already.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def sma(values: Floats, window: int) -> Floats:
    """Simple moving average of the last `window` values."""
    return pd.Series(values).rolling(_whole(window)).mean().to_numpy()


def ema(values: Floats, window: int) -> Floats:
    """Exponential moving average: e[t] = e[t-1] + 2 / (window + 1) (x[t] - e[t-1]), e[0] = x[0].

    NaN before bar window - 1, where the start still weighs much.
    """
    return _smooth(values, 2.0 / (_whole(window) + 1), window)


def wilder(values: Floats, window: int) -> Floats:
    """Wilder's average: the mean of the first `window` values, then steps of 1 / window."""
    n = _whole(window)
    out = np.full(len(values), np.nan)
    if len(values) >= n:
        start = np.r_[np.mean(values[:n]), values[n:]]
        out[n - 1 :] = pd.Series(start).ewm(alpha=1.0 / n, adjust=False).mean().to_numpy()
    return out


def rsi(close: Floats, window: int = 14) -> Floats:
    """Relative strength index in [0, 100] (Wilder 1978): 100 up / (up + down).

    up and down are Wilder's averages of rises and falls; 50 when neither moved. NaN before bar
    `window`.
    """
    change = np.diff(close)
    up, down = wilder(np.maximum(change, 0), window), wilder(np.maximum(-change, 0), window)
    moved = up + down
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(moved > 0, 100.0 * up / moved, np.where(np.isnan(moved), np.nan, 50.0))
    return np.r_[np.nan, value] if len(close) else value


def macd(
    close: Floats, fast: int = 12, slow: int = 26, signal: int = 9
) -> tuple[Floats, Floats, Floats]:
    """(line, signal, histogram): EMA(fast) - EMA(slow), its EMA, and their difference."""
    line = ema(close, fast) - ema(close, slow)
    average = np.full(len(close), np.nan)
    average[slow - 1 :] = ema(line[slow - 1 :], signal)
    return line, average, line - average


def bollinger(close: Floats, window: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """(lower, middle, upper): SMA -+ width standard deviations (ddof 0) of the window."""
    middle = sma(close, window)
    spread = width * pd.Series(close).rolling(_whole(window)).std(ddof=0).to_numpy()
    return middle - spread, middle, middle + spread


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """max(high - low, |high - close before|, |low - close before|); the first is high - low."""
    before = np.r_[close[:1], close[:-1]]
    ranges = np.maximum(high - low, np.maximum(np.abs(high - before), np.abs(low - before)))
    ranges[:1] = high[:1] - low[:1]
    return ranges


def atr(high: Floats, low: Floats, close: Floats, window: int = 14) -> Floats:
    """Average true range (Wilder 1978), in units of the price."""
    return wilder(true_range(high, low, close), window)


def momentum(close: Floats, window: int = 10) -> Floats:
    """Simple return over the last `window` bars."""
    n = _whole(window)
    out = np.full(len(close), np.nan)
    out[n:] = close[n:] / close[:-n] - 1.0
    return out


def volume_ratio(volume: Floats, window: int = 20) -> Floats:
    """Volume over its mean of the last `window` bars, this one included; 1 when all are 0."""
    mean = sma(volume, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mean > 0, volume / mean, np.where(np.isnan(mean), np.nan, 1.0))


def log_returns(close: Floats) -> Floats:
    """log(close[t] / close[t-1]); the first is NaN."""
    out = np.full(len(close), np.nan)
    out[1:] = np.log(close[1:] / close[:-1])
    return out


def rolling_volatility(close: Floats, window: int = 20) -> Floats:
    """Standard deviation (ddof 1) of the last `window` log returns: a bar's, not annualised."""
    return pd.Series(log_returns(close)).rolling(_whole(window, 2)).std(ddof=1).to_numpy()


def _smooth(values: Floats, alpha: float, window: int) -> Floats:
    out = pd.Series(values).ewm(alpha=alpha, adjust=False).mean().to_numpy().copy()
    out[: window - 1] = np.nan
    return out


def _whole(window: int, least: int = 1) -> int:
    if window != int(window) or window < least:
        raise ValueError(f"a window of {window} bars; give a whole number of at least {least}")
    return int(window)
