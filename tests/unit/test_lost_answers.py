"""A server that has written what it was told, and whose answer nobody got: it is told once more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from engines.study.claims import claim
from engines.study.endings import HeldOut, close_study
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.storage import HyperionStorage
from tests.unit.building import add_worker, experiment_plan, must_claim, rows, run_job, study_plan


@pytest.fixture
def location(postgres_store_url: str) -> Location:
    """An empty store on a server; a file has no answers to lose."""
    return locate(postgres_store_url)


@contextlib.contextmanager
def losing_an_answer(storage: HyperionStorage) -> Iterator[None]:
    """Cut the connection behind the next COMMIT, once."""
    cut: list[int] = []

    def lose(connection: sqlalchemy.Connection) -> None:
        if not cut and connection.get_execution_options()["hyperion"] != "read":
            raw = connection.connection.driver_connection
            assert raw is not None
            cut.append(raw.info.backend_pid)
            raw.commit()
            raw.close()

    sqlalchemy.event.listen(storage.database.engine, "commit", lose)
    try:
        yield
    finally:
        sqlalchemy.event.remove(storage.database.engine, "commit", lose)
    assert cut


def test_a_claim_told_twice_is_one_trial(location: Location, storage: HyperionStorage) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=2)))
    worker = add_worker(location)

    with losing_an_answer(storage):
        first = must_claim(storage, worker)
    run_job(storage, first, [0.5])
    with losing_an_answer(storage):
        second = must_claim(storage, worker)
    run_job(storage, second, [0.6])

    assert (first.number, second.number) == (0, 1)
    assert must_claim(storage, worker).kind == "closing"
    assert rows(location, "SELECT number, state FROM hx_trial ORDER BY number") == [
        (0, "COMPLETE"),
        (1, "COMPLETE"),
    ]


def test_an_end_told_twice_is_one_end(location: Location, storage: HyperionStorage) -> None:
    create_or_extend(storage, experiment_plan())
    job = must_claim(storage, add_worker(location))

    with losing_an_answer(storage):
        storage.set_trial_user_attr(job.trial_id or 0, "a", 1)
        storage.flush(job.trial_id)
    storage._own[job.trial_id or 0].written_at += 1000.0  # nothing is written before the end
    state = None

    with losing_an_answer(storage):
        storage.set_trial_state_values(job.trial_id or 0, TrialState.COMPLETE, [0.5])
        state = storage.get_trial(job.trial_id or 0).state

    assert state == TrialState.COMPLETE
    assert rows(location, "SELECT value FROM trial_values") == [(0.5,)]
    assert rows(location, "SELECT count(*) FROM hx_event WHERE kind = 'trial-ended'")[0][0] <= 1


def test_the_end_of_a_study_told_twice_is_settled_once(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=1)))
    worker = add_worker(location)
    run_job(storage, must_claim(storage, worker), [0.5])

    with losing_an_answer(storage):
        job = must_claim(storage, worker)
    assert job.kind == "closing"
    with losing_an_answer(storage):
        close_study(storage, job.study_id, worker, HeldOut(0.5, 0, opened=True))

    following = claim(storage, 1, worker)
    assert following is not None
    assert following.kind == "ensemble"
    assert rows(location, "SELECT openings FROM hx_study") == [(1,)]
    assert rows(location, "SELECT count(*) FROM hx_event WHERE text LIKE 'finished: %'") == [(1,)]


def test_a_trial_made_twice_is_one_trial(storage: HyperionStorage) -> None:
    study = optuna.create_study(storage=storage)

    with losing_an_answer(storage):
        study.enqueue_trial({"a": 0.5})
    with losing_an_answer(storage):
        queued = study.ask()
    with losing_an_answer(storage):
        made = study.ask()

    assert (queued.number, made.number) == (0, 1)
    assert [t.state for t in study.trials] == [TrialState.RUNNING] * 2
