"""For any small history our TPE suggests what Optuna's does, and its densities are equal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState, create_trial

from engines.search.density import Density
from engines.search.sampler import ResumableTPE
from tests.unit.histories import Stock, draw

DISTRIBUTIONS: tuple[BaseDistribution, ...] = (
    FloatDistribution(-1.0, 1.0),
    FloatDistribution(1e-4, 10.0, log=True),
    FloatDistribution(0.0, 1.0, step=0.25),
    IntDistribution(0, 9),
    IntDistribution(1, 1000, log=True),
    IntDistribution(0, 30, step=3),
    CategoricalDistribution((None, 1, "a")),
)
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf]), st.floats(allow_nan=False)
)
REPORTS = st.dictionaries(st.integers(0, 5), st.floats(), max_size=3)
STATES = st.sampled_from([*TrialState])


@st.composite
def histories(draw_one: st.DrawFn) -> list[dict[str, Any]]:
    """Descriptions of trials, of which most have all parameters and some lack one."""
    count = draw_one(st.integers(0, 40))
    return [
        {
            "state": draw_one(STATES),
            "value": draw_one(VALUES),
            "reports": draw_one(REPORTS),
            "seed": draw_one(st.integers(0, 8)),
            "lacks": draw_one(st.integers(0, 30)),
        }
        for _ in range(count)
    ]


def build(what: dict[str, Any], space: dict[str, BaseDistribution]) -> FrozenTrial:
    rng = np.random.RandomState(what["seed"])
    params = {name: draw(d, rng) for name, d in space.items()}
    if what["lacks"] == 0 and params:
        params.popitem()
    complete = what["state"] == TrialState.COMPLETE
    return create_trial(
        state=what["state"],
        value=what["value"] if complete else None,
        params=params,
        distributions={name: space[name] for name in params},
        intermediate_values=what["reports"],
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(DISTRIBUTIONS), min_size=1, max_size=4),
    histories(),
    st.sampled_from(["minimize", "maximize"]),
    st.integers(0, 5),
)
def test_the_next_trial_is_that_of_stock(
    chosen: list[BaseDistribution], history: list[dict[str, Any]], direction: str, seed: int
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {f"p{i}": d for i, d in enumerate(chosen)}

    def next_trial(sampler: BaseSampler) -> dict[str, Any]:
        study = optuna.create_study(sampler=sampler, direction=direction)
        # In two parts: what was unfinished at the first look is looked at again.
        for what in history[:20]:
            study.add_trial(build(what, space))
        early = optuna.Trial(study, study._storage.create_new_trial(study._study_id))
        first = {name: early._suggest(name, d) for name, d in space.items()}
        study.tell(early, 0.5)
        for what in history[20:]:
            study.add_trial(build(what, space))
        late = optuna.Trial(study, study._storage.create_new_trial(study._study_id))
        study._thread_local.cached_all_trials = None
        return first | {f"later {name}": late._suggest(name, d) for name, d in space.items()}

    assert next_trial(ResumableTPE(seed)) == next_trial(Stock(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(DISTRIBUTIONS), min_size=1, max_size=10),
    st.integers(0, 400),
    st.integers(0, 2**32 - 1),
    st.floats(0, 0.5),
)
def test_densities_are_equal_to_the_last_bit(
    chosen: list[BaseDistribution], count: int, seed: int, beyond: float
) -> None:
    space = {f"p{i}": d for i, d in enumerate(chosen)}
    rng = np.random.RandomState(seed)
    parameters = TPESampler()._parzen_estimator_parameters

    def observe(size: int) -> dict[str, np.ndarray]:
        found = {
            name: np.array([d.to_internal_repr(draw(d, rng)) for _ in range(size)], float)
            for name, d in space.items()
        }
        for name, d in space.items():
            if isinstance(d, FloatDistribution) and not d.log:
                # Of an earlier, wider range: off the grid and out of bounds.
                found[name] += beyond * rng.randn(size)
        return found

    observed, candidates = observe(count), observe(24)
    ours = Density(observed, space, parameters).log_pdf(candidates)
    stock = _ParzenEstimator(observed, space, parameters).log_pdf(candidates)

    assert np.array_equal(ours, stock, equal_nan=True)
