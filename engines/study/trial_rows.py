"""The statements that a storage makes of trials: Optuna's rows and ours, side by side.

Every function works inside the caller's transaction. The text is the same for SQLite and
PostgreSQL; a state is one of Optuna's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from engines.clock import optuna_now, utc_now
from engines.study import study_rows
from engines.study.database import sql
from engines.study.frozen import local_time, stored, stored_time, trials_by_id
from engines.study.pending import Notes

NO_TRIAL = "There is no such trial."


def lock_study(connection: Connection, study_id: int) -> bool:
    """Let nobody else add trials to a study until the transaction ends. Raises KeyError.

    Stock Optuna knows nothing of our lock: on a server it locks the study's row and counts. True
    if it has added trials that we had not met; they have rows of ours now.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(
            sql("SELECT 1 FROM studies WHERE study_id = :id FOR UPDATE"), {"id": study_id}
        )
    study_rows.require_study(connection, study_id)
    # Elsewhere ids may be committed out of order; in one study they can't.
    newer = connection.execute(
        sql(
            "SELECT 1 FROM trials o WHERE o.study_id = :id AND o.trial_id > coalesce("
            "(SELECT t.trial_id FROM hx_trial t WHERE t.study_id = :id "
            "ORDER BY t.number DESC LIMIT 1), -1) LIMIT 1"
        ),
        {"id": study_id},
    ).first()
    if newer is not None:
        adopt_foreign_trials(connection)
    return newer is not None


# -- making trials -------------------------------------------------------------------------------


def add_trial(
    connection: Connection,
    study_id: int,
    template: FrozenTrial | None = None,
    holder: int | None = None,
) -> FrozenTrial:
    """A new trial, as the template says or RUNNING, with our row; returns it as it now is.

    holder: the worker that takes it at once. The caller has locked the study, or just made it.
    """
    number = connection.execute(
        sql("SELECT coalesce(max(number), -1) + 1 FROM hx_trial WHERE study_id = :id"),
        {"id": study_id},
    ).scalar_one()
    state = TrialState.RUNNING if template is None else template.state
    now = optuna_now()
    started = now if template is None else stored_time(template.datetime_start)
    trial_id = connection.execute(
        sql(
            "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) "
            "VALUES (:number, :study_id, :state, :started, :completed) RETURNING trial_id"
        ),
        {
            "number": number,
            "study_id": study_id,
            "state": state.name,
            "started": started,
            "completed": None if template is None else stored_time(template.datetime_complete),
        },
    ).scalar_one()
    values: Sequence[float] = () if template is None else template.values or ()
    connection.execute(
        sql(
            "INSERT INTO hx_trial (trial_id, study_id, number, state, value, started_at, "
            "finished_at, worker_id, requeues, crashes, memory_kills) VALUES (:trial_id, "
            ":study_id, :number, :state, :value, :started, :finished, :holder, 0, 0, 0)"
        ),
        {
            "trial_id": trial_id,
            "study_id": study_id,
            "number": number,
            "state": state.name,
            "value": float(values[0]) if values else None,
            "started": utc_now() if state == TrialState.RUNNING else None,
            "finished": utc_now() if state.is_finished() else None,
            "holder": holder,
        },
    )
    if template is not None:
        write_notes(connection, trial_id, _notes_of(template))
        write_values(connection, trial_id, values)
        return trials_by_id(connection, [trial_id])[0]
    return new_trial(trial_id, number, now)


