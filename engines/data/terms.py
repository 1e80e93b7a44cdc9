"""On what terms agents trade and learn: the part of an experiment that is fixed beside its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SEEDS = 3
"""Agents of one trial, which differ by their seed alone: the median of an odd number is one."""

DEFAULT_STEPS = 5_000
MOST_STEPS = 100_000

REPORTS = 10
"""So often a trial says how it stands."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Costs as `simulator.costs.Costs` has them, the largest position, and how long to learn.

    fee: share of the traded amount. max_position: fraction of equity, long or short. steps: bars
    that each agent of a trial trades in training. seeds: agents of a trial.
    """

    bars_per_year: float
    fee: float = 0.001
    slippage: float = 0.0
    spread: float = 0.0
    borrow_rate: float = 0.0
    funding_rate: float = 0.0
    max_position: float = 1.0
    steps: int = DEFAULT_STEPS
    seeds: int = SEEDS

    def describe(self) -> dict[str, Any]:
        """As plain data, for the store."""
        return asdict(self)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Terms:
        """From a description that may hold more."""
        return cls(**{f.name: described[f.name] for f in fields(cls)})

    @property
    def marks(self) -> list[int]:
        """After how many steps a trial reports: equally far apart, the last at the end."""
        every = math.ceil(self.steps / REPORTS)
        return [*range(every, self.steps, every), self.steps]

    @property
    def warm_up(self) -> int:
        """Steps before which no trial is ended for being behind."""
        return max(1, self.steps // 3)


def steps_of(episodes: int | None, train_bars: int) -> int:
    """The budget in steps of so many episodes, each of them all training bars; capped.

    None is not said: `DEFAULT_STEPS`.
    """
    return DEFAULT_STEPS if episodes is None else min(MOST_STEPS, episodes * train_bars)
