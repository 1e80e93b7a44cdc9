"""Schema changes of our own tables, in order. A file remembers which ones it has received.

A new file gets today's schema from `tables` and is marked as having everything. An older file
gets what it lacks, one transaction for all, refused while a runner is at work in it. Optuna's
tables are Optuna's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

from engines.clock import utc_now
from engines.errors import StoreUnavailable
from engines.study.tables import HyperionTable


class Step(NamedTuple):
    """One schema change: `apply` runs inside the caller's transaction."""

    number: int
    name: str
    apply: Callable[[Connection], None]


def _create_first_tables(connection: Connection) -> None:
    """The schema of version 0.1. A later step that adds a table writes its own DDL."""
    HyperionTable.metadata.create_all(connection)


SUPERVISION = (
    "ALTER TABLE hx_study ADD COLUMN want_frozen BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE hx_trial ADD COLUMN memory_kills INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE hx_trial ADD COLUMN seen JSON",
    "ALTER TABLE hx_worker ADD COLUMN frozen_at VARCHAR",
    "ALTER TABLE hx_worker ADD COLUMN flag VARCHAR",
    "DROP INDEX hx_trial_state",
    "DROP INDEX hx_trial_value",
    "CREATE INDEX hx_trial_state ON hx_trial (study_id, state, number, duration_s)",
    "CREATE INDEX hx_trial_value ON hx_trial (study_id, value, number, state)",
    "CREATE INDEX hx_trial_duration ON hx_trial (study_id, duration_s, number, state)",
)


def _add_supervision(connection: Connection) -> None:
    for statement in SUPERVISION:
        connection.execute(text(statement))


CATALOGUE = (
    "ALTER TABLE hx_dataset ADD COLUMN group_column VARCHAR",
    "ALTER TABLE hx_dataset ADD COLUMN classes JSON",
    "ALTER TABLE hx_experiment ADD COLUMN facts JSON",
    "ALTER TABLE hx_experiment ADD COLUMN left_out JSON",
    "ALTER TABLE hx_study ADD COLUMN plan JSON",
    "ALTER TABLE hx_study ADD COLUMN evidence JSON",
    "CREATE TABLE hx_ensemble (experiment_id INTEGER NOT NULL PRIMARY KEY, worker_id INTEGER, "
    "made_at VARCHAR, selection_score FLOAT, held_out_score FLOAT, members JSON, evidence JSON, "
    "note VARCHAR)",
)


def _add_catalogue(connection: Connection) -> None:
    for statement in CATALOGUE:
        connection.execute(text(statement))


def _add_returns(connection: Connection) -> None:
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    connection.execute(
        text(
            "CREATE TABLE hx_returns (experiment_id INTEGER NOT NULL, trial_id INTEGER NOT NULL, "
            f"seeds INTEGER NOT NULL, content {kind} NOT NULL, "
            "PRIMARY KEY (experiment_id, trial_id))"
        )
    )


STEPS: tuple[Step, ...] = (
    Step(1, "first tables", _create_first_tables),
    Step(2, "freezing, memory kills, flags, and what suggestions saw", _add_supervision),
    Step(3, "tasks, groups, plans, evidence and ensembles", _add_catalogue),
    Step(4, "returns of agents", _add_returns),
)


def is_current(connection: Connection) -> bool:
    """Whether nothing is left to do. Raises StoreUnavailable for a file from a newer version."""
    applied = {row[0] for row in connection.execute(text("SELECT number FROM hx_migration"))}
    known = {step.number for step in STEPS}
    if applied - known:
        raise StoreUnavailable(
            f"This store was written by a newer Hyperion (schema {max(applied)}, this one knows "
            f"{max(known)}): upgrade with `pip install -U hyperion-tui`; nothing was changed."
        )
    return applied == known


def migrate(connection: Connection) -> list[str]:
    """Bring the file to today's schema inside the caller's transaction; returns what was done."""
    applied: set[int] = set()
    if inspect(connection).has_table("hx_migration"):
        applied = {row[0] for row in connection.execute(text("SELECT number FROM hx_migration"))}
    missing = [step for step in STEPS if step.number not in applied]
    if not applied:
        HyperionTable.metadata.create_all(connection)
    for step in missing:
        if applied:
            step.apply(connection)
        connection.execute(
            text("INSERT INTO hx_migration (number, name, applied_at) VALUES (:n, :name, :at)"),
            {"n": step.number, "name": step.name, "at": utc_now()},
        )
    return [step.name for step in missing]
