"""Samplers whose suggestions depend on (study seed, trial number) and the trials seen, only.

A stock sampler draws from one stream that starts anew in every process: a resumed study
repeats its first suggestions, five of five. Here every draw has a generator of its own,
seeded from what is being drawn, so any pattern of kills and resumes suggests the same, even
when a trial was cut off between two of its parameters.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from engines.search.seeds import derive

SAMPLERS = ("tpe", "random")


class ResumableTPE(TPESampler):
    """Optuna's tree-structured Parzen estimator with a seed for every draw."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._study_seed = seed

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._rng.rng.seed(derive(self._study_seed, trial.number, "relative"))
        return super().sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seed = derive(self._study_seed, trial.number, param_name)
        self._rng.rng.seed(seed)
        self._random_sampler._rng.rng.seed(seed)
        return super().sample_independent(study, trial, param_name, param_distribution)


class ResumableRandom(RandomSampler):
    """Independent uniform draws with a seed for every draw."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._study_seed = seed

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        self._rng.rng.seed(derive(self._study_seed, trial.number, param_name))
        return super().sample_independent(study, trial, param_name, param_distribution)


def make_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of a study. Raises ValueError for a name that is not in `SAMPLERS`."""
    if name == "tpe":
        return ResumableTPE(seed)
    if name == "random":
        return ResumableRandom(seed)
    raise ValueError(f"`sampler` must be one of {', '.join(SAMPLERS)}, got {name!r}")
