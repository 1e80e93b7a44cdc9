"""What a worker does next: the choice and the claim, in one write transaction.

The budget is enforced here and nowhere else: a trial is created or taken from the queue only
while finished + running is below the study's goal, so any number of workers, deaths and
resumes ends with exactly the total. Which study is next, `engines.search.allocation` says.

Nothing here counts trials one by one: the numbers of a study are dense, so what has finished is
the highest number less what runs and what waits, and those few have an index.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row

from engines.clock import utc_now
from engines.search.allocation import StudyView, choose, most_seconds, takes_portfolio
from engines.search.grid import grid_size
from engines.search.pareto import progress
from engines.search.stopping import SAME_FAILURES, has_stalled, repeated_cause
from engines.study import ensembles, events, study_rows, trial_rows
from engines.study.database import sql
from engines.study.endings import scores, several_metrics
from engines.study.outlook import ENSEMBLE
from engines.study.pending import Notes
from engines.study.prospects import as_data, may_run, seconds_left, seconds_to_search, views_of
from engines.study.storage import HyperionStorage

FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"

NOTHING_FITS = "time: nothing more fits"
GRID_USED_UP = "grid used up"


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that now belongs to one worker.

    kind: `trial`, `closing` (settle the end of a study: open its held-out part) or `ensemble` (of
    the whole experiment, after that; its study_id is `outlook.ENSEMBLE` and its study_name the
    experiment's). trial_id and number are None for all but a trial.
    seconds_left: of the experiment's time, as far as it was accounted for. For a trial without
    what is kept back for settling, and fewer where it may not take all. None without a limit.
    """

    kind: str
    study_id: int
    study_name: str
    model: str
    space: list[Any] | None
    trial_id: int | None = None
    number: int | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a claim brought: the job and, for a trial, Optuna's view of it."""

    job: Job
    trial: FrozenTrial | None = None


_EXPERIMENT = sql(
    "SELECT e.id, e.name, e.direction, e.metric, e.split, e.patience, e.min_improvement, "
    "e.sampler, e.workers, e.time_limit_s, e.time_used_s, e.failure, e.dataset_id, e.objective, "
    "m.experiment_id AS ensemble, m.worker_id AS ensemble_worker, m.made_at AS ensemble_made_at "
    "FROM hx_experiment e LEFT JOIN hx_ensemble m ON m.experiment_id = e.id WHERE e.id = :id"
)
_STUDIES = sql(
    "SELECT c.*, c.top + 1 - c.running - c.waiting AS finished FROM (SELECT s.*, "
    "(SELECT count(*) FROM hx_trial t WHERE t.study_id = s.study_id AND t.state = 'RUNNING') "
    "AS running, "
    "(SELECT count(*) FROM hx_trial t WHERE t.study_id = s.study_id AND t.state = 'WAITING') "
    "AS waiting, "
    "coalesce((SELECT max(number) FROM hx_trial t WHERE t.study_id = s.study_id), -1) AS top, "
    "NOT EXISTS (SELECT 1 FROM studies o WHERE o.study_id = s.study_id) AS gone "
    "FROM hx_study s WHERE s.experiment_id = :id) c ORDER BY c.position"
)


def claim(
    storage: HyperionStorage,
    experiment_id: int,
    worker_id: int,
    loaded: Collection[str] = (),
    without: Collection[str] = (),
) -> Job | None:
    """Claim the next job of an experiment for a worker, or None if there is none now.

    Without a time limit the study with the smallest share of its goal comes first, queued trials
    before new ones; among equals one whose family this worker has `loaded`. With one, see
    `engines.search.allocation`; when nothing more fits the time left, the studies end here.
    without: models that this worker can't train now; nor can it make the ensemble then.
    """

    def is_done(connection: Connection, taken: _Taken | None) -> bool:
        return taken is not None and _is_taken(connection, taken, worker_id)

    taken = storage.database.write(
        lambda c: _claim(c, experiment_id, worker_id, loaded, without), is_done=is_done
    )
    if taken is None:
        return None
    if taken.trial is not None:
        storage.take(taken.job.study_id, taken.trial, worker_id)
    return taken.job


