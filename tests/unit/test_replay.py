"""Suggestions can be computed again from the store, and what was not suggested is said to be so."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from engines.analysis.replay import DIFFERS, SAME, UNKNOWN, Replay, replay_study
from engines.search import seen
from engines.search.sampler import make_sampler
from engines.search.seeds import derive
from tests.unit.building import a_study, an_experiment
from tests.unit.histories import score

SEED = 11
STUDY = a_study("e/ridge")
Row = dict[str, Any]
Steps = Callable[[optuna.Trial], Iterator[dict[str, Any]]]


def together(trial: optuna.Trial) -> Iterator[dict[str, Any]]:
    """Parameters one after the other, with time for others in between."""
    params: dict[str, Any] = {"x": trial.suggest_float("x", -5, 5)}
    yield params
    params["n"] = trial.suggest_int("n", 1, 50, log=True)
    yield params
    params["c"] = trial.suggest_categorical("c", ["a", None, "b"])
    yield params


def conditional(trial: optuna.Trial) -> Iterator[dict[str, Any]]:
    """Parameters of which some are there at times only."""
    params: dict[str, Any] = {"kind": trial.suggest_categorical("kind", ["one", "two"])}
    yield params
    params["size"] = trial.suggest_float("size", 0.1, 10, log=True)
    yield params
    if params["kind"] == "two":
        params["corners"] = trial.suggest_int("corners", 3, 9)
        yield params
        params["edge"] = trial.suggest_float("edge", 0, 1, step=0.125)
        yield params


class Worker:
    """One of several that share a study, a step at a time."""

    def __init__(self, storage: optuna.storages.InMemoryStorage, sampler: str, steps: Steps):
        self.sampler = make_sampler(sampler, derive(SEED, STUDY.model))
        self._storage, self._make = storage, steps
        self._steps: Iterator[dict[str, Any]] | None = None
        self._params: dict[str, Any] = {}

    def step(self, rng: np.random.RandomState, records: dict[int, Any]) -> None:
        if self._steps is None:
            self.study = optuna.load_study(
                study_name="e", storage=self._storage, sampler=self.sampler
            )
            self.trial = self.study.ask()
            self._steps = self._make(self.trial)
            return
        try:
            self._params = next(self._steps)
        except StopIteration:
            self._steps = None
            self._end(rng)
        else:
            if (record := self.sampler.take_seen()) is not None:
                records[self.trial.number] = record

    def _end(self, rng: np.random.RandomState) -> None:
        event = rng.choice(["tell", "prune", "fail"], p=(0.75, 0.15, 0.1))
        if event == "tell":
            self.study.tell(self.trial, score(self._params))
        elif event == "prune":
            self.trial.report(score(self._params), int(rng.randint(3)))
            self.study.tell(self.trial, state=TrialState.PRUNED)
        else:
            self.study.tell(self.trial, state=TrialState.FAIL)


def interleaved(
    sampler: str, steps: Steps, workers: int = 4, turns: int = 400, seed: int = 0
) -> list[Row]:
    """The rows of a study that several workers went through, in an order drawn at random."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="e", direction="minimize")
    crew = [Worker(storage, sampler, steps) for _ in range(workers)]
    records: dict[int, Any] = {}
    rng = np.random.RandomState(seed)
    for _ in range(turns):
        crew[rng.randint(workers)].step(rng, records)
    return [as_row(trial, records.get(trial.number)) for trial in study.trials]


