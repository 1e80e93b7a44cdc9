"""Orders, retries and larger budgets; and what a runner settles after deaths."""

from __future__ import annotations

import pytest

from engines.errors import BadInput
from engines.study import control, supervision
from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.outlook import held_by, look_ahead
from engines.study.records import Experiment, Study
from engines.study.storage import HyperionStorage
from tests.unit.building import (
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    rows,
    run_job,
    study_plan,
)


def pairs(location: Location) -> list[tuple[Experiment, Study]]:
    with asking(location) as reader:
        return [(e, s) for e in reader.experiments() for s in e.studies]


@pytest.fixture
def worker(location: Location, storage: HyperionStorage) -> int:
    """A worker of an experiment with two studies of three trials."""
    create_or_extend(storage, experiment_plan(study_plan("a", goal=3), study_plan("b", goal=3)))
    return add_worker(location)


@pytest.mark.parametrize(
    ("want", "now", "state", "interrupt"),
    [
        ("pause", False, "paused", 0),
        ("pause", True, "paused", 1),
        ("stop", False, "pausing", 0),
        ("cancel", False, "cancelled", 1),
        ("run", False, "waiting", 0),
    ],
)
def test_an_order_is_a_row_and_a_line_in_the_log(
    location: Location, worker: int, want: str, now: bool, state: str, interrupt: int
) -> None:
    changed = control.order(location, pairs(location)[:1], want, now=now)

    assert changed == ["e/a"]
    assert [s.state for _, s in pairs(location)] == [state, "waiting"]
    assert rows(location, "SELECT want, want_now FROM hx_study") == [(want, interrupt), ("run", 0)]
    with asking(location) as reader:
        assert reader.events(1)[-1].text.startswith(f"to be {control.VERBS[want]}")


def test_what_has_ended_takes_no_order(location: Location, worker: int) -> None:
    control.order(location, pairs(location), "cancel")

    with pytest.raises(BadInput, match="Nothing to resume: e/a is cancelled, e/b is cancelled"):
        control.order(location, pairs(location), "run")
    with pytest.raises(BadInput, match="Nothing to pause: there is no study"):
        control.order(location, [], "pause")


def test_an_order_reaches_only_the_studies_that_are_open(location: Location, worker: int) -> None:
    control.order(location, pairs(location)[:1], "cancel")

    assert control.order(location, pairs(location), "pause") == ["e/b"]
    assert [s.state for _, s in pairs(location)] == ["cancelled", "paused"]


def test_goals_rise_for_open_studies_and_never_fall(location: Location, worker: int) -> None:
    control.order(location, pairs(location)[:1], "cancel")

    assert control.raise_goals(location, pairs(location), 8) == ["e/b"]
    assert control.raise_goals(location, pairs(location), 5) == []

    assert rows(location, "SELECT goal FROM hx_study") == [(3,), (8,)]


def test_a_larger_time_limit_lets_studies_go_on_that_time_had_ended(
    location: Location, worker: int
) -> None:
    with changing(location) as connection:
        supervision.add_time(connection, 1, 60.0)
        supervision.end_by_time(connection, 1, 60.0)
        connection.execute("UPDATE hx_study SET closed_at = 'then'")
    assert [s.state for _, s in pairs(location)] == ["done", "done"]

    control.change_experiment(location, 1, time_limit_s=30.0)
    assert [s.state for _, s in pairs(location)] == ["done", "done"]
    control.change_experiment(location, 1, time_limit_s=120.0)

    assert [s.state for _, s in pairs(location)] == ["waiting", "waiting"]


@pytest.fixture
def one_failed(location: Location, storage: HyperionStorage, worker: int) -> int:
    """Trial 0 of study a failed."""
    run_job(storage, must_claim(storage, worker), ValueError("bad"))
    return worker


def test_a_retry_is_a_new_number_with_the_same_parameters_and_a_larger_goal(
    location: Location, storage: HyperionStorage, one_failed: int
) -> None:
    (created,) = control.retry(location, *pairs(location)[0], [0, 0])

    assert created == 1
    with asking(location) as reader:
        first, again = reader.trials(1)
    assert (again.state, again.retry_of, again.params) == ("waiting", 0, first.params)
    assert rows(location, "SELECT goal FROM hx_study") == [(4,), (3,)]
    job = next(j for j in iter(lambda: must_claim(storage, one_failed), None) if j.model == "a")
    assert job.number == 1
    run_job(storage, job, [0.5])
    with asking(location) as reader:
        assert reader.trials(1)[1].params == first.params


def test_a_trial_is_retried_once(location: Location, one_failed: int) -> None:
    control.retry(location, *pairs(location)[0])

    with pytest.raises(BadInput, match="trial 0 did not fail, or was retried already; .*: none"):
        control.retry(location, *pairs(location)[0], [0])
    with pytest.raises(BadInput, match="e/a has no failed trial to retry"):
        control.retry(location, *pairs(location)[0])


def test_a_number_that_did_not_fail_changes_nothing(location: Location, one_failed: int) -> None:
    with pytest.raises(BadInput, match="trial 7 did not fail, .*: 0"):
        control.retry(location, *pairs(location)[0], [0, 7])

    assert rows(location, "SELECT count(*) FROM trials WHERE study_id = 1") == [(1,)]
    assert rows(location, "SELECT goal FROM hx_study") == [(3,), (3,)]


