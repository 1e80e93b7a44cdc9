"""Connections to a store on a PostgreSQL server, that answer as SQLite's do.

`ServerConnection` runs the plain SQL that is written for both databases: `?` for a value, rows
that are read by index or by name, JSON and times as text. psycopg is imported when the first
connection is made, and only then: most stores are files.

Locks are the server's advisory locks, which it drops when their holder's connection ends:
`WRITERS_LOCK` makes write transactions follow one another, `RUNNERS` and an experiment's id say
that this experiment has its runner, on whatever machine.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from engines.errors import PackageMissing, StoreUnavailable, one_line
from engines.study.location import Location

WRITERS_LOCK = int.from_bytes(b"hyperion")
"""Held by every write transaction on the store, from its first statement to its end."""

SCHEMA_LOCK = int.from_bytes(b"hyperioS")
"""Held by whoever creates or changes the tables."""

RUNNERS = int.from_bytes(b"hype")
"""The first half of the lock of an experiment's runner; the second is the experiment's id."""

BUSY_TIMEOUT_S = 30.0
DEPARTURE_S = 1.0
_LOCK_NOT_AVAILABLE = "55P03"
CONNECT_TIMEOUT_S = 10

# A machine that vanishes takes its locks with it within a minute, a stopped process as well.
_WRITER = (
    "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 10; "
    "SET tcp_keepalives_count = 3; SET idle_in_transaction_session_timeout = '60s'; "
    "SET DateStyle = 'ISO'"
)
_READER = (
    "SET default_transaction_read_only = on; SET statement_timeout = '30s'; SET DateStyle = 'ISO'"
)


class ServerError(Exception):
    """What the server or the way to it answered, without a password. sqlstate: its code, or None.

    broken: whether the connection is gone with it.
    """

    def __init__(self, message: str, sqlstate: str | None, *, broken: bool) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.broken = broken


class Refused(StoreUnavailable):
    """The server is there and says no: no such database, user or password. Waiting won't help."""


class Row(tuple[Any, ...]):
    """A row of an answer: `row[0]`, `row["name"]`."""

    __slots__ = ()
    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return tuple.__getitem__(self, self.names[key])
            except KeyError:
                raise IndexError(f"no column {key}") from None
        return tuple.__getitem__(self, key)

    def keys(self) -> list[str]:
        """The names of the columns."""
        return sorted(self.names, key=self.names.__getitem__)


class ServerConnection:
    """A connection for plain SQL, in autocommit unless `plain.writing` began a transaction."""

    def __init__(self, location: Location, *, reading: bool) -> None:
        self.location = location
        self._raw = open_connection(location, autocommit=True, row_factory=_row_maker)
        for kind in ("json", "jsonb"):
            self._raw.adapters.register_loader(kind, _text_loader())
        self._raw.adapters.register_loader("timestamp", _stamp_loader())
        self._raw.adapters.register_loader("numeric", _float_loader())
        try:
            self.run(_READER if reading else _WRITER)
        except BaseException:
            self._raw.close()
            raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """A cursor with the answer: `fetchall`, `fetchone`, `rowcount`, or iterate over it."""
        with self._named_errors():
            return self._raw.execute(_with_percent_signs(sql), list(values))

    def run(self, statements: str) -> Any:
        """Several statements without values, in one message to the server."""
        with self._named_errors():
            return self._raw.execute(statements, prepare=False)

    @property
    def is_broken(self) -> bool:
        """Whether the connection is gone, and with it its locks."""
        return bool(self._raw.closed)

    def close(self) -> None:
        """Let go of the server; every lock of this connection is free then."""
        # Closing alone frees them a little later, when the next one may have asked already.
        with contextlib.suppress(ServerError):
            if not self.is_broken:
                self.run("SELECT pg_advisory_unlock_all()")
        self._raw.close()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise _server_error(error, self.location, broken=self._raw.broken) from error


