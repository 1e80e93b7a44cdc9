"""Trades: what was entered and left, read from the records of the core.

A trade begins when a position is opened from nothing or turned round, and ends when it is closed
or turned round again; what is added to it or taken off it in between belongs to it. A position
that is still open at the end is closed there at the last price, without costs, and says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator import layout as at

Floats = npt.NDArray[np.float64]

_REASONS = {at.STOPPED: "stop", at.TAKEN: "target", at.GAPPED: "jumped stop or target"}


@dataclass(frozen=True)
class Trade:
    """One round trip. Prices are means of what was paid and received, impact included.

    side: 1 long, -1 short. units: the most that was held. bars: bars it was held through.
    costs: fees and financing; the impact is in the prices. profit: money, all of them paid;
    profit_share: of the equity at its entry. entry_bar, exit_bar: 0-based. reason: order, stop,
    target, jumped stop or target, ruin, end.
    """

    side: int
    entry_bar: int
    exit_bar: int
    bars: int
    units: float
    entry_price: float
    exit_price: float
    costs: float
    profit: float
    profit_share: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The trade as plain data, for a table."""
        return asdict(self)


class _Open:
    """A trade that goes on."""

    def __init__(self, side: int, bar: int, equity: float) -> None:
        self.side, self.bar, self.equity = side, bar, equity
        self.most = self.bought = self.bought_for = self.sold = self.sold_for = 0.0
        self.cash = self.costs = 0.0

    def fill(self, units: float, price: float, fee: float, held: float) -> None:
        amount = abs(units)
        if units * self.side > 0:
            self.bought += amount
            self.bought_for += amount * price
        else:
            self.sold += amount
            self.sold_for += amount * price
        self.cash -= units * price + fee
        self.costs += fee
        self.most = max(self.most, abs(held))

    def close(self, bar: int, bars: int, reason: str, profit: float | None = None) -> Trade:
        made = self.cash if profit is None else profit
        return Trade(
            side=self.side,
            entry_bar=self.bar,
            exit_bar=bar,
            bars=bars,
            units=float(self.most),
            entry_price=float(self.bought_for / self.bought),
            exit_price=float(self.sold_for / self.sold) if self.sold else 0.0,
            costs=float(self.costs),
            profit=float(made),
            profit_share=float(made / self.equity) if self.equity > 0 else 0.0,
            reason=reason,
        )


def trades_from(
    records: Floats, initial_balance: float, fee_rate: float, close: Floats
) -> list[Trade]:
    """The trades in `records` (n, STATE) of one episode, in the order in which they ended.

    close: (n,) closes of the same bars. Profits add up to the change of equity.
    """
    trades: list[Trade] = []
    held = financed = 0.0
    trade: _Open | None = None
    # Financing of each bar comes between its two fills.
    paid = np.cumsum(records[:, at.FINANCING])
    active = (records[:, at.FILL_UNITS] != 0) | (records[:, at.EXIT_UNITS] != 0)
    active |= records[:, at.STATUS] == at.RUINED
    for row in np.flatnonzero(active):
        record = records[row]
        bar = int(record[at.BAR])
        before = records[row - 1, at.EQUITY] if row else initial_balance
        fills = (
            (record[at.FILL_UNITS], record[at.FILL_PRICE], paid[row] - record[at.FINANCING], 0),
            (record[at.EXIT_UNITS], record[at.EXIT_PRICE], paid[row], 1),
        )
        for units, price, financing, inside in fills:
            reason = _reason(record[at.EVENT], inside)
            for part in _parts(held, units):
                if trade is None:
                    trade, financed = _Open(1 if part > 0 else -1, bar, before), financing
                held = held + part if abs(held + part) > 1e-12 * abs(held) else 0.0
                trade.fill(part, price, fee_rate * abs(part) * price, held)
                if held == 0.0:
                    _finance(trade, financing - financed)
                    trades.append(trade.close(bar, bar - trade.bar + inside, reason))
                    trade = None
        if record[at.STATUS] == at.RUINED:
            if trade is not None:
                _finance(trade, paid[row] - financed)
                lost = -initial_balance - sum(each.profit for each in trades)
                trades.append(trade.close(bar, bar - trade.bar + 1, "ruin", lost))
            return trades
    if trade is not None:
        bar = int(records[-1, at.BAR])
        _finance(trade, paid[-1] - financed)
        trade.sold, trade.sold_for = trade.sold + abs(held), trade.sold_for + abs(held) * close[-1]
        trade.cash += held * close[-1]
        trades.append(trade.close(bar, bar - trade.bar + 1, "end"))
    return trades


def _finance(trade: _Open, amount: float) -> None:
    trade.cash -= amount
    trade.costs += amount


def _reason(event: float, inside: int) -> str:
    wanted = (at.STOPPED, at.TAKEN) if inside else (at.GAPPED,)
    return _REASONS[event] if event in wanted else "order"


def _parts(held: float, units: float) -> tuple[float, ...]:
    """A fill that turns a position round closes one trade and opens another."""
    if units == 0.0:
        return ()
    if held * (held + units) < 0.0 and abs(held + units) > 1e-12 * abs(held):
        return -held, held + units
    return (units,)
