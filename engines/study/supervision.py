"""What a runner writes: orphans put back, trials of dead workers settled, time accounted.

Plain SQL on both sets of tables, over the connection that the caller holds. A trial is touched
only while it is RUNNING, so nothing here can change a finished one.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from engines.clock import optuna_now, utc_now
from engines.study import events
from engines.study.control import add_event
from engines.study.events import trial_ended
from engines.study.states import TRIAL_WORDS, Counts, experiment_state, study_state

DEATHS = 3
DEATHS_WITHIN_S = 300
CRASHES = 3


@dataclass(frozen=True, slots=True)
class Held:
    """A RUNNING trial and who holds it."""

    trial_id: int
    study_id: int
    number: int
    model: str
    started_at: str
    crashes: int
    interrupt: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an experiment still needs: `claimable` jobs now, and whether it is over or paused."""

    state: str
    claimable: int
    workers: int
    time_limit_s: float | None
    time_used_s: float
    trial_time_s: float | None
    trial_memory_mib: float | None


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a failed trial's log line is made of."""

    error_class: str | None
    error_message: str | None
    served_from: int | None = None


def outlook(connection: sqlite3.Connection, experiment_id: int) -> Outlook | None:
    """What is left to do, or None if the experiment is gone."""
    experiment = connection.execute(
        "SELECT * FROM hx_experiment WHERE id = ?", (experiment_id,)
    ).fetchone()
    if experiment is None:
        return None
    tallies: dict[int, dict[str, int]] = {}
    for row in connection.execute(
        "SELECT study_id, state, count(*) AS n FROM hx_trial WHERE study_id IN "
        "(SELECT study_id FROM hx_study WHERE experiment_id = ?) GROUP BY study_id, state",
        (experiment_id,),
    ).fetchall():
        tallies.setdefault(row["study_id"], {})[TRIAL_WORDS[row["state"]]] = row["n"]
    states: list[str] = []
    claimable = 0
    for study in connection.execute(
        "SELECT * FROM hx_study WHERE experiment_id = ?", (experiment_id,)
    ).fetchall():
        counts = Counts(**tallies.get(study["study_id"], {}), goal=study["goal"])
        state = study_state(
            want=study["want"],
            counts=counts,
            closed=study["closed_at"] is not None,
            ended_by=study["ended_by"],
            failure=study["failure"],
            closing=study["closing_worker"] is not None,
        )
        states.append(state)
        claimable += _claimable(study, counts, state)
    return Outlook(
        state=experiment_state(states, experiment["failure"]),
        claimable=claimable,
        workers=experiment["workers"],
        time_limit_s=experiment["time_limit_s"],
        time_used_s=experiment["time_used_s"],
        trial_time_s=experiment["trial_time_s"],
        trial_memory_mib=experiment["trial_memory_mib"],
    )


def _claimable(study: sqlite3.Row, counts: Counts, state: str) -> int:
    """How many workers could be busy with a study, those at work on it now included."""
    if state in ("failed", "done", "cancelled", "stopped", "paused"):
        return 0
    if study["want"] in ("pause", "cancel"):
        return max(counts.running, int(study["closing_worker"] is not None))
    if counts.reached or study["ended_by"] is not None or study["want"] == "stop":
        return max(1, counts.running)
    return 1_000_000 if counts.goal is None else counts.goal - counts.finished


def held_by(connection: sqlite3.Connection, worker_id: int) -> list[Held]:
    """The RUNNING trials of a worker: one, or none; more only after a fault, and then all."""
    return [
        Held(
            trial_id=row["trial_id"],
            study_id=row["study_id"],
            number=row["number"],
            model=row["model"],
            started_at=row["started_at"],
            crashes=row["crashes"],
            interrupt=bool(row["want_now"]),
        )
        for row in connection.execute(
            "SELECT t.trial_id, t.study_id, t.number, t.started_at, t.crashes, s.model, s.want_now "
            "FROM hx_trial t JOIN hx_study s ON s.study_id = t.study_id "
            "WHERE t.worker_id = ? AND t.state = 'RUNNING' ORDER BY t.started_at DESC",
            (worker_id,),
        ).fetchall()
    ]


def is_closing_interrupted(connection: sqlite3.Connection, worker_id: int) -> bool:
    """Whether a worker settles the end of a study that is to be interrupted."""
    row = connection.execute(
        "SELECT 1 FROM hx_study WHERE closing_worker = ? AND closed_at IS NULL AND want_now",
        (worker_id,),
    ).fetchone()
    return row is not None