def open_connection(location: Location, **options: Any) -> Any:
    """A psycopg connection. Raises PackageMissing without psycopg, and ServerError."""
    psycopg = _driver()
    try:
        connection = psycopg.connect(
            location.url or "",
            **{
                "fallback_application_name": "hyperion-tui",
                "client_encoding": "utf8",
                **_unless_given(location, "connect_timeout", CONNECT_TIMEOUT_S),
                **_unless_given(location, "keepalives_idle", 20),
                **_unless_given(location, "tcp_user_timeout", 60_000),
                **options,
            },
        )
    except psycopg.Error as error:
        # The error is not chained: libpq repeats what it can't parse, a password among it.
        raise _server_error(error, location, broken=True) from None
    connection.adapters.register_dumper(str, _text_dumper())
    return connection


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise PackageMissing(
            "A store in PostgreSQL needs the package psycopg: pip install 'hyperion-tui[postgres]'."
        ) from error
    return psycopg


def _unless_given(location: Location, option: str, value: int) -> dict[str, int]:
    given = parse_qs(urlsplit(location.url or "").query)
    return {} if option in given or f"PG{option.upper()}" in os.environ else {option: value}


def sqlalchemy_engine(location: Location) -> Any:
    """An SQLAlchemy engine on the server, one statement seeing what others have committed."""
    import sqlalchemy

    _driver()

    def connect() -> Any:
        connection = open_connection(location)
        try:
            connection.autocommit = True
            connection.execute(_WRITER, prepare=False)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=sqlalchemy.pool.QueuePool,
        isolation_level="READ COMMITTED",
    )


# -- transactions and locks ------------------------------------------------------------------


@contextlib.contextmanager
def writing(
    connection: ServerConnection, *, durable: bool, patience_s: float
) -> Iterator[ServerConnection]:
    """One write transaction, after those of all others; see `plain.writing`."""
    wait_ms = int((BUSY_TIMEOUT_S + patience_s) * 1000)
    try:
        connection.run(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
            f"SET LOCAL synchronous_commit = {'on' if durable else 'off'}; "
            f"SET LOCAL lock_timeout = {wait_ms}; SELECT pg_advisory_xact_lock({WRITERS_LOCK})"
        )
        yield connection
        connection.run("COMMIT")
    except BaseException:
        with contextlib.suppress(ServerError):
            connection.run("ROLLBACK")
        raise


@contextlib.contextmanager
def schema_lock(location: Location) -> Iterator[None]:
    """Hold the lock under which tables are made or changed; waits for its turn."""
    with contextlib.closing(ServerConnection(location, reading=False)) as connection:
        connection.run(f"SELECT pg_advisory_lock({SCHEMA_LOCK})")
        yield


def become_runner(connection: ServerConnection, experiment_id: int) -> bool:
    """Take the lock of an experiment's runner for as long as this connection lives."""
    # The server needs a moment to notice that a killed runner is gone.
    connection.run(f"SET lock_timeout = {int(DEPARTURE_S * 1000)}")
    try:
        connection.execute("SELECT pg_advisory_lock(?, ?)", (RUNNERS, experiment_id))
    except ServerError as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        return False
    finally:
        if not connection.is_broken:
            connection.run("SET lock_timeout = 0")
    return True


def runners(connection: ServerConnection) -> dict[int, tuple[int, str]]:
    """The experiments whose runner lives on some machine: its process id and host."""
    found = connection.execute(
        "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND classid::bigint = ? AND objsubid = 2 AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
        (RUNNERS,),
    ).fetchall()
    living = [int(row[0]) for row in found]
    if not living:
        return {}
    noted = connection.execute(
        "SELECT experiment_id, pid, host FROM hx_runner WHERE experiment_id = ANY(?) ORDER BY id",
        (living,),
    ).fetchall()
    # The last one noted holds it. Between lock and note it is nobody's number for a moment.
    named = {row["experiment_id"]: (row["pid"], row["host"]) for row in noted}
    return {experiment_id: named.get(experiment_id, (0, "?")) for experiment_id in living}


# -- how psycopg is to answer ------------------------------------------------------------------


@functools.lru_cache(maxsize=500)
def _with_percent_signs(sql: str) -> str:
    """psycopg's placeholders for `?`; what stands in quotes keeps its own."""

    def one(match: re.Match[str]) -> str:
        found = match[0]
        return "%s" if found == "?" else found.replace("%", "%%")

    return re.sub(r"'[^']*'|\?|%", one, sql)