def new_trial(trial_id: int, number: int, started: str) -> FrozenTrial:
    """A RUNNING trial of which nothing is known yet. started: naive UTC, as Optuna stores it."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        values=None,
        datetime_start=local_time(started),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def _notes_of(template: FrozenTrial) -> Notes:
    return Notes(
        params={
            name: (
                template.distributions[name].to_internal_repr(value),
                distribution_to_json(template.distributions[name]),
            )
            for name, value in template.params.items()
        },
        user={key: json.dumps(value) for key, value in template.user_attrs.items()},
        system={key: json.dumps(value) for key, value in template.system_attrs.items()},
        reports=dict(template.intermediate_values),
    )


def meet_foreign_trials(connection: Connection) -> None:
    """Let stock Optuna's trials have our rows, if it has written any since we last wrote.

    The newest trial that both sets of tables know tells whether one is missing. On a server one
    may hide behind a newer one of another study: `lock_study` finds it.
    """
    theirs, ours = connection.execute(
        sql("SELECT (SELECT max(trial_id) FROM trials), (SELECT max(trial_id) FROM hx_trial)")
    ).one()
    if theirs != ours:
        adopt_foreign_trials(connection)


def adopt_foreign_trials(connection: Connection) -> None:
    """Our row for every trial that stock Optuna wrote, and none for those that it deleted."""
    connection.execute(
        sql(
            # A file gives the ids of deleted trials again.
            "DELETE FROM hx_trial WHERE NOT EXISTS (SELECT 1 FROM trials o WHERE o.trial_id = "
            "hx_trial.trial_id AND o.study_id = hx_trial.study_id AND o.number = hx_trial.number)"
        )
    )
    connection.execute(
        sql(
            "INSERT INTO hx_trial (trial_id, study_id, number, state, value, requeues, crashes, "
            "memory_kills) SELECT o.trial_id, o.study_id, o.number, CAST(o.state AS VARCHAR), "
            "v.value, 0, 0, 0 FROM trials o "
            "LEFT JOIN trial_values v ON v.trial_id = o.trial_id AND v.objective = 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM hx_trial t WHERE t.trial_id = o.trial_id)"
        )
    )


_COPY_STATES = (
    "UPDATE hx_trial SET state = (SELECT CAST(o.state AS VARCHAR) FROM trials o "
    "WHERE o.trial_id = hx_trial.trial_id), value = (SELECT v.value FROM trial_values v "
    "WHERE v.trial_id = hx_trial.trial_id AND v.objective = 0) WHERE {} AND EXISTS "
    "(SELECT 1 FROM trials o WHERE o.trial_id = hx_trial.trial_id "
    "AND CAST(o.state AS VARCHAR) != hx_trial.state)"
)


def follow_ends(connection: Connection, worker_id: int) -> None:
    """Our rows as Optuna's are, for RUNNING trials of nobody and of a worker that has none now.

    Stock Optuna has ended them alone. The runner adds their times.
    """
    for whose in ("worker_id IS NULL", "worker_id = :worker_id"):
        connection.execute(
            sql(_COPY_STATES.format(f"state = 'RUNNING' AND {whose}")), {"worker_id": worker_id}
        )


def follow_queue(connection: Connection, study_id: int) -> None:
    """Our rows as Optuna's are, for the queued trials of a study: stock Optuna took some."""
    adopt_foreign_trials(connection)
    connection.execute(
        sql(_COPY_STATES.format("state = 'WAITING' AND study_id = :study_id")),
        {"study_id": study_id},
    )


# -- changing a trial's state --------------------------------------------------------------------


def claim_waiting(
    connection: Connection, trial_id: int, holder: int | None
) -> tuple[int, FrozenTrial] | None:
    """WAITING -> RUNNING for one caller only: (study id, the trial), or None for everybody else.

    Raises KeyError if there is no such trial, UpdateFinishedTrialError if it has ended.
    """
    now = optuna_now()
    study_id = connection.execute(
        sql(
            "UPDATE trials SET state = 'RUNNING', datetime_start = :now "
            "WHERE trial_id = :id AND state = 'WAITING' RETURNING study_id"
        ),
        {"id": trial_id, "now": now},
    ).scalar()
    if study_id is None:
        return None
    columns = {"state": "RUNNING", "started_at": utc_now(), "worker_id": holder}
    if not update_own_row(connection, trial_id, None, columns):
        adopt_foreign_trials(connection)
        update_own_row(connection, trial_id, None, columns)
    return study_id, trials_by_id(connection, [trial_id])[0]


