"""What a runner writes: orphans put back, trials of dead workers settled, time accounted.

Plain SQL on both sets of tables, over the connection that the caller holds. A trial is touched
only while it is RUNNING, so nothing here can change a finished one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engines.clock import optuna_now, utc_now
from engines.study import events
from engines.study.control import add_event
from engines.study.events import trial_ended
from engines.study.outlook import ENSEMBLE, Held
from engines.study.plain import Connection

DEATHS = 3
DEATHS_WITHIN_S = 300
CRASHES = 3

CHECKPOINT_KEY = "hyperion:checkpoint"
"""The system attribute in which a trial notes the last step that it has saved."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a failed trial's log line is made of."""

    error_class: str | None
    error_message: str | None
    served_from: int | None = None


def has_begun(connection: Connection, experiment_id: int) -> bool:
    """Whether a trial of the experiment was ever claimed: its time runs from then on."""
    row = connection.execute(
        "SELECT 1 FROM hx_study s JOIN hx_trial t ON t.study_id = s.study_id "
        "WHERE s.experiment_id = ? AND t.started_at IS NOT NULL LIMIT 1",
        (experiment_id,),
    ).fetchone()
    return row is not None


def requeue(
    connection: Connection,
    experiment_id: int,
    held: Held,
    why: str,
    *,
    crashed: bool = False,
    out_of_memory: bool = False,
) -> None:
    """Put a RUNNING trial back into the queue: same row, number and parameters.

    Its reports above its checkpoint go, which are all if it has none: it makes them again, and
    Optuna keeps the first value of a step that is reported twice.
    """
    changed = connection.execute(
        "UPDATE trials SET state = 'WAITING' WHERE trial_id = ? AND state = 'RUNNING'",
        (held.trial_id,),
    ).rowcount
    if not changed:
        _follow(connection, held.trial_id)
        return
    connection.execute(
        "DELETE FROM trial_intermediate_values WHERE trial_id = ? AND step > coalesce("
        "(SELECT CAST(value_json AS INTEGER) FROM trial_system_attributes "
        'WHERE trial_id = ? AND "key" = ?), -1)',
        (held.trial_id, held.trial_id, CHECKPOINT_KEY),
    )
    # What successive halving has noted about them goes as well, or it would judge by it.
    connection.execute(
        "DELETE FROM trial_system_attributes WHERE trial_id = ? AND key LIKE 'completed_rung_%'",
        (held.trial_id,),
    )
    connection.execute(
        "UPDATE hx_trial SET state = 'WAITING', worker_id = NULL, started_at = NULL, "
        "requeues = requeues + 1, crashes = crashes + ?, memory_kills = memory_kills + ? "
        "WHERE trial_id = ?",
        (int(crashed), int(out_of_memory), held.trial_id),
    )
    add_event(
        connection,
        experiment_id,
        events.TRIAL_REQUEUED,
        f"put back: {why}",
        held.study_id,
        held.number,
    )


def _follow(connection: Connection, trial_id: int) -> None:
    """Our row of a trial as Optuna's is: somebody else has ended or deleted it meanwhile."""
    connection.execute(
        "UPDATE hx_trial SET state = (SELECT CAST(o.state AS VARCHAR) FROM trials o "
        "WHERE o.trial_id = hx_trial.trial_id), value = (SELECT v.value FROM trial_values v "
        "WHERE v.trial_id = hx_trial.trial_id AND v.objective = 0) WHERE trial_id = ? "
        "AND EXISTS (SELECT 1 FROM trials o WHERE o.trial_id = hx_trial.trial_id)",
        (trial_id,),
    )
    connection.execute(
        "DELETE FROM hx_trial WHERE trial_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM trials o WHERE o.trial_id = hx_trial.trial_id)",
        (trial_id,),
    )


def fail(
    connection: Connection,
    experiment_id: int,
    held: Held,
    error_class: str,
    message: str,
    duration_s: float | None = None,
) -> None:
    """End a RUNNING trial as failed, with its reason."""
    changed = connection.execute(
        "UPDATE trials SET state = 'FAIL', datetime_complete = ? "
        "WHERE trial_id = ? AND state = 'RUNNING'",
        (optuna_now(), held.trial_id),
    ).rowcount
    if not changed:
        _follow(connection, held.trial_id)
        return
    connection.execute(
        "UPDATE hx_trial SET state = 'FAIL', finished_at = ?, duration_s = ?, error_class = ?, "
        "error_message = ? WHERE trial_id = ?",
        (utc_now(), duration_s, error_class, message, held.trial_id),
    )
    event = trial_ended("FAIL", None, duration_s, _Failure(error_class, message))
    add_event(connection, experiment_id, event["kind"], event["text"], held.study_id, held.number)


