"""The statements that a storage makes of studies, and of what else belongs to an experiment.

Every function works inside the caller's transaction. The text is the same for SQLite and
PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from sqlalchemy import Connection

from engines.study.database import sql
from engines.study.trash import OF_A_STUDY, OF_A_TRIAL

NO_STUDY = "There is no such study."


def add_study(connection: Connection, name: str, directions: Sequence[StudyDirection]) -> int:
    """A study without trials; returns its id. A name that is taken is an IntegrityError."""
    study_id = connection.execute(
        sql("INSERT INTO studies (study_name) VALUES (:name) RETURNING study_id"), {"name": name}
    ).scalar_one()
    connection.execute(
        sql(
            "INSERT INTO study_directions (study_id, objective, direction) "
            "VALUES (:study_id, :objective, :direction)"
        ),
        [
            {"study_id": study_id, "objective": objective, "direction": direction.name}
            for objective, direction in enumerate(directions)
        ],
    )
    return int(study_id)


def delete_study(connection: Connection, study_id: int) -> None:
    """A study with everything that belongs to it, in both sets of tables. Raises KeyError."""
    require_study(connection, study_id)
    where = {"study_id": study_id}
    for table in OF_A_TRIAL:
        connection.execute(
            sql(
                f"DELETE FROM {table} WHERE trial_id IN "
                "(SELECT trial_id FROM trials WHERE study_id = :study_id)"
            ),
            where,
        )
    for table in ("hx_event", *OF_A_STUDY):
        connection.execute(sql(f"DELETE FROM {table} WHERE study_id = :study_id"), where)


def has_study(connection: Connection, study_id: int) -> bool:
    """Whether there is such a study."""
    asked = sql("SELECT 1 FROM studies WHERE study_id = :id")
    return connection.execute(asked, {"id": study_id}).first() is not None


def require_study(connection: Connection, study_id: int) -> None:
    """Raise KeyError if there is no such study."""
    if not has_study(connection, study_id):
        raise KeyError(NO_STUDY)


def study_id(connection: Connection, name: str) -> int:
    """The id of a study. Raises KeyError."""
    found = connection.execute(
        sql("SELECT study_id FROM studies WHERE study_name = :name"), {"name": name}
    ).scalar()
    if found is None:
        raise KeyError(NO_STUDY)
    return int(found)


def study_facts(
    connection: Connection, study_id: int
) -> tuple[str, tuple[StudyDirection, ...], int | None]:
    """(name, directions, id of the experiment it belongs to or None). Raises KeyError."""
    row = connection.execute(
        sql(
            "SELECT o.study_name, s.experiment_id FROM studies o "
            "LEFT JOIN hx_study s ON s.study_id = o.study_id WHERE o.study_id = :id"
        ),
        {"id": study_id},
    ).first()
    if row is None:
        raise KeyError(NO_STUDY)
    directions = connection.execute(
        sql("SELECT direction FROM study_directions WHERE study_id = :id ORDER BY objective"),
        {"id": study_id},
    ).scalars()
    return row[0], tuple(StudyDirection[word] for word in directions), row[1]


def set_study_attr(
    connection: Connection, study_id: int, kind: str, key: str, as_json: str
) -> None:
    """One attribute of a study. kind: user or system. Raises KeyError."""
    require_study(connection, study_id)
    connection.execute(
        sql(
            f'INSERT INTO study_{kind}_attributes (study_id, "key", value_json) '
            'VALUES (:id, :key, :value) ON CONFLICT (study_id, "key") '
            "DO UPDATE SET value_json = excluded.value_json"
        ),
        {"id": study_id, "key": key, "value": as_json},
    )


def study_attrs(connection: Connection, study_id: int, kind: str) -> dict[str, Any]:
    """The attributes of a study. kind: user or system. Raises KeyError."""
    require_study(connection, study_id)
    found = connection.execute(
        sql(f'SELECT "key", value_json FROM study_{kind}_attributes WHERE study_id = :id'),
        {"id": study_id},
    )
    return {key: json.loads(value) for key, value in found}


def all_studies(connection: Connection) -> list[FrozenStudy]:
    """Every study, by id."""
    directions: dict[int, list[StudyDirection]] = {}
    for owner, word in connection.execute(
        sql("SELECT study_id, direction FROM study_directions ORDER BY objective")
    ):
        directions.setdefault(owner, []).append(StudyDirection[word])
    attrs: dict[str, dict[int, dict[str, Any]]] = {"user": {}, "system": {}}
    for kind, found in attrs.items():
        for owner, key, value in connection.execute(
            sql(f'SELECT study_id, "key", value_json FROM study_{kind}_attributes')
        ):
            found.setdefault(owner, {})[key] = json.loads(value)
    return [
        FrozenStudy(
            study_name=name,
            direction=None,
            directions=directions.get(owner, []),
            user_attrs=attrs["user"].get(owner, {}),
            system_attrs=attrs["system"].get(owner, {}),
            study_id=owner,
        )
        for owner, name in connection.execute(
            sql("SELECT study_id, study_name FROM studies ORDER BY study_id")
        )
    ]


def want(connection: Connection, study_id: int) -> str:
    """The order that a study of ours has; `run` for any other."""
    found = connection.execute(
        sql("SELECT want FROM hx_study WHERE study_id = :id"), {"id": study_id}
    ).scalar()
    return "run" if found is None else str(found)


def models_of(connection: Connection, experiment_id: int) -> list[str]:
    """The models of an experiment's studies, in their order."""
    found = connection.execute(
        sql("SELECT model FROM hx_study WHERE experiment_id = :id ORDER BY position"),
        {"id": experiment_id},
    )
    return [row.model for row in found]


def has_baselines(connection: Connection, experiment_id: int) -> bool:
    """Whether the baselines of an experiment have been scored."""
    asked = sql("SELECT 1 FROM hx_baseline WHERE experiment_id = :id LIMIT 1")
    return connection.execute(asked, {"id": experiment_id}).first() is not None


def add_baselines(connection: Connection, baselines: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `hx_baseline` by column; one that another worker has written stays."""
    connection.execute(
        sql(
            "INSERT INTO hx_baseline (experiment_id, name, selection_score, held_out_score) "
            "VALUES (:experiment_id, :name, :selection_score, :held_out_score) "
            "ON CONFLICT (experiment_id, name) DO NOTHING"
        ),
        list(baselines),
    )


def replace_baselines(connection: Connection, baselines: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `hx_baseline` by column, in the place of those of the same names."""
    for row in baselines:
        connection.execute(
            sql("DELETE FROM hx_baseline WHERE experiment_id = :experiment_id AND name = :name"),
            {"experiment_id": row["experiment_id"], "name": row["name"]},
        )
    add_baselines(connection, baselines)


def add_event(
    connection: Connection,
    experiment_id: int,
    study_id: int | None,
    number: int | None,
    at: str,
    *,
    kind: str,
    text: str,
) -> None:
    """One line of the log."""
    connection.execute(
        sql(
            "INSERT INTO hx_event (at, experiment_id, study_id, trial_number, kind, text) "
            "VALUES (:at, :experiment_id, :study_id, :number, :kind, :text)"
        ),
        {
            "at": at,
            "experiment_id": experiment_id,
            "study_id": study_id,
            "number": number,
            "kind": kind,
            "text": text,
        },
    )
