"""The simulator as a gymnasium environment, for one agent at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pandas as pd
from gymnasium import spaces

from simulator import core
from simulator.actions import levels_of
from simulator.bars import Bars
from simulator.costs import Costs
from simulator.features import Wanted
from simulator.market import Market, Reward, build_market
from simulator.risk import Rule

Seen = npt.NDArray[np.float32]


def market_of(
    data: Market | Bars | pd.DataFrame | str | Path,
    *,
    costs: Costs | None = None,
    rules: Sequence[Rule] = (),
    features: Wanted = None,
    window: int = 1,
    max_position: float = 1.0,
    bars_per_year: float | None = None,
    reward: Reward | None = None,
) -> Market:
    """`data` itself if it is a market, else one built from it (see `build_market`)."""
    if isinstance(data, Market):
        return data
    return build_market(
        data,
        costs=costs,
        rules=rules,
        features=features,
        window=window,
        max_position=max_position,
        bars_per_year=bars_per_year,
        reward=reward,
    )


def observation_space(market: Market) -> spaces.Box:
    """Features, position and drawdown, each with finite bounds."""
    low, high = market.observation_bounds()
    return spaces.Box(low, high, dtype=np.float32)


def action_space(levels: tuple[float, ...] | None) -> spaces.Space[Any]:
    """A share of the largest position in [-1, 1], or the number of a level."""
    if levels is None:
        return spaces.Box(-1.0, 1.0, (1,), np.float32)
    return spaces.Discrete(len(levels))


class TradingEnv(gymnasium.Env[Seen, Any]):
    """One account on one market. Reward: log growth of equity, every cost paid (`Reward`).

    data: a `Market`, or what one is built from with the keywords of `build_market`. actions: see
    `levels_of`. episode_bars: length of an episode, which then begins at a random bar; None for
    the whole market. `reset(options={"start": bar})` begins there.

    terminated: ruin, or everything was sold at the maximum drawdown. truncated: no more bars. The
    observation is an array of its own at every step. info: equity and position, and after `reset`
    the bar. `state` is the core's, see `layout`.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  gymnasium reads it so

    def __init__(
        self,
        data: Market | Bars | pd.DataFrame | str | Path,
        *,
        actions: str | int | Sequence[float] = "continuous",
        episode_bars: int | None = None,
        initial_balance: float = 10000.0,
        **market: Any,
    ) -> None:
        self.market = market_of(data, **market)
        self.levels = levels_of(actions)
        self.initial_balance = float(initial_balance)
        self.episode_bars = checked_length(self.market, episode_bars)
        self.observation_space = observation_space(self.market)
        self.action_space = action_space(self.levels)
        self.state = self.market.start(self.initial_balance)
        self._over = True
        # Looked up once: a step takes a microsecond.
        self._step = core.step_one
        self._table, self._parameters = self.market.table, self.market.parameters
        self._size = self.market.observation_size
        self._targets = tuple(
            level * self.market.max_position for level in self.levels or (-1.0, 1.0)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin again with nothing but cash."""
        super().reset(seed=seed)
        first = (options or {}).get("start")
        if first is None:
            first = self.market.first
            if self.episode_bars is not None:
                first = int(
                    self.np_random.integers(first, self.market.last - self.episode_bars + 1)
                )
        last = self.market.last if self.episode_bars is None else first + self.episode_bars
        if not self.market.first <= first < self.market.last:
            bars = f"{self.market.first} to {self.market.last - 1}"
            raise ValueError(f"start={first}: an episode begins at bars {bars}")
        self.state = self.market.start(self.initial_balance, first, min(last, self.market.last))
        self._over = False
        seen = core.observe(self.market.table, self.state[None], self.market.window)[0]
        return seen, {"equity": self.initial_balance, "position": 0.0, "bar": first}

    def step(self, action: Any) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Trade one bar."""
        if self.levels is None:
            low, high = self._targets
            target = float(action[0]) * high
            if not low <= target <= high:
                if target != target:
                    raise ValueError(f"action {action!r}: the policy gives no finite number")
                target = min(max(target, low), high)
        else:
            if action < 0:  # Python would count it from the end
                raise ValueError(f"action {action!r}: levels are 0 to {len(self.levels) - 1}")
            target = self._targets[action]
        if self._over:
            raise ValueError("the episode is over; call reset()")
        seen = np.empty(self._size, np.float32)
        reward, terminated, truncated, equity, position = self._step(
            self._table, self._parameters, self.state, target, seen
        )
        self._over = terminated or truncated
        return seen, reward, terminated, truncated, {"equity": equity, "position": position}


def checked_length(market: Market, episode_bars: int | None) -> int | None:
    """`episode_bars` if an episode of that many fits into the market."""
    most = market.last - market.first
    if episode_bars is not None and not 1 <= episode_bars <= most:
        raise ValueError(f"episode_bars={episode_bars}: 1 to {most} bars fit")
    return episode_bars
