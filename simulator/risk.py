"""Rules of risk, each small, in any order and number; the core applies them to every order.

A rule shapes a `Plan`: it shrinks orders (factors multiply), caps them (the lowest cap holds), or
sets one of the core's limits (the strictest holds). What it needs of the market it computes from
bars up to the decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator import indicators
from simulator import layout as at
from simulator.bars import Bars

Floats = npt.NDArray[np.float64]


@dataclass(eq=False)
class Plan:
    """What rules make of an order decided at each bar's close.

    scale, limit: float64 (bars,), multiply by the one, then clip to +- the other. parameters:
    the core's row.
    """

    scale: Floats
    limit: Floats
    parameters: Floats

    def tighten(self, index: int, value: float) -> None:
        """Set a limit of which 0 means none, unless a stricter one is there."""
        before = self.parameters[index]
        self.parameters[index] = value if before == 0 else min(before, value)


class Rule(Protocol):
    """One rule of risk."""

    def shape(self, plan: Plan, bars: Bars) -> None:
        """Put the rule into the plan."""


def plan_for(bars: Bars, rules: Iterable[Rule], max_position: float, row: Floats) -> Plan:
    """All rules put together, with +-max_position as the outermost limit."""
    row[at.MAX_LONG] = row[at.MAX_SHORT] = _share("max_position", max_position, top=100.0)
    plan = Plan(np.ones(len(bars)), np.full(len(bars), max_position), row)
    for rule in rules:
        rule.shape(plan, bars)
    return plan


@dataclass(frozen=True)
class ExposureLimit:
    """Largest fraction of equity held long and short."""

    long: float = 1.0
    short: float = 1.0

    def shape(self, plan: Plan, bars: Bars) -> None:
        row = plan.parameters
        row[at.MAX_LONG] = min(row[at.MAX_LONG], _share("long", self.long, top=100.0, least=0.0))
        row[at.MAX_SHORT] = min(row[at.MAX_SHORT], _share("short", self.short, 100.0, least=0.0))


@dataclass(frozen=True)
class RebalanceBand:
    """Trade only if the position is at least this fraction of equity away from the order."""

    width: float

    def shape(self, plan: Plan, bars: Bars) -> None:
        row = plan.parameters
        row[at.BAND] = max(row[at.BAND], _share("width", self.width))


@dataclass(frozen=True)
class StopLoss:
    """Close a position inside the bar when the price is this share worse than its entry."""

    distance: float

    def shape(self, plan: Plan, bars: Bars) -> None:
        plan.tighten(at.STOP_LOSS, _share("stop_loss", self.distance))


@dataclass(frozen=True)
class TakeProfit:
    """Close a position inside the bar when the price is this share better than its entry."""

    distance: float

    def shape(self, plan: Plan, bars: Bars) -> None:
        plan.tighten(at.TAKE_PROFIT, _share("take_profit", self.distance, top=100.0))


@dataclass(frozen=True)
class MaxDrawdown:
    """Sell everything at the next open, and stop, once equity is this share below its peak."""

    share: float

    def shape(self, plan: Plan, bars: Bars) -> None:
        plan.tighten(at.MAX_DRAWDOWN, _share("max_drawdown", self.share))


@dataclass(frozen=True)
class EaseInDrawdown:
    """Orders shrink in proportion between a drawdown of `start`, full size, and `stop`, nothing.

    With nothing left there is no way back: `stop` ends trading unless a position still earns.
    """

    start: float
    stop: float

    def shape(self, plan: Plan, bars: Bars) -> None:
        if not 0 <= self.start < self.stop <= 1:
            raise ValueError(f"start={self.start}, stop={self.stop}: 0 <= start < stop <= 1 needed")
        before = plan.parameters[at.EASE_TO]
        if before == 0 or self.stop < before:
            plan.parameters[at.EASE_FROM], plan.parameters[at.EASE_TO] = self.start, self.stop


@dataclass(frozen=True)
class VolatilityTarget:
    """Multiply orders by target / volatility of the last `window` bars, at most `cap`.

    target: standard deviation of returns a year. Nothing is ordered while volatility is unknown.
    """

    target: float
    window: int = 20
    cap: float = 1.0

    def shape(self, plan: Plan, bars: Bars) -> None:
        if not self.target > 0:
            raise ValueError(f"target={self.target}: a volatility a year above 0 is needed")
        cap = _share("cap", self.cap, top=100.0)
        sigma = indicators.rolling_volatility(bars.close, self.window)
        yearly = sigma * np.sqrt(bars.bars_per_year)
        with np.errstate(divide="ignore", invalid="ignore"):
            plan.scale *= np.nan_to_num(np.minimum(self.target / yearly, cap), nan=0.0)


@dataclass(frozen=True)
class KellySize:
    """Multiply orders by `fraction` of the market's Kelly fraction of the last `window` bars.

    Only its size counts, at most `cap`: the sign of the order stays the policy's. Nothing is
    ordered in the first `window` bars.
    """

    window: int = 252
    fraction: float = 0.5
    cap: float = 1.0

    def shape(self, plan: Plan, bars: Bars) -> None:
        fraction, cap = _share("fraction", self.fraction), _share("cap", self.cap, top=100.0)
        returns = pd.Series(np.r_[np.nan, bars.returns[1:]]).rolling(self.window)
        mean, variance = returns.mean().to_numpy(), returns.var(ddof=1).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.minimum(fraction * np.abs(mean) / variance, cap)
        plan.scale *= np.nan_to_num(size, nan=0.0)


def kelly_fraction(returns: Floats, *, fraction: float = 1.0, cap: float = 1.0) -> float | None:
    """The fraction of equity with the highest growth: mean / variance, times `fraction`.

    returns: simple returns of one unit of the strategy, (n,). It is the second-order solution of
    max E log(1 + f r) (Kelly 1956; Thorp 2006), clipped to +-cap. None if the variance is 0 or
    fewer than two returns are given.
    """
    if len(returns) < 2 or not np.var(returns, ddof=1) > 0:
        return None
    full = float(np.mean(returns) / np.var(returns, ddof=1))
    return min(max(fraction * full, -cap), cap)


def _share(name: str, value: float, top: float = 1.0, least: float = 1e-12) -> float:
    if not least <= value <= top:
        raise ValueError(f"{name}={value}: a share above 0 and up to {top:g} is needed")
    return float(value)
