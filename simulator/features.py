"""What an agent sees of the market: a matrix of features, each of them causal and bounded.

The built-in features are pure numbers of order 1: moves in units of recent volatility, ratios,
oscillators about 0. So no scaler is needed, which would have to be fitted on something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator import indicators
from simulator.bars import Bars
from simulator.causality import check_column, check_function
from simulator.errors import SimulatorError

Floats = npt.NDArray[np.float64]
Feature = Callable[[Bars], Floats]
Wanted = Sequence[str] | Mapping[str, Feature] | None

BOUND = 10.0
"""Features are clipped to +-BOUND, so that an observation space is finite."""
CUT_NOTICE = 0.01

LOOK_BACK = 60
"""Bars before the present one that the longest window of a built-in feature reaches back to. Of
those that never end (RSI, MACD) older bars have little weight."""


def _in_volatility(move: Callable[[Bars], Floats], bars_moved: int) -> Feature:
    """`move` in units of what `bars_moved` bars of recent volatility make."""

    def feature(bars: Bars) -> Floats:
        sigma = indicators.rolling_volatility(bars.close) * np.sqrt(bars_moved)
        return _ratio(move(bars), sigma)

    return feature


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, 0 where below is 0; NaN stays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, np.where(np.isnan(above), np.nan, 0.0), above / below)


def _log_ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above > 0) & (below > 0), np.log(above / below), above * 0.0)


def _log_move(window: int) -> Feature:
    return lambda bars: np.log1p(indicators.momentum(bars.close, window))


def _from_average(window: int) -> Feature:
    return lambda bars: np.log(bars.close / indicators.sma(bars.close, window))


def _bollinger(bars: Bars) -> Floats:
    lower, middle, upper = indicators.bollinger(bars.close)
    return _ratio(bars.close - middle, (upper - lower) / 2)


def _macd(bars: Bars) -> Floats:
    return indicators.macd(bars.close)[2] / bars.close


def _atr(bars: Bars) -> Floats:
    return indicators.atr(bars.high, bars.low, bars.close) / bars.close


def _volatility_change(bars: Bars) -> Floats:
    fast, slow = (indicators.rolling_volatility(bars.close, n) for n in (10, 60))
    return _log_ratio(fast, slow)


def _volume(bars: Bars) -> Floats:
    if bars.volume is None:
        return np.zeros(len(bars))
    ratio = indicators.volume_ratio(bars.volume)
    return _log_ratio(np.maximum(ratio, 1e-3), np.ones(len(bars)))


def _range_place(bars: Bars) -> Floats:
    return 2 * _ratio(bars.close - bars.low, bars.high - bars.low) - 1


BUILT_IN: dict[str, Feature] = {
    "return_1": _in_volatility(_log_move(1), 1),
    "return_5": _in_volatility(_log_move(5), 5),
    "return_20": _in_volatility(_log_move(20), 20),
    "sma_10": _in_volatility(_from_average(10), 10),
    "sma_50": _in_volatility(_from_average(50), 50),
    "rsi": lambda bars: (indicators.rsi(bars.close) - 50.0) / 25.0,
    "macd": _in_volatility(_macd, 1),
    "bollinger": _bollinger,
    "atr": _in_volatility(_atr, 1),
    "volatility": _volatility_change,
    "volume": _volume,
    "range": _range_place,
}


@dataclass(frozen=True, eq=False)
class Features:
    """names; values float64 (bars, names), clipped, NaN before `first`; notices."""

    names: tuple[str, ...]
    values: Floats
    first: int
    notices: tuple[str, ...]


def build_features(bars: Bars, wanted: Wanted = None) -> Features:
    """The features of every bar, checked for look-ahead.

    wanted: None for the built-in ones; names of built-in features or of the bars' own columns; or
    functions by name, each Bars -> float64 (bars,). Raises LookAhead or SimulatorError.
    """
    columns: dict[str, Floats] = {}
    if isinstance(wanted, Mapping):
        for name, function in wanted.items():
            columns[name] = check_function(name, function, bars)
    else:
        for name in BUILT_IN if wanted is None else wanted:
            columns[name] = _named(name, bars)
    if not columns:
        return Features((), np.empty((len(bars), 0)), 0, ())
    first = max(_first_finite(name, values) for name, values in columns.items())
    notices = []
    for name, values in columns.items():
        share = float(np.mean(np.abs(values[first:]) > BOUND))
        if share > CUT_NOTICE:
            notices.append(
                f"{share:.0%} of feature {name!r} is beyond +-{BOUND:g} and cut; scale it"
            )
    matrix = np.clip(np.column_stack(list(columns.values())), -BOUND, BOUND)
    return Features(tuple(columns), matrix, first, tuple(notices))


def _named(name: str, bars: Bars) -> Floats:
    if name in BUILT_IN:
        return BUILT_IN[name](bars)
    if name in bars.columns:
        return check_column(name, bars.columns[name], bars)
    known = ", ".join([*BUILT_IN, *bars.columns])
    raise SimulatorError(f"no feature or column {name!r}; there are {known}")


def _first_finite(name: str, values: Floats) -> int:
    """The first bar from which a feature is known; it must stay known."""
    known = np.isfinite(values)
    if not known.any():
        raise SimulatorError(
            f"feature {name!r} is known at none of {len(values)} bars; give more bars"
        )
    first = int(np.argmax(known))
    holes = np.flatnonzero(~known[first:])
    if len(holes):
        row = first + int(holes[0])
        raise SimulatorError(f"feature {name!r} is {values[row]} at row {row + 1}; fill it")
    return first