def _is_taken(connection: Connection, taken: _Taken, worker_id: int) -> bool:
    if taken.trial is not None:
        return trial_rows.runs_since(connection, taken.trial)
    if taken.job.kind == "ensemble":
        return ensembles.maker(connection, taken.job.study_name) == worker_id
    closing = connection.execute(
        sql("SELECT closing_worker FROM hx_study WHERE study_id = :id"),
        {"id": taken.job.study_id},
    ).scalar()
    return closing == worker_id


def _claim(
    connection: Connection,
    experiment_id: int,
    worker_id: int,
    loaded: Collection[str],
    without: Collection[str],
) -> _Taken | None:
    trial_rows.meet_foreign_trials(connection)
    trial_rows.follow_ends(connection, worker_id)
    experiment = connection.execute(_EXPERIMENT, {"id": experiment_id}).one()
    studies = connection.execute(_STUDIES, {"id": experiment_id}).all()
    for study in studies:
        if study.gone:
            _give_up(connection, study)
    # A study that has ended is settled first: its score would wait for all the others.
    if (job := _take_closing(connection, experiment, studies, worker_id, without)) is not None:
        return _Taken(job)
    views = views_of(connection, experiment, studies, loaded)
    left = seconds_to_search(connection, experiment)
    order = choose(
        list(views.values()),
        maximize=experiment.direction == "maximize",
        seconds_left=left,
        workers=experiment.workers,
    )
    by_id = {study.study_id: study for study in studies}
    ended = _nothing_fits(connection, studies, order, left)
    for study in (by_id[study_id] for study_id in order):
        if study.running and _is_sequential(study):
            continue  # its search waits for what that trial finds
        if study.model in without:
            continue
        if _grid_is_used_up(connection, experiment, study):
            ended |= _end_grid(connection, study)
            continue
        if _rules_end(connection, experiment, study):
            ended = True
            continue
        params = _next_set(views[study.study_id], list(views.values()), study, left)
        found = _take_trial(connection, study, worker_id, params)
        if found is None:
            return _claim(connection, experiment_id, worker_id, loaded, without)
        requeues, trial = found
        job = _trial_job(connection, experiment, study, trial, requeues)
        others = list(views.values())
        most = most_seconds(views[study.study_id], others, left, experiment.workers)
        return _Taken(replace(job, seconds_left=most), trial)
    if ended:
        studies = connection.execute(_STUDIES, {"id": experiment_id}).all()
        if (job := _take_closing(connection, experiment, studies, worker_id, without)) is not None:
            return _Taken(job)
    if not without and ensembles.take(connection, experiment, studies, worker_id):
        left = seconds_left(experiment)
        return _Taken(Job("ensemble", ENSEMBLE, experiment.name, "", None, seconds_left=left))
    return None


def _take_closing(
    connection: Connection,
    experiment: Row[Any],
    studies: Sequence[Row[Any]],
    worker_id: int,
    without: Collection[str],
) -> Job | None:
    for study in studies:
        if _may_close(study) and study.model not in without:
            ensembles.forget(connection, experiment)
            _change(connection, study, closing_worker=worker_id)
            return _job("closing", experiment, study)
    return None


def _job(
    kind: str,
    experiment: Row[Any],
    study: Row[Any],
    trial_id: int | None = None,
    number: int | None = None,
) -> Job:
    space = as_data(study.space)
    name = f"{experiment.name}/{study.model}"
    left = seconds_left(experiment)
    return Job(kind, study.study_id, name, study.model, space, trial_id, number, left)


# -- whose turn it is -----------------------------------------------------------------------------


def _next_set(
    view: StudyView, views: Sequence[StudyView], study: Row[Any], left: float | None
) -> dict[str, Any] | None:
    """The set of the study's portfolio that its next new trial takes; None if it takes none."""
    if not takes_portfolio(view, views, left):
        return None
    found: dict[str, Any] = as_data(study.plan)["portfolio"][view.number]
    return found


