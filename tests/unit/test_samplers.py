"""What the samplers by option draw: grids, sequences, and CMA-ES from the notes of its trials."""

from __future__ import annotations

import importlib.util
from collections import Counter
from statistics import fmean
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from engines.analysis.replay import DIFFERS, SAME, UNKNOWN, replay_study
from engines.search.cma import KEY
from engines.search.cube import from_unit
from engines.search.grid import MOST_POINTS, grid_of, grid_size
from engines.search.sampler import make_sampler
from engines.search.seeds import derive
from engines.search.space import Choice, Float, Int, Space
from tests.unit.building import a_study, an_experiment

optuna.logging.set_verbosity(optuna.logging.WARNING)
SPACE = Space(
    {
        "kernel": Choice(("rbf", "poly")),
        "C": Float(1e-2, 1e2, log=True),
        "degree": Int(2, 4, when={"kernel": ("poly",)}),
        "shift": Float(-1.0, 1.0),
    }
)
HAS_CMAES = importlib.util.find_spec("cmaes") is not None
needs_cmaes = pytest.mark.skipif(not HAS_CMAES, reason="an extra")


def new_study(sampler: str, space: Space | None = SPACE, seed: int = 1) -> optuna.Study:
    return optuna.create_study(sampler=make_sampler(sampler, seed, space), direction="minimize")


def bowl(params: dict[str, Any]) -> float:
    """Smallest, 0, at C = 10 and shift = 0.3."""
    return float((np.log10(params["C"]) - 1) ** 2 + (params["shift"] - 0.3) ** 2)


def run(study: optuna.Study, count: int, space: Space = SPACE) -> list[dict[str, Any]]:
    for _ in range(count):
        trial = study.ask()
        study.tell(trial, bowl(space.suggest(trial)))
    return [trial.params for trial in study.get_trials()[-count:]]


# -- from the unit interval -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "u", "value"),
    [
        (FloatDistribution(1.0, 3.0), 0.25, 1.5),
        (FloatDistribution(1.0, 3.0), 7.0, 3.0),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.99, 1.0),
        (IntDistribution(3, 5), 0.34, 4),
        (IntDistribution(3, 5), 1.0, 5),
        (IntDistribution(0, 10, step=5), 0.4, 5),
        (CategoricalDistribution(("a", None, 2)), 0.5, None),
        (CategoricalDistribution(("a", None, 2)), 1.0, 2),
    ],
)
def test_equal_parts_of_the_unit_interval_are_equally_likely_values(
    distribution: Any, u: float, value: object
) -> None:
    assert from_unit(distribution, u) == value


def test_a_logarithmic_range_has_its_ratio_in_the_middle() -> None:
    assert from_unit(FloatDistribution(1e-2, 1e2, log=True), 0.5) == pytest.approx(1.0)
    values = Counter(from_unit(IntDistribution(1, 100, log=True), i / 999) for i in range(1000))
    assert values[1] > 5 * values[20]
    assert (min(values), max(values)) == (1, 100)


# -- the grid -------------------------------------------------------------------------------------


def test_a_grid_has_all_choices_and_only_what_is_active() -> None:
    space = Space(
        {
            "kind": Choice(("a", "b")),
            "deep": Choice((True, False), when={"kind": ("b",)}),
            "n": Int(1, 2, when={"kind": ("a",)}),
        }
    )

    assert grid_of(space) == [
        {"kind": "a", "n": 1},
        {"kind": "a", "n": 2},
        {"kind": "b", "deep": True},
        {"kind": "b", "deep": False},
    ]


def test_numbers_share_what_the_limit_leaves_and_stay_off_their_bounds() -> None:
    points = grid_of(SPACE)

    by_name = {name: {p[name] for p in points if name in p} for name in SPACE.parameters}
    assert {name: len(values) for name, values in by_name.items()} == {
        "kernel": 2,
        "C": 5,
        "degree": 3,
        "shift": 5,
    }
    assert len(points) == 5 * 5 * (1 + 3)
    assert grid_size(SPACE.to_json()) == len(points)
    assert sorted(by_name["shift"]) == pytest.approx([-0.8, -0.4, 0.0, 0.4, 0.8])


def test_a_large_space_still_has_a_finite_grid_with_its_first_parameters_finest() -> None:
    large = Space({f"x{i}": Float(0.0, 1.0) for i in range(14)} | {"c": Choice(tuple("abcd"))})

    points = grid_of(large)

    counts = [len({point[name] for point in points}) for name in large.parameters]
    assert len(points) <= MOST_POINTS
    assert len(points) > MOST_POINTS / 4
    assert counts[-1] == 4
    assert counts[:-1] == sorted(counts[:-1], reverse=True)


def test_choices_alone_never_make_a_grid_too_large() -> None:
    points = grid_of(Space({f"c{i}": Choice(tuple("abcde")) for i in range(8)}))

    assert 200 < len(points) <= MOST_POINTS


def test_a_grid_is_walked_once_in_an_order_of_the_seed() -> None:
    size = len(grid_of(SPACE))

    first = run(new_study("grid"), size)

    assert len({tuple(sorted(p.items())) for p in first}) == size
    assert run(new_study("grid", seed=2), 20) != first[:20]
    assert fmean(p["kernel"] == "rbf" for p in first[:30]) == pytest.approx(0.25, abs=0.2)


