"""What a storage writes, when, and what becomes of it when things go wrong."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from engines.errors import StoreUnavailable
from engines.run.checkpoints import Checkpoint
from engines.study import database, pending
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.storage import Ending, HyperionStorage, TrialTaken
from tests.unit.building import (
    add_worker,
    changing,
    experiment_plan,
    must_claim,
    opened,
    rows,
    run_job,
    run_objective,
    study_plan,
)


class Transactions:
    """The transactions that changed something, as SQLite saw them on every new connection."""

    def __init__(self, storage: HyperionStorage) -> None:
        self.durable: list[bool] = []
        self.selects = 0
        self._changed = False
        self._full = False
        storage.database.close()
        sqlalchemy.event.listen(
            storage.database.engine, "connect", lambda raw, _: raw.set_trace_callback(self._note)
        )

    def _note(self, statement: str) -> None:
        word, *rest = statement.upper().split()
        if word == "SELECT":
            self.selects += 1
        elif word in ("INSERT", "UPDATE", "DELETE"):
            self._changed = True
        elif word == "PRAGMA" and rest[0] == "SYNCHRONOUS":
            self._full = rest[-1] == "FULL"
        elif word in ("COMMIT", "ROLLBACK"):
            if self._changed and word == "COMMIT":
                self.durable.append(self._full)
            self._changed = False


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true; the test fails if it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)


@pytest.fixture
def slow_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written behind one's back in this test."""
    monkeypatch.setattr(pending, "FIRST_DELAY_S", 1000.0)


def own_study(storage: HyperionStorage) -> optuna.Study:
    """A study in the hands of stock Optuna."""
    return optuna.create_study(
        storage=storage, sampler=optuna.samplers.RandomSampler(seed=1), study_name="plain"
    )


def six_parameters(trial: optuna.Trial) -> float:
    for name in "abcde":
        trial.suggest_float(name, 0.0, 1.0)
    trial.suggest_categorical("f", ("x", "y"))
    return 1.0


# -- how much is written ---------------------------------------------------------------------


def test_a_trial_of_a_model_costs_three_transactions_and_one_of_them_is_durable(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=9)))
    worker = add_worker(location)
    run_job(storage, must_claim(storage, worker), [0.1])
    counted = Transactions(storage)

    run_job(storage, must_claim(storage, worker), [0.2])

    assert counted.durable == [False, False, True]


@pytest.mark.usefixtures("slow_thread")
def test_a_trial_of_plain_optuna_costs_two_transactions(storage: HyperionStorage) -> None:
    study = own_study(storage)
    study.optimize(six_parameters, n_trials=1)
    counted = Transactions(storage)

    study.optimize(six_parameters, n_trials=5)

    assert counted.durable == [False, True] * 5
    assert all(len(t.params) == 6 for t in study.trials)


@pytest.mark.usefixtures("slow_thread")
def test_reports_are_gathered_and_none_is_missing_at_the_end(storage: HyperionStorage) -> None:
    study = own_study(storage)
    counted = Transactions(storage)

    def objective(trial: optuna.Trial) -> float:
        for step in range(500):
            trial.report(step / 500, step)
        return 1.0

    study.optimize(objective, n_trials=1)

    assert counted.durable == [False, True]
    assert rows(storage.location, "SELECT count(*) FROM trial_intermediate_values") == [(500,)]


def test_what_is_noted_is_written_soon_though_nobody_asks(
    location: Location, storage: HyperionStorage
) -> None:
    trial = own_study(storage).ask()
    trial.suggest_float("a", 0.0, 1.0)
    trial.set_user_attr("note", {"deep": [1, 2]})

    eventually(lambda: rows(location, "SELECT count(*) FROM trial_params") == [(1,)])
    attributes = "SELECT key, value_json FROM trial_user_attributes"
    eventually(lambda: rows(location, attributes) == [("note", '{"deep": [1, 2]}')])


def test_another_process_sees_what_a_running_trial_has_noted(
    location: Location, storage: HyperionStorage
) -> None:
    trial = own_study(storage).ask()
    trial.suggest_float("a", 0.0, 1.0)
    trial.report(0.5, 3)
    storage.flush()

    with opened(location) as other:
        seen = other.get_all_trials(1)[0]
    assert seen.state == TrialState.RUNNING
    assert seen.params == trial.params
    assert seen.intermediate_values == {3: 0.5}


