"""Two hundred random series of returns, the same each time, for comparing metrics with peers.

`peer_metrics.json` beside this file holds what empyrical-reloaded and quantstats make of them;
`bench/simulator_metrics.py --record` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

RECORD = Path(__file__).with_name("peer_metrics.json")
NAMES = ("sharpe_ratio", "sortino_ratio", "annual_return", "max_drawdown", "calmar_ratio",
         "volatility", "hit_rate", "bar_profit_factor", "total_return")  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Returns of bars, bars a year, and the risk-free return of one bar."""

    kind: str
    returns: npt.NDArray[np.float64]
    bars_per_year: float
    risk_free: float = 0.0


def all_series() -> list[Series]:
    """25 series of each of 8 kinds."""
    return [make(kind, number) for kind in KINDS for number in range(25)]


def daily(rng: np.random.Generator) -> Series:
    return Series("daily", rng.normal(0.0005, 0.01, int(rng.integers(100, 800))), 252)


def with_risk_free(rng: np.random.Generator) -> Series:
    returns = rng.normal(0.001, 0.02, int(rng.integers(100, 800)))
    return Series("risk-free", returns, 252, float(rng.uniform(0, 0.0004)))


def hourly(rng: np.random.Generator) -> Series:
    return Series("hourly", rng.normal(0.00002, 0.002, int(rng.integers(500, 2000))), 8760)


def often_flat(rng: np.random.Generator) -> Series:
    returns = rng.normal(0.0, 0.01, 400)
    return Series("often flat", np.where(rng.random(400) < 0.4, 0.0, returns), 252)


def first_bar_loss(rng: np.random.Generator) -> Series:
    return Series("loss first", np.r_[-0.2, rng.normal(0.001, 0.01, 300)], 252)


def fat_tails(rng: np.random.Generator) -> Series:
    returns = np.maximum(0.01 * rng.standard_t(3, 600), -0.9)
    return Series("fat tails", returns, 365)


def short(rng: np.random.Generator) -> Series:
    return Series("short", rng.normal(0.0, 0.02, int(rng.integers(20, 40))), 52)


def wild(rng: np.random.Generator) -> Series:
    return Series("wild", np.maximum(rng.normal(0.0, 0.15, 250), -0.8), 252)


KINDS = {
    "daily": daily,
    "risk-free": with_risk_free,
    "hourly": hourly,
    "often flat": often_flat,
    "loss first": first_bar_loss,
    "fat tails": fat_tails,
    "short": short,
    "wild": wild,
}


def make(kind: str, number: int) -> Series:
    """Series `number` of a kind."""
    return KINDS[kind](np.random.default_rng([list(KINDS).index(kind), number]))


EDGES: dict[str, Series] = {
    "all zero": Series("edge", np.zeros(50), 252),
    "constant 0.1 %": Series("edge", np.full(50, 0.001), 252),
    "no losing bar": Series("edge", np.tile([0.01, 0.02, 0.0], 20), 252),
    "no winning bar": Series("edge", np.tile([-0.01, -0.02, 0.0], 20), 252),
    "one bar": Series("edge", np.array([0.01]), 252),
    "no bar": Series("edge", np.empty(0), 252),
    "ruin": Series("edge", np.r_[np.tile([0.01, -0.01], 10), -1.0, np.zeros(5)], 252),
    "gains, one of 100 %": Series("edge", np.r_[np.tile([0.01, 0.02], 20), 1.0], 252),
    "ten-fold in 3 bars of an hour": Series("edge", np.array([1.0, 1.5, 1.0]), 8760),
}
"""Cases in which the peers disagree, give infinities, or raise."""
