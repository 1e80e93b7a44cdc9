"""An account kept by hand: the simulator's rules in plain Python, written apart from its core.

Slow on purpose. Trades are found by repeated substitution instead of a formula, and every amount
is booked as it occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Terms:
    """Costs and limits. Rates are of one bar."""

    fee: float = 0.0
    impact: float = 0.0
    borrow: float = 0.0
    funding: float = 0.0
    longest: float = 1.0
    shortest: float = 1.0
    stop: float | None = None
    take: float | None = None
    drawdown: float | None = None
    ease: tuple[float, float] | None = None
    band: float = 0.0
    same_close: bool = False


@dataclass
class Account:
    """Cash and units of one asset; `equities` after each bar."""

    terms: Terms
    cash: float
    units: float = 0.0
    paid: float = 0.0  # mean price of what is held
    equities: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    status: str = "running"

    def __post_init__(self) -> None:
        self.peak = self.equity = self.cash

    def bar(self, order: float, before: tuple, now: tuple) -> None:
        """Trade one bar; before and now are (open, high, low, close, scale, limit)."""
        if self.status in ("halted", "ruined"):
            self.equities.append(self.equity)
            return
        opened, high, low, close = now[:4]
        wanted = self.limited(order, before[4], before[5])
        price = before[3] if self.terms.same_close else opened
        if not self.terms.same_close and self.keeps_side(wanted) and self.jumped(opened):
            wanted = 0.0
            self.events.append("jumped")
        self.trade_to(wanted, price)
        self.finance(price)
        self.leave_inside(opened, high, low)
        self.mark(high, low, close)

    def limited(self, order: float, scale: float, limit: float) -> float:
        if self.status != "running":
            return 0.0
        wanted = order * scale
        if self.terms.ease is not None:
            start, stop = self.terms.ease
            lost = 1 - self.equity / self.peak
            if lost >= stop:
                wanted = 0.0
            elif lost > start:
                wanted *= (stop - lost) / (stop - start)
        if wanted > 0:
            return min(wanted, self.terms.longest, limit)
        return -min(-wanted, self.terms.shortest, limit)

    def keeps_side(self, wanted: float) -> bool:
        return (self.units > 0 and wanted > 0) or (self.units < 0 and wanted < 0)

    def levels(self) -> tuple[float | None, float | None]:
        """(stop, target) prices of what is held."""
        sign = 1 if self.units > 0 else -1
        stop = None if self.terms.stop is None else self.paid * (1 - sign * self.terms.stop)
        take = None if self.terms.take is None else self.paid * (1 + sign * self.terms.take)
        return stop, take

    def jumped(self, price: float) -> bool:
        # As a share of the entry price, which is how a distance is given.
        sign = 1 if self.units > 0 else -1
        gain = sign * (price - self.paid) / self.paid
        stop, take = self.terms.stop, self.terms.take
        return (stop is not None and gain <= -stop) or (take is not None and gain >= take)

    def trade_to(self, wanted: float, price: float) -> None:
        if wanted == 0:
            self.fill(-self.units, price)
            return
        worth = self.cash + self.units * price
        band = max(1e-9, self.terms.band)
        if worth <= 0 or abs(wanted * worth - self.units * price) <= band * worth:
            return
        units = wanted * worth / price
        for _ in range(200):  # what is left after the costs of getting there
            units = wanted * (worth - self.cost(units - self.units, price)) / price
        self.fill(units - self.units, price)

    def cost(self, units: float, price: float) -> float:
        sign = 1 if units > 0 else -1
        dealt = price * (1 + sign * self.terms.impact)
        return abs(units) * (abs(dealt - price) + self.terms.fee * dealt)

    def fill(self, units: float, price: float) -> None:
        if units == 0:
            return
        dealt = price * (1 + (1 if units > 0 else -1) * self.terms.impact)
        self.cash -= units * dealt
        self.cash -= self.terms.fee * abs(units * dealt)
        left = self.units + units
        if abs(left) < 1e-12 * abs(units):
            left = 0.0
        if left == 0:
            self.paid = 0.0
        elif self.units == 0 or (self.units > 0) != (left > 0):
            self.paid = dealt
        elif abs(left) > abs(self.units):
            self.paid = (self.paid * self.units + dealt * units) / left
        self.units = left

    def finance(self, price: float) -> None:
        value = self.units * price
        borrowed = max(0.0, -value) + max(0.0, -self.cash)
        self.cash -= self.terms.borrow * borrowed + self.terms.funding * value

    def leave_inside(self, opened: float, high: float, low: float) -> None:
        if self.units == 0:
            return
        stop, take = self.levels()
        if take is not None and self.ruined_before(take, opened, high, low):
            take = None
        if self.units > 0:
            if stop is not None and low <= stop:
                self.leave(min(opened, stop), "stop")
            elif take is not None and high >= take:
                self.leave(max(opened, take), "take")
        elif stop is not None and high >= stop:
            self.leave(max(opened, stop), "stop")
        elif take is not None and low <= take:
            self.leave(min(opened, take), "take")

    def ruined_before(self, take: float, opened: float, high: float, low: float) -> bool:
        """Whether the worst price of the bar, taken to come before the target, ends it all."""
        if self.units > 0:
            return opened < take and self.cash + self.units * low <= 0
        return opened > take and self.cash + self.units * high <= 0

    def leave(self, price: float, event: str) -> None:
        self.fill(-self.units, price)
        self.events.append(event)

    def mark(self, high: float, low: float, close: float) -> None:
        worst = low if self.units > 0 else high
        self.equity = self.cash + self.units * close
        if self.cash + self.units * worst <= 0 or self.equity <= 0:
            self.cash = self.units = self.equity = 0.0
            self.status = "ruined"
            self.events.append("ruined")
        self.peak = max(self.peak, self.equity)
        self.equities.append(self.equity)
        if self.status == "halting":
            self.status = "halted"
            self.events.append("halted")
        elif self.status == "running" and self.lost_too_much():
            self.status = "halting"

    def lost_too_much(self) -> bool:
        limit = self.terms.drawdown
        return limit is not None and 1 - self.equity / self.peak >= limit