def test_finished_trials_are_read_once(storage: HyperionStorage) -> None:
    study = own_study(storage)
    study.optimize(six_parameters, n_trials=30)
    assert len(storage.get_all_trials(1)) == 30
    counted = Transactions(storage)

    for _ in range(10):
        assert len(storage.get_all_trials(1, deepcopy=False)) == 30

    # Two each: is it still the study that was read, is there anything above the last one?
    assert counted.selects == 20


def test_claiming_costs_the_same_in_a_study_of_any_length(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=10**6)))
    worker = add_worker(location)
    run_job(storage, must_claim(storage, worker), [0.1])

    def steps_of_a_claim() -> int:
        counted = [0]

        def count() -> int:
            counted[0] += 1
            return 0

        storage.database.close()

        @sqlalchemy.event.listens_for(storage.database.engine, "connect")
        def listen(raw: sqlite3.Connection, _: object) -> None:
            raw.set_progress_handler(count, 10)

        job = must_claim(storage, worker)
        sqlalchemy.event.remove(storage.database.engine, "connect", listen)
        storage.database.close()
        run_job(storage, job, [0.1])
        return counted[0]

    few = steps_of_a_claim()
    with changing(location) as connection:
        made_up = [(number,) for number in range(10_000, 14_000)]
        insert = "INSERT INTO trials (trial_id, number, study_id, state) VALUES "
        connection.executemany(f"{insert}(?1, ?1 - 9997, 1, 'COMPLETE')", made_up)
        connection.execute(
            "INSERT INTO hx_trial (trial_id, study_id, number, state, value, requeues, crashes) "
            "SELECT trial_id, 1, number, state, 0.1, 0, 0 FROM trials WHERE trial_id >= 10000"
        )

    assert steps_of_a_claim() < 1.5 * few


# -- who has a trial -----------------------------------------------------------------------------


