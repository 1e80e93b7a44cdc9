"""Orders: run, pause, stop, cancel, retry, and larger budgets. Rows that workers obey.

Nothing here starts or kills a process: the runner reads the orders every tick, a worker
between two trials. Plain SQL, so that a screen can give orders without loading SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engines.clock import optuna_now, utc_now
from engines.errors import BadInput
from engines.study import events
from engines.study.location import Location
from engines.study.plain import Connection, transaction
from engines.study.postgres import ServerConnection
from engines.study.records import Experiment, Study
from engines.study.states import FINAL

VERBS = {"pause": "paused", "stop": "stopped", "cancel": "cancelled", "run": "resumed"}


def order(
    location: Location,
    studies: Iterable[tuple[Experiment, Study]],
    want: str,
    *,
    now: bool = False,
    freeze: bool = False,
) -> list[str]:
    """Order studies to run, pause, stop or cancel; returns the names of those it changes.

    now: running trials are interrupted and go back to the queue instead of being finished;
    a cancel always is. freeze: for a pause, processes are stopped where they are; what is frozen
    stays so through another pause. Studies that have ended keep their end.
    Raises BadInput when not one of the studies can take the order.
    """
    pairs = list(studies)
    open_pairs = [(e, s) for e, s in pairs if s.state not in FINAL]
    if not open_pairs:
        names = ", ".join(f"{s.name} is {s.state}" for _, s in pairs[:3]) or "there is no study"
        raise BadInput(f"Nothing to {'resume' if want == 'run' else want}: {names}.")
    interrupt = now or want == "cancel"
    how = f"to be {VERBS[want]}{' at once' if now else ', frozen' if freeze else ''}"
    stays = want == "pause" and not now
    changed: list[str] = []
    with transaction(location) as connection:
        for experiment, study in open_pairs:
            # The caller's view may be old: what ended meanwhile, or is to end, keeps its end.
            updated = connection.execute(
                "UPDATE hx_study SET want_frozen = (? OR (want_frozen AND ? AND want = 'pause')), "
                "want = ?, want_now = ? WHERE study_id = ? "
                "AND closed_at IS NULL AND failure IS NULL AND want != 'cancel' "
                "AND (want != 'stop' OR ? IN ('stop', 'cancel'))",
                (freeze, stays, want, interrupt, study.study_id, want),
            ).rowcount
            if updated:
                changed.append(study.name)
                add_event(connection, experiment.experiment_id, events.STUDY, how, study.study_id)
    if not changed:
        names = ", ".join(study.name for _, study in open_pairs[:3])
        verb = "resume" if want == "run" else want
        raise BadInput(f"Nothing to {verb}: {names} has ended, or is ending for good.")
    return changed


def add_event(
    connection: Connection,
    experiment_id: int | None,
    kind: str,
    text: str,
    study_id: int | None = None,
    trial_number: int | None = None,
) -> None:
    """Append a line to the log, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO hx_event (at, experiment_id, study_id, trial_number, kind, text) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (utc_now(), experiment_id, study_id, trial_number, kind, text),
    )


REOPEN = (
    "UPDATE hx_study SET want = 'run', want_now = FALSE, want_frozen = FALSE, ended_by = NULL, "
    "failure = NULL, closed_at = NULL, closing_worker = NULL, held_out_note = NULL, rules_from = "
    "(SELECT count(*) FROM hx_trial t WHERE t.study_id = hx_study.study_id "
    "AND t.state != 'WAITING') WHERE study_id = ?"
)
"""Lets a study that had ended go on. One text, for plain connections and for SQLAlchemy's."""


RETRY_KEY = "hyperion:retry_of"
"""The system attribute of a trial that tries an earlier one again: that one's number."""

FORGET_ENSEMBLE = (
    "UPDATE hx_ensemble SET made_at = NULL, worker_id = NULL WHERE experiment_id = "
    "(SELECT experiment_id FROM hx_study WHERE study_id = ?)"
)
"""Has the ensemble made again at the end. A claim does the same when it starts another trial."""


def reopen(connection: Connection, study_id: int) -> None:
    """Let a study that had ended go on: its end was not its last one."""
    connection.execute(REOPEN, (study_id,))
    connection.execute(FORGET_ENSEMBLE, (study_id,))


def raise_goals(
    location: Location, studies: Iterable[tuple[Experiment, Study]], trials: int
) -> list[str]:
    """Raise the total of each study to `trials`; returns the names of those it changes.

    A study that is done or paused goes on; one that was stopped or cancelled keeps its end, and
    a goal is never lowered.
    """
    changed: list[str] = []
    with transaction(location) as connection:
        for experiment, study in studies:
            goal = study.counts.goal
            if study.want in ("stop", "cancel") or (goal is not None and goal >= trials):
                continue
            connection.execute(
                "UPDATE hx_study SET goal = ? WHERE study_id = ?", (trials, study.study_id)
            )
            if trials > study.counts.finished:
                reopen(connection, study.study_id)
            text = f"goal raised to {trials} trials"
            add_event(connection, experiment.experiment_id, events.STUDY, text, study.study_id)
            changed.append(study.name)
    return changed