def end_trial(connection: Connection, trial_id: int, state: str) -> int | None:
    """RUNNING or WAITING -> finished in Optuna's row: its number; None if it was neither."""
    found = connection.execute(
        sql(
            "UPDATE trials SET state = :state, datetime_complete = :now "
            "WHERE trial_id = :id AND state IN ('RUNNING', 'WAITING') RETURNING number"
        ),
        {"id": trial_id, "state": state, "now": optuna_now()},
    ).scalar()
    return None if found is None else int(found)


def put_back(connection: Connection, trial_id: int) -> bool:
    """RUNNING -> WAITING in both rows; False if it was neither."""
    changed = connection.execute(
        sql(
            "UPDATE trials SET state = 'WAITING' "
            "WHERE trial_id = :id AND state IN ('RUNNING', 'WAITING')"
        ),
        {"id": trial_id},
    ).rowcount
    update_own_row(connection, trial_id, None, {"state": "WAITING", "worker_id": None})
    return changed == 1


def update_own_row(
    connection: Connection, trial_id: int, holder: int | None, columns: Mapping[str, Any]
) -> bool:
    """Change columns of our row; False if there is none, or another worker than `holder` has it."""
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    guard = "" if holder is None else " AND worker_id = :holder"
    return (
        connection.execute(
            sql(f"UPDATE hx_trial SET {changes} WHERE trial_id = :the_id{guard}"),
            {**columns, "the_id": trial_id, "holder": holder},
        ).rowcount
        == 1
    )


def touch(
    connection: Connection, trial_id: int, holder: int | None, columns: Mapping[str, Any]
) -> bool:
    """Whether the trial still runs in the hands of `holder`; its row gets the columns then."""
    row = connection.execute(
        sql(
            "SELECT o.state, t.worker_id FROM trials o "
            "LEFT JOIN hx_trial t ON t.trial_id = o.trial_id WHERE o.trial_id = :id"
        ),
        {"id": trial_id},
    ).first()
    if row is None or row[0] != "RUNNING" or row[1] != holder:
        return False
    if columns:
        update_own_row(connection, trial_id, holder, columns)
    return True


# -- what belongs to a trial ---------------------------------------------------------------------


def write_notes(connection: Connection, trial_id: int, notes: Notes) -> None:
    """Parameters, attributes and reports; what was there under the same name is replaced."""
    if notes.params:
        connection.execute(
            sql(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
                "VALUES (:trial_id, :name, :value, :described) ON CONFLICT (trial_id, param_name) "
                "DO UPDATE SET param_value = excluded.param_value, "
                "distribution_json = excluded.distribution_json"
            ),
            [
                {"trial_id": trial_id, "name": name, "value": value, "described": described}
                for name, (value, described) in notes.params.items()
            ],
        )
    for kind, attributes in (("user", notes.user), ("system", notes.system)):
        if attributes:
            connection.execute(
                sql(
                    f'INSERT INTO trial_{kind}_attributes (trial_id, "key", value_json) '
                    'VALUES (:trial_id, :key, :value) ON CONFLICT (trial_id, "key") '
                    "DO UPDATE SET value_json = excluded.value_json"
                ),
                [
                    {"trial_id": trial_id, "key": key, "value": value}
                    for key, value in attributes.items()
                ],
            )
    if notes.reports:
        connection.execute(
            sql(
                "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, "
                "intermediate_value_type) VALUES (:trial_id, :step, :value, :kind) "
                "ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = "
                "excluded.intermediate_value, "
                "intermediate_value_type = excluded.intermediate_value_type"
            ),
            [
                {"trial_id": trial_id, "step": step, **_as_stored(value)}
                for step, value in notes.reports.items()
            ],
        )


