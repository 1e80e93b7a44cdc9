"""The simulator's face for people: a policy in, metrics and a trade log out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator import core
from simulator import layout as at
from simulator.actions import decision_of, levels_of, target_of
from simulator.bars import Bars
from simulator.costs import Costs, Fill
from simulator.episode import Episode
from simulator.features import Wanted
from simulator.market import Market, Reward, build_market
from simulator.risk import MaxDrawdown, Rule, StopLoss, TakeProfit

Floats = npt.NDArray[np.float64]
Seen = npt.NDArray[np.float32]


def rules_from(
    rules: Sequence[Rule],
    stop_loss: float | None,
    take_profit: float | None,
    max_drawdown: float | None,
) -> list[Rule]:
    """The rules with those that were given as plain numbers."""
    found = list(rules)
    if stop_loss is not None:
        found.append(StopLoss(stop_loss))
    if take_profit is not None:
        found.append(TakeProfit(take_profit))
    if max_drawdown is not None:
        found.append(MaxDrawdown(max_drawdown))
    return found


class TradingEnvironmentSimulator:
    """Trades one asset with a policy, bar by bar, and says what came of it.

    data: bars as a table, a CSV or Parquet file, or `Bars`. transaction_cost: share of the
    traded amount. max_position: largest fraction of equity, long or short. An action is a share
    of max_position in [-1, 1], or with discrete `actions` the number of a level (`levels_of`).
    It is decided at a bar's close and filled at the next open. slippage, spread, borrow_rate,
    funding_rate, fill: see `Costs`. stop_loss, take_profit, max_drawdown: see `risk`, as `rules`.
    features, window: what `get_state` shows, see `features.build_features`.
    """

    def __init__(
        self,
        data: Bars | pd.DataFrame | str | Path,
        initial_balance: float = 10000,
        transaction_cost: float = 0.001,
        max_position: float = 1.0,
        *,
        slippage: float = 0.0,
        spread: float = 0.0,
        borrow_rate: float = 0.0,
        funding_rate: float = 0.0,
        fill: Fill = "next_open",
        stop_loss: float | None = None,
        take_profit: float | None = None,
        max_drawdown: float | None = None,
        rules: Sequence[Rule] = (),
        features: Wanted = None,
        window: int = 1,
        bars_per_year: float | None = None,
        actions: str | int | Sequence[float] = "continuous",
        reward: Reward | None = None,
    ) -> None:
        costs = Costs(transaction_cost, slippage, spread, borrow_rate, funding_rate, fill)
        self.market: Market = build_market(
            data,
            costs=costs,
            rules=rules_from(rules, stop_loss, take_profit, max_drawdown),
            features=features,
            window=window,
            max_position=max_position,
            bars_per_year=bars_per_year,
            reward=reward,
        )
        self.initial_balance = float(initial_balance)
        self._levels = levels_of(actions)
        self._state = self.market.start(self.initial_balance)
        self._records: list[Floats] = []

    @property
    def current_step(self) -> int:
        """Bars traded since `reset`."""
        return len(self._records)

    @property
    def balance(self) -> float:
        """Equity at the last close."""
        return float(self._state[at.EQUITY])

    @property
    def position(self) -> float:
        """The position at the last close, as a fraction of equity."""
        return float(self._state[at.POSITION])

    @property
    def done(self) -> bool:
        """Whether the data or the money is at its end."""
        return bool(
            self._state[at.STATUS] >= at.HALTED or self._state[at.BAR] >= self._state[at.LAST]
        )

    def reset(self) -> Seen:
        """Begin again with nothing but cash; return the first state."""
        self._state = self.market.start(self.initial_balance)
        self._records = []
        return self.get_state()

    def get_state(self, step: int | None = None) -> Seen:
        """What an agent sees, float32 (observation_size,): features, position, drawdown.

        step: bars after the first decision, None for now; position and drawdown are always those
        of now. The array is the caller's own.
        """
        state = self._state.copy()
        if step is not None:
            bar = self.market.first + int(step)
            if not self.market.first <= bar <= self.market.last:
                steps = self.market.last - self.market.first
                raise ValueError(f"step={step}: steps are 0 to {steps}")
            state[at.BAR] = bar
        return core.observe(self.market.table, state[None], self.market.window)[0]

    def step(self, action: Any) -> tuple[Seen, float, bool, dict[str, Any]]:
        """Trade one bar: (state, reward, done, info). Raises ValueError once it is done.

        The reward is the bar's log growth of equity, every cost paid (see `Reward`).
        """
        if self.done:
            raise ValueError("the episode is over; call reset()")
        seen = np.empty(self.market.observation_size, dtype=np.float32)
        reward, terminated, truncated, equity, position = core.step_one(
            self.market.table, self.market.parameters, self._state, self._target(action), seen
        )
        self._records.append(self._state.copy())
        info = {
            "bar": int(self._state[at.BAR]),
            "balance": equity,
            "position": position,
            "fees": float(self._state[at.FEES]),
            "financing": float(self._state[at.FINANCING]),
        }
        return seen, reward, terminated or truncated, info

    def _target(self, action: Any) -> float:
        return target_of(action, self._levels) * self.market.max_position

    def run(self, agent: Any) -> Episode:
        """One episode from the first bar to the end, with every decision asked of `agent`."""
        decide = decision_of(agent)
        seen = self.reset()
        done = False
        while not done:
            seen, _, done, _ = self.step(decide(seen))
        return self.episode()

    def episode(self) -> Episode:
        """What has been traded since `reset`.

        If trading ended before the data did, the bars left count, as they do in `backtest`: a
        policy that is ruined in a month is not scored by that month alone.
        """
        if not self._records:
            raise ValueError("nothing has been traded yet; call step()")
        records, market = np.array(self._records), self.market
        left = market.last - int(self._state[at.BAR])
        if self._state[at.STATUS] >= at.HALTED and left:
            idle = np.empty((left, at.STATE))
            core.run_positions(
                market.table, market.parameters, self._state.copy(), np.zeros(left), idle
            )
            records = np.concatenate([records, idle])
        return Episode(market, records, self.initial_balance, market.first)

    def simulate_trading(self, agent: Any, num_episodes: int = 1) -> dict[str, Any]:
        """Metrics of `agent` over the whole data: means over episodes, and the log of the first.

        agent: a function of the state, or an object with `predict` (as in stable-baselines3, asked
        for its deterministic action), `act`, `select_action` or `get_action`. Episodes differ only
        by the agent's own chance. The dict has every metric of `Episode.metrics`, `trade_log`
        (rows), and with more than one episode `episodes`, the metrics of each. A mean leaves out
        what is None; of nothing but None it is None.
        """
        if num_episodes < 1:
            raise ValueError(f"num_episodes={num_episodes}: at least 1 is needed")
        runs = [self.run(agent) for _ in range(num_episodes)]
        result = mean_metrics([run.metrics for run in runs])
        result["trade_log"] = runs[0].trade_rows()
        if num_episodes > 1:
            result["episodes"] = [run.metrics for run in runs]
        return result


def backtest(
    positions: Floats | Sequence[float],
    market: Market,
    *,
    initial_balance: float = 10000.0,
    first: int | None = None,
    last: int | None = None,
) -> Episode:
    """Trade a given series of positions: one run of compiled code.

    positions: (bars of the market,), fractions of equity; positions[t] is decided at the close
    of bar t, from `first` (the market's first decision if None) to the one before `last`.
    """
    wanted = np.ascontiguousarray(positions, dtype=np.float64)
    if wanted.shape != (len(market.bars),):
        raise ValueError(f"positions of shape {wanted.shape}: one a bar, ({len(market.bars)},)")
    state = market.start(initial_balance, first, last)
    begin, end = int(state[at.BAR]), int(state[at.LAST])
    wanted = wanted[begin:end]
    wrong = np.flatnonzero(~np.isfinite(wanted))
    if len(wrong):
        row = begin + int(wrong[0])
        raise ValueError(f"position {wanted[wrong[0]]} at row {row + 1}: numbers are needed")
    records = np.empty((len(wanted), at.STATE))
    core.run_positions(market.table, market.parameters, state, wanted, records)
    return Episode(market, records, float(initial_balance), begin)


def mean_metrics(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Numbers averaged over runs, leaving out None; texts from the first."""
    means: dict[str, Any] = {}
    for name, value in runs[0].items():
        if isinstance(value, str) or len(runs) == 1:
            means[name] = value
            continue
        known = [run[name] for run in runs if run[name] is not None]
        means[name] = float(np.mean(known)) if known else None
    return means
