"""SAC and TD3 of stable-baselines3 with replay in which one visited state teaches any action.

As `augmented.py` says: prices do not react to a small account, so what another action would have
brought is known. Here actions are not few, so a sampled state gives one transition, for an action
drawn evenly from all; what it holds is drawn anew in the same way. The critic then learns every
action at every position, not those that the agent happened to like, and the actor follows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from engines.models.rl_agents.augmented import KEPT, AugmentedReplay, stepped
from simulator import core
from simulator import layout as at
from simulator.sb3 import TradingVecEnv

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class ContinuousReplay(AugmentedReplay):
    """States that accounts were in; each batch draws other positions and actions for them.

    Position and action are even within the limits of the account, by one bar traded at random
    before the one that is learned from: so entry prices, costs and stops are real. All states are
    drawn alike, from numpy's global generator as those of stable-baselines3's buffers.
    """

    def attach(self, env: Any) -> None:
        """Say which environment the states are of; one of continuous actions is needed."""
        if env is not None and not isinstance(env, TradingVecEnv):
            raise ValueError(f"augmented replay needs a TradingVecEnv, not {type(env).__name__}")
        if env is not None and env.accounts.targets is not None:
            raise ValueError("this replay needs an environment with continuous actions")
        self.env = env

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """`batch_size` transitions, each of a visited state with an action of its own."""
        market = self._market_env().accounts.market
        drawn = np.random.randint(self.size() * self.n_envs, size=batch_size)
        rows, envs = np.divmod(drawn, self.n_envs)
        states = np.zeros((batch_size, at.STATE))
        states[:, :KEPT] = self.visited[rows, envs]
        moved, *_, ended = self._traded(states, envs, self._any_action(batch_size))
        states = np.where(ended[:, None], states, moved)
        actions = self._any_action(batch_size)
        seen = core.observe(market.table, states, market.window)
        _, next_seen, rewards, terminal, _ = self._traded(states, envs, actions)
        return ReplayBufferSamples(
            observations=self.to_torch(seen),
            actions=self.to_torch(actions[:, None].astype(np.float32)),
            next_observations=self.to_torch(next_seen),
            dones=self.to_torch(terminal[:, None].astype(np.float32)),
            rewards=self.to_torch(rewards[:, None].astype(np.float32)),
        )

    def _any_action(self, count: int) -> Floats:
        return np.random.uniform(-1.0, 1.0, count)

    def _traded(
        self, states: Floats, envs: Any, actions: Floats
    ) -> tuple[Floats, npt.NDArray[np.float32], Floats, Flags, Flags]:
        """One bar on: (states, seen, rewards, terminated, ended in any way), all new."""
        accounts = self._market_env().accounts
        market, count = accounts.market, len(states)
        moved = states.copy()
        seen = np.empty((count, market.observation_size), np.float32)
        wanted = actions * market.max_position
        rewards, terminal, cut = stepped(
            market.table, accounts.parameters[envs], moved, wanted, seen
        )
        return moved, seen, rewards, terminal, terminal | cut


class _Augmented:
    """What an off-policy agent of continuous actions needs to learn from `ContinuousReplay`.

    augmented: off, and the agent is that of stable-baselines3.
    """

    replay_buffer: Any

    def __init__(self, policy: Any, env: Any, *, augmented: bool = True, **arguments: Any) -> None:
        self.augmented = augmented
        super().__init__(policy, env, **arguments)  # type: ignore[call-arg]

    def _setup_model(self) -> None:
        if self.augmented:
            agent: Any = self
            where = (agent.buffer_size, agent.observation_space, agent.action_space)
            self.replay_buffer = ContinuousReplay(
                *where, agent.device, agent.n_envs, env=agent.env, gamma=agent.gamma
            )
        super()._setup_model()  # type: ignore[misc]

    def _sample_action(self, *args: Any, **kwargs: Any) -> Any:
        if self.augmented:
            self.replay_buffer.look()
        return super()._sample_action(*args, **kwargs)  # type: ignore[misc]


class TradingSAC(_Augmented, SAC):
    """SAC of stable-baselines3, its arguments, and `augmented`. For a `TradingVecEnv`."""


class TradingTD3(_Augmented, TD3):
    """TD3 of stable-baselines3, its arguments, and `augmented`. For a `TradingVecEnv`."""


class DecayingNoise(ActionNoise):
    """Independent normal noise for the actions of all accounts, with a generator of its own.

    sigma: its standard deviation now, in shares of the position limit; whoever trains sets it.
    """

    def __init__(self, accounts: int, seed: int) -> None:
        super().__init__()
        self.sigma = 0.0
        self.random = np.random.default_rng(seed)
        self._shape = (accounts, 1)

    def __call__(self) -> npt.NDArray[np.float32]:
        return (self.sigma * self.random.standard_normal(self._shape)).astype(np.float32)

    def reset(self, indices: Any = None) -> None:
        """Nothing: one draw does not depend on another."""
