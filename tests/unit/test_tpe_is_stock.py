"""Our TPE suggests what Optuna's does, to the last bit, from what it has read once."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState, create_trial

from engines.search import density
from engines.search.history import History
from engines.search.sampler import ResumableTPE
from tests.unit.histories import SUGGESTS, Stock, filled_study, run_eventfully, smooth

SPACE = {
    "c": CategoricalDistribution(("a", "b", "c")),
    "even": IntDistribution(2, 500, step=2),
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "share": FloatDistribution(0.5, 1.0, step=0.05),
    "units": IntDistribution(8, 2048, log=True),
    "x": FloatDistribution(-5.0, 5.0),
    "y": FloatDistribution(0.0, 1.0),
}


@pytest.mark.filterwarnings("ignore:Fixed parameter")  # queued values, where ranges move
@pytest.mark.parametrize(
    ("name", "direction"),
    [
        *(("smooth", "minimize"), ("stepped", "maximize"), ("chosen", "minimize")),
        *(("conditional", "minimize"), ("conditional", "maximize")),
        *(("wide", "maximize"), ("moving", "minimize")),
    ],
)
def test_hundreds_of_trials_with_every_event_are_suggested_as_by_stock(
    name: str, direction: str
) -> None:
    ours = run_eventfully(ResumableTPE(3), SUGGESTS[name], direction, 200, seed=5)
    stock = run_eventfully(Stock(3), SUGGESTS[name], direction, 200, seed=5)

    assert ours == stock


@pytest.mark.slow
@pytest.mark.parametrize(
    "space",
    [SPACE, {f"x{i}": FloatDistribution(0, 1) for i in range(9)}],
    ids=["mixed", "nine floats"],
)
def test_after_thousands_of_trials_the_next_ten_are_those_of_stock(space: dict) -> None:
    def next_ten(sampler: optuna.samplers.BaseSampler) -> list[dict]:
        study = filled_study(space, 2500, sampler)
        found = []
        for _ in range(10):
            trial = study.ask(space)
            found.append(trial.params)
            study.tell(trial, 0.0)
        return found

    assert next_ten(ResumableTPE(1)) == next_ten(Stock(1))


def test_tails_are_those_of_stock_to_the_last_bit() -> None:
    rng = np.random.RandomState(0)
    tails = [-1e6, -400.0, -38.5, -20.0, -20.0000001, -1.0, -0.0, 0.0, 6.0, 6.1, 40.0, -np.inf]
    numbers = np.concatenate([rng.uniform(-60, 10, 20_000), rng.randn(5_000), tails])
    width = np.abs(rng.randn(len(numbers)))

    assert np.array_equal(density.log_ndtr(numbers), _truncnorm._log_ndtr(numbers))
    for few in (slice(None), slice(900)):
        low, high = numbers[few], (numbers + width)[few]
        with np.errstate(invalid="ignore"):
            ours, stock = density.log_mass(low, high), _truncnorm._log_gauss_mass(low, high)
        assert np.array_equal(ours, stock, equal_nan=True)


@pytest.mark.parametrize("smooth_parameters", [1, 2, 7, 8, 9, 17])
def test_sums_over_many_parameters_are_in_the_order_of_stock(smooth_parameters: int) -> None:
    rng = np.random.RandomState(1)
    space = {f"x{i}": FloatDistribution(0, 1) for i in range(smooth_parameters)}
    parameters = TPESampler()._parzen_estimator_parameters
    # Few kernels, so that the sum over kernels does not hide the last bits.
    observed = {name: rng.rand(3) for name in space}
    candidates = {name: rng.rand(20_000) for name in space}

    ours = density.Density(observed, space, parameters).log_pdf(candidates)
    stock = _ParzenEstimator(observed, space, parameters).log_pdf(candidates)

    assert np.array_equal(ours, stock)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_pruned_trials_are_ranked_as_by_stock(direction: str) -> None:
    rng = np.random.RandomState(2)
    space = {"x": FloatDistribution(0, 1)}
    # The furthest step ranks first, and there a number before NaN; without reports is last.
    reports = [
        *({}, {0: 0.5, 2: math.nan}, {1: 0.25}, {1: -0.25, 0: 9.0}, {1: math.inf}),
        *({1: -math.inf}, {1: math.nan}, {2: math.nan}, {0: -1.0}),
    ]

    def next_ten(sampler: optuna.samplers.BaseSampler) -> list[dict]:
        study = optuna.create_study(sampler=sampler, direction=direction)
        rng.seed(3)
        for number in range(60):
            done = {"state": TrialState.PRUNED, "intermediate_values": reports[number % 9]}
            if number in (31, 47):
                done["intermediate_values"] = {2: float(number)}
            if number % 20 == 0:
                done = {"value": float(number)}
            params = {"x": float(rng.rand())}
            study.add_trial(create_trial(params=params, distributions=space, **done))
        found = []
        for number in range(10):
            trial = study.ask(space)
            found.append(trial.params)
            for step, value in reports[number % 9].items():
                trial.report(value, step)
            study.tell(trial, state=TrialState.PRUNED)
        return found

    assert next_ten(ResumableTPE(1)) == next_ten(Stock(1))


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_what_a_running_trial_will_try_next_is_avoided_as_by_stock(drawn: int) -> None:
    names = ("x", "y")

    def next_trials(sampler: optuna.samplers.BaseSampler) -> list[dict]:
        span = FloatDistribution(0, 1)
        study = filled_study(dict.fromkeys(names, span), 15, sampler)
        for _ in range(12):
            busy = study.ask()
            for name in names[:drawn]:
                busy.suggest_float(name, 0, 1)
        trial = study.ask(dict.fromkeys(names, span))
        return [trial.params]

    assert next_trials(ResumableTPE(1)) == next_trials(Stock(1))


def test_a_finished_trial_is_read_once() -> None:
    study = filled_study(SPACE, 300, ResumableTPE(1))
    read: list[int] = []
    take = History._take

    def counted(self: History, trial: FrozenTrial) -> None:
        read.append(trial.number)
        take(self, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "_take", counted)
        for _ in range(5):
            study.tell(study.ask(SPACE), 1.0)

    assert read == list(range(304))


def test_all_draws_of_a_trial_see_the_same_trials() -> None:
    span = FloatDistribution(0, 1)

    def later_draw(*, meanwhile: int) -> float:
        study = filled_study({"x": span, "y": span}, 20, ResumableTPE(1))
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        for _ in range(meanwhile):
            done = create_trial(
                params={"late": 0.125, "y": 0.5}, distributions={"late": span, "y": span}, value=-1
            )
            study.add_trial(done)
        study._thread_local.cached_all_trials = None
        return trial.suggest_float("late", 0, 1)

    assert later_draw(meanwhile=30) == later_draw(meanwhile=0)


def test_a_copy_of_a_sampler_serves_another_study() -> None:
    first = ResumableTPE(4)
    expected = run_eventfully(first, smooth, "minimize", 30, seed=1)

    for sampler in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first), first):
        assert run_eventfully(sampler, smooth, "minimize", 30, seed=1) == expected


def test_constraints_are_left_to_stock_and_said_to_be_so() -> None:
    def run(sampler: optuna.samplers.BaseSampler) -> list[dict]:
        study = optuna.create_study(sampler=sampler)
        for number in range(40):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            trial.set_constraint("c", x - 0.5)
            study.tell(trial, x if number % 3 else -x)
        return [trial.params for trial in study.trials]

    ours = ResumableTPE(2)

    assert run(ours) == run(Stock(2))
    assert ours.take_seen() == {"not_kept": "constraints"}


def test_several_objectives_are_left_to_stock() -> None:
    def run(sampler: optuna.samplers.BaseSampler) -> list[dict]:
        study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
        for _ in range(25):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            study.tell(trial, (x, x * x))
        return [trial.params for trial in study.trials]

    assert run(ResumableTPE(2)) == run(Stock(2))