def change_experiment(
    location: Location,
    experiment_id: int,
    *,
    workers: int | None = None,
    time_limit_s: float | None = None,
) -> None:
    """Change the budget of an experiment; what is None stays. A runner death is forgiven.

    A larger time limit lets studies that time had ended go on.
    """
    with transaction(location) as connection:
        connection.execute(
            "UPDATE hx_experiment SET failure = NULL, workers = coalesce(?, workers), "
            "time_limit_s = coalesce(?, time_limit_s) WHERE id = ?",
            (workers, time_limit_s, experiment_id),
        )
        if time_limit_s is None:
            return
        ended = connection.execute(
            "SELECT study_id FROM hx_study WHERE experiment_id = ? AND ended_by LIKE 'time%' "
            "AND (SELECT time_used_s FROM hx_experiment WHERE id = ?) < ?",
            (experiment_id, experiment_id, time_limit_s),
        ).fetchall()
        for row in ended:
            reopen(connection, row["study_id"])


def retry(
    location: Location, experiment: Experiment, study: Study, numbers: Sequence[int] = ()
) -> list[int]:
    """Queue failed trials again, as new numbers with the same parameters; returns the numbers.

    numbers: which ones, or all failed ones that were not retried yet. The goal grows by as many.
    Raises BadInput if a number is not a failed trial of the study, or nothing is left to retry.
    """
    with transaction(location) as connection:
        failed = {
            row["number"]: row["trial_id"]
            for row in connection.execute(
                "SELECT number, trial_id FROM hx_trial t WHERE study_id = ? AND state = 'FAIL' "
                "AND NOT EXISTS (SELECT 1 FROM hx_trial r WHERE r.study_id = t.study_id "
                "AND r.retry_of = t.number)",
                (study.study_id,),
            )
        }
        wanted = list(dict.fromkeys(numbers)) or sorted(failed)
        if strange := [number for number in wanted if number not in failed]:
            raise BadInput(
                f"{study.name}: trial {strange[0]} did not fail, or was retried already; failed "
                f"and not retried: {', '.join(map(str, sorted(failed)[:10])) or 'none'}."
            )
        if not wanted:
            raise BadInput(f"{study.name} has no failed trial to retry.")
        created = [_copy_trial(connection, study.study_id, failed[n], n) for n in wanted]
        reopen(connection, study.study_id)
        connection.execute(
            "UPDATE hx_study SET goal = goal + ? WHERE study_id = ?",
            (len(created), study.study_id),
        )
        listed = ", ".join(map(str, created))
        text = f"failed trials queued again as {listed}"
        add_event(connection, experiment.experiment_id, events.STUDY, text, study.study_id)
    return created


def _copy_trial(connection: Connection, study_id: int, trial_id: int, number: int) -> int:
    """A WAITING trial with the parameters of another one; returns its number."""
    if isinstance(connection, ServerConnection):
        # Stock Optuna locks this row while it counts; a file has one writer anyway.
        connection.execute("SELECT 1 FROM studies WHERE study_id = ? FOR UPDATE", (study_id,))
    new_number = connection.execute(
        "SELECT count(*) FROM trials WHERE study_id = ?", (study_id,)
    ).fetchone()[0]
    new_id = connection.execute(
        "INSERT INTO trials (number, study_id, state, datetime_start) "
        "VALUES (?, ?, 'WAITING', ?) RETURNING trial_id",
        (new_number, study_id, optuna_now()),
    ).fetchone()[0]
    connection.execute(
        "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
        "SELECT ?, param_name, param_value, distribution_json FROM trial_params "
        "WHERE trial_id = ? ORDER BY param_id",
        (new_id, trial_id),
    )
    # For samplers, which don't see our row.
    connection.execute(
        'INSERT INTO trial_system_attributes (trial_id, "key", value_json) VALUES (?, ?, ?)',
        (new_id, RETRY_KEY, str(number)),
    )
    connection.execute(
        "INSERT INTO hx_trial (trial_id, study_id, number, state, retry_of, requeues, crashes) "
        "VALUES (?, ?, ?, 'WAITING', ?, 0, 0)",
        (new_id, study_id, new_number, number),
    )
    return int(new_number)


def forgive(location: Location, experiment_id: int) -> None:
    """Forget earlier deaths of runners: somebody has looked and wants another try."""
    with transaction(location) as connection:
        connection.execute(
            "UPDATE hx_runner SET ended_at = ?, end_reason = 'died' "
            "WHERE experiment_id = ? AND ended_at IS NULL",
            (utc_now(), experiment_id),
        )
