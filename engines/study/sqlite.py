"""Plain connections to the store through the standard library, for what must start fast.

The store's file is opened by SQLite and by nothing else: closing any other descriptor of it would
drop every lock that SQLite holds on it in this process (POSIX), and the next process to leave
would delete the write-ahead log under it, with every trial in it.

Two kinds: `connect_to_write` for orders and for the runner, `connect_to_read` for screens,
which can never lock or change a study. Every write transaction begins IMMEDIATE, because a
transaction that reads first and writes later can't wait for a lock on SQLite, it fails.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engines.errors import StoreUnavailable, one_line

BUSY_TIMEOUT_MS = 30_000


def set_pragmas(connection: sqlite3.Connection) -> None:
    """The settings of every writing connection. WAL is a property of the file, see `store`."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = NORMAL")


def begin_immediate(connection: sqlite3.Connection, patience_s: float = 0.0) -> None:
    """Take the write lock, waiting for the busy timeout and then on for `patience_s`.

    Raises sqlite3.OperationalError when the lock is still held after that.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise


def is_locked(error: BaseException) -> bool:
    """Whether SQLite says that another process holds the lock."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def connect_to_write(path: Path) -> sqlite3.Connection:
    """A connection for orders and for the runner. The file must exist.

    Raises StoreUnavailable when it can't be opened.
    """
    if not path.is_file():
        raise StoreUnavailable(f"No store at {path}: start something with `hyperion-tui run`.")
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        set_pragmas(connection)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    connection.row_factory = sqlite3.Row
    return connection


@contextlib.contextmanager
def writing(
    connection: sqlite3.Connection, *, durable: bool = False, patience_s: float = 0.0
) -> Iterator[sqlite3.Connection]:
    """One short write transaction; `durable` adds the fsync that survives a power cut."""
    # The pragma is ignored inside a transaction, so it is set before BEGIN.
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    begin_immediate(connection, patience_s)
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A read-only connection that no write of anybody can disturb.

    In a folder that can't be written a clean WAL file has no -shm and read-only opening fails:
    then the file is read as immutable if nothing waits in its -wal, and from a private copy
    otherwise. Raises StoreUnavailable if the file is missing, no store, or unreadable.
    """
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder, not a store: name a file in it.")
    if not path.exists():
        raise StoreUnavailable(f"No store at {path}: start something with `hyperion-tui run`.")
    try:
        require_database(path)
    except OSError as error:
        raise explain(error, path) from error
    try:
        return _open_read_only(f"{path.as_uri()}?mode=ro")
    except sqlite3.OperationalError as error:
        wal = path.with_name(path.name + "-wal")
        try:
            if wal.exists() and wal.stat().st_size:
                return _open_copy(path, wal)
            return _open_read_only(f"{path.as_uri()}?mode=ro&immutable=1")
        except (sqlite3.Error, OSError):
            raise explain(error, path) from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


def require_database(path: Path) -> None:
    """Raise StoreUnavailable for a file too short to be a database.

    SQLite itself takes a file of a few bytes for an empty one, and would write over it; longer
    ones it refuses by itself.
    """
    # Never open the file for this: closing it again drops every lock that SQLite holds on it in
    # this process, and another one may then delete the -wal under us. No database is below 512.
    if 0 < path.stat().st_size < 512:
        raise explain(sqlite3.DatabaseError("file is not a database"), path)


def _open_read_only(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout = 2000")
    # The first read is what fails on a file that is no database or can't be mapped.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    return connection


def _open_copy(path: Path, wal: Path) -> sqlite3.Connection:
    folder = Path(tempfile.mkdtemp(prefix="hyperion-read-"))
    try:
        shutil.copy(path, folder / path.name)
        shutil.copy(wal, folder / wal.name)
        connection = sqlite3.connect(folder / path.name, isolation_level=None)
        connection.row_factory = sqlite3.Row
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(memory)
        connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    memory.row_factory = sqlite3.Row
    return memory


def explain(error: BaseException, path: Path) -> StoreUnavailable:
    """What a driver's error means for the person, and what to do about it."""
    text = one_line(error)
    if "locked" in text or "busy" in text:
        return StoreUnavailable(f"{path} is locked by another process; try again in a moment.")
    if "not a database" in text or "malformed" in text or "file is encrypted" in text:
        return StoreUnavailable(
            f"{path} is not a store, or it is damaged ({text}): "
            "name another file with --store, or restore a backup; nothing was changed."
        )
    if "readonly" in text or "read-only" in text or "attempt to write" in text:
        return StoreUnavailable(
            f"{path} can't be written: check its permissions, or name another with --store."
        )
    if "unable to open" in text:
        return StoreUnavailable(
            f"{path} can't be opened: check that its folder exists and may be written."
        )
    if "no such table" in text:
        return StoreUnavailable(f"{path} holds no Hyperion tables: name another with --store.")
    if "full" in text:
        return StoreUnavailable(f"The disk of {path} is full: free some space and try again.")
    return StoreUnavailable(f"{path} can't be used: {text}.")