def test_a_sweep_puts_every_orphan_back_and_frees_every_claim(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    done = must_claim(storage, worker)
    run_job(storage, done, [0.5])
    orphans = [must_claim(storage, worker) for _ in range(3)]
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET closing_worker = 1")

        count = supervision.sweep(connection, 1, "its runner died")

    assert count == len(orphans)
    assert rows(location, "SELECT state, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("COMPLETE", 1),
        ("WAITING", 3),
    ]
    assert rows(location, "SELECT state, sum(requeues) FROM hx_trial GROUP BY 1 ORDER BY 1") == [
        ("COMPLETE", 0),
        ("WAITING", 3),
    ]
    assert rows(location, "SELECT closing_worker FROM hx_study") == [(None,), (None,)]
    assert rows(location, "SELECT end_reason FROM hx_worker") == [("its runner died",)]
    with asking(location) as reader:
        texts = [e.text for e in reader.events(1) if e.kind == "trial_requeued"]
    assert texts == ["put back: its runner died"] * 3


def test_a_finished_trial_is_never_put_back_or_failed(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    with changing(location) as connection:
        (held,) = held_by(connection, worker)
    run_job(storage, job, [0.5])

    with changing(location) as connection:
        supervision.requeue(connection, 1, held, "late")
        supervision.fail(connection, 1, held, "Late", "late")

    with asking(location) as reader:
        (trial, *_) = reader.trials(1)
    assert (trial.state, trial.value, trial.error) == ("complete", 0.5, None)


def test_an_outlook_counts_what_workers_could_do(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    def claimable() -> int:
        with changing(location) as connection:
            outlook = look_ahead(connection, 1)
        assert outlook is not None
        return outlook.claimable

    assert claimable() == 6
    must_claim(storage, worker)
    assert claimable() == 6
    control.order(location, pairs(location), "pause")
    assert claimable() == 1
    control.order(location, pairs(location), "stop")
    assert claimable() == 2  # the running trial's study, and the closing of the other
    with changing(location) as connection:
        supervision.set_failure(connection, 1, "because")
        outlook = look_ahead(connection, 1)
    assert outlook is not None
    assert outlook.state == "failed"


def test_deaths_count_for_five_minutes(location: Location, worker: int) -> None:
    with changing(location) as connection:
        for _ in range(3):
            supervision.add_runner(connection, 1)
        assert supervision.recent_deaths(connection, 1) == 3
        connection.execute(
            "UPDATE hx_runner SET started_at = '2026-01-01T00:00:00.000000+00:00' WHERE id = 1"
        )
        assert supervision.recent_deaths(connection, 1) == 2
        assert supervision.recent_deaths(connection, 2) == 0


@pytest.mark.parametrize("late", ["run", "pause", "cancel"])
def test_an_order_that_comes_too_late_leaves_an_end_as_it_is(
    location: Location, storage: HyperionStorage, worker: int, late: str
) -> None:
    seen_before = pairs(location)
    with changing(location) as connection:
        connection.execute("UPDATE hx_study SET want = 'stop', closed_at = 'now'")

    with pytest.raises(BadInput, match="has ended, or is ending for good"):
        control.order(location, seen_before, late)

    assert rows(location, "SELECT DISTINCT want FROM hx_study") == [("stop",)]


@pytest.mark.parametrize("late", ["run", "pause"])
def test_a_stop_that_is_still_being_carried_out_can_not_be_taken_back(
    location: Location, storage: HyperionStorage, worker: int, late: str
) -> None:
    control.order(location, pairs(location), "stop")

    with pytest.raises(BadInput, match="has ended, or is ending for good"):
        control.order(location, pairs(location), late)
    assert control.raise_goals(location, pairs(location), 1000) == []


def test_what_is_frozen_stays_so_until_another_order_than_a_pause(
    location: Location, worker: int
) -> None:
    def frozen_after(want: str, **how: bool) -> bool:
        with asking(location) as reader:
            experiment = reader.experiment(1)
        control.order(location, [(experiment, experiment.studies[0])], want, **how)
        return bool(rows(location, "SELECT want_frozen FROM hx_study ORDER BY position")[0][0])

    assert not frozen_after("pause")
    assert frozen_after("pause", freeze=True)
    assert frozen_after("pause")
    assert not frozen_after("pause", now=True)
    assert frozen_after("pause", freeze=True)
    assert not frozen_after("run")
    assert frozen_after("pause", freeze=True)
    assert not frozen_after("stop")


def test_a_frozen_study_is_paused_only_while_a_runner_lives_that_stopped_it(
    location: Location, storage: HyperionStorage, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int | None] = [77]
    monkeypatch.setattr("engines.study.locks.runner_pid", lambda lock: alive[0])
    must_claim(storage, worker)
    with asking(location) as reader:
        experiment = reader.experiment(1)
        control.order(location, [(experiment, s) for s in experiment.studies], "pause", freeze=True)
        assert reader.experiment(1).state == "pausing"
        with changing(location) as connection:
            supervision.note_worker(connection, worker, 5, 5, "2026-11-22T10:00:00+00:00", None)
        assert reader.experiment(1).state == "paused"
        assert [w.flag for w in reader.workers(1)] == ["frozen"]
        alive[0] = None
        assert reader.experiment(1).state == "pausing"
        assert reader.experiment(1).is_orphaned
