"""A market whose best policy is known: the log price is an Ornstein-Uhlenbeck process.

x' = phi x + sigma e, stationary standard deviation s = sigma / sqrt(1 - phi^2). Without costs the
best policy within +-1 is -sign(x), which earns (1 - phi) E|x| = (1 - phi) s sqrt(2 / pi) a bar.
With costs the best policy waits for a move that pays for the trade; dynamic programming finds it.
What an agent learns here can be held against the best there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.bars import Bars

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """The market: phi, and sigma a bar. Numbers of one bar unless said otherwise."""

    phi: float = 0.9
    sigma: float = 0.01

    @property
    def spread(self) -> float:
        """The stationary standard deviation of the log price."""
        return self.sigma / math.sqrt(1 - self.phi**2)

    @property
    def best_mean(self) -> float:
        """Mean return of -sign(x) without costs: (1 - phi) s sqrt(2 / pi)."""
        return (1 - self.phi) * self.spread * math.sqrt(2 / math.pi)

    @property
    def best_deviation(self) -> float:
        """Standard deviation of that return: sqrt(sigma^2 + (1 - phi)^2 s^2 - mean^2)."""
        second = self.sigma**2 + ((1 - self.phi) * self.spread) ** 2
        return math.sqrt(second - self.best_mean**2)

    def best_sharpe(self, bars_per_year: float = 252.0) -> float:
        """Sharpe ratio a year of the best policy without costs."""
        return self.best_mean / self.best_deviation * math.sqrt(bars_per_year)

    def paths(self, bars: int, count: int, seed: int = 0) -> Floats:
        """Independent paths of x, (bars, count), each starting in the stationary law."""
        rng = np.random.default_rng(seed)
        x = np.empty((bars, count))
        x[0] = self.spread * rng.standard_normal(count)
        shocks = self.sigma * rng.standard_normal((bars, count))
        for t in range(1, bars):
            x[t] = self.phi * x[t - 1] + shocks[t]
        return x


@dataclass(frozen=True, eq=False)
class BestPolicy:
    """What dynamic programming found for one cost.

    growth: log growth of equity a bar. levels: positions that can be held, (levels,). grid:
    values of x, (grid,). value: (grid, levels), worth of holding a level at x, up to a constant.
    cost: share of the traded amount.
    """

    growth: float
    levels: Floats
    grid: Floats
    value: Floats
    cost: float

    def positions_on(self, bars: Bars) -> Floats:
        """The best positions on bars of `synthetic.ornstein_uhlenbeck`, (bars,)."""
        return self.positions(np.log(bars.close / 100.0)[:, None])[:, 0]

    def positions(self, x: Floats) -> Floats:
        """The best positions along paths x (bars, paths) of the log price, decided at each close.

        They depend on what is held, which drifts with the price between decisions.
        """
        worth = np.stack([np.interp(x, self.grid, column) for column in self.value.T], axis=-1)
        wanted = np.empty(x.shape)
        held = np.zeros(x.shape[1])
        for t in range(len(x)):
            if t:
                held = _drifted(held, x[t] - x[t - 1])
            gain = worth[t] + _log_cost(held[:, None], self.levels, self.cost)
            held = self.levels[np.argmax(gain, axis=1)]
            wanted[t] = held
        return wanted


def solve(
    market: OrnsteinUhlenbeck,
    cost: float,
    *,
    levels: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0),
    points: int = 121,
    tolerance: float = 1e-9,
) -> BestPolicy:
    """The policy of the highest long-run log growth, by relative value iteration.

    cost: share of the traded amount. The price has `points` values within 4.5 standard
    deviations. Within a step the position drifts with the price, and each decision trades from
    where it has drifted to: the accounting is that of the core.
    """
    held = np.array(levels)
    grid = np.linspace(-4.5, 4.5, points) * market.spread
    chances = np.exp(-0.5 * ((grid[None, :] - market.phi * grid[:, None]) / market.sigma) ** 2)
    chances /= chances.sum(axis=1, keepdims=True)
    moves = grid[None, :] - grid[:, None]
    earned = np.log1p(held * np.expm1(moves)[..., None])  # (from, to, held)
    after = _drifted(held, moves[..., None])
    paid = _log_cost(after[..., None], held, cost)  # (from, to, held, next)
    mean = np.einsum("ij,ijk->ik", chances, earned)
    value, growth = np.zeros((points, len(held))), 0.0
    middle = points // 2
    for _ in range(5000):
        best = np.max(paid + value[None, :, None, :], axis=-1)
        fresh = mean + np.einsum("ij,ijk->ik", chances, best)
        change = fresh - value
        growth = float((change.max() + change.min()) / 2)
        value = fresh - fresh[middle, 0]
        if float(change.max() - change.min()) < tolerance:
            break
    return BestPolicy(growth, held, grid, value, cost)


def _drifted(held: Floats, move: Floats) -> Floats:
    """A position, as a fraction of equity, after a log move of the price."""
    growth = np.exp(move)
    return np.asarray(held * growth / (1.0 + held * (growth - 1.0)))


def _log_cost(held: Floats, wanted: Floats, cost: float) -> Floats:
    """log of equity after over before a trade from `held` to `wanted`; 0 or below."""
    side = np.sign(wanted - held)
    return np.asarray(np.log((1.0 + cost * side * held) / (1.0 + cost * side * wanted)))
