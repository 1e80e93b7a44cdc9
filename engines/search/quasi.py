"""Quasi-random search: trial n is point n of a scrambled Sobol' sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from engines.search.cube import distributions_of, from_unit
from engines.search.independent import ResumableRandom
from engines.search.seeds import derive
from engines.search.space import Space


class ResumableQMC(BaseSampler):
    """A scrambled Sobol' sequence (Owen 1998; Joe and Kuo 2008) that needs no state.

    With a declared space every parameter has a coordinate of its own, whether active or not, and
    trial n takes point n: no other trial is looked at, and the points that fall on the numbers of
    queued trials are left out. Without one the coordinates are the parameters of the finished trial
    with the lowest number, as Optuna's sampler has it; what it lacks is drawn at random.
    """

    def __init__(self, seed: int, space: Space | None = None) -> None:
        self._study_seed = seed
        self._declared = None if space is None else distributions_of(space)
        self._random = ResumableRandom(seed)

    @property
    def is_declared(self) -> bool:
        """Whether the coordinates are known without looking at any trial."""
        return self._declared is not None

    def draw(
        self, number: int, space: Mapping[str, BaseDistribution] | None = None
    ) -> dict[str, Any]:
        """Point `number`, by parameter; of the declared space, or of another one."""
        chosen = self._declared if space is None else space
        if not chosen:
            return {}
        # SciPy's sequences: 0.3 s to import, for those who ask for them.
        from scipy.stats import qmc

        names = sorted(chosen)
        seed = np.random.default_rng(derive(self._study_seed, "qmc", *names))
        sequence = qmc.Sobol(len(names), scramble=True, rng=seed)
        if number:
            sequence.fast_forward(number)
        (point,) = sequence.random(1)
        return {n: from_unit(chosen[n], float(u)) for n, u in zip(names, point, strict=True)}

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if self._declared is not None:
            return dict(self._declared)
        over = (TrialState.COMPLETE, TrialState.PRUNED)
        finished = study._get_trials(deepcopy=False, states=over)
        if not finished:
            return {}
        first = min(finished, key=lambda t: t.number)
        return {name: d for name, d in first.distributions.items() if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.draw(trial.number, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.draw_alone(trial.number, param_name, param_distribution)

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """None: with a declared space nothing is looked at."""
        return None
