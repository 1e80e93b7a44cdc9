"""What tests of the sampler are built from: stock with our seeds, spaces, and eventful studies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from engines.search.seeds import derive
from engines.search.space import Choice, Float, Int, Space


class Stock(TPESampler):
    """Optuna's own TPE; all that is ours is the seed before every draw."""

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


CONDITIONAL = Space(
    {
        "kernel": Choice(("rbf", "poly", None)),
        "C": Float(1e-3, 1e3, log=True),
        "degree": Int(2, 6, when={"kernel": ("poly",)}),
        "gamma": Float(1e-4, 1.0, log=True, when={"kernel": ("rbf", "poly")}),
        "one": Choice((7,)),
    }
)

Suggest = Callable[[optuna.Trial], dict[str, Any]]


def smooth(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "x": trial.suggest_float("x", -5, 5),
        "y": trial.suggest_float("y", 1e-5, 1.0, log=True),
    }


def stepped(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "deep": trial.suggest_int("deep", 1, 12),
        "units": trial.suggest_int("units", 8, 2048, log=True),
        "even": trial.suggest_int("even", 2, 500, step=2),
        "share": trial.suggest_float("share", 0.5, 1.0, step=0.05),
    }


def chosen(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "a": trial.suggest_categorical("a", ["p", "q", None, 1.5]),
        "b": trial.suggest_categorical("b", [True, False]),
    }


def wide(trial: optuna.Trial) -> dict[str, Any]:
    return {f"x{i}": trial.suggest_float(f"x{i}", 0, i + 1) for i in range(11)}


def moving(trial: optuna.Trial) -> dict[str, Any]:
    """Ranges that move: nothing is suggested together, and old values lie outside."""
    top = 2 + trial.number % 3
    return {
        "x": trial.suggest_float("x", 0, top),
        "n": trial.suggest_int("n", 1, 10 * top),
        "s": trial.suggest_float("s", 0, top, step=0.25),
    }


SUGGESTS: dict[str, Suggest] = {
    "smooth": smooth,
    "stepped": stepped,
    "chosen": chosen,
    "conditional": CONDITIONAL.suggest,
    "wide": wide,
    "moving": moving,
}


def score(params: dict[str, Any]) -> float:
    """A value that often ties with others, and is infinite at times."""
    numbers = [float(v) for v in params.values() if isinstance(v, int | float)]
    value = round(math.fsum(math.sin(v) for v in numbers), 1)
    return math.inf if value > 1.8 else value


def run_eventfully(
    sampler: BaseSampler, suggest: Suggest, direction: str, trials: int, seed: int
) -> list[dict[str, Any]]:
    """The suggestions of a study whose trials complete, are pruned, fail, wait, or stay running."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler, direction=direction)
    suggestions: list[dict[str, Any]] = []
    running: list[tuple[optuna.Trial, float]] = []
    for _ in range(trials):
        trial = study.ask()
        suggestions.append(suggest(trial))
        value = score(suggestions[-1])
        # The events of a number, not those of a sampler: both samplers meet the same.
        rng = np.random.RandomState(derive(seed, trial.number))
        event = rng.choice(["tell", "prune", "prune blind", "fail", "run", "queue"], p=ODDS)
        if event == "prune":
            for step in range(rng.randint(1, 4)):
                trial.report(math.nan if rng.rand() < 0.2 else value, step)
            study.tell(trial, state=TrialState.PRUNED)
        elif event == "prune blind":
            study.tell(trial, state=TrialState.PRUNED)
        elif event == "fail":
            study.tell(trial, state=TrialState.FAIL)
        elif event == "run":
            running.append((trial, value))
        else:
            study.tell(trial, value)
        if event == "queue":
            study.enqueue_trial(dict(suggestions[rng.randint(len(suggestions))]))
        if len(running) > 4:
            late, value = running.pop(rng.randint(len(running)))
            study.tell(late, value)
    return suggestions


ODDS = (0.5, 0.14, 0.06, 0.1, 0.15, 0.05)


def filled_study(
    space: dict[str, BaseDistribution], trials: int, sampler: BaseSampler | None = None
) -> optuna.Study:
    """A study in memory with finished trials drawn at random."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.RandomState(trials)
    study = optuna.create_study(sampler=sampler)
    study.add_trials(
        create_trial(
            params={name: draw(d, rng) for name, d in space.items()},
            distributions=space,
            value=float(rng.rand()),
        )
        for _ in range(trials)
    )
    return study


def draw(distribution: BaseDistribution, rng: np.random.RandomState) -> Any:
    """A value of a distribution, roughly evenly."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.randint(len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, FloatDistribution) and step is None:
        if distribution.log:
            return float(min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high))))))
        return float(rng.uniform(low, high))
    assert step is not None
    if distribution.log:
        return int(min(high, max(low, round(math.exp(rng.uniform(math.log(low), math.log(high)))))))
    value = low + step * rng.randint(0, round((high - low) / step) + 1)
    return int(value) if isinstance(distribution, IntDistribution) else min(high, float(value))