def adopt_foreign_trials(connection: Connection, experiment_id: int) -> int:
    """Give a row of ours to trials that stock Optuna wrote into our studies; returns how many.

    Theirs count towards the goal as any other; what they ended since is copied as well.
    """
    added = connection.execute(
        "INSERT INTO hx_trial (trial_id, study_id, number, state, requeues, crashes) "
        "SELECT o.trial_id, o.study_id, o.number, CAST(o.state AS VARCHAR), 0, 0 FROM trials o "
        "JOIN hx_study s ON s.study_id = o.study_id WHERE s.experiment_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM hx_trial t WHERE t.trial_id = o.trial_id)",
        (experiment_id,),
    ).rowcount
    ended = connection.execute(
        "SELECT o.trial_id, o.state, v.value, o.datetime_start, o.datetime_complete FROM trials o "
        "JOIN hx_trial t ON t.trial_id = o.trial_id JOIN hx_study s ON s.study_id = o.study_id "
        "LEFT JOIN trial_values v ON v.trial_id = o.trial_id AND v.objective = 0 "
        "WHERE s.experiment_id = ? AND o.datetime_complete IS NOT NULL AND t.finished_at IS NULL",
        (experiment_id,),
    ).fetchall()
    for row in ended:
        begun, done = _utc(row["datetime_start"]), _utc(row["datetime_complete"])
        seconds = (done - begun).total_seconds() if begun and done else None
        connection.execute(
            "UPDATE hx_trial SET state = ?, value = ?, started_at = ?, finished_at = ?, "
            "duration_s = ? WHERE trial_id = ?",
            (row["state"], row["value"], _stamp(begun), _stamp(done), seconds, row["trial_id"]),
        )
    return int(added)


def _utc(text: str | None) -> datetime | None:
    """A time as Optuna keeps it: UTC that does not say so."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def sweep(connection: Connection, experiment_id: int, why: str) -> int:
    """Put back every RUNNING trial of an experiment and free its claims; returns how many.

    Only the holder of the runner's lock may do this, and only with no worker alive: then every
    RUNNING trial is an orphan.
    """
    rows = connection.execute(
        "SELECT t.trial_id, t.study_id, t.number, t.crashes, s.model FROM trials o "
        "JOIN hx_trial t ON t.trial_id = o.trial_id JOIN hx_study s ON s.study_id = t.study_id "
        "WHERE s.experiment_id = ? AND o.state = 'RUNNING'",
        (experiment_id,),
    ).fetchall()
    for row in rows:
        held = Held(
            row["trial_id"], row["study_id"], row["number"], row["model"], "", row["crashes"]
        )
        requeue(connection, experiment_id, held, why)
    connection.execute(
        "UPDATE hx_study SET closing_worker = NULL WHERE experiment_id = ? AND closed_at IS NULL",
        (experiment_id,),
    )
    connection.execute(
        "UPDATE hx_ensemble SET worker_id = NULL WHERE experiment_id = ? AND made_at IS NULL",
        (experiment_id,),
    )
    connection.execute(
        "UPDATE hx_worker SET ended_at = ?, end_reason = ? "
        "WHERE experiment_id = ? AND ended_at IS NULL",
        (utc_now(), why, experiment_id),
    )
    return len(rows)


def free_closing(connection: Connection, worker_id: int) -> None:
    """Let another worker settle what a dead worker had claimed: a study's end, or the ensemble."""
    connection.execute(
        "UPDATE hx_study SET closing_worker = NULL WHERE closing_worker = ? AND closed_at IS NULL",
        (worker_id,),
    )
    connection.execute(
        "UPDATE hx_ensemble SET worker_id = NULL WHERE worker_id = ? AND made_at IS NULL",
        (worker_id,),
    )


def close_without_score(
    connection: Connection, experiment_id: int, study_id: int, note: str
) -> None:
    """Settle the end of a study whose held-out part can't be scored; or do without the ensemble.

    study_id: `outlook.ENSEMBLE` for the latter.
    """
    if study_id == ENSEMBLE:
        changed = connection.execute(
            "UPDATE hx_ensemble SET made_at = ?, worker_id = NULL, note = ? "
            "WHERE experiment_id = ? AND made_at IS NULL",
            (utc_now(), note, experiment_id),
        ).rowcount
        if changed:
            add_event(connection, experiment_id, events.EXPERIMENT, f"no ensemble: {note}")
        return
    changed = connection.execute(
        "UPDATE hx_study SET closed_at = ?, closing_worker = NULL, held_out_note = ? "
        "WHERE study_id = ? AND closed_at IS NULL",
        (utc_now(), note, study_id),
    ).rowcount
    if changed:
        add_event(connection, experiment_id, events.STUDY, f"finished: {note}", study_id)


