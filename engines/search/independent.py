"""Draws that depend on no other trial: on the study's seed, the trial's number and a name."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from engines.search.seeds import derive


class ResumableRandom(RandomSampler):
    """Independent uniform draws with a seed for every draw; they depend on no other trial."""

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
        return self.draw_alone(trial.number, param_name, param_distribution)

    def draw_alone(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """One parameter of a trial."""
        self._rng.rng.seed(derive(self._study_seed, number, name))
        return uniform(super(), name, distribution)

    def take_seen(self, number: int | None = None) -> dict[str, Any] | None:
        """None: nothing is looked at."""
        return None


def uniform(sampler: Any, name: str, distribution: BaseDistribution) -> Any:
    """What a random sampler draws; it asks nothing of the study or the trial."""
    return sampler.sample_independent(None, None, name, distribution)