@functools.lru_cache(maxsize=200)
def _row_type(names: tuple[str, ...]) -> type[Row]:
    columns = {name: index for index, name in reversed(list(enumerate(names)))}
    return type("Row", (Row,), {"__slots__": (), "names": columns})


def _row_maker(cursor: Any) -> Callable[[Sequence[Any]], Any]:
    description = cursor.description
    return tuple if description is None else _row_type(tuple(c.name for c in description))


@functools.cache
def _text_dumper() -> Any:
    from psycopg.types.string import StrDumperUnknown

    class Text(StrDumperUnknown):
        """Text as every column of the server takes it: a NUL, which none does, is marked."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\x00", "\ufffd"))

    return Text


@functools.cache
def _text_loader() -> Any:
    from psycopg.types.string import TextLoader

    return TextLoader


@functools.cache
def _float_loader() -> Any:
    from psycopg.types.numeric import FloatLoader

    return FloatLoader


@functools.cache
def _stamp_loader() -> Any:
    from psycopg.adapt import Loader

    class Stamp(Loader):
        """A time without zone as SQLite keeps Optuna's: with six digits behind the point."""

        def load(self, data: Any) -> str:
            text = bytes(data).decode()
            whole, _, fraction = text.partition(".")
            return f"{whole}.{fraction:0<6}"

    return Stamp


# -- errors ------------------------------------------------------------------------------------


def _server_error(error: Any, location: Location, *, broken: bool) -> ServerError:
    return ServerError(
        one_line(hide_password(str(error), location)),
        getattr(error, "sqlstate", None),
        broken=broken,
    )


def hide_password(text: str, location: Location) -> str:
    """`text` without the store's password, as it is written in the URL and as it is meant."""
    for secret in _secrets(location):
        text = text.replace(secret, "***")
    return text


def _secrets(location: Location) -> list[str]:
    parts = urlsplit(location.url or "")
    user, at, _ = parts.netloc.rpartition("@")
    given = [user.partition(":")[2]] if at else []
    given += re.findall(r"(?i)password=([^&]*)", parts.query)
    both = {secret for word in given for secret in (word, unquote(word)) if secret}
    return sorted(both, key=len, reverse=True)


_BY_STATE = {
    "28P01": "the server refuses the password: put it into HYPERION_STORAGE or ~/.pgpass",
    "28000": "the server refuses this user: see its pg_hba.conf",
    "3D000": "there is no such database: create it with `createdb`",
    "42P01": "it holds no Hyperion tables: start something with `hyperion-tui run`",
    "42703": "its tables are not those of this version: upgrade with `pip install -U hyperion-tui`",
    "42501": "this user may not use its tables: ask for GRANT ALL ON SCHEMA public",
    "25006": "it can only be read: name the primary server with --store",
    "55P03": "it is locked by another process; try again in a moment",
    "57014": "the server took too long to answer; try again",
    "53100": "the server's disk is full: free some space and try again",
    "53300": "the server has no connection left: raise its max_connections, or use fewer workers",
    "57P03": "the server is starting or stopping; try again in a moment",
}


def explain(error: BaseException, location: Location) -> StoreUnavailable:
    """What the server's error means for the person, and what to do about it."""
    text = one_line(hide_password(str(error), location))
    state = getattr(error, "sqlstate", None)
    if state is None:
        state = next((code for code, words in _IN_WORDS if words in text), None)
    if state is not None and state in _BY_STATE:
        kind = Refused if state in ("28P01", "28000", "3D000") else StoreUnavailable
        return kind(f"{location.shown}: {_BY_STATE[state]}.")
    if state is None or state.startswith(("08", "57P")):
        return StoreUnavailable(
            f"{location.shown} can't be reached: {text.rstrip('.')}; check the host, the port and "
            "that the server runs."
        )
    return StoreUnavailable(f"{location.shown} can't be used: {text}.")


# A connection that fails has no code, only the server's words.
_IN_WORDS = (
    ("28P01", "password authentication failed"),
    ("28P01", "no password supplied"),
    ("28000", "no pg_hba.conf entry"),
    ("3D000", "does not exist"),
    ("53300", "too many clients"),
    ("53300", "remaining connection slots"),
    ("57P03", "the database system is"),
)
