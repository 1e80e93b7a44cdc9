"""Grid search: a finite grid made from the declared space, walked in a seeded order."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from engines.search.cube import distribution_of, from_unit
from engines.search.independent import ResumableRandom
from engines.search.seeds import derive
from engines.search.space import Choice, Space

MOST_POINTS = 1_000
MOST_VALUES = 5
"""Of a number; a choice has all of its values."""

QUEUED_KEYS = ("fixed_params", "hyperion:retry_of")
"""System attributes of trials that were queued with their parameters: they take no point."""


def grid_of(space: Space) -> list[dict[str, Any]]:
    """Every point of the grid, by the parameters that are active in it.

    Choices have all their values; then numbers get more values in turn, the first declared first,
    up to `MOST_VALUES` each, as long as the grid has at most `MOST_POINTS` points. The values of a
    number are the middles of as many equal parts of its range (of its logarithm for a logarithmic
    one), so a number with one value has its middle. Parameters that are not active add no points.
    """
    values = _values(space)
    return list(_points(space, values))


def _values(space: Space) -> dict[str, list[Any]]:
    """The values of each parameter."""
    levels = dict.fromkeys(space.parameters, 1)
    choices = [n for n, p in space.parameters.items() if isinstance(p, Choice)]
    numbers = [n for n in space.parameters if n not in choices]
    values = {name: _some(space, name, 1) for name in space.parameters}
    most = {n: len(p.values) for n, p in space.parameters.items() if isinstance(p, Choice)}
    most |= dict.fromkeys(numbers, MOST_VALUES)
    for names in (choices, numbers):
        growing = list(names)
        while growing:
            for name in list(growing):
                if levels[name] >= most[name] or not _grow(space, values, levels, name):
                    growing.remove(name)
    return values


def _grow(space: Space, values: dict[str, list[Any]], levels: dict[str, int], name: str) -> bool:
    """Give a parameter one value more; False, with nothing changed, if that is too many points."""
    before = values[name]
    values[name] = _some(space, name, levels[name] + 1)
    if _count(space, values) > MOST_POINTS:
        values[name] = before
        return False
    levels[name] += 1
    return True


def _some(space: Space, name: str, count: int) -> list[Any]:
    parameter = space.parameters[name]
    if isinstance(parameter, Choice):
        return list(parameter.values[:count])
    distribution = distribution_of(parameter)
    points = [from_unit(distribution, (i + 0.5) / count) for i in range(count)]
    return list(dict.fromkeys(points))


def _count(space: Space, values: Mapping[str, Sequence[Any]]) -> int:
    """How many points there are, without making them."""
    parents = [
        name
        for name in space.parameters
        if any(name in other.when for other in space.parameters.values())
    ]
    total = 0
    for combination in _points(space, values, only=parents):
        product = 1
        for name, parameter in space.parameters.items():
            if name not in parents and _is_active(parameter.when, combination):
                product *= len(values[name])
        total += product
    return total


def _points(
    space: Space, values: Mapping[str, Sequence[Any]], only: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    points: list[dict[str, Any]] = [{}]
    for name, parameter in space.parameters.items():
        if only is not None and name not in only:
            continue
        points = [
            {**point, name: value} if value is not _ABSENT else point
            for point in points
            for value in (values[name] if _is_active(parameter.when, point) else (_ABSENT,))
        ]
    yield from points


_ABSENT: Any = object()


def _is_active(when: Mapping[str, tuple[Any, ...]], point: Mapping[str, Any]) -> bool:
    return all(parent in point and point[parent] in wanted for parent, wanted in when.items())


@functools.lru_cache(maxsize=64)
def _grid_size(space_json: str) -> int:
    space = Space.from_json(json.loads(space_json))
    return _count(space, _values(space))


def grid_size(entries: list[Any]) -> int:
    """The number of points of a space that is given as `Space.to_json` has it."""
    return _grid_size(json.dumps(entries))


def takes_no_point(system_attrs: Mapping[str, Any]) -> bool:
    """Whether a trial was queued, and so leaves its point to the next one."""
    return any(key in system_attrs for key in QUEUED_KEYS)


class ResumableGrid(BaseSampler):
    """The points of `grid_of`, each once, in an order made from the study's seed.

    A trial takes the point whose place is its number less the queued trials before it, so that a
    part of a grid is a fair sample of it and no point is left out. Beyond the last point it starts
    again; the claim ends a study before that.
    """

    def __init__(self, seed: int, space: Space) -> None:
        self._grid = grid_of(space)
        self._distributions = {n: distribution_of(p) for n, p in space.parameters.items()}
        random.Random(derive(seed, "grid")).shuffle(self._grid)
        self._random = ResumableRandom(seed)

    @property
    def size(self) -> int:
        """The number of points."""
        return len(self._grid)

    def draw(self, number: int, queued_before: int) -> dict[str, Any]:
        """The point of trial `number`. queued_before: trials before it that took no point."""
        return dict(self._grid[(number - queued_before) % len(self._grid)])

    def _draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        trials = study._get_trials(deepcopy=False)
        before = itertools.takewhile(lambda t: t.number < trial.number, trials)
        return self.draw(trial.number, sum(takes_no_point(t.system_attrs) for t in before))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if takes_no_point(trial.system_attrs):
            return {}
        return {name: self._distributions[name] for name in self._draw(study, trial)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._draw(study, trial) if search_space else {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # What a queued trial did not fix.
        return self._random.draw_alone(trial.number, param_name, param_distribution)

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """None: the queued trials before it are in the store for good."""
        return None
