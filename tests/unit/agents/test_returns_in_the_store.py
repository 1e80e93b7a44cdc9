"""What agents earned goes into the store with the end of their trial, and comes out for judging."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from engines.run.trial import Listener, StudyHandle, run_model_trial
from engines.study import returns
from engines.study.claims import Job
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.storage import HyperionStorage
from tests.unit.building import (
    add_worker,
    asking,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    study_plan,
)


@pytest.fixture(params=["file", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "file":
        return new_store(tmp_path / "studies.db")
    return locate(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
def storage(location: Location) -> Iterator[HyperionStorage]:
    with opened(location) as storage:
        plan = study_plan("sac", goal=20)
        create_or_extend(storage, experiment_plan(plan, task="trading", pruner="median"))
        add_worker(location)
        yield storage


class Reporting:
    """A trial whose reports and score are known beforehand, as an agent makes them."""

    def __init__(self, reports: list[float], value: float, listen: Listener | None) -> None:
        self._reports, self._value, self._listen = reports, value, listen
        self.metrics: dict[str, Any] = {"steps": [100, 100]}
        self.returns: tuple[int, bytes] | None = None

    def scores(self) -> Iterator[float]:
        """Each report, then the score."""
        for number, report in enumerate(self._reports, start=1):
            rows = np.full((3, 4), report, dtype="<f4")
            self.returns = (3, rows.tobytes())
            assert self._listen is not None
            self._listen(0, 10 * number, report)
        yield self._value

    @property
    def value(self) -> float:
        """The score."""
        return self._value


def run(storage: HyperionStorage, job: Job, reports: list[float], value: float) -> TrialState:
    handle = StudyHandle(storage, job, 7, "random", "median", warm_up=20)

    def evaluator(_: Any, __: int, listen: Listener | None, ___: Any) -> Reporting:
        return Reporting(reports, value, listen)

    return run_model_trial(storage, handle, job, evaluator, lambda *_: None, by_steps=True)


def test_agents_that_are_behind_at_equal_steps_are_pruned_after_the_warm_up_and_count(
    location: Location, storage: HyperionStorage
) -> None:
    states = [
        run(storage, must_claim(storage, 1), [0.5, 0.6, 0.7 + n / 100], 0.8 + n / 100)
        for n in range(5)
    ]
    states.append(run(storage, must_claim(storage, 1), [0.1, 0.1, 0.1, 0.9], 0.9))

    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED]
    with asking(location) as reader:
        assert reader.trial(1, 5).reports == ((10, 0.1), (20, 0.1))
        earned = reader.returns(1, reader.trial(1, 5).trial.trial_id)
    assert [list(row) for row in earned] == [[pytest.approx(0.1)] * 4] * 3
    tried = returns.tried(storage.database, [1])
    assert [one.number for one in tried] == [0, 1, 2, 3, 4, 5]
    assert np.frombuffer(tried[2].content, "<f4")[0] == pytest.approx(0.72)


def test_a_trial_without_returns_has_none_and_was_not_tried(
    location: Location, storage: HyperionStorage
) -> None:
    state = run(storage, must_claim(storage, 1), [], 0.4)

    assert state == TrialState.COMPLETE
    assert returns.tried(storage.database, [1]) == []
    with asking(location) as reader:
        assert reader.returns(1, 1) == []
        assert reader.trial(1, 0).trial.value == 0.4


def test_a_trial_that_is_done_again_replaces_what_it_left(storage: HyperionStorage) -> None:
    for value in (0.25, 0.5):
        content = np.full(4, value, dtype="<f4").tobytes()
        storage.database.write(lambda c, content=content: returns.keep(c, 1, 9, 1, content))

    with asking(storage.location) as reader:
        assert [list(row) for row in reader.returns(1, 9)] == [[0.5] * 4]
