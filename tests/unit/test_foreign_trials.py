"""Stock Optuna at work in our studies, at the same time: its trials count, once each."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from engines.study import supervision
from engines.study.claims import claim
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.outlook import held_by
from engines.study.plain import connect_to_write
from engines.study.storage import Ending, HyperionStorage, TrialTaken
from tests.unit.building import (
    add_worker,
    changing,
    experiment_plan,
    must_claim,
    new_store,
    rows,
    run_job,
    study_plan,
)

STUDY = "e/shapes"


@pytest.fixture(params=["file", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty store, of either kind."""
    if request.param == "file":
        return new_store(tmp_path / "studies.db")
    return locate(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
def stock(location: Location, worker: int) -> Iterator[optuna.Study]:
    """The experiment's study as stock Optuna opens it."""
    url = f"sqlite:///{location.path}" if location.is_file else f"{location.url}"
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    yield optuna.load_study(study_name=STUDY, storage=storage)
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def worker(location: Location, storage: HyperionStorage) -> int:
    """A worker of an experiment with one study of three trials."""
    create_or_extend(storage, experiment_plan(study_plan(goal=3)))
    return add_worker(location)


def test_a_queued_trial_that_stock_optuna_took_is_not_replaced_beyond_the_goal(
    location: Location, storage: HyperionStorage, worker: int, stock: optuna.Study
) -> None:
    run_job(storage, must_claim(storage, worker), [0.1])
    run_job(storage, must_claim(storage, worker), [0.2])
    storage.create_new_trial(1, optuna.create_trial(state=TrialState.WAITING))
    theirs = stock.ask()

    assert theirs.number == 2
    assert claim(storage, 1, worker) is None
    stock.tell(theirs, 0.3)
    assert must_claim(storage, worker).kind == "closing"
    assert rows(location, "SELECT count(*) FROM trials") == [(3,)]


def test_a_trial_that_stock_optuna_ends_lets_the_study_end(
    location: Location, storage: HyperionStorage, worker: int, stock: optuna.Study
) -> None:
    stock.ask()  # takes the queued one
    theirs = stock.ask()
    run_job(storage, must_claim(storage, worker), [0.1])
    assert claim(storage, 1, worker) is None

    stock.tell(0, 0.2)
    stock.tell(theirs, 0.9)

    assert must_claim(storage, worker).kind == "closing"
    assert rows(location, "SELECT state, value FROM hx_trial ORDER BY number") == [
        ("COMPLETE", 0.2),
        ("COMPLETE", 0.9),
        ("COMPLETE", 0.1),
    ]


def test_a_worker_whose_trial_somebody_ended_or_deleted_has_lost_it(
    location: Location, storage: HyperionStorage, worker: int, stock: optuna.Study
) -> None:
    first, second = must_claim(storage, worker), must_claim(storage, add_worker(location, slot=2))
    stock.tell(first.number or 0, state=TrialState.FAIL)

    with pytest.raises(TrialTaken, match="Trial 0 was ended by somebody else"):
        storage.end_trial(first.trial_id or 0, TrialState.COMPLETE, [1.0], Ending())
    optuna.delete_study(study_name=STUDY, storage=stock._storage)
    with pytest.raises(TrialTaken, match=r"^The trial was deleted with its study\.$"):
        storage.end_trial(second.trial_id or 0, TrialState.COMPLETE, [1.0], Ending())

    assert not storage._own


def test_a_study_that_stock_optuna_deleted_has_no_jobs(
    location: Location, storage: HyperionStorage, worker: int, stock: optuna.Study
) -> None:
    optuna.delete_study(study_name=STUDY, storage=stock._storage)

    assert claim(storage, 1, worker) is None
    assert rows(location, "SELECT count(*) FROM trials") == [(0,)]


def test_a_trial_that_stock_optuna_is_about_to_add_gets_a_number_of_its_own(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    if location.is_file:
        pytest.skip("a file has one writer at a time, whoever it is")
    begun, made = threading.Event(), []

    def make() -> None:
        begun.set()
        made.append(must_claim(storage, add_worker(location, slot=2)).number)

    must_claim(storage, worker)
    other = threading.Thread(target=make)
    # As stock Optuna does it: the study's row is locked, and the others' trials are counted.
    with contextlib.closing(connect_to_write(location)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM studies WHERE study_id = 1 FOR UPDATE")
        connection.execute("INSERT INTO trials (number, study_id, state) VALUES (1, 1, 'RUNNING')")
        other.start()
        begun.wait()
        other.join(0.3)
        connection.execute("COMMIT")
    other.join(30)

    assert made == [2]
    assert rows(location, "SELECT number FROM trials ORDER BY trial_id") == [(0,), (1,), (2,)]
    assert [t.number for t in storage.get_all_trials(1)] == [0, 1, 2]


def test_a_dead_worker_s_trial_that_stock_optuna_ended_is_settled(
    location: Location, storage: HyperionStorage, worker: int, stock: optuna.Study
) -> None:
    first, second = must_claim(storage, worker), must_claim(storage, worker)
    stock.tell(first.number or 0, 0.7)
    stock.tell(second.number or 0, state=TrialState.FAIL)

    with changing(location) as connection:
        for held in held_by(connection, worker):
            if held.number == 0:
                supervision.requeue(connection, 1, held, "its worker died")
            else:
                supervision.fail(connection, 1, held, "Killed", "signal 9")

    assert rows(location, "SELECT state, value FROM hx_trial ORDER BY number") == [
        ("COMPLETE", 0.7),
        ("FAIL", None),
    ]