def _nothing_fits(
    connection: Connection,
    studies: Sequence[Row[Any]],
    order: Sequence[int],
    left: float | None,
) -> bool:
    """End the studies that might go on, if no trial of them would end in time; whether it did.

    Not while a trial runs: when it has ended, more is known of what trials take here.
    """
    waiting = [study for study in studies if may_run(study)]
    if left is None or order or not waiting or any(study.running for study in studies):
        return False
    for study in waiting:
        _change(connection, study, ended_by=NOTHING_FITS)
        _log(connection, study, f"{NOTHING_FITS} the {max(left, 0.0):.1f} s left")
    return True


def _is_sequential(study: Row[Any]) -> bool:
    return study.plan is not None and bool(as_data(study.plan).get("sequential"))


def _grid_is_used_up(connection: Connection, experiment: Row[Any], study: Row[Any]) -> bool:
    if experiment.sampler != "grid" or study.space is None or study.waiting:
        return False
    queued = connection.execute(
        sql(
            "SELECT count(*) FROM hx_trial t WHERE t.study_id = :study_id AND EXISTS "
            "(SELECT 1 FROM trial_system_attributes a WHERE a.trial_id = t.trial_id "
            "AND a.\"key\" IN ('fixed_params', 'hyperion:retry_of'))"
        ),
        {"study_id": study.study_id},
    ).scalar_one()
    portfolio = len(as_data(study.plan)["portfolio"]) if study.plan is not None else 0
    number = study.finished + study.running
    drawn: int = number - queued
    return number >= portfolio and drawn >= grid_size(as_data(study.space))


def _end_grid(connection: Connection, study: Row[Any]) -> bool:
    if study.running:  # one of them may come back into the queue
        return False
    _change(connection, study, ended_by=GRID_USED_UP)
    _log(connection, study, GRID_USED_UP)
    return True


def _change(connection: Connection, study: Row[Any], **columns: Any) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    connection.execute(
        sql(f"UPDATE hx_study SET {changes} WHERE study_id = :study_id"),
        {**columns, "study_id": study.study_id},
    )


def _give_up(connection: Connection, study: Row[Any]) -> None:
    """Note that a study is no more: somebody has deleted it, with its trials, through Optuna."""
    if study.closed_at is None and study.failure is None:
        trial_rows.adopt_foreign_trials(connection)
        failure = "deleted by another program"
        _change(connection, study, failure=failure, closing_worker=None)
        _log(connection, study, f"failed: {failure}")


def _may_close(study: Row[Any]) -> bool:
    if study.gone or study.closed_at is not None or study.closing_worker is not None:
        return False
    if study.failure is not None or study.want in ("cancel", "pause") or study.running:
        return False
    reached = study.goal is not None and study.finished >= study.goal
    return reached or study.ended_by is not None or study.want == "stop"


def _rules_end(connection: Connection, experiment: Row[Any], study: Row[Any]) -> bool:
    """Apply the stopping rules to a study before it gets another trial."""
    begun = study.rules_from or 0  # told to go on, it gets its patience once more
    latest = connection.execute(
        sql(
            "SELECT state, error_class, error_message FROM hx_trial WHERE study_id = :study_id "
            f"AND state IN {FINISHED} AND number >= :begun ORDER BY number DESC LIMIT :limit"
        ),
        {"study_id": study.study_id, "begun": begun, "limit": SAME_FAILURES},
    ).all()
    cause = repeated_cause([(row[0], row[1], row[2]) for row in latest])
    if cause is not None:
        failure = f"{SAME_FAILURES} trials in a row failed: {cause[0]}: {cause[1]}"
        _change(connection, study, failure=failure)
        _log(connection, study, f"failed: {failure}")
        return True
    if experiment.patience is not None and _has_stalled(connection, experiment, study):
        ended_by = f"no improvement in {experiment.patience} trials"
        _change(connection, study, ended_by=ended_by)
        _log(connection, study, ended_by)
        return True
    return False


