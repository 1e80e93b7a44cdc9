"""The simulator as a vector environment of stable-baselines3, without its wrapper of each one.

stable-baselines3 would put every environment into a Python object and loop over them; here one
compiled call steps all. Episode returns and lengths are reported as its Monitor does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from simulator.actions import levels_of
from simulator.bars import Bars
from simulator.environment import action_space, market_of, observation_space
from simulator.errors import PackageNeeded
from simulator.market import Market
from simulator.vector import Accounts

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as reason:
    raise PackageNeeded(
        "stable-baselines3 is not installed; add it with: pip install 'hyperion-tui[rl]'"
    ) from reason

Floats = npt.NDArray[np.float64]


class TradingVecEnv(VecEnv):
    """`TradingEnv` n times over for stable-baselines3. Arguments as of `TradingVectorEnv`.

    An episode's end is replaced by the next one's start in the same step, with
    `terminal_observation`, `TimeLimit.truncated` and `episode` (r, l) in its info.
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
        seed: int = 0,
        **market: Any,
    ) -> None:
        self.market = market_of(data, **market)
        levels = levels_of(actions)
        self.accounts = Accounts(
            self.market, num_envs, levels, episode_bars, initial_balance, parameters
        )
        self._rng = np.random.default_rng(seed)
        self._actions: npt.NDArray[Any] = np.zeros(num_envs)
        self._earned = np.zeros(num_envs)
        self._lasted = np.zeros(num_envs, dtype=np.int64)
        self._began = time.time()
        self.render_mode = None
        super().__init__(num_envs, observation_space(self.market), action_space(levels))

    def reset(self) -> npt.NDArray[np.float32]:
        """Begin new episodes everywhere; a seed set by `seed` counts from here on."""
        if self._seeds[0] is not None:
            self._rng = np.random.default_rng(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._earned[:] = 0.0
        self._lasted[:] = 0
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return self.accounts.restart(slice(None), self._rng)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Trade one bar everywhere: (seen, rewards float32, dones, infos), all new."""
        seen, rewards, terminated, truncated, ended = self.accounts.step(self._actions)
        self._earned += rewards
        self._lasted += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        dones = terminated | truncated
        if ended:
            rows = np.flatnonzero(dones)
            for row in rows:
                infos[row] = {
                    "terminal_observation": seen[row].copy(),
                    "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                    "episode": {
                        "r": float(self._earned[row]),
                        "l": int(self._lasted[row]),
                        "t": time.time() - self._began,
                    },
                }
            seen[rows] = self.accounts.restart(rows, self._rng)
            self._earned[rows] = 0.0
            self._lasted[rows] = 0
        return seen, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of this object, once for each index."""
        return [getattr(self, attr_name) for _ in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of this object; all rows share it."""
        if len(list(self._chosen(indices))) != self.num_envs:
            raise ValueError(f"{attr_name}: all rows share their attributes; set all or none")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """There are no single environments whose methods could be called."""
        raise NotImplementedError(f"{method_name}: rows are not environments of their own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Episodes are reported as Monitor does, so that no one wraps this to have them."""
        name = getattr(wrapper_class, "__name__", "")
        return [name == "Monitor" for _ in self._chosen(indices)]

    def get_images(self) -> list[None]:
        """There is nothing to see."""
        return [None] * self.num_envs

    def _chosen(self, indices: Any) -> Iterable[int]:
        return list(self._get_indices(indices))
