"""Plain connections to a store, whichever database it is in, for what must start fast.

The SQL that runs over them is written once for both: `?` for a value, TRUE and FALSE, RETURNING
for a new row's id, and `CAST(trials.state AS VARCHAR)` where a column of Optuna's that is an
enumeration on PostgreSQL meets a text. Errors of either database are `FAULTS`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import TypeAlias

from engines.errors import HyperionError
from engines.study import postgres, sqlite
from engines.study.location import Location
from engines.study.postgres import ServerConnection, ServerError
from engines.study.sqlite import ReadConnection, StoreConnection

Connection: TypeAlias = sqlite3.Connection | ServerConnection

FAULTS = (sqlite3.Error, ServerError)
"""What a question or a write can raise; `explain` says what it means."""

NO_LIMIT = 2**62
"""For LIMIT, where all rows are meant."""


def connect_to_write(location: Location) -> Connection:
    """A connection for orders and for the runner. The store must exist.

    Raises StoreUnavailable when it can't be opened.
    """
    if location.is_file:
        return sqlite.connect_to_write(location.path)
    return _connect_to_server(location, reading=False)


def connect_to_read(location: Location) -> Connection:
    """A connection that can neither change nor lock anything. Raises StoreUnavailable."""
    if location.is_file:
        return sqlite.connect_to_read(location.path)
    return _connect_to_server(location, reading=True)


def _connect_to_server(location: Location, *, reading: bool) -> ServerConnection:
    try:
        return ServerConnection(location, reading=reading)
    except ServerError as error:
        raise postgres.explain(error, location) from None


@contextlib.contextmanager
def writing(
    connection: Connection, *, durable: bool = False, patience_s: float = 0.0
) -> Iterator[Connection]:
    """One short write transaction, alone on the store; `durable` ones survive a power cut.

    patience_s: how long to wait for the lock beyond the usual half a minute.
    """
    if isinstance(connection, ServerConnection):
        with postgres.writing(connection, durable=durable, patience_s=patience_s):
            yield connection
    else:
        with sqlite.writing(connection, durable=durable, patience_s=patience_s):
            yield connection


@contextlib.contextmanager
def transaction(location: Location, *, durable: bool = False) -> Iterator[Connection]:
    """One write transaction on a connection of its own. Raises StoreUnavailable and its kin."""
    with contextlib.closing(connect_to_write(location)) as connection:
        try:
            with writing(connection, durable=durable):
                yield connection
        except FAULTS as error:
            raise explain(error, location) from error


def table_names(connection: Connection) -> set[str]:
    """The tables of the store; on a server those that a name without a schema finds."""
    if isinstance(connection, ServerConnection):
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = ANY(current_schemas(false))"
        )
    else:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {row[0] for row in rows.fetchall()}


def data_version(connection: Connection) -> int | str:
    """A value that changes when somebody else has committed.

    Raises StoreUnavailable if the file is no longer the one that was opened.
    """
    if isinstance(connection, ServerConnection):
        return str(connection.execute("SELECT pg_current_snapshot()::text").fetchone()[0])
    if isinstance(connection, StoreConnection):
        connection.require_in_place()
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def note(connection: Connection) -> str | None:
    """What a person should know about the way in which the store is read, or None."""
    return connection.note if isinstance(connection, ReadConnection) else None


def explain(error: BaseException, location: Location) -> HyperionError:
    """What a database's error means for the person, and what to do about it.

    error: one of `FAULTS`, an error of psycopg, or an OSError. One of our own is its own answer.
    """
    if isinstance(error, HyperionError):
        return error
    if location.is_file:
        return sqlite.explain(error, location.path)
    return postgres.explain(error, location)