def test_who_has_lost_its_trial_is_told_at_the_next_note(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    job = must_claim(storage, add_worker(location))
    assert job.trial_id is not None
    with changing(location) as connection:
        connection.execute("UPDATE trials SET state = 'WAITING'")
        connection.execute("UPDATE hx_trial SET state = 'WAITING', worker_id = NULL")

    storage.set_trial_user_attr(job.trial_id, "a", 1)
    with pytest.raises(TrialTaken):
        storage.flush(job.trial_id)
    with pytest.raises(TrialTaken):
        storage.set_trial_intermediate_value(job.trial_id, 1, 0.5)
    with pytest.raises(TrialTaken):
        storage.end_trial(job.trial_id, TrialState.COMPLETE, [1.0], Ending())

    assert rows(location, "SELECT state FROM trials") == [("WAITING",)]
    assert rows(location, "SELECT count(*) FROM trial_user_attributes") == [(0,)]


def test_trials_that_stock_optuna_puts_between_ours_share_one_row_of_numbers(
    location: Location, storage: HyperionStorage
) -> None:
    ours = own_study(storage)
    theirs = optuna.load_study(
        study_name="plain", storage=optuna.storages.RDBStorage(f"sqlite:///{location.path}")
    )
    for study in (ours, theirs, theirs, ours, theirs, ours):
        study.optimize(six_parameters, n_trials=1)

    assert [t.number for t in ours.trials] == list(range(6))
    assert rows(location, "SELECT number, state FROM hx_trial ORDER BY number") == [
        (number, "COMPLETE") for number in range(5 + 1)
    ]
    optuna.delete_study(study_name="plain", storage=theirs._storage)
    again = optuna.create_study(study_name="again", storage=storage)
    again.optimize(six_parameters, n_trials=1)
    assert rows(location, "SELECT number FROM hx_trial") == [(0,)]
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_deleting_a_study_leaves_nothing_of_it(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    run_job(storage, must_claim(storage, add_worker(location)), [0.1])
    tables = [
        name
        for (name,) in rows(location, "SELECT name FROM sqlite_master WHERE type = 'table'")
        if any(row[1] == "study_id" for row in rows(location, f"PRAGMA table_info({name})"))
    ]

    storage.delete_study(1)

    assert {"hx_trial", "trials"} <= set(tables)
    for table in [*tables, "trial_params", "trial_values"]:
        where = "WHERE study_id = 1" if table in tables else ""
        assert rows(location, f"SELECT count(*) FROM {table} {where}") == [(0,)], table


# -- the ends of processes -----------------------------------------------------------------------


def test_an_ordinary_end_of_the_process_loses_no_note(location: Location) -> None:
    code = (
        "import optuna, sys\n"
        "from engines.study import pending\n"
        "pending.FIRST_DELAY_S = 1000.0\n"
        "from engines.study.store import open_storage\n"
        "study = optuna.create_study(storage=open_storage(sys.argv[1]))\n"
        "study.ask().suggest_float('a', 0.0, 1.0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(location.path)], check=True, timeout=60)

    assert rows(location, "SELECT param_name FROM trial_params") == [("a",)]


def test_a_forked_child_leaves_its_parent_s_connections_alone(storage: HyperionStorage) -> None:
    study = own_study(storage)
    trial = study.ask()
    child = os.fork()
    if child == 0:
        try:
            code = 0 if len(storage.get_all_trials(1)) == 1 and not storage._own else 1
        except BaseException:
            code = 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    study.tell(trial, 1.0)
    assert study.best_value == 1.0


# -- what waiting mends ----------------------------------------------------------------------------


@pytest.fixture
def small_disk(storage: HyperionStorage) -> Callable[[bool], None]:
    """A store that can't grow, until it is told that it may: SQLite's own full disk."""
    full = [True]
    storage.database.close()

    @sqlalchemy.event.listens_for(storage.database.engine, "begin")
    def limit(connection: sqlalchemy.Connection) -> None:
        raw = connection.connection.driver_connection
        assert raw is not None
        pages = raw.execute("PRAGMA page_count").fetchone()[0] if full[0] else 2**30
        raw.execute(f"PRAGMA max_page_count = {pages}")

    return lambda now: full.__setitem__(0, now)


def test_a_full_disk_is_waited_for_and_the_result_is_not_lost(
    storage: HyperionStorage,
    small_disk: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(database, "PAUSE_S", 0.01)
    small_disk(False)
    trial = own_study(storage).ask()
    trial.set_user_attr("large", "x" * 100_000)
    small_disk(True)
    done = threading.Thread(
        target=lambda: storage.end_trial(trial._trial_id, TrialState.COMPLETE, [0.5], Ending())
    )
    done.start()

    eventually(lambda: "waiting" in caplog.text)
    assert storage.get_all_trials(1)[0].state == TrialState.RUNNING
    small_disk(False)
    done.join(20.0)

    assert not done.is_alive()
    ended = storage.get_all_trials(1)[0]
    assert (ended.state, ended.value, len(ended.user_attrs["large"])) == (
        TrialState.COMPLETE,
        0.5,
        100_000,
    )


def test_who_can_not_wait_for_space_is_told_at_once(
    storage: HyperionStorage, small_disk: Callable[[bool], None]
) -> None:
    plan = experiment_plan(*(study_plan(f"m{number}") for number in range(200)))

    with pytest.raises(StoreUnavailable, match="is full: free some space"):
        create_or_extend(storage, plan)
    assert rows(storage.location, "SELECT count(*) FROM studies") == [(0,)]


def test_a_held_write_lock_is_waited_for_beyond_the_busy_timeout(
    location: Location, storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAUSE_S", 0.01)
    study = own_study(storage)
    trial = study.ask()

    @sqlalchemy.event.listens_for(storage.database.engine, "connect")
    def impatient(raw: sqlite3.Connection, _: object) -> None:
        raw.execute("PRAGMA busy_timeout = 10")

    storage.database.close()
    told = threading.Thread(target=lambda: study.tell(trial, 1.0))
    with changing(location):
        told.start()
        told.join(0.3)  # thirty times the busy timeout
        assert told.is_alive()
    told.join(20.0)

    assert not told.is_alive()
    assert study.best_value == 1.0


def test_a_storage_that_nobody_closed_closes_itself(location: Location, tmp_path: Path) -> None:
    import gc

    with opened(location) as storage:
        own_study(storage)
    forgotten = HyperionStorage(location)
    forgotten.get_all_studies()
    pool = forgotten.database.engine.pool
    assert pool.checkedin() == 1  # type: ignore[attr-defined]
    del forgotten
    gc.collect()

    assert pool.checkedin() == 0  # type: ignore[attr-defined]


# -- studies that another process deletes ----------------------------------------------------------


def test_a_study_made_in_the_place_of_a_deleted_one_is_read_anew(
    location: Location, storage: HyperionStorage
) -> None:
    ours = own_study(storage)
    ours.optimize(six_parameters, n_trials=3)
    with opened(location) as other:
        optuna.delete_study(study_name="plain", storage=other)
        with pytest.raises(KeyError):
            storage.get_all_trials(ours._study_id)
        with pytest.raises(KeyError):
            optuna.load_study(study_name="plain", storage=storage)
        theirs = optuna.create_study(study_name="plain", direction="maximize", storage=other)
        theirs.optimize(lambda trial: trial.suggest_int("p0", 1, 3), n_trials=2)

        again = optuna.load_study(study_name="plain", storage=storage)

        assert again.direction.name == "MAXIMIZE"
        assert [t.params for t in again.trials] == [t.params for t in theirs.trials]
        assert again.ask().suggest_int("p0", 1, 3) in (1, 2, 3)  # it was a float before
        optuna.delete_study(study_name="plain", storage=other)
        theirs = optuna.create_study(study_name="plain", storage=other)
        theirs.optimize(lambda trial: 0.5, n_trials=4)

        assert [t.value for t in storage.get_all_trials(1)] == [0.5] * 4


def test_a_name_that_a_new_study_has_is_its_own(
    location: Location, storage: HyperionStorage
) -> None:
    assert own_study(storage).study_name == "plain"
    with opened(location) as other:
        optuna.delete_study(study_name="plain", storage=other)

    assert optuna.create_study(study_name="again", storage=storage).study_name == "again"


# -- several trials and threads of one process -------------------------------------------------


def test_a_lost_trial_keeps_nothing_of_the_others_from_being_written(
    location: Location, storage: HyperionStorage
) -> None:
    study = own_study(storage)
    lost, kept = study.ask(), study.ask()
    with changing(location) as connection:
        connection.execute("UPDATE trials SET state = 'WAITING' WHERE number = 0")
    lost.set_user_attr("a", 1)
    kept.set_user_attr("a", 2)

    with pytest.raises(TrialTaken):
        storage.flush()

    assert rows(location, "SELECT value_json FROM trial_user_attributes") == [("2",)]


def test_a_lost_trial_can_not_be_put_back_by_who_lost_it(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    job = must_claim(storage, add_worker(location))
    assert job.trial_id is not None
    with changing(location) as connection:
        connection.execute("UPDATE hx_trial SET worker_id = 99")
    storage.set_trial_user_attr(job.trial_id, "a", 1)

    with pytest.raises(TrialTaken):
        storage.set_trial_state_values(job.trial_id, TrialState.WAITING)

    assert rows(location, "SELECT state, worker_id FROM hx_trial") == [("RUNNING", 99)]


def test_a_trial_that_a_thread_ends_while_another_one_reads_is_there_once(
    storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = own_study(storage)
    trial = study.ask()
    read = storage.database.read

    def end_first(work: Callable[[sqlalchemy.Connection], object]) -> object:
        monkeypatch.setattr(storage.database, "read", read)
        ended = threading.Thread(target=study.tell, args=(trial, 1.0))
        ended.start()
        eventually(lambda: trial._trial_id not in storage._own)
        return read(work)

    storage.get_study_directions(study._study_id)  # asks the database the first time
    monkeypatch.setattr(storage.database, "read", end_first)

    assert len(storage.get_all_trials(study._study_id)) == 1


def test_a_worker_that_has_lost_a_trial_sees_how_others_ended_it(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan())
    job = must_claim(storage, add_worker(location))

    def lose(trial: optuna.Trial) -> float:
        with changing(location) as connection:
            connection.execute("UPDATE trials SET state = 'WAITING'")
            connection.execute("UPDATE hx_trial SET state = 'WAITING', worker_id = NULL")
        trial.set_user_attr("a", 1)
        eventually(lambda: storage._own[trial._trial_id].taken is not None)
        trial.report(0.5, 1)
        return 0.5

    with pytest.raises(TrialTaken):
        run_objective(storage, job, lose)
    with opened(location) as other:
        run_job(other, must_claim(other, add_worker(location, slot=2)), [0.9])

    assert [t.state for t in storage.get_all_trials(job.study_id)] == [TrialState.COMPLETE]


def test_a_saved_checkpoint_is_known_to_everybody_at_once(
    location: Location, storage: HyperionStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "FIRST_DELAY_S", 1000.0)
    create_or_extend(storage, experiment_plan())

    def save(trial: optuna.Trial) -> float:
        Checkpoint(trial).saved(3)
        assert rows(location, "SELECT value_json FROM trial_system_attributes")[-1] == ("3",)
        return 0.5

    job = must_claim(storage, add_worker(location))

    assert run_objective(storage, job, save) == TrialState.COMPLETE
