"""Small markets for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.bars import Bars
from simulator.costs import Costs
from simulator.market import Market, build_market
from simulator.synthetic import garch

FREE = Costs(transaction_cost=0.0)


def bars_of(*rows: tuple[float, float, float, float], per_year: float = 252.0) -> Bars:
    """Bars from (open, high, low, close) rows."""
    prices = np.array(rows, dtype=float).T.copy()
    return Bars(*prices, volume=None, stamps=None, bars_per_year=per_year)


def still(count: int, price: float = 100.0, per_year: float = 252.0) -> Bars:
    """A price that never moves."""
    return bars_of(*[(price,) * 4] * count, per_year=per_year)


def plain(bars: Bars, **how: object) -> Market:
    """A market without features; free of costs unless told otherwise."""
    how.setdefault("costs", FREE)
    return build_market(bars, features=[], **how)  # type: ignore[arg-type]


def jumpy(count: int, seed: int = 0, volatility: float = 0.03) -> Bars:
    """Bars with gaps overnight, so that opens jump over stops."""
    bars = garch(count, volatility=volatility, freedom=3.0, seed=seed)
    rng = np.random.default_rng(seed)
    opened = bars.open * np.exp(0.5 * volatility * rng.standard_t(3, count))
    return replace(
        bars,
        open=opened,
        high=np.maximum(bars.high, opened),
        low=np.minimum(bars.low, opened),
    )
