"""What one run of a policy over a market left behind: equity, trades, metrics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator import layout as at
from simulator import metrics
from simulator.market import Market
from simulator.trades import Trade, trades_from

Floats = npt.NDArray[np.float64]

_ENDS = {at.HALTED: "maximum drawdown", at.RUINED: "ruin", at.HALTING: "maximum drawdown"}


@dataclass(frozen=True, eq=False)
class Episode:
    """One run. records: float64 (n, STATE), the core's state after each bar, see `layout`.

    first: the bar at whose close the first decision was taken; the first return is that of the
    next one. Arrays below are (n,) and belong to bars first + 1 to first + n.
    """

    market: Market
    records: Floats
    initial_balance: float
    first: int

    @property
    def equity(self) -> Floats:
        """Money at each close."""
        return self.records[:, at.EQUITY]

    @cached_property
    def returns(self) -> Floats:
        """Simple returns of equity, every cost paid; 0 after the end of trading."""
        return self.records[:, at.RETURN]

    @property
    def positions(self) -> Floats:
        """The position at each close, as a fraction of equity."""
        return self.records[:, at.POSITION]

    @property
    def ended(self) -> str:
        """Why trading ended: end of data, maximum drawdown or ruin."""
        return _ENDS.get(float(self.records[-1, at.STATUS]), "end of data")

    @cached_property
    def trades(self) -> list[Trade]:
        """The trade log."""
        bars = self.market.bars
        close = bars.close[self.first + 1 : self.first + 1 + len(self.records)]
        return trades_from(
            self.records, self.initial_balance, self.market.costs.transaction_cost, close
        )

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Every metric by name, with what it depends on: bars a year and how orders were filled."""
        records, a_year = self.records, self.market.bars.bars_per_year
        before = np.r_[self.initial_balance, self.equity[:-1]]
        traded = np.abs(records[:, at.FILL_UNITS] * records[:, at.FILL_PRICE])
        traded += np.abs(records[:, at.EXIT_UNITS] * records[:, at.EXIT_PRICE])
        return {
            **metrics.return_metrics(self.returns, a_year),
            **metrics.trade_metrics(self.trades),
            "turnover": metrics.turnover(traded, before, a_year),
            "exposure": metrics.exposure(self.positions),
            "final_balance": float(self.equity[-1]),
            "costs_paid": float(np.sum(records[:, [at.FEES, at.IMPACT_PAID, at.FINANCING]])),
            "bars": len(records),
            "bars_per_year": a_year,
            "fill": self.market.costs.label,
            "ended": self.ended,
        }

    def trade_rows(self) -> list[dict[str, Any]]:
        """The trade log as plain rows, with the time of entry and exit where it is known."""
        stamps = self.market.bars.stamps
        rows = []
        for number, trade in enumerate(self.trades, start=1):
            times = {}
            if stamps is not None:
                times = {
                    "entry_time": _iso(stamps[trade.entry_bar]),
                    "exit_time": _iso(stamps[trade.exit_bar]),
                }
            rows.append(
                {"number": number, **times, **trade.as_dict(), "fill": self.market.costs.label}
            )
        return rows


def _iso(stamp: np.datetime64) -> str:
    return str(stamp.astype("datetime64[s]"))
