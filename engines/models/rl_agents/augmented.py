"""Replay in which one visited state teaches every action.

Prices do not react to a small account, so what another action would have brought at a visited
state is known, not guessed: the simulator's core trades it over the bars that were there. A sampled
state gives a transition for each action. What it holds is varied as well: an action drawn at random
is taken at the visited state first, so that every position comes up at every bar, with the entry
price, the equity and the drawdown that it would really have had.

With n steps only the first action is replaced; the others are chosen as the agent would choose them
now, on the bars that followed. So the return is one of the present policy, where that of a stored
sequence is one of an older policy with another first action.

Bars up to n + 1 after a visited one are read. They are history and belong to the agent's own
training market: nothing may be on it that the agent is to be judged by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from engines.models.rl_agents.priorities import Drawn, Priorities, Rows, grown
from simulator import core
from simulator import layout as at
from simulator.sb3 import TradingVecEnv

Floats = npt.NDArray[np.float64]
Seen = npt.NDArray[np.float32]
Choose = Callable[[Seen], npt.NDArray[np.int64]]
"""Observations (rows, size) -> the number of the action that the agent takes now, (rows,)."""

KEPT = at.FILL_UNITS
"""The numbers of a state that the next bar depends on: the others say what the last bar did."""


class AugmentedReplay(BaseBuffer):
    """The states that accounts of a `TradingVecEnv` were in, in the place of transitions.

    env: may be None until `attach`. gamma, n_steps: of the returns. alpha: see `Priorities`; a
    state's error is the mean over its actions. vary: whether positions are varied as said above.
    Takes 72 bytes a state whatever an agent sees; a pickle holds the filled rows, and no market.
    """

    pos: int
    full: bool

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: Any,
        n_envs: int,
        *,
        env: TradingVecEnv | None,
        gamma: float,
        n_steps: int = 1,
        alpha: float = 0.0,
        vary: bool = True,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.gamma, self.n_steps, self.vary = gamma, n_steps, vary
        self.visited = np.zeros((self.buffer_size, n_envs, KEPT))
        self.priorities = Priorities(self.buffer_size * n_envs, alpha)
        self._before: Floats | None = None
        self.attach(env)

    def attach(self, env: Any) -> None:
        """Say which environment the states are of. Raises ValueError for one that is no market."""
        if env is not None and not isinstance(env, TradingVecEnv):
            raise ValueError(f"augmented replay needs a TradingVecEnv, not {type(env).__name__}")
        if env is not None and env.accounts.targets is None:
            raise ValueError("augmented replay needs an environment with discrete actions")
        self.env = env

    def look(self) -> None:
        """Note the states that the next `add` is about: call it before every step."""
        self._before = self._market_env().accounts.states[:, :KEPT].copy()

    def add(self, *_: Any) -> None:
        """Store the states seen by `look`. Arguments as of stable-baselines3's buffers."""
        if self._before is None:
            raise ValueError("look() was not called before the step")
        self.visited[self.pos], self._before = self._before, None
        first = self.pos * self.n_envs
        self.priorities.added(np.arange(first, first + self.n_envs))
        self.pos = (self.pos + 1) % self.buffer_size
        self.full |= self.pos == 0

    def draw(self, batch_size: int, beta: float, choose: Choose | None = None) -> Drawn:
        """`batch_size` states by priority, and from each a transition for every action.

        So (batch_size * actions) samples, those of a state in succession. choose: the present
        policy, which `n_steps` above 1 need.
        """
        leaves, weights = self.priorities.draw(batch_size, beta, self.size() * self.n_envs)
        rows, envs = np.divmod(leaves, self.n_envs)
        states = np.zeros((batch_size, at.STATE))
        states[:, :KEPT] = self.visited[rows, envs]
        if self.vary:
            states = self._varied(states, envs)
        samples = self.every_action(states, envs, choose)
        return Drawn(samples, leaves, weights, of_each=len(samples.rewards) // batch_size)

    def every_action(
        self, states: Floats, envs: Rows, choose: Choose | None = None
    ) -> ReplayBufferSamples:
        """A transition for each of k actions at `states` (n, STATE) of accounts `envs` (n,).

        Returns n * k samples: those of the first state, then those of the second. A transition that
        the episode ends within is shorter; no state may have ended.
        """
        accounts = self._market_env().accounts
        market, targets = accounts.market, accounts.targets
        count = len(targets)
        first = np.tile(np.arange(count), len(states))
        seen = core.observe(market.table, states, market.window)
        following = np.repeat(states, count, axis=0)
        parameters = np.repeat(accounts.parameters[envs], count, axis=0)
        earned, discounts, actions = np.zeros(len(first)), np.ones(len(first)), first
        next_seen = np.empty((len(first), market.observation_size), np.float32)
        going = np.ones(len(first), np.bool_)
        for step in range(self.n_steps):
            if step:
                if choose is None:
                    raise ValueError(f"n_steps={self.n_steps}: the present policy is needed")
                actions = choose(next_seen)
            rewards, terminal, cut = stepped(
                market.table, parameters, following, targets[actions], next_seen
            )
            earned += discounts * rewards  # 0 in rows that have ended
            discounts[going] *= self.gamma
            going = ~(terminal | cut)
        return ReplayBufferSamples(
            observations=self.to_torch(np.repeat(seen, count, axis=0)),
            actions=self.to_torch(first[:, None]),
            next_observations=self.to_torch(next_seen),
            dones=self.to_torch(terminal[:, None].astype(np.float32)),
            rewards=self.to_torch(earned[:, None].astype(np.float32)),
            discounts=self.to_torch(discounts[:, None].astype(np.float32)),
        )

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """As `draw`, without priorities: for agents of stable-baselines3 itself."""
        return self.draw(batch_size, 0.0).samples

    def _get_samples(self, batch_inds: Any, env: Any = None) -> ReplayBufferSamples:
        raise NotImplementedError("states are drawn by `draw`")

    def _varied(self, states: Floats, envs: Rows) -> Floats:
        """The states one bar on, after an action drawn at random; where that ends, as they were."""
        accounts = self._market_env().accounts
        drawn = np.random.randint(len(accounts.targets), size=len(states))
        moved = states.copy()
        seen = np.empty((len(states), accounts.market.observation_size), np.float32)
        parameters = accounts.parameters[envs]
        _, terminal, cut = stepped(
            accounts.market.table, parameters, moved, accounts.targets[drawn], seen
        )
        return np.where((terminal | cut)[:, None], states, moved)

    def _market_env(self) -> Any:
        if self.env is None:
            raise ValueError("no environment: call attach(env) after loading")
        return self.env

    def __getstate__(self) -> dict[str, Any]:
        used = self.size()
        return self.__dict__ | {
            "env": None,
            "visited": self.visited[:used].copy(),
            "priorities": self.priorities.packed(used * self.n_envs),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.visited = grown(self.visited, self.buffer_size)
        size = self.buffer_size * self.n_envs
        self.priorities = Priorities.unpacked(size, state["priorities"])


def stepped(
    table: Floats, parameters: Floats, states: Floats, targets: Floats, seen: Seen
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(rewards, terminated, truncated) of one bar, `states` and `seen` in place."""
    rewards, ends = np.empty(len(states)), np.empty((2, len(states)), np.bool_)
    core.step_many(table, parameters, states, targets, seen, rewards, ends[0], ends[1])
    return rewards, ends[0], ends[1]