def _has_stalled(connection: Connection, experiment: Row[Any], study: Row[Any]) -> bool:
    """Whether the latest trials brought nothing beyond the best one before them.

    Of several metrics: whether the hypervolume of their front has stood still.
    """
    where = {"study_id": study.study_id, "limit": experiment.patience}
    latest = connection.execute(
        sql(
            "SELECT state, value, number FROM hx_trial WHERE study_id = :study_id "
            f"AND coalesce(state, '') IN {FINISHED} ORDER BY number DESC LIMIT :limit"
        ),
        where,
    ).all()
    if len(latest) < experiment.patience or latest[-1].number < (study.rules_from or 0):
        return False
    several = several_metrics(connection, study.study_id)
    if several is not None:
        known = scores(connection, study.study_id, len(several))
        earlier = [point for number, point in known.items() if number < latest[-1].number]
        volumes = progress(earlier, [known.get(row.number) for row in reversed(latest)], several)
        return has_stalled(
            volumes,
            maximize=True,
            patience=experiment.patience,
            min_improvement=experiment.min_improvement,
        )
    maximize = experiment.direction == "maximize"
    before = connection.execute(
        sql(
            "SELECT value FROM hx_trial WHERE study_id = :study_id AND value IS NOT NULL "
            "AND coalesce(state, '') = 'COMPLETE' AND number < :number "
            f"ORDER BY value {'DESC' if maximize else 'ASC'} LIMIT 1"
        ),
        {**where, "number": latest[-1].number},
    ).scalar()
    values = [row.value if row.state == "COMPLETE" else None for row in reversed(latest)]
    return has_stalled(
        [before, *values],
        maximize=maximize,
        patience=experiment.patience,
        min_improvement=experiment.min_improvement,
    )


def _take_trial(
    connection: Connection, study: Row[Any], worker_id: int, params: dict[str, Any] | None
) -> tuple[int, FrozenTrial] | None:
    """(times it was put back, the trial): the oldest queued one, or a new one; RUNNING and held.

    params: what a new one has; the sampler suggests what is not among them.
    None if stock Optuna was at work in the study meanwhile: what counts must be counted again.
    """
    waiting = connection.execute(
        sql(
            "SELECT trial_id, requeues FROM hx_trial WHERE study_id = :study_id "
            "AND state = 'WAITING' ORDER BY number LIMIT 1"
        ),
        {"study_id": study.study_id},
    ).first()
    if waiting is not None:
        claimed = trial_rows.claim_waiting(connection, waiting.trial_id, worker_id)
        if claimed is not None:
            return waiting.requeues, claimed[1]
        trial_rows.follow_queue(connection, study.study_id)
        return None
    if trial_rows.lock_study(connection, study.study_id):
        return None
    trial = trial_rows.add_trial(connection, study.study_id, holder=worker_id)
    if params is not None:
        # As Optuna's `enqueue_trial` writes it.
        fixed = Notes(system={"fixed_params": json.dumps(params)})
        trial_rows.write_notes(connection, trial._trial_id, fixed)
        trial.system_attrs["fixed_params"] = dict(params)
    return 0, trial


def _trial_job(
    connection: Connection, experiment: Row[Any], study: Row[Any], trial: FrozenTrial, requeues: int
) -> Job:
    ensembles.forget(connection, experiment)
    times = "once" if requeues == 1 else f"{requeues} times"
    again = f", put back {times} before" if requeues else ""
    _log(connection, study, f"started{again}", events.TRIAL_STARTED, trial.number)
    return _job("trial", experiment, study, trial._trial_id, trial.number)


def find_same(
    storage: HyperionStorage, study_id: int, params_hash: str
) -> tuple[int, float] | None:
    """(number, value) of a complete trial with these parameters, or None."""
    row = storage.database.read(
        lambda c: c.execute(
            sql(
                "SELECT number, value FROM hx_trial WHERE study_id = :study_id "
                "AND params_hash = :params_hash AND state = 'COMPLETE' AND value IS NOT NULL "
                "ORDER BY number LIMIT 1"
            ),
            {"study_id": study_id, "params_hash": params_hash},
        ).first()
    )
    return (row.number, float(row.value)) if row is not None else None


def _log(
    connection: Connection,
    study: Row[Any],
    said: str,
    kind: str = events.STUDY,
    number: int | None = None,
) -> None:
    study_rows.add_event(
        connection, study.experiment_id, study.study_id, number, utc_now(), kind=kind, text=said
    )
