"""The finished trials of a study as columns of numbers, and what one suggestion may see of them.

Optuna's TPE asks every trial object for its state, value and parameters at each suggestion: most
of its time at 20,000 trials. A finished trial never changes, so here it is read once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.int64]

_COMPLETE, _PRUNED = 1, 2
_COLUMNS_KEPT = 256


class NotCovered(Exception):
    """A history that the columns don't hold: constraints, odd numbering, values without order."""


class History:
    """Finished trials by number. `maximize`: larger values are better.

    It is fed with whole lists of trials in order of number; what was finished before is not looked
    at again.
    """

    def __init__(self, maximize: bool) -> None:
        self._sign = -1.0 if maximize else 1.0
        self._finished: list[FrozenTrial] = []
        self._open: list[int] = []
        self._length = 0
        self._columns: dict[tuple[str, str], _Column] = {}
        self._spaces: list[dict[str, BaseDistribution]] = []
        self._space_ids: dict[tuple[tuple[str, str], ...], int] = {}
        self._state = np.zeros(64, np.int8)
        self._space_of = np.zeros(64, np.int32)
        # What finished trials are ranked by: complete ones by loss, pruned ones by both.
        self._loss = np.zeros(64)
        self._reach = np.zeros(64)

    def read(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Take in what has finished; returns the trials that have not. Raises NotCovered."""
        if len(trials) < self._length:
            raise NotCovered("trials are gone")
        if trials and trials[-1].number != len(trials) - 1:
            raise NotCovered("numbers are missing")
        self._grow(len(trials))
        unfinished = []
        for number in [*self._open, *range(self._length, len(trials))]:
            trial = trials[number]
            if trial.number != number:
                raise NotCovered("numbers are missing")
            if trial.state.is_finished():
                self._take(trial)
            else:
                unfinished.append(trial)
        self._open = [trial.number for trial in unfinished]
        self._length = len(trials)
        return unfinished

    def _take(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.FAIL:
            return
        if trial.constraints:
            raise NotCovered("constraints")
        number = trial.number
        if trial.state == TrialState.COMPLETE:
            value = trial.value
            if value is None or math.isnan(value):
                raise NotCovered("a value that has no order")
            self._loss[number] = self._sign * value
            self._state[number] = _COMPLETE
        else:
            self._reach[number], self._loss[number] = self._pruned_rank(trial)
            self._state[number] = _PRUNED
        names = tuple((name, repr(d)) for name, d in sorted(trial.distributions.items()))
        known = self._space_ids.setdefault(names, len(self._spaces))
        if known == len(self._spaces):
            self._spaces.append(dict(sorted(trial.distributions.items())))
        self._space_of[number] = known
        self._finished.append(trial)

    def _pruned_rank(self, trial: FrozenTrial) -> tuple[float, float]:
        if not trial.intermediate_values:
            return 1, 0.0
        step, value = max(trial.intermediate_values.items())
        return -step, math.inf if math.isnan(value) else self._sign * value

    def _grow(self, length: int) -> None:
        if length <= len(self._state):
            return
        more = max(length, 2 * len(self._state)) - len(self._state)
        for name in ("_state", "_space_of", "_loss", "_reach"):
            setattr(self, name, np.pad(getattr(self, name), (0, more)))

    def finished(self, length: int) -> Mask:
        """Which of the first `length` numbers completed or were pruned."""
        return self._state[:length] > 0

    def common_space(self, seen: Mask) -> dict[str, BaseDistribution]:
        """The parameters that every trial of `seen` has with the same distribution, by name."""
        present = np.flatnonzero(np.bincount(self._space_of[: len(seen)][seen]))
        common: dict[str, BaseDistribution] | None = None
        for space in (self._spaces[i] for i in present):
            if common is None:
                common = dict(space)
            else:
                common = {name: d for name, d in common.items() if space.get(name) == d}
        return common or {}

    def best(self, seen: Mask, count: int) -> Numbers:
        """The best `count` numbers of `seen`, in order of number; complete ones come first."""
        state = self._state[: len(seen)]
        complete = np.flatnonzero(seen & (state == _COMPLETE))
        chosen = complete[_smallest(self._loss[complete], count)]
        missing = count - len(chosen)
        if missing > 0:
            pruned = np.flatnonzero(seen & (state == _PRUNED))
            ranks = np.lexsort((self._loss[pruned], self._reach[pruned]))
            chosen = np.concatenate([chosen, pruned[ranks[:missing]]])
        return np.sort(chosen)

    def column(self, name: str, distribution: BaseDistribution, length: int) -> Floats:
        """Optuna's number for a parameter, by trial number; NaN where a trial has none.

        Raises ValueError, as stock does, for a value that `distribution` can't hold.
        """
        key = (name, repr(distribution))
        column = self._columns.pop(key, None) or _Column()
        column.fill(name, distribution, self._finished, len(self._state))
        self._columns[key] = column  # last used, last in line
        if len(self._columns) > _COLUMNS_KEPT:
            del self._columns[next(iter(self._columns))]
        return column.values[:length]


class _Column:
    def __init__(self) -> None:
        self.values: Floats = np.full(64, np.nan)
        self._filled = 0

    def fill(
        self, name: str, distribution: BaseDistribution, trials: list[FrozenTrial], room: int
    ) -> None:
        if len(self.values) < room:
            more = room - len(self.values)
            self.values = np.pad(self.values, (0, more), constant_values=np.nan)
        for trial in trials[self._filled :]:
            if name in trial.params:
                self.values[trial.number] = distribution.to_internal_repr(trial.params[name])
        self._filled = len(trials)


def _smallest(values: Floats, count: int) -> Numbers:
    """Where the `count` smallest values are; of equal ones the first."""
    if count <= 0:
        return np.zeros(0, np.int64)
    if count >= len(values):
        return np.arange(len(values))
    edge = np.partition(values, count - 1)[count - 1]
    under = np.flatnonzero(values < edge)
    return np.concatenate([under, np.flatnonzero(values == edge)[: count - len(under)]])


@dataclass(frozen=True)
class View:
    """What one trial's suggestions know: the finished trials in `seen`, and others' plans.

    running: parameters of trials that run, as far as they were visible, in order of number.
    """

    history: History
    seen: Mask
    running: Mapping[int, Mapping[str, Any]]

    @property
    def finished(self) -> int:
        """How many completed or pruned trials are seen."""
        return int(np.count_nonzero(self.seen))

    def space(self) -> dict[str, BaseDistribution]:
        """The parameters that can be suggested together."""
        common = self.history.common_space(self.seen)
        return {name: d for name, d in common.items() if not d.single()}

    def split(
        self, space: Mapping[str, BaseDistribution], count: int
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """The values of the best `count` trials, and those of all others with what runs."""
        length = len(self.seen)
        columns = {name: self.history.column(name, d, length) for name, d in space.items()}
        whole = self.seen.copy()
        for column in columns.values():
            whole &= ~np.isnan(column)
        best = self.history.best(self.seen, count)
        below = best[whole[best]]
        whole[best] = False
        above = np.flatnonzero(whole)
        plans = {n: p for n, p in self.running.items() if space.keys() <= p.keys()}
        places = np.searchsorted(above, list(plans))
        return (
            {name: column[below] for name, column in columns.items()},
            {
                name: np.insert(
                    columns[name][above],
                    places,
                    [d.to_internal_repr(plan[name]) for plan in plans.values()],
                )
                if plans
                else columns[name][above]
                for name, d in space.items()
            },
        )