def write_values(connection: Connection, trial_id: int, values: Sequence[float]) -> None:
    """The values of a finished trial, one for each direction."""
    if values:
        connection.execute(
            sql(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) "
                "VALUES (:trial_id, :objective, :value, :kind)"
            ),
            [
                {"trial_id": trial_id, "objective": objective, **_as_stored(value)}
                for objective, value in enumerate(values)
            ],
        )


def _as_stored(value: float) -> dict[str, Any]:
    finite, kind = stored(value)
    return {"value": finite, "kind": kind}


# -- asking --------------------------------------------------------------------------------------


def has_trial(connection: Connection, trial_id: int) -> bool:
    """Whether there is such a trial."""
    asked = sql("SELECT 1 FROM trials WHERE trial_id = :id")
    return connection.execute(asked, {"id": trial_id}).first() is not None


def runs_since(connection: Connection, trial: FrozenTrial) -> bool:
    """Whether a trial is RUNNING since it was claimed as this one was."""
    found = trials_by_id(connection, [trial._trial_id])
    return [(t.state, t.datetime_start) for t in found] == [
        (TrialState.RUNNING, trial.datetime_start)
    ]


def fate(connection: Connection, trial_id: int) -> str:
    """What became of a trial that its worker has lost."""
    row = connection.execute(
        sql("SELECT number, state FROM trials WHERE trial_id = :id"), {"id": trial_id}
    ).first()
    if row is None:
        return "The trial was deleted with its study."
    if TrialState[row[1]].is_finished():
        return f"Trial {row[0]} was ended by somebody else."
    return f"Trial {row[0]} was given to another worker."


def ended_at(connection: Connection, trial_id: int) -> str | None:
    """When a trial ended, as our row says."""
    return connection.execute(
        sql("SELECT finished_at FROM hx_trial WHERE trial_id = :id"), {"id": trial_id}
    ).scalar()


def study_and_state(connection: Connection, trial_id: int) -> tuple[int, str]:
    """(study id, state) of a trial. Raises KeyError."""
    row = connection.execute(
        sql("SELECT study_id, state FROM trials WHERE trial_id = :id"), {"id": trial_id}
    ).first()
    if row is None:
        raise KeyError(NO_TRIAL)
    return row[0], row[1]


def trial_id(connection: Connection, study_id: int, number: int) -> int:
    """The id of a trial. Raises KeyError."""
    for table in ("hx_trial", "trials"):  # ours has an index for this
        found = connection.execute(
            sql(f"SELECT trial_id FROM {table} WHERE study_id = :id AND number = :number"),
            {"id": study_id, "number": number},
        ).scalar()
        if found is not None:
            return int(found)
    raise KeyError(NO_TRIAL)


def distribution(connection: Connection, study_id: int, name: str) -> str | None:
    """How some trial of the study described the parameter, or None if none did."""
    found = connection.execute(
        sql(
            "SELECT p.distribution_json FROM trial_params p "
            "JOIN trials t ON t.trial_id = p.trial_id "
            "WHERE t.study_id = :id AND p.param_name = :name ORDER BY p.param_id LIMIT 1"
        ),
        {"id": study_id, "name": name},
    ).scalar()
    return None if found is None else str(found)


def best_folds(
    connection: Connection, study_id: int, maximize: bool, limit: int
) -> list[list[float]]:
    """The fold scores that trials race by, of the best complete ones of a study, the best first."""
    order = "DESC" if maximize else "ASC"
    found = connection.execute(
        sql(
            # Inside a function the state only filters what the index on the value gives in order.
            "SELECT metrics FROM hx_trial WHERE study_id = :study_id "
            "AND coalesce(state, '') = 'COMPLETE' "
            "AND value IS NOT NULL AND served_from IS NULL "
            f"ORDER BY value {order}, number LIMIT :limit"
        ),
        {"study_id": study_id, "limit": limit},
    ).scalars()
    # Plain SQL gives JSON as text on SQLite and as objects on PostgreSQL.
    kept = (json.loads(m) if isinstance(m, str) else m for m in found)
    return [m.get("raced") or m["folds"] for m in kept if m and "folds" in m]