def has_begun(connection: sqlite3.Connection, experiment_id: int) -> bool:
    """Whether a trial of the experiment was ever claimed: its time runs from then on."""
    row = connection.execute(
        "SELECT 1 FROM hx_study s JOIN hx_trial t ON t.study_id = s.study_id "
        "WHERE s.experiment_id = ? AND t.started_at IS NOT NULL LIMIT 1",
        (experiment_id,),
    ).fetchone()
    return row is not None


def requeue(
    connection: sqlite3.Connection,
    experiment_id: int,
    held: Held,
    why: str,
    *,
    crashed: bool = False,
) -> None:
    """Put a RUNNING trial back into the queue: same row, number and parameters.

    Its reports go, because a trial starts again from its seed and Optuna keeps the first value
    of a step that is reported twice.
    """
    changed = connection.execute(
        "UPDATE trials SET state = 'WAITING' WHERE trial_id = ? AND state = 'RUNNING'",
        (held.trial_id,),
    ).rowcount
    if not changed:
        return
    connection.execute("DELETE FROM trial_intermediate_values WHERE trial_id = ?", (held.trial_id,))
    # What successive halving has noted about them goes as well, or it would judge by it.
    connection.execute(
        "DELETE FROM trial_system_attributes WHERE trial_id = ? AND key LIKE 'completed_rung_%'",
        (held.trial_id,),
    )
    connection.execute(
        "UPDATE hx_trial SET state = 'WAITING', worker_id = NULL, started_at = NULL, "
        "requeues = requeues + 1, crashes = crashes + ? WHERE trial_id = ?",
        (int(crashed), held.trial_id),
    )
    add_event(
        connection,
        experiment_id,
        events.TRIAL_REQUEUED,
        f"put back: {why}",
        held.study_id,
        held.number,
    )


def fail(
    connection: sqlite3.Connection,
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
        return
    connection.execute(
        "UPDATE hx_trial SET state = 'FAIL', finished_at = ?, duration_s = ?, error_class = ?, "
        "error_message = ? WHERE trial_id = ?",
        (utc_now(), duration_s, error_class, message, held.trial_id),
    )
    event = trial_ended("FAIL", None, duration_s, _Failure(error_class, message))
    add_event(connection, experiment_id, event["kind"], event["text"], held.study_id, held.number)


def adopt_foreign_trials(connection: sqlite3.Connection, experiment_id: int) -> int:
    """Give a row of ours to trials that stock Optuna wrote into our studies; returns how many.

    Theirs count towards the goal as any other; what they ended since is copied as well.
    """
    added = connection.execute(
        "INSERT INTO hx_trial (trial_id, study_id, number, state, requeues, crashes) "
        "SELECT o.trial_id, o.study_id, o.number, o.state, 0, 0 FROM trials o "
        "JOIN hx_study s ON s.study_id = o.study_id WHERE s.experiment_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM hx_trial t WHERE t.trial_id = o.trial_id)",
        (experiment_id,),
    ).rowcount
    connection.execute(
        "UPDATE hx_trial SET state = o.state, value = v.value, "
        "started_at = replace(o.datetime_start, ' ', 'T') || '+00:00', "
        "finished_at = replace(o.datetime_complete, ' ', 'T') || '+00:00', "
        "duration_s = (julianday(o.datetime_complete) - julianday(o.datetime_start)) * 86400 "
        "FROM trials o LEFT JOIN trial_values v ON v.trial_id = o.trial_id AND v.objective = 0 "
        "WHERE o.trial_id = hx_trial.trial_id AND o.datetime_complete IS NOT NULL "
        "AND hx_trial.finished_at IS NULL "
        "AND o.study_id IN (SELECT study_id FROM hx_study WHERE experiment_id = ?)",
        (experiment_id,),
    )
    return int(added)


def sweep(connection: sqlite3.Connection, experiment_id: int, why: str) -> int:
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
            row["trial_id"], row["study_id"], row["number"], row["model"], "", row["crashes"], False
        )
        requeue(connection, experiment_id, held, why)
    connection.execute(
        "UPDATE hx_study SET closing_worker = NULL WHERE experiment_id = ? AND closed_at IS NULL",
        (experiment_id,),
    )
    connection.execute(
        "UPDATE hx_worker SET ended_at = ?, end_reason = ? "
        "WHERE experiment_id = ? AND ended_at IS NULL",
        (utc_now(), why, experiment_id),
    )
    return len(rows)


