"""What a worker does next: the choice and the claim, in one write transaction.

The budget is enforced here and nowhere else: a trial is created or taken from the queue only
while finished + running is below the study's goal, so any number of workers, deaths and
resumes ends with exactly the total.

Nothing here counts trials one by one: the numbers of a study are dense, so what has finished is
the highest number less what runs and what waits, and those few have an index.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row

from engines.clock import utc_now
from engines.search.stopping import SAME_FAILURES, has_stalled, repeated_cause
from engines.study import events, study_rows, trial_rows
from engines.study.database import sql
from engines.study.storage import HyperionStorage

FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that now belongs to one worker.

    kind: `trial` or `closing` (settle the end of a study: open its held-out part).
    trial_id and number are None for a closing.
    """

    kind: str
    study_id: int
    study_name: str
    model: str
    space: list[Any] | None
    trial_id: int | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a claim brought: the job and, for a trial, Optuna's view of it."""

    job: Job
    trial: FrozenTrial | None = None


_EXPERIMENT = sql(
    "SELECT id, name, direction, patience, min_improvement FROM hx_experiment WHERE id = :id"
)
_STUDIES = sql(
    "SELECT s.*, "
    "(SELECT count(*) FROM hx_trial t WHERE t.study_id = s.study_id AND t.state = 'RUNNING') "
    "AS running, "
    "coalesce((SELECT max(number) FROM hx_trial t WHERE t.study_id = s.study_id), -1) + 1 "
    "- (SELECT count(*) FROM hx_trial t WHERE t.study_id = s.study_id "
    "AND t.state IN ('RUNNING', 'WAITING')) AS finished, "
    "NOT EXISTS (SELECT 1 FROM studies o WHERE o.study_id = s.study_id) AS gone "
    "FROM hx_study s WHERE s.experiment_id = :id ORDER BY s.position"
)


def claim(
    storage: HyperionStorage,
    experiment_id: int,
    worker_id: int,
    loaded: Collection[str] = (),
) -> Job | None:
    """Claim the next job of an experiment for a worker, or None if there is none now.

    The study with the smallest share of its goal comes first, queued trials before new ones;
    among equals one whose family this worker has `loaded`.
    """

    def is_done(connection: Connection, taken: _Taken | None) -> bool:
        return taken is not None and _is_taken(connection, taken, worker_id)

    taken = storage.database.write(
        lambda c: _claim(c, experiment_id, worker_id, loaded), is_done=is_done
    )
    if taken is None:
        return None
    if taken.trial is not None:
        storage.take(taken.job.study_id, taken.trial, worker_id)
    return taken.job


def _is_taken(connection: Connection, taken: _Taken, worker_id: int) -> bool:
    if taken.trial is not None:
        return trial_rows.runs_since(connection, taken.trial)
    closing = connection.execute(
        sql("SELECT closing_worker FROM hx_study WHERE study_id = :id"),
        {"id": taken.job.study_id},
    ).scalar()
    return closing == worker_id


def _claim(
    connection: Connection, experiment_id: int, worker_id: int, loaded: Collection[str]
) -> _Taken | None:
    trial_rows.meet_foreign_trials(connection)
    trial_rows.follow_ends(connection, worker_id)
    experiment = connection.execute(_EXPERIMENT, {"id": experiment_id}).one()
    studies = connection.execute(_STUDIES, {"id": experiment_id}).all()
    for study in studies:
        if study.gone:
            _give_up(connection, study)
    # A study that has ended is settled first: its score would wait for all the others.
    if (job := _take_closing(connection, experiment, studies, worker_id)) is not None:
        return _Taken(job)
    candidates = sorted(
        (s for s in studies if _may_run(s)), key=lambda s: (_share(s), s.family not in loaded)
    )
    ended = False
    for study in candidates:
        if _rules_end(connection, experiment, study):
            ended = True
            continue
        found = _take_trial(connection, study, worker_id)
        if found is None:
            return _claim(connection, experiment_id, worker_id, loaded)
        requeues, trial = found
        return _Taken(_trial_job(connection, experiment, study, trial, requeues), trial)
    if not ended:
        return None
    studies = connection.execute(_STUDIES, {"id": experiment_id}).all()
    job = _take_closing(connection, experiment, studies, worker_id)
    return None if job is None else _Taken(job)


def _take_closing(
    connection: Connection, experiment: Row[Any], studies: Sequence[Row[Any]], worker_id: int
) -> Job | None:
    for study in studies:
        if _may_close(study):
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
    space = json.loads(study.space) if isinstance(study.space, str) else study.space
    name = f"{experiment.name}/{study.model}"
    return Job(kind, study.study_id, name, study.model, space, trial_id, number)


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


def _may_run(study: Row[Any]) -> bool:
    if study.gone or study.want != "run" or study.failure is not None or study.ended_by is not None:
        return False
    return study.goal is None or study.finished + study.running < study.goal


def _share(study: Row[Any]) -> float:
    started = float(study.finished + study.running)
    return started / study.goal if study.goal else started


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
    if experiment.patience is None:
        return False
    values = connection.execute(
        sql(
            "SELECT state, value, number FROM hx_trial WHERE study_id = :study_id "
            f"AND state IN {FINISHED} ORDER BY number"
        ),
        {"study_id": study.study_id},
    ).all()
    fresh = sum(number >= begun for _, _, number in values)
    if fresh >= experiment.patience and has_stalled(
        [value if state == "COMPLETE" else None for state, value, _ in values],
        maximize=experiment.direction == "maximize",
        patience=experiment.patience,
        min_improvement=experiment.min_improvement,
    ):
        ended_by = f"no improvement in {experiment.patience} trials"
        _change(connection, study, ended_by=ended_by)
        _log(connection, study, ended_by)
        return True
    return False


def _take_trial(
    connection: Connection, study: Row[Any], worker_id: int
) -> tuple[int, FrozenTrial] | None:
    """(times it was put back, the trial): the oldest queued one, or a new one; RUNNING and held.

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
    return 0, trial_rows.add_trial(connection, study.study_id, holder=worker_id)


def _trial_job(
    connection: Connection, experiment: Row[Any], study: Row[Any], trial: FrozenTrial, requeues: int
) -> Job:
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


def close_study(
    storage: HyperionStorage,
    study_id: int,
    worker_id: int,
    *,
    score: float | None,
    number: int | None,
    note: str | None,
    opened: bool,
) -> None:
    """Settle the end of a study that this worker had claimed.

    score and number: the held-out score and the trial it belongs to, or None with a `note` that
    says why there is none. opened: whether the held-out part was looked at for this.
    """

    def work(connection: Connection) -> None:
        study = connection.execute(
            sql("SELECT * FROM hx_study WHERE study_id = :id"), {"id": study_id}
        ).one_or_none()
        if study is None or study.closing_worker != worker_id or study.want == "cancel":
            return
        if study.closed_at is not None:  # by this worker, and the server's answer got lost
            return
        _change(
            connection,
            study,
            closed_at=utc_now(),
            held_out_score=score,
            held_out_number=number,
            held_out_note=note,
            openings=study.openings + int(opened),
            failure=note if number is None and study.want == "run" else study.failure,
        )
        said = f"held-out {score:.6g} for trial {number}" if score is not None else f"{note}"
        _log(connection, study, f"finished: {said}")

    storage.database.write(work, durable=True)


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
