"""CMA-ES as a function of the store: its state is made again from the trials, never unpickled.

Optuna's sampler keeps the optimiser as a pickle in a trial's attributes. Here a trial notes which
point it was given and whose parent it has, and the one that begins a generation notes the trials
that the generation before it was told; the optimiser is rebuilt from that chain.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from engines.search.cube import distributions_of, from_unit
from engines.search.independent import ResumableRandom
from engines.search.seeds import derive
from engines.search.space import Space

KEY = "hyperion:cma"
"""{"names": [...], "x": [point in the unit cube], "generation": g, "after": number of the trial
that began this generation or null for the first, "told": [numbers] in one that begins a generation,
whose "after" is then the beginner of the generation before}."""

SIGMA = 1 / 6
"""The first step size, as Optuna has it; the mean is the middle of the ranges."""


class _BrokenChain(Exception):
    """A trial that the chain names is gone."""


class ResumableCMA(BaseSampler):
    """CMA-ES (Hansen 2016, arXiv 1604.00772) over the numbers of a space.

    With a declared space all of its numbers are searched together, the inactive ones included;
    without one, those that all finished trials share. Choices are drawn at random. Trials are
    ranked: complete ones by value, then pruned ones by how far they came, then failed ones; CMA-ES
    needs no more than ranks. Queued trials take no part. Needs the package `cmaes`.
    """

    def __init__(self, seed: int, space: Space | None = None) -> None:
        self._study_seed = seed
        self._declared = None if space is None else _numbers(distributions_of(space))
        self._random = ResumableRandom(seed)
        self._kept: tuple[tuple[str, ...], int | None, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the optimiser: a copy may serve another study."""
        return {**self.__dict__, "_kept": None}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if self._declared is not None:
            return dict(self._declared)
        trials = study._get_trials(deepcopy=False)
        found = intersection_search_space([t for t in trials if t.number != trial.number])
        return _numbers({name: d for name, d in found.items() if not d.single()})

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        names = tuple(sorted(search_space))
        if not names or "fixed_params" in trial.system_attrs:
            return {}
        note = trial.system_attrs.get(KEY)  # of an earlier run of the trial, which was cut off
        if note is None or tuple(note["names"]) != names:
            others = [t for t in study._get_trials(deepcopy=False) if t.number != trial.number]
            maximize = study.direction == StudyDirection.MAXIMIZE
            note = self._next(names, trial.number, _noted(others, names), maximize)
            study._storage.set_trial_system_attr(trial._trial_id, KEY, note)
        return _values(note["x"], search_space)

    def _next(
        self,
        names: tuple[str, ...],
        number: int,
        trials: Mapping[int, FrozenTrial],
        maximize: bool,
    ) -> dict[str, Any]:
        """The note of a new trial, from those that others have made."""
        beginner = _latest_beginner(trials)
        try:
            optimizer = self._optimizer(names, beginner, trials, maximize)
        except _BrokenChain:
            beginner, optimizer = None, self._begin(names)
        generation = optimizer.generation
        members = [
            n
            for n, t in trials.items()
            if t.state.is_finished() and _belongs(n, t.system_attrs[KEY], beginner)
        ]
        told = members[: optimizer.population_size]
        note: dict[str, Any] = {"names": list(names), "after": beginner}
        if len(told) == optimizer.population_size:
            optimizer = _tell(optimizer, [trials[n] for n in told], maximize)
            note["told"] = told
            generation += 1
        note["generation"] = generation
        return {**note, "x": self._ask(optimizer, number)}

    def again(
        self, trial: FrozenTrial, trials: Sequence[FrozenTrial], maximize: bool
    ) -> dict[str, Any] | None:
        """What was suggested to a trial, computed again from its note and the trials it names.

        None if it has no note. Raises KeyError if one of the trials is gone.
        """
        note = trial.system_attrs.get(KEY)
        if note is None:
            return None
        names = tuple(note["names"])
        noted = {**_noted(trials, names), trial.number: trial}
        holder = trial.number if "told" in note else note["after"]
        try:
            optimizer = self._optimizer(names, holder, noted, maximize)
        except _BrokenChain as error:
            raise KeyError(str(error)) from error
        space = {n: d for n, d in trial.distributions.items() if n in names}
        x = self._ask(optimizer, trial.number)
        return {n: from_unit(space[n], u) for n, u in zip(names, x, strict=True) if n in space}

    # -- the optimiser ---------------------------------------------------------------------------

    def _ask(self, optimizer: Any, number: int) -> list[float]:
        optimizer._rng.seed(derive(self._study_seed, number, "cma"))
        # Rounded, so that another machine's last bits make no difference.
        return [round(float(u), 12) for u in optimizer.ask()]

    def _begin(self, names: Sequence[str]) -> Any:
        return importlib.import_module("cmaes").CMA(
            mean=np.full(len(names), 0.5),
            sigma=SIGMA,
            bounds=np.tile([0.0, 1.0], (len(names), 1)),
            seed=derive(self._study_seed, "cma"),
            n_max_resampling=10 * len(names),
        )

    def _optimizer(
        self,
        names: tuple[str, ...],
        beginner: int | None,
        trials: Mapping[int, FrozenTrial],
        maximize: bool,
    ) -> Any:
        """The optimiser of the generation that trial `beginner` began; None is the first one."""
        chain: list[int] = []
        holder = beginner
        # What was built last is a step on the way, nearly always the last but one.
        while holder is not None and (names, holder) != self._known:
            if holder not in trials or holder in chain:
                raise _BrokenChain(f"trial {holder} is gone")
            chain.append(holder)
            holder = trials[holder].system_attrs[KEY]["after"]
        if holder is None or self._kept is None:
            optimizer = self._begin(names)
        else:
            optimizer = copy.deepcopy(self._kept[2])
        for step in reversed(chain):
            told = trials[step].system_attrs[KEY]["told"]
            if missing := [n for n in told if n not in trials]:
                raise _BrokenChain(f"trial {missing[0]} is gone")
            optimizer = _tell(optimizer, [trials[n] for n in told], maximize)
        self._kept = (names, beginner, copy.deepcopy(optimizer))
        return optimizer

    @property
    def _known(self) -> tuple[tuple[str, ...], int | None] | None:
        return None if self._kept is None else self._kept[:2]

    # -- what it does not search -----------------------------------------------------------------

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.draw_alone(trial.number, param_name, param_distribution)

    def draw_alone(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """A parameter that is not searched."""
        return self._random.draw_alone(number, name, distribution)

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """None: what it saw is in the notes of the trials."""
        return None


def _numbers(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    return {n: d for n, d in space.items() if isinstance(d, FloatDistribution | IntDistribution)}


def _values(x: Sequence[float], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    return {name: from_unit(space[name], u) for name, u in zip(sorted(space), x, strict=True)}


def _noted(trials: Sequence[FrozenTrial], names: tuple[str, ...]) -> dict[int, FrozenTrial]:
    """The trials that took part in the search over `names`, by number."""
    return {
        t.number: t
        for t in sorted(trials, key=lambda t: t.number)
        if KEY in t.system_attrs and tuple(t.system_attrs[KEY]["names"]) == names
    }


def _latest_beginner(trials: Mapping[int, FrozenTrial]) -> int | None:
    """Who began the latest generation; with several workers the lowest number of those that did."""
    best: tuple[int, int] | None = None
    for number, trial in trials.items():
        note = trial.system_attrs[KEY]
        if "told" in note and (best is None or note["generation"] > best[0]):
            best = (note["generation"], number)
    return None if best is None else best[1]


def _belongs(number: int, note: Mapping[str, Any], beginner: int | None) -> bool:
    """Whether a trial was asked for in the generation that `beginner` began."""
    return number == beginner or (note["after"] == beginner and "told" not in note)


def _tell(optimizer: Any, trials: Sequence[FrozenTrial], maximize: bool) -> Any:
    ranked = sorted(trials, key=lambda t: (_rank(t, maximize), t.number))
    points = [np.array(t.system_attrs[KEY]["x"]) for t in ranked]
    optimizer.tell([(point, float(place)) for place, point in enumerate(points)])
    # A copy has its covariance made symmetric, which changes last bits: so after each step, once.
    return copy.deepcopy(optimizer)


def _rank(trial: FrozenTrial, maximize: bool) -> tuple[int, float, float]:
    """Smaller is better."""
    sign = -1.0 if maximize else 1.0
    if trial.state == TrialState.COMPLETE and trial.values and not math.isnan(trial.values[0]):
        return 0, sign * trial.values[0], 0.0
    reports = trial.intermediate_values
    if trial.state == TrialState.PRUNED and reports:
        step, value = max(reports.items())
        return 1, -step, math.inf if math.isnan(value) else sign * value
    return 2, 0.0, 0.0