def free_closing(connection: sqlite3.Connection, worker_id: int) -> None:
    """Let another worker settle a study's end that a dead worker had claimed."""
    connection.execute(
        "UPDATE hx_study SET closing_worker = NULL WHERE closing_worker = ? AND closed_at IS NULL",
        (worker_id,),
    )


def add_worker(
    connection: sqlite3.Connection,
    experiment_id: int,
    slot: int,
    pid: int,
    start_ticks: int,
    boot_id: str,
) -> int:
    """Register a worker process; returns its id."""
    cursor = connection.execute(
        "INSERT INTO hx_worker (experiment_id, slot, pid, start_ticks, boot_id, host, started_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (experiment_id, slot, pid, start_ticks, boot_id, os.uname().nodename, utc_now()),
    )
    return int(cursor.lastrowid or 0)


def end_worker(connection: sqlite3.Connection, worker_id: int, reason: str) -> None:
    """Note that a worker process is gone."""
    connection.execute(
        "UPDATE hx_worker SET ended_at = ?, end_reason = ? WHERE id = ?",
        (utc_now(), reason, worker_id),
    )


def living_workers(
    connection: sqlite3.Connection, experiment_id: int
) -> list[tuple[int, int, str]]:
    """(pid, start ticks, boot id) of the workers that nobody has seen end."""
    return [
        (row["pid"], row["start_ticks"], row["boot_id"])
        for row in connection.execute(
            "SELECT pid, start_ticks, boot_id FROM hx_worker "
            "WHERE experiment_id = ? AND ended_at IS NULL",
            (experiment_id,),
        ).fetchall()
    ]


def add_runner(connection: sqlite3.Connection, experiment_id: int) -> int:
    """Register this process as the runner; returns its id."""
    cursor = connection.execute(
        "INSERT INTO hx_runner (experiment_id, pid, host, started_at) VALUES (?, ?, ?, ?)",
        (experiment_id, os.getpid(), os.uname().nodename, utc_now()),
    )
    return int(cursor.lastrowid or 0)


def end_runner(connection: sqlite3.Connection, runner_id: int, reason: str) -> None:
    """Note that a runner ended of its own will."""
    connection.execute(
        "UPDATE hx_runner SET ended_at = ?, end_reason = ? WHERE id = ?",
        (utc_now(), reason, runner_id),
    )


def recent_deaths(connection: sqlite3.Connection, experiment_id: int) -> int:
    """How many runners of an experiment died in the last five minutes, by their own hand.

    Deaths are rows without an end; the caller has not yet registered itself. Those before the
    person last started, resumed or retried something don't count: see `control.forgive`.
    """
    row = connection.execute(
        "SELECT count(*) FROM hx_runner WHERE experiment_id = ? AND ended_at IS NULL "
        "AND julianday(started_at) > julianday('now') - ? / 86400.0",
        (experiment_id, DEATHS_WITHIN_S),
    ).fetchone()
    return int(row[0])


def set_failure(connection: sqlite3.Connection, experiment_id: int, failure: str) -> None:
    """Mark an experiment as failed, with the reason."""
    connection.execute(
        "UPDATE hx_experiment SET failure = ? WHERE id = ?", (failure, experiment_id)
    )
    add_event(connection, experiment_id, events.EXPERIMENT, f"failed: {failure}")


def add_time(connection: sqlite3.Connection, experiment_id: int, seconds: float) -> None:
    """Account for time in which the experiment ran."""
    connection.execute(
        "UPDATE hx_experiment SET time_used_s = time_used_s + ? WHERE id = ?",
        (seconds, experiment_id),
    )


def end_by_time(connection: sqlite3.Connection, experiment_id: int, limit_s: float) -> bool:
    """End every open study, because the experiment's time is used up; False if none was open."""
    ended = connection.execute(
        "UPDATE hx_study SET ended_by = ? WHERE experiment_id = ? AND ended_by IS NULL "
        "AND failure IS NULL AND closed_at IS NULL AND want IN ('run', 'pause') "
        "AND (goal IS NULL OR goal > (SELECT count(*) FROM hx_trial t WHERE t.study_id = "
        "hx_study.study_id AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL')))",
        (f"time limit of {limit_s:g} s", experiment_id),
    ).rowcount
    if ended:
        text = f"time limit of {limit_s:g} s reached"
        add_event(connection, experiment_id, events.EXPERIMENT, text)
    return bool(ended)