def as_row(trial: FrozenTrial, record: dict[str, Any] | None, **changes: Any) -> Row:
    """A trial as `Reader.history` answers it."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "worker_id": 1,
        "retry_of": None,
        "seen": record,
        "value": trial.value,
        "params": {
            name: (d.to_internal_repr(trial.params[name]), distribution_to_json(d))
            for name, d in trial.distributions.items()
        },
        "reports": dict(trial.intermediate_values),
        "system": dict(trial.system_attrs),
        **changes,
    }


def replayed(rows: list[Row], sampler: str = "tpe", **changes: Any) -> dict[int, Replay]:
    experiment = an_experiment(
        "e", STUDY, **{"sampler": sampler, "seed": SEED, "maximize": False, **changes}
    )
    return replay_study(experiment, STUDY, rows)


@pytest.fixture(scope="module")
def shared() -> list[Row]:
    return interleaved("tpe", together)


@pytest.fixture
def history(shared: list[Row]) -> list[Row]:
    """A study that four workers went through, to be changed at will."""
    return copy.deepcopy(shared)


@pytest.mark.parametrize("steps", [together, conditional])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_suggestion_of_four_workers_is_computed_again(sampler: str, steps: Steps) -> None:
    rows = interleaved(sampler, steps, turns=500, seed=3)
    finished = [row for row in rows if row["state"] in ("COMPLETE", "PRUNED", "FAIL")]

    found = replayed(rows, sampler)

    assert {r.verdict for r in found.values()} == {SAME}
    assert [found[row["number"]].checked for row in finished] == [
        len(row["params"]) for row in finished
    ]
    assert len(finished) > 60
    if sampler == "tpe":
        assert sum("running" in row["seen"] for row in finished) > 40


def test_a_value_changed_afterwards_makes_later_suggestions_differ(history: list[Row]) -> None:
    best = min((row for row in history[:20] if row["value"] is not None), key=lambda r: r["value"])
    best["value"] = 100.0

    found = replayed(history)

    differing = [number for number, one in found.items() if one.verdict == DIFFERS]
    assert differing
    assert min(differing) > best["number"]


def test_a_parameter_changed_afterwards_is_named(history: list[Row]) -> None:
    chosen = history[30]
    chosen["params"]["x"] = (chosen["params"]["x"][0] + 1e-9, chosen["params"]["x"][1])

    found = replayed(history)[30]

    assert found.verdict == DIFFERS
    assert found.detail.startswith("x is ")


def test_what_others_tried_then_must_be_what_they_have_now(history: list[Row]) -> None:
    number = next(n for n, row in enumerate(history) if n > 30 and "running" in row["seen"])
    other = int(next(iter(history[number]["seen"]["running"])))
    value, distribution = history[other]["params"]["x"]
    history[other]["params"]["x"] = (value / 2, distribution)

    found = replayed(history)[number]

    assert found.verdict == UNKNOWN
    assert found.detail.startswith(f"trial {other} ran then")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seen": None}, "was not recorded"),
        ({"seen": None, "worker_id": None}, "not written by a worker"),
        ({"seen": None, "retry_of": 3}, "trial 3 tried again"),
        ({"seen": seen.not_kept("constraints")}, "was not kept: constraints"),
        ({"seen": None, "system": {"fixed_params": {"x": 1, "n": 2, "c": "a"}}}, "by the queue"),
        ({"params": {}}, "has no parameters"),
    ],
)
def test_what_was_not_suggested_is_not_compared(
    history: list[Row], changes: dict[str, Any], reason: str
) -> None:
    history[12].update(changes)

    found = replayed(history)[12]

    assert (found.verdict, found.checked) == (UNKNOWN, 0)
    assert reason in found.detail


def test_parameters_of_an_earlier_run_are_left_out_of_the_comparison(history: list[Row]) -> None:
    row = history[40]
    row["seen"]["kept"] = ["x"]
    row["params"]["x"] = (0.0, row["params"]["x"][1])

    found = replayed(history)[40]

    assert (found.verdict, found.checked) == (SAME, 2)
    assert found.detail == "x: from an earlier run of the trial"


def test_a_trial_that_is_gone_leaves_the_others_unknown_not_different(history: list[Row]) -> None:
    del history[5]

    found = replayed(history)

    assert {one.verdict for one in found.values()} == {UNKNOWN}


def test_with_another_numpy_a_difference_proves_nothing(history: list[Row]) -> None:
    value, distribution = history[30]["params"]["x"]
    history[30]["params"]["x"] = (value + 1e-9, distribution)

    found = replayed(history, versions={"numpy": "1.0.0"})

    assert (found[30].verdict, found[29].verdict) == (UNKNOWN, SAME)
    assert "numpy was 1.0.0" in found[30].detail


def test_a_cut_off_trial_says_what_it_kept() -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(storage=storage, study_name="e")
    first, second = (make_sampler("tpe", 1), make_sampler("tpe", 1))
    study = optuna.load_study(study_name="e", storage=storage, sampler=first)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    assert first.take_seen() == {"top": 0}
    assert first.take_seen() is None

    again = optuna.Trial(
        optuna.load_study(study_name="e", storage=storage, sampler=second), trial._trial_id
    )
    again.suggest_float("x", 0, 1)
    assert second.take_seen() is None
    again.suggest_float("y", 0, 1)

    assert second.take_seen() == {"top": 0, "kept": ["x"]}


def test_trials_that_wait_and_trials_that_run_are_told_apart() -> None:
    sampler = make_sampler("tpe", 1)
    study = optuna.create_study(sampler=sampler)
    busy, blank = study.ask(), study.ask()
    busy.suggest_float("x", 0, 1)
    for _ in range(3):
        study.enqueue_trial({"x": 0.5})
    number = study._storage.create_new_trial(study._study_id)
    trial = optuna.Trial(study, number)
    trial.suggest_float("x", 0, 1)

    assert sampler.take_seen(trial.number) == {
        "top": 5,
        "unfinished": "1-4",
        "running": {"0": [seen.digest(busy.params), ["x"]]},
    }
    assert blank.number == 1


def test_a_record_stays_small_however_much_is_unfinished() -> None:
    space = {"x": FloatDistribution(0, 1)}
    odd = range(1, 9999, 2)

    assert seen.write(9999, odd, {}, space) == seen.not_kept("too many unfinished trials")
    assert seen.write(9999, range(9999), {}, space) == {"top": 9999, "unfinished": "0-9998"}
    assert seen.split_ranges(seen.join_ranges([1, 2, 3, 7, 9, 10])) == [1, 2, 3, 7, 9, 10]
