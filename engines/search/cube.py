"""A parameter's values as numbers from 0 to 1: what sequences, grids and CMA-ES move in."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from engines.search.space import Choice, Float, Parameter, Space


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Optuna's distribution of a declared parameter: the one that `Space.suggest` asks for."""
    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Every parameter of a space that leaves something to choose, active or not."""
    every = {name: distribution_of(p) for name, p in space.parameters.items()}
    return {name: d for name, d in every.items() if not d.single()}


def from_unit(distribution: BaseDistribution, u: float) -> Any:
    """The value at `u`; a number beyond 0 and 1 is moved to the nearer of them.

    Equal parts of [0, 1] have equal probability: of choices and of whole numbers each one value,
    of a logarithmic range equal ratios.
    """
    u = min(max(u, 0.0), 1.0)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[_part(u, len(distribution.choices))]
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        if not distribution.log:
            return low + step * _part(u, (high - low) // step + 1)
        return min(max(round(_between(low - 0.5, high + 0.5, u)), low), high)
    assert isinstance(distribution, FloatDistribution)
    low_end, high_end, grid = distribution.low, distribution.high, distribution.step
    if grid is not None:
        count = round((high_end - low_end) / grid) + 1
        return min(low_end + grid * _part(u, count), high_end)
    if distribution.log:
        return min(max(_between(low_end, high_end, u), low_end), high_end)
    return min(max(low_end + (high_end - low_end) * u, low_end), high_end)


def _part(u: float, count: int) -> int:
    return min(int(u * count), count - 1)


def _between(low: float, high: float, u: float) -> float:
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * u)