def test_queued_trials_take_no_point_of_the_grid() -> None:
    plain = run(new_study("grid"), 6)
    study = new_study("grid")
    run(study, 2)
    study.enqueue_trial({"kernel": "rbf", "C": 0.5, "shift": 0.5})

    mixed = run(study, 5)

    assert mixed[0] == {"kernel": "rbf", "C": 0.5, "shift": 0.5}
    assert mixed[1:] == plain[2:]


def test_a_grid_needs_a_declared_space() -> None:
    with pytest.raises(ValueError, match="a grid is made from a declared space"):
        make_sampler("grid", 1)


# -- the sequence ---------------------------------------------------------------------------------


def test_a_trial_of_the_sequence_has_the_point_of_its_number_whatever_else_happened() -> None:
    plain = run(new_study("qmc"), 8)
    study = new_study("qmc")
    for number in range(8):
        if number == 3:
            study.enqueue_trial({"kernel": "rbf", "C": 0.5, "shift": 0.5})
        trial = study.ask()
        SPACE.suggest(trial)
        if number % 2:
            study.tell(trial, state=TrialState.FAIL)

    mixed = [trial.params for trial in study.get_trials()]
    assert mixed[:3] + mixed[4:] == plain[:3] + plain[4:]


def test_the_sequence_covers_the_space_more_evenly_than_chance() -> None:
    def filled(sampler: str) -> int:
        params = run(new_study(sampler), 64)
        cells = {
            (int((np.log10(p["C"]) + 2) / 4 * 8), int((p["shift"] + 1) / 2 * 8)) for p in params
        }
        return len(cells)

    assert filled("qmc") >= 52
    assert filled("random") < 50


def test_without_a_space_the_sequence_follows_the_first_finished_trial() -> None:
    study = new_study("qmc", space=None)
    params = run(study, 33)

    values = sorted(p["shift"] for p in params[1:])
    assert max(np.diff(values)) < 0.2
    again = new_study("qmc", space=None)
    assert run(again, 33) == params


# -- CMA-ES ---------------------------------------------------------------------------------------


@needs_cmaes
def test_cma_es_finds_the_bottom_of_a_bowl_that_chance_does_not() -> None:
    found = [min(map(bowl, run(new_study("cmaes", seed=seed), 80))) for seed in range(3)]
    chance = [min(map(bowl, run(new_study("random", seed=seed), 80))) for seed in range(3)]

    assert max(found) < 5e-3
    assert fmean(found) < fmean(chance) / 3


@needs_cmaes
def test_cma_es_searches_without_a_declared_space_as_well() -> None:
    study = new_study("cmaes", space=None)

    assert min(map(bowl, run(study, 100))) < 2e-3
    assert KEY not in study.get_trials()[0].system_attrs


@needs_cmaes
def test_failed_and_pruned_trials_count_as_the_worst_and_hold_nothing_up() -> None:
    study = new_study("cmaes")
    for number in range(60):
        trial = study.ask()
        value = bowl(SPACE.suggest(trial))
        if number % 4 == 1:
            study.tell(trial, state=TrialState.FAIL)
        elif value > 1.0:
            trial.report(value, step=1)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)

    generations = [t.system_attrs[KEY]["generation"] for t in study.get_trials()]
    assert generations[-1] >= 7
    assert study.best_value < 0.01


@needs_cmaes
def test_two_workers_of_cma_es_share_its_generations() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="s", direction="minimize")
    studies = [
        optuna.load_study(storage=storage, study_name="s", sampler=make_sampler("cmaes", 1, SPACE))
        for _ in range(2)
    ]
    for _ in range(50):
        trials = [study.ask() for study in studies]
        values = [bowl(SPACE.suggest(trial)) for trial in trials]
        for study, trial, value in reversed(list(zip(studies, trials, values, strict=True))):
            study.tell(trial, value)

    assert studies[0].best_value < 5e-3


# -- what can be computed again -------------------------------------------------------------------


def replayed(sampler: str, *, space: Space | None = SPACE, change: str | None = None) -> Counter:
    """How many trials of a study have which verdict."""
    study = a_study("e/svr")
    experiment = an_experiment("e", study, sampler=sampler, maximize=False, seed=5)
    made = new_study(sampler, seed=derive(5, "svr"))
    made.enqueue_trial({"kernel": "rbf", "C": 0.5, "shift": 0.5})
    run(made, 30)
    rows = [_row(trial) for trial in made.get_trials()]
    if change is not None:
        value, described = rows[20]["params"][change]
        rows[20]["params"][change] = (value * 0.5, described)
    return Counter(r.verdict for r in replay_study(experiment, study, rows, space).values())


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "worker_id": 1,
        "retry_of": None,
        "seen": None,
        "params": {
            name: (
                d.to_internal_repr(trial.params[name]),
                optuna.distributions.distribution_to_json(d),
            )
            for name, d in trial.distributions.items()
        },
        "system": trial.system_attrs,
        "reports": {},
    }


@pytest.mark.parametrize("sampler", ["qmc", "grid", pytest.param("cmaes", marks=needs_cmaes)])
def test_what_the_other_samplers_suggested_is_computed_again(sampler: str) -> None:
    assert replayed(sampler) == {SAME: 30 - 1, UNKNOWN: 1}
    assert replayed(sampler, change="shift") == {SAME: 28, UNKNOWN: 1, DIFFERS: 1}


@pytest.mark.parametrize("sampler", ["qmc", "grid"])
def test_without_the_space_it_is_said_not_to_be_known(sampler: str) -> None:
    assert replayed(sampler, space=None) == {UNKNOWN: 30}
