"""Transactions on a store through SQLAlchemy: who may write when, and what a commit promises.

One writer at a time, on both kinds of database, so that what is read inside a write transaction
still holds when it commits: BEGIN IMMEDIATE on SQLite, one advisory lock on PostgreSQL. Readers
take no lock. A durable commit is fsynced and survives a power cut; any other survives the death of
every process, and costs no fsync.

A write is a function of a connection, because it may have to be done again: when the disk is full,
the lock is held for longer than the busy timeout, or the server is restarted, the writer waits and
repeats it rather than die with a result in its hands.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Connection, event, text

from engines.errors import HyperionError, one_line
from engines.study.location import Location
from engines.study.plain import explain
from engines.study.postgres import WRITERS_LOCK, Refused, ServerError, sqlalchemy_engine
from engines.study.sqlite import begin_immediate, set_pragmas

T = TypeVar("T")

sql = functools.lru_cache(maxsize=256)(text)
"""A statement from its text, with `:name` for a value; the same text is the same statement."""

PATIENCE_S = 3600.0
"""How long a writer waits for the lock, for disk space or for the server before it gives up."""

PAUSE_S = 0.25
"""Between two tries of a write for which there was no space."""


def connect(path: str) -> sqlite3.Connection:
    """A connection whose transactions are ours. The path means itself, `?` and `%` included."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    set_pragmas(connection)
    return connection


class Database:
    """The connections of one process to one store; safe to use from several threads."""

    def __init__(self, location: Location) -> None:
        self.location = location
        # A person who looks is told at once; a worker has a result in its hands.
        self.read_patience_s = 0.0
        self.engine = _engine(location)
        event.listen(self.engine, "begin", _begin)
        options = {"isolation_level": "AUTOCOMMIT"} if not location.is_file else {}
        self._readers = self.engine.execution_options(hyperion="read", **options)
        self._writers = self.engine.execution_options(hyperion="write")
        self._durable = self.engine.execution_options(hyperion="durable")

    def write(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = False,
        patience_s: float = PATIENCE_S,
        is_done: Callable[[Connection, T], bool] | None = None,
    ) -> T:
        """What `work` returns, done in one write transaction; it may be called more than once.

        An exception out of `work` undoes everything. is_done: whether what an earlier call
        returned is in the store after all, for work that must not be done twice: a server may
        have committed, and only its answer got lost. Raises StoreUnavailable for what waiting
        can't mend, and for what lasts longer than `patience_s`; IntegrityError as it comes.
        """
        engine = self._durable if durable else self._writers
        doubtful: list[T] = []

        def once() -> T:
            with engine.begin() as connection:
                # A file has no answers to lose, and gives the ids of what was undone again.
                asked = None if self.location.is_file else is_done
                if asked is not None and doubtful and asked(connection, doubtful[0]):
                    return doubtful[0]
                result = work(connection)
                doubtful[:] = [result]
            return result

        return self._until_it_passes(once, patience_s)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, reading without a lock; on SQLite from one moment.

        Raises StoreUnavailable, after `read_patience_s` for what waiting may mend.
        """

        def once() -> T:
            with self._readers.begin() as connection:
                return work(connection)

        return self._until_it_passes(once, self.read_patience_s)

    def _until_it_passes(self, once: Callable[[], T], patience_s: float) -> T:
        deadline = time.monotonic() + patience_s
        told = False
        while True:
            try:
                return once()
            except sqlalchemy.exc.IntegrityError:
                raise
            except (sqlalchemy.exc.DBAPIError, ServerError, sqlite3.Error) as error:
                meaning = self._explained(error)
                refused = isinstance(meaning, Refused)
                if refused or not will_pass(error) or time.monotonic() >= deadline:
                    raise meaning from None
                if not told:
                    logging.getLogger("hyperion").warning(
                        "the store can't be used now (%s): waiting",
                        one_line(getattr(error, "orig", error)),
                    )
                    told = True
            time.sleep(PAUSE_S)

    def _explained(self, error: Exception) -> HyperionError:
        # The driver's own words: SQLAlchemy adds the statement with its values.
        return explain(getattr(error, "orig", None) or error, self.location)

    def close(self) -> None:
        """Close the connections that nobody uses now; the next question opens one again."""
        self.engine.dispose()

    def forget(self) -> None:
        """In a forked child: let go of the parent's connections without touching them."""
        self.engine.dispose(close=False)


def _engine(location: Location) -> sqlalchemy.Engine:
    if location.is_file:
        return sqlalchemy.create_engine(
            "sqlite://",
            creator=functools.partial(connect, str(location.path)),
            poolclass=sqlalchemy.pool.QueuePool,
        )
    return sqlalchemy_engine(location)


def _begin(connection: Connection) -> None:
    how = connection.get_execution_options().get("hyperion", "write")
    if connection.dialect.name == "postgresql":
        if how != "read":
            commit = "on" if how == "durable" else "off"
            connection.exec_driver_sql(
                f"SELECT set_config('synchronous_commit', '{commit}', true), "
                f"pg_advisory_xact_lock({WRITERS_LOCK})"
            )
        return
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    if how == "read":
        raw.execute("BEGIN")
        return
    # Ignored inside a transaction, so it comes before BEGIN. It costs microseconds.
    raw.execute(f"PRAGMA synchronous = {'FULL' if how == 'durable' else 'NORMAL'}")
    begin_immediate(raw)


def will_pass(error: Exception) -> bool:
    """Whether a write may succeed later as it is: no space, a held lock, a server restarting."""
    if isinstance(error, ServerError):
        return (error.broken and error.sqlstate is None) or error.sqlstate == "57P03"
    if getattr(error, "connection_invalidated", False):
        return True
    said = str(getattr(error, "orig", error)).lower()
    # SQLite says `disk I/O error` when its shared memory file can't grow on a full disk.
    words = ("disk is full", "disk i/o error", "database is locked", "no space left")
    return any(word in said for word in words)
