"""What trading costs, in the units people quote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator import layout as at

Fill = Literal["next_open", "same_close"]
FILLS: tuple[Fill, ...] = ("next_open", "same_close")
LOOK_AHEAD = "look-ahead"


@dataclass(frozen=True)
class Costs:
    """Every cost of a trade and of holding. All are shares, 0.001 is 10 basis points.

    transaction_cost: fee on the traded amount. slippage: the price is worse by this share.
    spread: between bid and ask, of which a trade pays half. borrow_rate, funding_rate: a year,
    charged every bar a position is held, in proportion: the first on the value sold short and on
    cash below zero, the second on the position's value, from longs to shorts.
    fill: `next_open`, or `same_close`, which fills at the very price that the decision was taken
    at. Nobody can do that; it is for comparison with tools that do, and labelled look-ahead.
    """

    transaction_cost: float = 0.001
    slippage: float = 0.0
    spread: float = 0.0
    borrow_rate: float = 0.0
    funding_rate: float = 0.0
    fill: Fill = "next_open"

    def __post_init__(self) -> None:
        for name in ("transaction_cost", "slippage", "spread"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ValueError(f"{name}={getattr(self, name)}: a share from 0 to 0.5 is needed")
        if not 0 <= self.borrow_rate < float("inf"):
            raise ValueError(f"borrow_rate={self.borrow_rate}: a rate of at least 0 is needed")
        if not abs(self.funding_rate) < float("inf"):
            raise ValueError(f"funding_rate={self.funding_rate}: a finite rate is needed")
        if self.fill not in FILLS:
            raise ValueError(f"fill={self.fill!r}: choose one of {', '.join(FILLS)}")

    @property
    def looks_ahead(self) -> bool:
        """Whether orders are filled at a price that was known when they were decided."""
        return self.fill == "same_close"

    @property
    def label(self) -> str:
        """How fills are named in tables."""
        return f"{self.fill} ({LOOK_AHEAD})" if self.looks_ahead else self.fill

    def write(self, parameters: npt.NDArray[np.float64], bars_per_year: float) -> None:
        """Set the costs in a row of the core's parameters."""
        parameters[at.FEE] = self.transaction_cost
        parameters[at.IMPACT] = self.slippage + self.spread / 2
        parameters[at.BORROW] = self.borrow_rate / bars_per_year
        parameters[at.FUNDING] = self.funding_rate / bars_per_year
        parameters[at.SAME_CLOSE] = float(self.looks_ahead)
