"""Who gets which trial: the budget, the queue, the end of a trial, and the end of a study."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Connection, text

from engines.errors import StoreUnavailable
from engines.search.stopping import SAME_FAILURES
from engines.study import control, supervision
from engines.study.claims import Job, claim, close_study, find_same
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.outlook import facts, held_by
from engines.study.records import Experiment, Study
from engines.study.storage import Ending, HyperionStorage, TrialTaken
from tests.unit.building import (
    DEFAULTS,
    add_worker,
    asking,
    changing,
    experiment_plan,
    must_claim,
    new_store,
    opened,
    rows,
    run_job,
    run_objective,
    study_plan,
)

TRIAL_OF_BOTH = """SELECT o.state, h.state, h.worker_id, v.value, h.value, o.datetime_complete,
    h.finished_at FROM trials o JOIN hx_trial h ON h.trial_id = o.trial_id
    LEFT JOIN trial_values v ON v.trial_id = o.trial_id WHERE o.trial_id = ?"""


def the_study(location: Location) -> tuple[Experiment, Study]:
    with asking(location) as reader:
        experiment = reader.experiments()[0]
    return experiment, experiment.studies[0]


@pytest.fixture(params=["file", "server"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty store, of either kind."""
    if request.param == "file":
        return new_store(tmp_path / "studies.db")
    return locate(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
def worker(location: Location, storage: HyperionStorage) -> int:
    """A worker of an experiment with one study of four trials."""
    create_or_extend(storage, experiment_plan())
    return add_worker(location)


def finish(storage: HyperionStorage, worker: int, *scores: float) -> list[Job]:
    """Claim and complete one trial a score."""
    done = []
    for score in scores:
        job = must_claim(storage, worker)
        run_job(storage, job, [score])
        done.append(job)
    return done


# -- one trial ------------------------------------------------------------------------------------


def test_a_claim_makes_a_trial_running_in_both_tables(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)

    assert (job.kind, job.number, job.study_name, job.model) == ("trial", 0, "e/shapes", "shapes")
    assert job.trial_id is not None
    assert rows(location, TRIAL_OF_BOTH, job.trial_id) == [
        ("RUNNING", "RUNNING", worker, None, None, None, None)
    ]


def test_the_defaults_are_trial_0(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    finish(storage, worker, 0.1, 0.2)

    with asking(location) as reader:
        first, second = (t for t in reader.trials(1) if t.state == "complete")
    assert first.params == DEFAULTS
    assert second.params != DEFAULTS


def test_an_end_writes_both_rows_and_an_event(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)

    state = run_job(storage, job, [0.25, 0.75])

    assert state == TrialState.COMPLETE
    assert job.trial_id is not None
    (row,) = rows(location, TRIAL_OF_BOTH, job.trial_id)
    assert row[:5] == ("COMPLETE", "COMPLETE", worker, 0.5, 0.5)
    assert row[5].replace(" ", "T")[:21] == row[6][:21]  # both are the same moment in UTC
    with asking(location) as reader:
        detail = reader.trial(1, 0)
        last = reader.events(1)[-1]
    assert detail.metrics == {"folds": [0.25, 0.75]}
    assert detail.trial.seed is not None
    assert (last.kind, last.trial_number, last.model) == ("trial_complete", 0, "shapes")
    assert last.text.startswith("0.5 (")


def test_an_end_that_can_not_be_written_whole_changes_nothing(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    assert job.trial_id is not None
    before = rows(location, TRIAL_OF_BOTH, job.trial_id)
    with changing(location) as connection:
        connection.execute("ALTER TABLE hx_event RENAME TO elsewhere")

    with pytest.raises(StoreUnavailable, match="no Hyperion tables"):
        run_job(storage, job, [0.5])

    assert rows(location, TRIAL_OF_BOTH, job.trial_id) == before
    with changing(location) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO hx_event")
    storage.set_trial_state_values(job.trial_id, TrialState.COMPLETE, [0.5])
    assert rows(location, TRIAL_OF_BOTH, job.trial_id)[0][:2] == ("COMPLETE", "COMPLETE")


def test_a_claim_that_can_not_be_written_whole_changes_nothing(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    with changing(location) as connection:
        connection.execute("ALTER TABLE hx_event RENAME TO elsewhere")

    with pytest.raises(StoreUnavailable, match="no Hyperion tables"):
        claim(storage, 1, worker)

    assert rows(location, "SELECT state FROM trials") == [("WAITING",)]
    assert rows(location, "SELECT state, worker_id FROM hx_trial") == [("WAITING", None)]
    with changing(location) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO hx_event")


def test_a_finished_trial_can_not_end_again(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    (job,) = finish(storage, worker, 0.5)
    assert job.trial_id is not None

    with pytest.raises(UpdateFinishedTrialError, match="already finished"):
        storage.set_trial_state_values(job.trial_id, TrialState.COMPLETE, [0.9])

    assert rows(location, TRIAL_OF_BOTH, job.trial_id)[0][3:5] == (0.5, 0.5)


def put_back(location: Location, worker: int) -> None:
    with changing(location) as connection:
        (held,) = held_by(connection, worker)
        supervision.requeue(connection, 1, held, "interrupted")


def test_a_worker_that_lost_its_trial_can_not_end_it(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    put_back(location, worker)
    assert job.trial_id is not None

    with pytest.raises(TrialTaken, match=r"^Trial 0 was given to another worker\.$"):
        run_job(storage, job, [0.5])

    (row,) = rows(location, TRIAL_OF_BOTH, job.trial_id)
    assert row[:5] == ("WAITING", "WAITING", None, None, None)


def test_a_trial_that_another_worker_has_now_is_ended_by_that_one_only(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    put_back(location, worker)
    other = add_worker(location, slot=2)
    with opened(location) as theirs:
        again = must_claim(theirs, other)
        assert again.trial_id == job.trial_id

        with pytest.raises(TrialTaken, match="given to another worker"):
            run_job(storage, job, [0.1])
        run_job(theirs, again, [0.9])

    assert job.trial_id is not None
    assert rows(location, TRIAL_OF_BOTH, job.trial_id)[0][2:5] == (other, 0.9, 0.9)


def test_a_worker_that_lost_its_trial_may_claim_it_again(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    put_back(location, worker)
    with pytest.raises(TrialTaken, match="given to another worker"):
        run_job(storage, job, [0.1])

    again = must_claim(storage, worker)

    assert again.trial_id == job.trial_id
    assert run_job(storage, again, [0.9]) == TrialState.COMPLETE


def test_a_trial_put_back_keeps_number_and_parameters_and_loses_its_reports(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)
    assert job.trial_id is not None
    study = optuna.load_study(study_name="e/shapes", storage=storage)
    trial = optuna.Trial(study, job.trial_id)
    size = trial.suggest_float("size", 0.1, 10.0, log=True)
    trial.report(0.3, step=1)
    storage.flush(job.trial_id)
    assert rows(location, "SELECT count(*) FROM trial_intermediate_values") == [(1,)]

    put_back(location, worker)

    assert rows(location, "SELECT trial_id, number, state FROM trials") == [
        (job.trial_id, 0, "WAITING")
    ]
    assert rows(location, "SELECT count(*) FROM trial_intermediate_values") == [(0,)]
    assert rows(location, "SELECT param_name, param_value FROM trial_params") == [("size", size)]
    assert rows(location, "SELECT requeues, crashes, started_at FROM hx_trial") == [(1, 0, None)]
    again = must_claim(storage, worker)
    assert (again.trial_id, again.number) == (job.trial_id, 0)
    run_job(storage, again, [0.5])
    with asking(location) as reader:
        assert reader.trial(1, 0).trial.params["size"] == size


def test_a_set_of_parameters_that_is_complete_is_served_from_the_record(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    finish(storage, worker, 0.5)
    with asking(location) as reader:
        params = reader.trials(1)[0].params
    study = optuna.load_study(study_name="e/shapes", storage=storage)
    study.enqueue_trial(params)

    run_job(storage, must_claim(storage, worker), RuntimeError("must not train"))

    with asking(location) as reader:
        again = reader.trials(1)[1]
    assert (again.state, again.value, again.served_from) == ("complete", 0.5, 0)
    hash_of = rows(location, "SELECT DISTINCT params_hash FROM hx_trial")
    assert len(hash_of) == 1
    assert find_same(storage, 1, hash_of[0][0]) == (0, 0.5)
    assert find_same(storage, 1, "other") is None


def test_a_trial_that_raises_fails_with_class_message_and_traceback(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    job = must_claim(storage, worker)

    state = run_job(storage, job, ValueError("depth is\nnot \x1b[31mgood"))

    assert state == TrialState.FAIL
    with asking(location) as reader:
        detail = reader.trial(1, 0)
    assert detail.trial.error is not None
    assert detail.trial.error.startswith("ValueError: depth is not")
    assert detail.traceback is not None
    assert "score_folds" in detail.traceback


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (float("nan"), "ScoreError: the score is nan"),
        (float("inf"), "ScoreError: the score is inf"),
        (None, "ScoreError: the score must be a number, got NoneType None"),
        ("1.5", "ScoreError: the score must be a number, got str '1.5'"),
        (True, "ScoreError: the score must be a number, got bool True"),
        ((1.0, 2.0), r"ScoreError: the score must be a number, got tuple (1.0, 2.0)"),
    ],
    ids=["nan", "inf", "none", "text", "bool", "pair"],
)
def test_an_objective_s_answer_that_is_no_score_is_a_failed_trial(
    location: Location, storage: HyperionStorage, worker: int, returned: object, reason: str
) -> None:
    state = run_objective(storage, must_claim(storage, worker), lambda trial: returned)

    assert state == TrialState.FAIL
    with asking(location) as reader:
        trial = reader.trials(1)[0]
        best = reader.experiments()[0].studies[0].best
    assert trial.error is not None
    assert trial.error.startswith(reason)
    assert (trial.value, best) == (None, None)


@pytest.mark.parametrize("leaving", [SystemExit(0), KeyboardInterrupt(), RecursionError("deep")])
def test_an_objective_that_wants_to_leave_fails_its_trial_only(
    storage: HyperionStorage, worker: int, leaving: BaseException
) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise leaving

    assert run_objective(storage, must_claim(storage, worker), objective) == TrialState.FAIL


def test_a_pruned_trial_keeps_its_last_report_in_the_log(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.report(0.25, step=1)
        raise optuna.TrialPruned

    assert run_objective(storage, must_claim(storage, worker), objective) == TrialState.PRUNED

    with asking(location) as reader:
        assert reader.trial(1, 0).reports == ((1, 0.25),)
        assert reader.experiments()[0].studies[0].counts.pruned == 1


# -- budgets and order ----------------------------------------------------------------------------


def test_a_goal_counts_finished_and_running_trials(
    storage: HyperionStorage, location: Location, worker: int
) -> None:
    running = [must_claim(storage, worker) for _ in range(4)]

    assert claim(storage, 1, worker) is None
    run_job(storage, running[0], [0.1])
    assert claim(storage, 1, worker) is None
    put_back_one = rows(location, "SELECT count(*) FROM trials WHERE state = 'RUNNING'")
    assert put_back_one == [(3,)]


def test_the_study_furthest_from_its_goal_comes_first(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(
        storage,
        experiment_plan(study_plan("a", goal=2), study_plan("b", goal=4), study_plan("c", goal=4)),
    )
    worker = add_worker(location)

    order = [must_claim(storage, worker).model for _ in range(10)]

    assert order[:3] == ["a", "b", "c"]
    assert order == ["a", "b", "c", "b", "c", "a", "b", "c", "b", "c"]


def test_among_equals_a_loaded_family_comes_first(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan("a"), study_plan("b", family="ensemble")))
    worker = add_worker(location)

    job = claim(storage, 1, worker, {"ensemble"})

    assert job is not None
    assert job.model == "b"


@pytest.mark.parametrize("want", ["pause", "stop", "cancel"])
def test_an_order_ends_claims_at_once(
    location: Location, storage: HyperionStorage, worker: int, want: str
) -> None:
    running = must_claim(storage, worker)

    control.order(location, [the_study(location)], want)

    assert claim(storage, 1, worker) is None
    run_job(storage, running, [0.5])
    after = claim(storage, 1, worker)
    assert (after.kind if after else None) == ("closing" if want == "stop" else None)


def test_a_study_that_reached_its_goal_is_closed_once(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    finish(storage, worker, 0.1, 0.4, 0.2, 0.3)
    assert the_study(location)[1].state == "running"

    closing = must_claim(storage, worker)

    assert (closing.kind, closing.trial_id) == ("closing", None)
    assert claim(storage, 1, worker) is None
    close_study(storage, 1, worker + 1, score=9.0, number=1, note=None, opened=True)
    assert the_study(location)[1].state == "running"
    close_study(storage, 1, worker, score=0.35, number=1, note=None, opened=True)
    study = the_study(location)[1]
    assert (study.state, study.openings) == ("done", 1)
    assert study.best is not None
    assert (study.best.number, study.best.held_out_score) == (1, 0.35)


def test_a_pause_ordered_during_the_last_trial_comes_to_rest_and_resumes(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    finish(storage, worker, 0.1, 0.4, 0.2)
    last = must_claim(storage, worker)
    control.order(location, [the_study(location)], "pause")
    assert the_study(location)[1].state == "pausing"

    run_job(storage, last, [0.3])

    assert the_study(location)[0].state == "paused"
    assert claim(storage, 1, worker) is None
    control.order(location, [the_study(location)], "run")
    assert must_claim(storage, worker).kind == "closing"


# -- rules ----------------------------------------------------------------------------------------


def fail_in_a_row(storage: HyperionStorage, worker: int) -> Job | None:
    """Claim and fail for one cause until there is nothing to claim."""
    for _ in range(20):
        job = claim(storage, 1, worker)
        if job is None or job.kind == "closing":
            return job
        run_job(storage, job, RuntimeError("no licence"))
    raise AssertionError("the study went on")


@pytest.fixture
def failed(location: Location, storage: HyperionStorage) -> int:
    """A worker of a study that five equal failures have ended."""
    create_or_extend(storage, experiment_plan(study_plan(goal=30)))
    worker = add_worker(location)
    fail_in_a_row(storage, worker)
    study = the_study(location)[1]
    assert (study.state, study.counts.failed) == ("failed", SAME_FAILURES)
    assert study.message == "5 trials in a row failed: RuntimeError: no licence"
    return worker


def test_retried_trials_of_a_failed_study_run_and_may_save_it(
    location: Location, storage: HyperionStorage, failed: int
) -> None:
    created = control.retry(location, *the_study(location), [1, 3])

    assert created == [5, 6]
    jobs = finish(storage, failed, 0.5, 0.6)
    assert [job.number for job in jobs] == [5, 6]
    study = the_study(location)[1]
    assert (study.state, study.counts.goal, study.message) == ("running", 32, None)
    assert must_claim(storage, failed).number == 7


def test_retried_trials_that_fail_again_end_the_study_again(
    location: Location, storage: HyperionStorage, failed: int
) -> None:
    control.retry(location, *the_study(location))

    fail_in_a_row(storage, failed)

    study = the_study(location)[1]
    assert (study.state, study.counts.failed) == ("failed", 2 * SAME_FAILURES)


def test_a_failed_study_with_a_larger_goal_goes_on(
    location: Location, storage: HyperionStorage, failed: int
) -> None:
    assert control.raise_goals(location, [the_study(location)], 40) == ["e/shapes"]

    finish(storage, failed, 0.5)

    assert the_study(location)[1].state == "running"


def test_patience_ends_a_study_before_its_goal(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=50), patience=3))
    worker = add_worker(location)

    finish(storage, worker, 0.5, 0.4, 0.3, 0.2)

    assert must_claim(storage, worker).kind == "closing"
    study = the_study(location)[1]
    assert (study.state, study.message) == ("running", "no improvement in 3 trials")


def test_a_stalled_study_with_a_larger_goal_gets_its_patience_again(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=50), patience=3))
    worker = add_worker(location)
    finish(storage, worker, 0.5, 0.4, 0.3, 0.2)
    assert must_claim(storage, worker).kind == "closing"
    close_study(storage, 1, worker, score=0.4, number=0, note=None, opened=True)
    assert the_study(location)[1].state == "done"

    control.raise_goals(location, [the_study(location)], 60)

    finish(storage, worker, 0.1, 0.1, 0.1)
    assert must_claim(storage, worker).kind == "closing"


def test_an_ending_keeps_what_is_known() -> None:
    assert Ending() == Ending(duration_s=None, metrics=None)
    with pytest.raises(AttributeError, match="cannot assign|read-only|frozen"):
        Ending().seed = 1  # type: ignore[misc]


def test_a_broken_transaction_leaves_the_thread_able_to_go_on(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("INSERT INTO hx_event (at, kind, text) VALUES ('now', 'a', 'b')"))
        raise OSError("the work itself broke")

    with pytest.raises(OSError, match="the work itself broke"):
        storage.database.write(broken, durable=True)
    assert rows(location, "SELECT count(*) FROM hx_event WHERE kind = 'a'") == [(0,)]

    finish(storage, worker, 0.5)
    assert the_study(location)[1].counts.complete == 1


def test_an_ended_study_is_settled_before_the_others_get_more_trials(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan("a", goal=1), study_plan("b", goal=50)))
    worker = add_worker(location)
    finish(storage, worker, 0.5)

    job = must_claim(storage, worker)

    assert (job.kind, job.model) == ("closing", "a")


def test_a_study_stopped_before_anything_completed_is_stopped_and_not_failed(
    location: Location, storage: HyperionStorage, worker: int
) -> None:
    experiment, study = the_study(location)
    control.order(location, [(experiment, study)], "stop")
    job = must_claim(storage, worker)

    note = "no trial completed"
    close_study(storage, job.study_id, worker, score=None, number=None, note=note, opened=False)

    study = the_study(location)[1]
    assert (study.state, study.message) == ("stopped", note)


def test_the_end_of_a_study_that_was_cancelled_meanwhile_is_not_settled(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(study_plan(goal=1)))
    worker = add_worker(location)
    finish(storage, worker, 0.5)
    job = must_claim(storage, worker)
    control.order(location, [the_study(location)], "cancel")

    close_study(storage, job.study_id, worker, score=0.4, number=0, note=None, opened=True)

    assert rows(location, "SELECT held_out_score, closed_at FROM hx_study") == [(None, None)]
    with changing(location) as connection:
        known = facts(connection, 1)
        assert known is not None
        assert known.closing == {worker: job.study_id}
        assert known.interrupted == {job.study_id}
        supervision.free_closing(connection, worker)
    assert the_study(location)[1].state == "cancelled"
