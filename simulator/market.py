"""A market ready to be traded: bars, features, costs and rules, laid out for the core.

One `Market` serves any number of environments, agents and backtests at once; nothing in it
changes when it is traded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator import layout as at
from simulator.bars import Bars, load_bars
from simulator.costs import Costs
from simulator.errors import SimulatorError
from simulator.features import BOUND, Wanted, build_features
from simulator.risk import Rule, plan_for

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reward:
    """What an agent is paid for a bar: scale g - risk_factor g^2, g = log growth / unit.

    Every cost is in the growth. unit: a bar's log growth that counts as 1; an agent learns badly
    from rewards of 0.01, so give the volatility of one bar, or "volatility" for that of the bars
    at hand (which must then be those that the agent learns from). The growth of a bar is taken
    as at least 1e-6, so that ruin has a finite price.
    """

    scale: float = 1.0
    risk_factor: float = 0.0
    unit: float | str = 1.0

    def write(self, parameters: Floats, bars: Bars) -> None:
        """Set the reward in a row of the core's parameters."""
        unit = self.unit
        if unit == "volatility":
            unit = float(np.std(np.diff(np.log(bars.close)), ddof=1))
        if not isinstance(unit, (int, float)) or not 0 < unit < float("inf"):
            raise ValueError(f"unit={self.unit!r}: a number above 0 or 'volatility' is needed")
        parameters[at.REWARD_UNIT] = unit
        parameters[at.REWARD_SCALE] = self.scale
        parameters[at.RISK_FACTOR] = self.risk_factor


@dataclass(frozen=True, eq=False)
class Market:
    """Bars with everything that decides what an order becomes.

    table: float64 (bars, 6 + features), see `simulator.core`. parameters: float64
    (PARAMETERS,). first: the first bar at whose close an agent can decide, as it has a whole
    window of features there. max_position: what an action of 1 asks for.
    """

    bars: Bars
    costs: Costs
    table: Floats
    parameters: Floats
    feature_names: tuple[str, ...]
    window: int
    first: int
    max_position: float
    notices: tuple[str, ...] = field(default=())

    @property
    def last(self) -> int:
        """The last bar, at whose close nothing can be decided any more."""
        return len(self.bars) - 1

    @property
    def observation_size(self) -> int:
        """Numbers that an agent sees: window times features, position, drawdown."""
        return self.window * len(self.feature_names) + 2

    def observation_bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(lowest, highest) of each number, float32 (observation_size,)."""
        high = np.full(self.observation_size, BOUND, dtype=np.float32)
        low = -high
        low[-1], high[-1] = -1.0, 0.0
        return low, high

    def row(self, costs: Costs | None = None, max_position: float | None = None) -> Floats:
        """The core's parameters (PARAMETERS,) with other costs or another limit, as a copy."""
        row = self.parameters.copy()
        if costs is not None:
            costs.write(row, self.bars.bars_per_year)
        if max_position is not None:
            row[at.MAX_LONG] = min(row[at.MAX_LONG], max_position)
            row[at.MAX_SHORT] = min(row[at.MAX_SHORT], max_position)
        return row

    def start(
        self, initial_balance: float, first: int | None = None, last: int | None = None
    ) -> Floats:
        """The state (STATE,) of an account with nothing but cash, at the close of bar `first`."""
        begin = self.first if first is None else first
        end = self.last if last is None else last
        if not 0 < initial_balance < float("inf"):
            raise ValueError(f"initial_balance={initial_balance}: an amount above 0 is needed")
        if not 0 <= begin < end <= self.last:
            raise ValueError(f"bars {begin} to {end}: they must lie within 0 and {self.last}")
        state = np.zeros(at.STATE)
        state[at.BAR], state[at.LAST] = begin, end
        state[[at.CASH, at.EQUITY, at.PEAK]] = initial_balance
        return state


def build_market(
    data: Bars | pd.DataFrame | str | Path,
    *,
    costs: Costs | None = None,
    rules: Sequence[Rule] = (),
    features: Wanted = None,
    window: int = 1,
    max_position: float = 1.0,
    bars_per_year: float | None = None,
    reward: Reward | None = None,
) -> Market:
    """Load, check and lay out a market. Features that look ahead are refused.

    features: see `features.build_features`; `[]` for none. window: bars of features an agent sees.
    max_position: largest fraction of equity, long or short; above 1 it is borrowed.
    """
    bars = load_bars(data, bars_per_year=bars_per_year)
    if window != int(window) or window < 1:
        raise ValueError(f"window={window}: a whole number of at least 1 is needed")
    costs = costs or Costs()
    parameters = np.zeros(at.PARAMETERS)
    costs.write(parameters, bars.bars_per_year)
    (reward or Reward()).write(parameters, bars)
    plan = plan_for(bars, rules, max_position, parameters)
    seen = build_features(bars, features)
    first = seen.first + window - 1
    if first >= len(bars) - 1:
        need = f"the features need {first + 1} bars before the first decision"
        raise SimulatorError(f"{bars.name}: {len(bars)} bars, and {need}; give more bars")
    prices = (bars.open, bars.high, bars.low, bars.close)
    table = np.ascontiguousarray(np.column_stack([*prices, plan.scale, plan.limit, seen.values]))
    # Before the first decision there may be NaN, which no one is shown.
    table[: seen.first, at.FEATURES :] = np.nan_to_num(table[: seen.first, at.FEATURES :])
    return Market(
        bars=bars,
        costs=costs,
        table=table,
        parameters=parameters,
        feature_names=seen.names,
        window=window,
        first=first,
        max_position=float(max_position),
        notices=(*bars.notices, *seen.notices),
    )