def note_worker(
    connection: Connection,
    worker_id: int,
    pid: int,
    start_ticks: int,
    frozen_at: str | None,
    flag: str | None,
) -> None:
    """Write down what is known of a worker process now."""
    connection.execute(
        "UPDATE hx_worker SET pid = ?, start_ticks = ?, frozen_at = ?, flag = ? WHERE id = ?",
        (pid, start_ticks, frozen_at, flag, worker_id),
    )


def add_worker(
    connection: Connection,
    experiment_id: int,
    slot: int,
    pid: int,
    start_ticks: int,
    boot_id: str,
) -> int:
    """Register a worker process; returns its id."""
    cursor = connection.execute(
        "INSERT INTO hx_worker (experiment_id, slot, pid, start_ticks, boot_id, host, started_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (experiment_id, slot, pid, start_ticks, boot_id, os.uname().nodename, utc_now()),
    )
    return int(cursor.fetchone()[0])


def end_worker(connection: Connection, worker_id: int, reason: str) -> None:
    """Note that a worker process is gone."""
    connection.execute(
        "UPDATE hx_worker SET ended_at = ?, end_reason = ? WHERE id = ?",
        (utc_now(), reason, worker_id),
    )


def living_workers(connection: Connection, experiment_id: int) -> list[tuple[int, int, str]]:
    """(pid, start ticks, boot id) of the workers that nobody has seen end."""
    return [
        (row["pid"], row["start_ticks"], row["boot_id"])
        for row in connection.execute(
            "SELECT pid, start_ticks, boot_id FROM hx_worker "
            "WHERE experiment_id = ? AND ended_at IS NULL",
            (experiment_id,),
        ).fetchall()
    ]


def add_runner(connection: Connection, experiment_id: int) -> int:
    """Register this process as the runner; returns its id."""
    cursor = connection.execute(
        "INSERT INTO hx_runner (experiment_id, pid, host, started_at) "
        "VALUES (?, ?, ?, ?) RETURNING id",
        (experiment_id, os.getpid(), os.uname().nodename, utc_now()),
    )
    return int(cursor.fetchone()[0])


def has_come_up(connection: Connection, experiment_id: int, since: str) -> bool:
    """Whether a runner of an experiment has registered since a time, alive or not."""
    row = connection.execute(
        "SELECT 1 FROM hx_runner WHERE experiment_id = ? AND started_at >= ? LIMIT 1",
        (experiment_id, since),
    ).fetchone()
    return row is not None


def end_runner(connection: Connection, runner_id: int, reason: str) -> None:
    """Note that a runner ended of its own will."""
    connection.execute(
        "UPDATE hx_runner SET ended_at = ?, end_reason = ? WHERE id = ?",
        (utc_now(), reason, runner_id),
    )


def recent_deaths(connection: Connection, experiment_id: int) -> int:
    """How many runners of an experiment died in the last five minutes, by their own hand.

    Deaths are rows without an end; the caller has not yet registered itself. Those before the
    person last started, resumed or retried something don't count: see `control.forgive`.
    """
    since = datetime.now(UTC) - timedelta(seconds=DEATHS_WITHIN_S)
    row = connection.execute(
        "SELECT count(*) FROM hx_runner WHERE experiment_id = ? AND ended_at IS NULL "
        "AND started_at > ?",
        (experiment_id, _stamp(since)),
    ).fetchone()
    return int(row[0])


def set_failure(connection: Connection, experiment_id: int, failure: str) -> None:
    """Mark an experiment as failed, with the reason."""
    connection.execute(
        "UPDATE hx_experiment SET failure = ? WHERE id = ?", (failure, experiment_id)
    )
    add_event(connection, experiment_id, events.EXPERIMENT, f"failed: {failure}")


def add_time(connection: Connection, experiment_id: int, seconds: float) -> None:
    """Account for time in which the experiment ran."""
    connection.execute(
        "UPDATE hx_experiment SET time_used_s = time_used_s + ? WHERE id = ?",
        (seconds, experiment_id),
    )


def end_by_time(connection: Connection, experiment_id: int, limit_s: float) -> bool:
    """End every open study, because the experiment's time is used up; False if none was open."""
    ended = connection.execute(
        "UPDATE hx_study SET ended_by = ? WHERE experiment_id = ? AND ended_by IS NULL "
        "AND failure IS NULL AND closed_at IS NULL AND want IN ('run', 'pause') "
        "AND (goal IS NULL OR goal > (SELECT count(*) FROM hx_trial t WHERE t.study_id = "
        "hx_study.study_id AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL')))",
        (f"time limit of {limit_s:g} s", experiment_id),
    ).rowcount
    if ended:
        text = f"time limit of {limit_s:g} s: the search ends"
        add_event(connection, experiment_id, events.EXPERIMENT, text)
    return bool(ended)
