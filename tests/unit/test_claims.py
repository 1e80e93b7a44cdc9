"""Who gets which trial: the budget, the queue, the end of a trial, and the end of a study."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Connection, text

from engines.errors import StoreUnavailable
from engines.search.allocation import FAIR_SHARE
from engines.search.space import Choice, Space
from engines.search.stopping import SAME_FAILURES, has_stalled
from engines.study import control, supervision
from engines.study.claims import Job, claim, find_same
from engines.study.endings import HeldOut, close_study
from engines.study.ensembles import keep_ensemble
from engines.study.experiments import StudyPlan, create_or_extend
from engines.study.location import Location, locate
from engines.study.outlook import Outlook, facts, held_by, look_ahead
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

    assert rows(location, "SELECT state FROM trials") == []
    assert rows(location, "SELECT state, worker_id FROM hx_trial") == []
    assert rows(location, "SELECT key FROM trial_system_attributes") == []
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
    close_study(storage, 1, worker + 1, HeldOut(9.0, 1, opened=True))
    assert the_study(location)[1].state == "running"
    close_study(storage, 1, worker, HeldOut(0.35, 1, opened=True))
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
    close_study(storage, 1, worker, HeldOut(0.4, 0, opened=True))
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


@pytest.mark.parametrize("maximize", [True, False])
def test_patience_asks_of_the_latest_trials_what_the_whole_history_says(
    tmp_path: Path, maximize: bool
) -> None:
    rng = random.Random(5)
    for case in range(6):
        location = new_store(tmp_path / f"{case}.db")
        least = rng.choice([0.0, 0.15])
        plan = experiment_plan(
            study_plan(goal=60), patience=3, min_improvement=least, maximize=maximize
        )
        with opened(location) as storage:
            create_or_extend(storage, plan)
            worker = add_worker(location)
            values: list[float] = []
            while (job := must_claim(storage, worker)).kind == "trial":
                assert not has_stalled(values, maximize=maximize, patience=3, min_improvement=least)
                values.append(round(rng.random(), 1))
                run_job(storage, job, [values[-1]])
            assert has_stalled(values, maximize=maximize, patience=3, min_improvement=least)


# -- portfolios, time and grids -------------------------------------------------------------------


def planned(model: str = "shapes", expected_s: float = 1.0, **changes: object) -> StudyPlan:
    """A study with a portfolio of three sets, the last of them dear."""
    sets = [DEFAULTS, {"kind": "round", "size": 2.0}, {"kind": "round", "size": 5.0}]
    plan = {
        "portfolio": sets,
        "weights": [1.0, 1.0, 50.0],
        "prior": changes.pop("prior", 0.5),
        "expected_s": expected_s,
        "rows": [80, 80],
        "averages": changes.pop("averages", False),
    }
    return study_plan(model, **{"goal": None, "plan": plan, **changes})


def use_time(location: Location, seconds: float) -> None:
    with changing(location) as connection:
        supervision.add_time(connection, 1, seconds)


def take(location: Location, seconds: float) -> None:
    """Have the latest trial taken so long."""
    with changing(location) as connection:
        connection.execute(
            "UPDATE hx_trial SET duration_s = ? WHERE trial_id = "
            "(SELECT max(trial_id) FROM hx_trial)",
            (seconds,),
        )


def test_the_first_trials_are_the_portfolio_and_then_the_sampler_suggests(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(planned(goal=5)))
    worker = add_worker(location)

    finish(storage, worker, *(0.1, 0.2, 0.3, 0.4))

    with asking(location) as reader:
        params = [t.params for t in reader.trials(1)]
    assert params[:3] == [DEFAULTS, {"kind": "round", "size": 2.0}, {"kind": "round", "size": 5.0}]
    assert params[3] not in params[:3]


def test_a_job_tells_how_much_time_is_left(location: Location, storage: HyperionStorage) -> None:
    create_or_extend(storage, experiment_plan(planned(), time_limit_s=10.0))
    worker = add_worker(location)
    use_time(location, 4.0)

    assert must_claim(storage, worker).seconds_left == 6.0


def test_the_first_trial_of_a_forest_gets_its_part_of_the_time_left(
    location: Location, storage: HyperionStorage
) -> None:
    models = [planned("forest", prior=0.9, averages=True), planned("other")]
    create_or_extend(storage, experiment_plan(*models, time_limit_s=10.0, workers=1))

    job = must_claim(storage, add_worker(location))

    assert (job.model, job.seconds_left) == ("forest", pytest.approx(10.0 * FAIR_SHARE))


def test_without_a_time_limit_a_job_has_no_seconds_left(
    storage: HyperionStorage, worker: int
) -> None:
    assert must_claim(storage, worker).seconds_left is None


def test_a_set_too_dear_for_the_time_left_is_passed_over(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(planned(), time_limit_s=20.0))
    worker = add_worker(location)
    for score in (0.1, 0.2):
        finish(storage, worker, score)
        take(location, 1.0)

    third = must_claim(storage, worker)

    assert (third.kind, third.number) == ("trial", 2)
    run_job(storage, third, [0.3])
    with asking(location) as reader:
        assert reader.trials(1)[2].params != {"kind": "round", "size": 5.0}


def test_under_a_time_limit_the_stronger_model_gets_the_first_trial(
    location: Location, storage: HyperionStorage
) -> None:
    weak, strong = planned("weak", prior=0.1), planned("strong", prior=0.9)
    create_or_extend(storage, experiment_plan(weak, strong, time_limit_s=60.0))
    worker = add_worker(location)

    assert must_claim(storage, worker).model == "strong"


def test_a_hopeless_model_rests_under_a_time_limit(
    location: Location, storage: HyperionStorage
) -> None:
    models = [planned("bad", prior=0.9), planned("good", prior=0.9)]
    create_or_extend(storage, experiment_plan(*models, time_limit_s=600.0))
    worker = add_worker(location)
    counts = Counter[str]()
    for turn in range(14):
        job = must_claim(storage, worker)
        counts[job.model] += 1
        run_job(storage, job, [0.8 + turn / 1000 if job.model == "good" else 0.1 + turn / 1000])
        take(location, 1.0)

    assert counts["bad"] <= 4


def test_when_nothing_fits_the_time_left_the_experiment_ends_at_once(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(planned(expected_s=3.0), time_limit_s=10.0))
    worker = add_worker(location)
    finish(storage, worker, 0.5)
    take(location, 3.0)
    use_time(location, 8.0)

    job = must_claim(storage, worker)

    assert (job.kind, job.seconds_left) == ("closing", 2.0)
    study = the_study(location)[1]
    assert study.message == "time: nothing more fits"
    with asking(location) as reader:
        assert reader.events(1)[-1].text == "time: nothing more fits the 1.3 s left"
    close_study(storage, 1, worker, HeldOut(0.5, 0, opened=True))
    # The same limit again brings no time, though a little of it was left.
    create_or_extend(storage, experiment_plan(planned(expected_s=3.0), time_limit_s=10.0))
    assert the_study(location)[1].state == "done"
    create_or_extend(storage, experiment_plan(planned(expected_s=3.0), time_limit_s=60.0))
    assert must_claim(storage, worker).kind == "trial"


def test_nothing_ends_for_lack_of_time_while_a_trial_runs(
    location: Location, storage: HyperionStorage
) -> None:
    create_or_extend(storage, experiment_plan(planned(expected_s=30.0), time_limit_s=10.0))
    worker = add_worker(location)
    first = must_claim(storage, worker)

    assert claim(storage, 1, add_worker(location, slot=2)) is None
    assert the_study(location)[1].state == "running"
    run_job(storage, first, [0.5])
    take(location, 1.0)
    assert must_claim(storage, worker).kind == "trial"


def test_a_study_without_a_plan_runs_until_its_time_is_up(
    location: Location, storage: HyperionStorage
) -> None:
    plan = experiment_plan(study_plan(goal=None, plan=None), time_limit_s=10.0)
    create_or_extend(storage, plan)
    worker = add_worker(location)
    finish(storage, worker, 0.5)
    take(location, 9.0)
    use_time(location, 9.5)

    assert must_claim(storage, worker).kind == "trial"


def test_a_grid_that_is_used_up_ends_the_study(
    location: Location, storage: HyperionStorage
) -> None:
    space = Space({"kind": Choice(("a", "b")), "deep": Choice((True, False))})
    plan = {"portfolio": [{"kind": "a", "deep": True}], "weights": [1.0]}
    study = study_plan(goal=50, space=space, plan=plan)
    create_or_extend(storage, experiment_plan(study, sampler="grid"))
    worker = add_worker(location)
    seen = []
    for _ in range(5):
        job = must_claim(storage, worker)
        assert job.kind == "trial"
        run_job(storage, job, [0.5], sampler="grid")
    with asking(location) as reader:
        seen = [tuple(t.params.values()) for t in reader.trials(1)]

    assert must_claim(storage, worker).kind == "closing"
    assert the_study(location)[1].message == "grid used up"
    assert seen[0] == ("a", True)
    assert set(seen[1:]) == {("a", True), ("a", False), ("b", True), ("b", False)}


# -- the ensemble ---------------------------------------------------------------------------------


def end_study(storage: HyperionStorage, worker: int) -> None:
    """Run what is left of the next study that ends, and settle its end."""
    while (job := must_claim(storage, worker)).kind == "trial":
        run_job(storage, job, [0.5])
    assert job.kind == "closing"
    close_study(storage, job.study_id, worker, HeldOut(0.4, 0, opened=True))


@pytest.fixture
def settled(location: Location, storage: HyperionStorage) -> int:
    """A worker of an experiment of which only the ensemble is left to make."""
    create_or_extend(storage, experiment_plan(planned("a", goal=1), planned("b", goal=1)))
    worker = add_worker(location)
    end_study(storage, worker)
    end_study(storage, worker)
    return worker


def outlook_of(location: Location) -> Outlook | None:
    with changing(location) as connection:
        return look_ahead(connection, 1)


def test_the_last_job_of_an_experiment_is_its_ensemble_and_there_is_one_of_it(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    assert outlook_of(location) == Outlook("running", 1)

    job = must_claim(storage, settled)

    assert job == Job("ensemble", -1, "e", "", None)
    assert claim(storage, 1, add_worker(location, slot=2)) is None
    keep_ensemble(
        storage,
        1,
        settled,
        selection_score=0.6,
        held_out_score=0.5,
        members=[{"study": "e/a", "number": 0, "weight": 1.0}],
    )
    assert claim(storage, 1, settled) is None
    assert outlook_of(location) == Outlook("done", 0)
    assert rows(location, "SELECT selection_score, held_out_score FROM hx_ensemble") == [(0.6, 0.5)]
    with asking(location) as reader:
        assert reader.events(1)[-1].text == "ensemble: 0.6 with 1 member"


def test_an_ensemble_of_a_worker_that_died_is_made_by_another(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    assert must_claim(storage, settled).kind == "ensemble"
    other = add_worker(location, slot=2)

    with changing(location) as connection:
        known = facts(connection, 1)
        assert known is not None
        assert known.closing == {settled: -1}
        supervision.free_closing(connection, settled)

    assert must_claim(storage, other).kind == "ensemble"
    keep_ensemble(storage, 1, settled, selection_score=9.0, held_out_score=None)
    assert rows(location, "SELECT made_at, selection_score FROM hx_ensemble") == [(None, None)]


def test_a_new_runner_frees_the_ensemble_that_nobody_makes_any_more(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    assert must_claim(storage, settled).kind == "ensemble"

    with changing(location) as connection:
        supervision.sweep(connection, 1, "its runner died")

    assert must_claim(storage, add_worker(location, slot=2)).kind == "ensemble"


def test_an_ensemble_that_kills_its_workers_is_given_up_with_a_note(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    assert must_claim(storage, settled).kind == "ensemble"

    with changing(location) as connection:
        supervision.close_without_score(connection, 1, -1, "its worker crashed, 4 times")

    assert claim(storage, 1, settled) is None
    assert outlook_of(location) == Outlook("done", 0)
    assert rows(location, "SELECT note FROM hx_ensemble") == [("its worker crashed, 4 times",)]


def test_more_trials_have_the_ensemble_made_again(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    must_claim(storage, settled)
    keep_ensemble(storage, 1, settled, selection_score=0.6, held_out_score=0.5)
    assert control.raise_goals(location, [the_study(location)], 2) == ["e/a"]
    assert rows(location, "SELECT made_at FROM hx_ensemble") == [(None,)]

    end_study(storage, settled)

    assert must_claim(storage, settled).kind == "ensemble"


def test_a_claim_alone_has_the_ensemble_made_again(
    location: Location, storage: HyperionStorage, settled: int
) -> None:
    must_claim(storage, settled)
    keep_ensemble(storage, 1, settled, selection_score=0.6, held_out_score=0.5)
    create_or_extend(storage, experiment_plan(planned("c", goal=1)))

    end_study(storage, settled)

    assert must_claim(storage, settled).kind == "ensemble"


def test_what_was_cancelled_or_has_no_plan_or_no_data_gets_no_ensemble(
    tmp_path: Path,
) -> None:
    objective = {"function": "f", "sha256": "0" * 64}
    for number, changes in enumerate(
        (
            {"studies": (planned(goal=1),)},
            {"studies": (study_plan(goal=1, plan=None),)},
            {"studies": (planned(goal=1),), "dataset": None, "objective": objective},
        )
    ):
        location = new_store(tmp_path / f"{number}.db")
        with opened(location) as storage:
            create_or_extend(storage, experiment_plan(**changes))
            worker = add_worker(location)
            if number == 0:
                control.order(location, [the_study(location)], "cancel")
            else:
                end_study(storage, worker)
            assert claim(storage, 1, worker) is None
        assert outlook_of(location) == Outlook("cancelled" if number == 0 else "done", 0)


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
    close_study(storage, job.study_id, worker, HeldOut(None, None, note))

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

    close_study(storage, job.study_id, worker, HeldOut(0.4, 0, opened=True))

    assert rows(location, "SELECT held_out_score, closed_at FROM hx_study") == [(None, None)]
    with changing(location) as connection:
        known = facts(connection, 1)
        assert known is not None
        assert known.closing == {worker: job.study_id}
        assert known.interrupted == {job.study_id}
        supervision.free_closing(connection, worker)
    assert the_study(location)[1].state == "cancelled"
