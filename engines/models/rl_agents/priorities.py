"""Replay that is drawn by priority: a tree of sums, and transitions of n steps.

Schaul et al. 2016, Prioritized Experience Replay, the proportional variant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from simulator.compilation import entry

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

SMALLEST_ERROR = 1e-6
"""Added to every error, so that what was learned well is still drawn now and then."""


@entry("void(f8[::1], i8[::1], f8[::1])")
def _set(tree: Floats, leaves: Rows, values: Floats) -> None:
    half = tree.shape[0] // 2
    for i in range(leaves.shape[0]):
        node = half + leaves[i]
        tree[node] = values[i]
        node //= 2
        while node >= 1:
            # Summed anew each time: differences would pile up rounding errors.
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node //= 2


@entry("void(f8[::1], f8[::1], i8[::1])")
def _find(tree: Floats, masses: Floats, leaves: Rows) -> None:
    half = tree.shape[0] // 2
    for i in range(masses.shape[0]):
        node, mass = 1, masses[i]
        while node < half:
            node *= 2
            # Rounding may leave a mass at the end of a branch with nothing behind it.
            if mass >= tree[node] and tree[node + 1] > 0.0:
                mass -= tree[node]
                node += 1
        leaves[i] = node - half


class SumTree:
    """Non-negative numbers, of which one is found by its share of the total in log2(size) steps."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._tree = np.zeros(2 * (1 << max(size - 1, 1).bit_length()))

    @property
    def total(self) -> float:
        """The sum of all."""
        return float(self._tree[1])

    def __getitem__(self, leaves: Rows | slice) -> Floats:
        return self._tree[len(self._tree) // 2 :][leaves]

    def __setitem__(self, leaves: Rows, values: Floats) -> None:
        _set(self._tree, self._known(leaves), np.ascontiguousarray(values, np.float64))

    def find(self, masses: Floats) -> Rows:
        """For each mass in [0, total) the number in whose part of the line it falls, int64."""
        leaves = np.empty(len(masses), np.int64)
        _find(self._tree, np.ascontiguousarray(masses, np.float64), leaves)
        return leaves

    def _known(self, leaves: Rows) -> Rows:
        rows = np.ascontiguousarray(leaves, np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.size):
            raise IndexError(f"numbers {rows.min()} to {rows.max()}: there are {self.size}")
        return rows


class Priorities:
    """How often each stored transition is drawn: in proportion to (its last error)^alpha.

    alpha 0: all alike. What was never learned from has the highest priority seen so far.
    """

    def __init__(self, size: int, alpha: float) -> None:
        self.alpha = alpha
        self.highest = 1.0
        self.tree = SumTree(size)

    def added(self, leaves: Rows) -> None:
        """New transitions are at `leaves`."""
        self.tree[leaves] = np.full(len(leaves), self.highest)

    def draw(self, count: int, beta: float, stored: int) -> tuple[Rows, npt.NDArray[np.float32]]:
        """(leaves, weights) of a batch, one from each of `count` equal parts of the total.

        weights: (stored * probability)^-beta over the largest of the batch, which makes up for
        the priorities fully at beta 1. Draws from numpy's global generator, as
        stable-baselines3's buffers do.
        """
        masses = (np.arange(count) + np.random.random_sample(count)) * (self.tree.total / count)
        leaves = self.tree.find(masses)
        weights = (stored * self.tree[leaves] / self.tree.total) ** -beta
        return leaves, (weights / weights.max()).astype(np.float32)

    def learned(self, leaves: Rows, errors: Floats) -> None:
        """The absolute errors of a batch that was learned from."""
        if self.alpha == 0.0:
            return
        priorities = (np.abs(errors, dtype=np.float64) + SMALLEST_ERROR) ** self.alpha
        self.highest = max(self.highest, float(priorities.max()))
        self.tree[leaves] = priorities

    def packed(self, used: int) -> dict[str, Any]:
        """All there is to keep of the first `used` numbers."""
        return {"alpha": self.alpha, "highest": self.highest, "leaves": self.tree[:used].copy()}

    @classmethod
    def unpacked(cls, size: int, kept: dict[str, Any]) -> Priorities:
        """What `packed` gave, as it was."""
        found = cls(size, kept["alpha"])
        found.highest = kept["highest"]
        found.tree[np.arange(len(kept["leaves"]))] = kept["leaves"]
        return found


class Drawn(NamedTuple):
    """A batch. leaves, weights: None without priorities. of_each: samples in a row of one leaf."""

    samples: ReplayBufferSamples
    leaves: Rows | None = None
    weights: npt.NDArray[np.float32] | None = None
    of_each: int = 1


class PrioritisedReplay(NStepReplayBuffer):
    """stable-baselines3's buffer of n-step transitions, drawn by priority.

    A pickle holds the filled rows alone, and the priorities. Arguments beside those of the base:
    alpha, see `Priorities`.
    """

    def __init__(self, *args: Any, alpha: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.priorities = Priorities(self.buffer_size * self.n_envs, alpha)

    def add(self, *args: Any) -> None:
        """Store a transition of each environment. Arguments as of the base."""
        first = self.pos * self.n_envs
        super().add(*args)
        self.priorities.added(np.arange(first, first + self.n_envs))

    def draw(self, batch_size: int, beta: float, env: Any = None) -> Drawn:
        """A batch by priority; `env` as of the base's `sample`."""
        leaves, weights = self.priorities.draw(batch_size, beta, self.size() * self.n_envs)
        return Drawn(self.gather(*np.divmod(leaves, self.n_envs), env), leaves, weights)

    def gather(self, rows: Rows, envs: Rows, env: Any = None) -> ReplayBufferSamples:
        """Transitions of n steps that begin in `rows` of the environments `envs`.

        A transition ends early where its episode does, or at the newest row; what is left of its
        return is then the value of the state there, unless that was terminal.
        """
        ahead = (rows[:, None] + np.arange(self.n_steps)) % self.buffer_size
        columns = envs[:, None]
        ended = self.dones[ahead, columns] > 0
        ended |= ahead == (self.pos - 1) % self.buffer_size
        ended[:, -1] = True
        length = ended.argmax(axis=1)
        counted = np.arange(self.n_steps) <= length[:, None]
        rewards = self._normalize_reward(self.rewards[ahead, columns], env)
        powers = self.gamma ** np.arange(self.n_steps + 1, dtype=np.float32)
        last = ahead[np.arange(len(rows)), length]
        terminal = self.dones[last, envs] * (1 - self.timeouts[last, envs])
        return ReplayBufferSamples(
            observations=self.to_torch(self._normalize_obs(self.observations[rows, envs], env)),
            actions=self.to_torch(self.actions[rows, envs]),
            next_observations=self.to_torch(
                self._normalize_obs(self.next_observations[last, envs], env)
            ),
            dones=self.to_torch(terminal[:, None]),
            rewards=self.to_torch((rewards * powers[:-1] * counted).sum(axis=1, keepdims=True)),
            discounts=self.to_torch(powers[length + 1][:, None]),
        )

    _ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        used = self.size()
        for name in self._ARRAYS:
            state[name] = state[name][:used].copy()
        state["priorities"] = self.priorities.packed(used * self.n_envs)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in self._ARRAYS:
            setattr(self, name, grown(state[name], self.buffer_size))
        size = self.buffer_size * self.n_envs
        self.priorities = Priorities.unpacked(size, state["priorities"])


def grown(rows: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """`rows` at the beginning of an array of `size` rows, zeros behind them."""
    whole = np.zeros((size, *rows.shape[1:]), rows.dtype)
    whole[: len(rows)] = rows
    return whole
