"""What an equity curve is worth, in numbers that are defined here and nowhere else.

r: simple returns of bars, float64 (n,), costs paid; A: bars a year; rf: risk-free return of one
bar. A number that is not defined (no variance, no loss, no trade) is None, never NaN or inf.
Definitions agree with empyrical-reloaded and quantstats to 1e-9 wherever these give a number and
agree with each other; docs/simulator.md has the table of the other cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from simulator.trades import Trade

Floats = npt.NDArray[np.float64]

FLAT = 1e-13
"""Relative spread below which returns count as constant: rounding alone makes that much."""


def total_return(r: Floats) -> float | None:
    """prod(1 + r) - 1. None without returns."""
    return _finite(np.prod(1.0 + r) - 1.0) if len(r) else None


def annual_return(r: Floats, bars_per_year: float) -> float | None:
    """Compound growth a year: prod(1 + r)^(A / n) - 1; -1 after ruin."""
    if not len(r):
        return None
    growth = float(np.prod(1.0 + r))
    if growth <= 0:
        return -1.0
    years = math.log(growth) * bars_per_year / len(r)
    return math.expm1(years) if years < 700 else None


def volatility(r: Floats, bars_per_year: float) -> float | None:
    """std(r, ddof=1) sqrt(A). None below two returns."""
    return _finite(np.std(r, ddof=1) * math.sqrt(bars_per_year)) if len(r) > 1 else None


def sharpe_ratio(r: Floats, bars_per_year: float, risk_free: float = 0.0) -> float | None:
    """mean(r - rf) / std(r - rf, ddof=1) sqrt(A) (Sharpe 1994). None if r is constant."""
    ratio = sharpe_per_bar(r, risk_free)
    return None if ratio is None else ratio * math.sqrt(bars_per_year)


def sharpe_per_bar(r: Floats, risk_free: float = 0.0) -> float | None:
    """The Sharpe ratio of one bar, not annualised. None if r is constant or of one bar."""
    if _is_flat(r):
        return None
    excess = r - risk_free
    return _finite(np.mean(excess) / np.std(excess, ddof=1))


def sortino_ratio(r: Floats, bars_per_year: float, risk_free: float = 0.0) -> float | None:
    """mean(x) / sqrt(mean(min(x, 0)^2)) sqrt(A), x = r - rf, both means over all n bars.

    None if no bar lost.
    """
    excess = r - risk_free
    if not (excess < 0).any():
        return None
    down = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    return _finite(np.mean(excess) / down * math.sqrt(bars_per_year)) if down > 0 else None


def max_drawdown(r: Floats) -> float | None:
    """min(W / cummax(W) - 1), W = cumprod(1 + r) with a 1 before the first bar; 0 or below."""
    if not len(r):
        return None
    return float(np.min(drawdowns(r)))


def drawdowns(r: Floats) -> Floats:
    """W / cummax(W) - 1 after each bar, (n,), with a peak of at least the 1 at the start."""
    wealth = np.cumprod(1.0 + r)
    peak = np.maximum(np.maximum.accumulate(wealth), 1.0)
    return np.asarray(wealth / peak - 1.0, dtype=np.float64)


def calmar_ratio(r: Floats, bars_per_year: float) -> float | None:
    """annual_return / |max_drawdown| of the whole sample, not of 36 months. None without loss."""
    growth, depth = annual_return(r, bars_per_year), max_drawdown(r)
    if growth is None or depth is None or not depth < 0:
        return None
    return _finite(growth / -depth)


def hit_rate(r: Floats) -> float | None:
    """Bars that gained over bars that gained or lost. None if no bar did either."""
    moved = int(np.count_nonzero(r))
    return int(np.count_nonzero(r > 0)) / moved if moved else None


def bar_profit_factor(r: Floats) -> float | None:
    """Sum of gaining bars' returns over that of losing bars, as a ratio. None without a loss."""
    lost = -float(np.sum(r[r < 0]))
    return _finite(np.sum(r[r > 0]) / lost) if lost > 0 else None


def win_rate(profits: Floats) -> float | None:
    """Trades with a profit above 0, costs paid, over all trades. None without trades."""
    return int(np.count_nonzero(profits > 0)) / len(profits) if len(profits) else None


def profit_factor(profits: Floats) -> float | None:
    """Money of winning trades over money of losing trades. None without a losing trade."""
    lost = -float(np.sum(profits[profits < 0]))
    return _finite(np.sum(profits[profits > 0]) / lost) if lost > 0 else None


def turnover(traded: Floats, equity: Floats, bars_per_year: float) -> float | None:
    """Money traded a bar over equity before the bar, mean over bars, times A: equities a year.

    traded: (n,) both fills of a bar, unsigned; equity: (n,) at the close before each bar.
    """
    alive = equity > 0
    if not alive.any():
        return None
    return _finite(np.mean(traded[alive] / equity[alive]) * bars_per_year)


def exposure(positions: Floats) -> float | None:
    """Mean size of the position at the close, as a fraction of equity, longs and shorts alike."""
    return _finite(np.mean(np.abs(positions))) if len(positions) else None


def return_metrics(
    r: Floats, bars_per_year: float, risk_free: float = 0.0
) -> dict[str, float | None]:
    """Every metric that returns alone define, by name."""
    return {
        "total_return": total_return(r),
        "annual_return": annual_return(r, bars_per_year),
        "sharpe_ratio": sharpe_ratio(r, bars_per_year, risk_free),
        "sortino_ratio": sortino_ratio(r, bars_per_year, risk_free),
        "calmar_ratio": calmar_ratio(r, bars_per_year),
        "max_drawdown": max_drawdown(r),
        "volatility": volatility(r, bars_per_year),
        "hit_rate": hit_rate(r),
        "bar_profit_factor": bar_profit_factor(r),
    }


def trade_metrics(trades: Sequence[Trade]) -> dict[str, float | None]:
    """Every metric of a list of trades, by name. Durations are in bars, profits in money."""
    profits = np.array([trade.profit for trade in trades], dtype=np.float64)
    durations = [trade.bars for trade in trades]
    return {
        "num_trades": len(trades),
        "win_rate": win_rate(profits),
        "profit_factor": profit_factor(profits),
        "avg_trade_pnl": float(np.mean(profits)) if len(trades) else None,
        "avg_trade_duration": float(np.mean(durations)) if len(trades) else None,
    }


def _is_flat(r: Floats) -> bool:
    """Whether returns have no spread but that of rounding."""
    if len(r) < 2:
        return True
    return not float(np.std(r, ddof=1)) > FLAT * float(np.max(np.abs(r)))


def _finite(value: float | np.floating[np.typing.NBitBase]) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
