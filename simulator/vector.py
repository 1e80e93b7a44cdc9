"""Many accounts on one market, stepped by one call of compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
import pandas as pd
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from simulator import core
from simulator import layout as at
from simulator.actions import levels_of
from simulator.bars import Bars
from simulator.environment import action_space, checked_length, market_of, observation_space
from simulator.market import Market

Floats = npt.NDArray[np.float64]
Seen = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


class Accounts:
    """The states of n accounts on one market, and how they are reset and stepped.

    parameters: float64 (n, PARAMETERS), one row an account, as of `Market.row`; all alike if
    None. Episodes are `episode_bars` long from a random bar, or the whole market.
    """

    def __init__(
        self,
        market: Market,
        n: int,
        levels: tuple[float, ...] | None,
        episode_bars: int | None,
        initial_balance: float,
        parameters: Floats | None,
    ) -> None:
        if n < 1:
            raise ValueError(f"num_envs={n}: at least 1 is needed")
        rows = np.tile(market.parameters, (n, 1)) if parameters is None else parameters
        self.parameters = np.array(rows, dtype=np.float64, order="C")
        if self.parameters.shape != (n, at.PARAMETERS):
            shape = self.parameters.shape
            raise ValueError(f"parameters of shape {shape}: ({n}, {at.PARAMETERS}) is needed")
        self.market, self.n = market, n
        self.episode_bars = checked_length(market, episode_bars)
        self.targets = None if levels is None else np.array(levels) * market.max_position
        self.fresh = market.start(initial_balance)
        self.states = np.tile(self.fresh, (n, 1))

    def restart(self, rows: Rows | slice, rng: np.random.Generator) -> Seen:
        """Begin new episodes in `rows`; return what is seen there, (rows, size)."""
        count = len(self.states[rows])
        self.states[rows] = self.fresh
        if self.episode_bars is not None:
            market, length = self.market, self.episode_bars
            first = rng.integers(market.first, market.last - length + 1, count)
            self.states[rows, at.BAR] = first
            self.states[rows, at.LAST] = first + length
        return core.observe(self.market.table, self.states[rows], self.market.window)

    def step(self, actions: npt.NDArray[Any]) -> tuple[Seen, Floats, Flags, Flags, int]:
        """(seen, rewards, terminated, truncated, ended): new arrays; ended rows stay."""
        n = self.n
        seen = np.empty((n, self.market.observation_size), np.float32)
        rewards = np.empty(n)
        terminated, truncated = np.empty(n, np.bool_), np.empty(n, np.bool_)
        ended = core.step_many(
            self.market.table,
            self.parameters,
            self.states,
            self._wanted(actions),
            seen,
            rewards,
            terminated,
            truncated,
        )
        return seen, rewards, terminated, truncated, ended

    def _wanted(self, actions: npt.NDArray[Any]) -> Floats:
        """Fractions of equity, float64 (n,), from actions as the action space has them."""
        shares = np.asarray(actions).reshape(-1)
        if len(shares) != self.n:  # compiled code would read past the end
            raise ValueError(f"{shares.size} actions for {self.n} accounts")
        if self.targets is not None:
            if shares.min() < 0:
                raise ValueError(f"actions {shares.min()}: levels are 0 to {len(self.targets) - 1}")
            return self.targets[shares]
        limit = self.market.max_position
        wanted: Floats = np.multiply(shares, limit, dtype=np.float64)
        np.maximum(wanted, -limit, out=wanted)
        np.minimum(wanted, limit, out=wanted)
        # One pass instead of isnan and any: NaN is what is not equal to itself.
        if (total := wanted.sum()) != total:
            raise ValueError("an action is NaN: the policy gives no finite number")
        return wanted


class TradingVectorEnv(VectorEnv):
    """`TradingEnv` n times over, as gymnasium's vector environment.

    data and keywords as of `TradingEnv`. parameters: see `Accounts`; rows may differ in costs and
    limits. autoreset: "next_step", gymnasium's own way (the step after an end begins anew and
    ignores its action), or "same_step" (the end's observation is in infos["final_obs"]).
    infos: bar, equity and position, each (num_envs,), after `reset` and in steps in which an
    episode ends or begins; at other times they are in `accounts.states`.
    """

    def __init__(
        self,
        data: Market | Bars | pd.DataFrame | str | Path,
        num_envs: int,
        *,
        actions: str | int | Sequence[float] = "continuous",
        episode_bars: int | None = None,
        initial_balance: float = 10000.0,
        parameters: Floats | None = None,
        autoreset: Literal["next_step", "same_step"] = "next_step",
        **market: Any,
    ) -> None:
        self.market = market_of(data, **market)
        self.num_envs = num_envs
        levels = levels_of(actions)
        self.accounts = Accounts(
            self.market, num_envs, levels, episode_bars, initial_balance, parameters
        )
        self.single_observation_space = observation_space(self.market)
        self.single_action_space = action_space(levels)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.same_step = autoreset == "same_step"
        mode = AutoresetMode.SAME_STEP if self.same_step else AutoresetMode.NEXT_STEP
        self.metadata = {"autoreset_mode": mode, "render_modes": []}
        self._over: Rows | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Any = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin new episodes everywhere, or where options["reset_mask"] (num_envs,) is true."""
        if seed is not None:
            if not isinstance(seed, (int, np.integer)):
                # One generator serves all rows: a list of seeds is one seed.
                whole = [0 if part is None else part for part in seed]
                seed = int(np.random.SeedSequence(whole).generate_state(1)[0])
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(int(seed))
        mask = (options or {}).get("reset_mask")
        over, self._over = self._over, None
        if mask is None:
            return self.accounts.restart(slice(None), self.np_random), self._infos()
        self.accounts.restart(np.flatnonzero(mask), self.np_random)
        if over is not None and not np.asarray(mask)[over].all():
            self._over = over[~np.asarray(mask)[over]]
        seen = core.observe(self.market.table, self.accounts.states, self.market.window)
        return seen, self._infos()

    def step(self, actions: npt.NDArray[Any]) -> tuple[Seen, Floats, Flags, Flags, dict[str, Any]]:
        """Trade one bar everywhere."""
        seen, rewards, terminated, truncated, ended = self.accounts.step(actions)
        if self.same_step:
            if not ended:
                return seen, rewards, terminated, truncated, {}
            return self._restart_ended(seen, rewards, terminated, truncated)
        if self._over is None and not ended:
            return seen, rewards, terminated, truncated, {}
        if self._over is not None:
            rows, self._over = self._over, None
            seen[rows] = self.accounts.restart(rows, self.np_random)
            terminated[rows] = truncated[rows] = False
            ended -= len(rows)
        if ended:
            self._over = np.flatnonzero(terminated | truncated)
        return seen, rewards, terminated, truncated, self._infos()

    def _restart_ended(
        self, seen: Seen, rewards: Floats, terminated: Flags, truncated: Flags
    ) -> tuple[Seen, Floats, Flags, Flags, dict[str, Any]]:
        over = terminated | truncated
        rows = np.flatnonzero(over)
        last_seen = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            last_seen[row] = seen[row].copy()
        last_infos = {name: np.where(over, values, 0) for name, values in self._infos().items()}
        last_infos |= {f"_{name}": over.copy() for name in last_infos}
        seen[rows] = self.accounts.restart(rows, self.np_random)
        infos = self._infos() | {
            "final_obs": last_seen,
            "_final_obs": over,
            "final_info": last_infos,
            "_final_info": over,
        }
        return seen, rewards, terminated, truncated, infos

    def _infos(self) -> dict[str, Any]:
        states = self.accounts.states
        return {
            "bar": states[:, at.BAR].astype(np.int64),
            "equity": states[:, at.EQUITY].copy(),
            "position": states[:, at.POSITION].copy(),
        }

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing is held open."""
