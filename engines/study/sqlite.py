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
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from engines.errors import StoreUnavailable, one_line
from engines.study.surroundings import is_network, mount_of, require_local

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


class StoreConnection(sqlite3.Connection):
    """A connection that knows which file it opened: one deleted since is written in vain."""

    path: Path = Path()
    opened: tuple[int, int] | None = None

    def require_in_place(self) -> None:
        """Raise StoreUnavailable if the file was deleted or replaced by another one."""
        if self.opened is not None and _identity(self.path) != self.opened:
            raise StoreUnavailable(f"{self.path} was deleted or replaced while it was in use.")


def connect_to_write(path: Path) -> StoreConnection:
    """A connection for orders and for the runner. The file must exist.

    Raises StoreUnavailable when it can't be opened.
    """
    if not path.is_file():
        raise StoreUnavailable(f"No store at {path}: start something with `hyperion-tui run`.")
    require_local(path)
    require_database(path)
    opened = _identity(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, factory=StoreConnection)
        connection.path, connection.opened = path, opened
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


class ReadConnection(StoreConnection):
    """A connection that only reads.

    note: what a person should know about this way of reading, or None. seen: what the files were
    when it was opened, where it shows them as they were then and not as they are.
    """

    seen: tuple[int, ...] | None = None
    note: str | None = None

    def require_in_place(self) -> None:
        """Raise StoreUnavailable if the file was deleted or replaced, or is no longer as shown."""
        super().require_in_place()
        if self.seen is not None and _state(self.path) != self.seen:
            raise StoreUnavailable(f"{self.path} has changed since it was opened; open it again.")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path means now, or None."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _state(path: Path) -> tuple[int, ...]:
    """Changes when somebody writes the file or its log."""
    found: list[int] = []
    for each in (path, _wal_of(path)):
        with contextlib.suppress(OSError):
            facts = os.stat(each)
            found += [facts.st_mtime_ns, facts.st_size]
    return tuple(found)


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def connect_to_read(path: Path) -> ReadConnection:
    """A read-only connection that no write of anybody can disturb.

    In a folder that can't be written a clean WAL file has no -shm and read-only opening fails:
    then the file is read as immutable if nothing waits in its -wal, and from a private copy
    otherwise; `note` says so. On a network file system only a file that nobody has open is read.
    Raises StoreUnavailable if the file is missing, no store, or unreadable.
    """
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder, not a store: name a file in it.")
    opened = _identity(path)
    if opened is None:
        raise StoreUnavailable(f"No store at {path}: start something with `hyperion-tui run`.")
    try:
        require_database(path)
        connection = _open_somehow(path)
    except (sqlite3.Error, OSError) as error:
        raise explain(error, path) from error
    connection.path, connection.opened = path, opened
    return connection


def _open_somehow(path: Path) -> ReadConnection:
    mount = mount_of(path)
    if mount is not None and is_network(mount):
        if _has_wal(path):
            require_local(path)
        return _open_at_rest(path, f"it lies on a network file system ({mount.kind})")
    try:
        return _open_read_only(f"{path.as_uri()}?mode=ro")
    except sqlite3.OperationalError as error:
        try:
            why = "its folder can't be written"
            return _open_copy(path, why) if _has_wal(path) else _open_at_rest(path, why)
        except (sqlite3.Error, OSError):
            raise error from None


def _has_wal(path: Path) -> bool:
    """Whether somebody has the file open, or left without closing it."""
    with contextlib.suppress(OSError):
        return os.stat(_wal_of(path)).st_size > 0
    return False


def _open_at_rest(path: Path, why: str) -> ReadConnection:
    """A file that nobody writes, without a lock."""
    seen = _state(path)
    connection = _open_read_only(f"{path.as_uri()}?mode=ro&immutable=1")
    connection.seen = seen
    connection.note = f"{path} is only looked at: {why}"
    return connection


def require_database(path: Path) -> None:
    """Raise StoreUnavailable for what is no file, too short to be a database, or cut in a page.

    SQLite itself takes a file of a few bytes for an empty one, and would write over it; it does
    not miss a part of the last page, but whole pages. It would wait for ever for a pipe.
    """
    # Never open the file for this: closing it again drops every lock that SQLite holds on it in
    # this process, and another one may then delete the -wal under us. No database is below 512.
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"{path} is a device or a pipe, not a store: name a file.")
    # While somebody writes, or died of it, what is missing here is still in the log.
    cut = found.st_size % 512 != 0 and not _has_wal(path)
    if 0 < found.st_size < 512 or cut:
        raise explain(sqlite3.DatabaseError("file is not a database"), path)


def _open_read_only(uri: str) -> ReadConnection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, factory=ReadConnection
    )
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout = 2000")
        # The first read is what fails on a file that is no database or can't be mapped.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


COPIES = 5
"""How often a copy is tried while the one who writes moves the log into the file."""


def _open_copy(path: Path, why: str) -> ReadConnection:
    """The file and its log as they are now, in memory."""
    import shutil  # a runner, which is to stay small, never comes here
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="hyperion-read-"))
    try:
        for _ in range(COPIES):
            # Lines that are added to the log meanwhile are whole or ignored. A change of the file
            # itself is not: its pages would be newer than those of the log.
            seen, before = _state(path), os.stat(path)
            for source in (path, _wal_of(path)):
                shutil.copyfile(source, folder / source.name)
            after = os.stat(path)
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                break
        else:
            raise sqlite3.OperationalError("database is locked by a writer that is never at rest")
        with contextlib.closing(sqlite3.connect(folder / path.name)) as copy:
            memory = sqlite3.connect(
                ":memory:", isolation_level=None, check_same_thread=False, factory=ReadConnection
            )
            copy.backup(memory)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    memory.row_factory = sqlite3.Row
    memory.seen = seen
    memory.note = f"{path} is read from a private copy, as it was when opened: {why}"
    return memory


def _is_full(path: Path) -> bool:
    """Whether there is no room: the write-ahead log's index then fails as an I/O error."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(path.parent).free < 64 * 1024
    return False


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
    if "full" in text or "No space left" in text or ("disk I/O" in text and _is_full(path)):
        return StoreUnavailable(f"The disk of {path} is full: free some space and try again.")
    return StoreUnavailable(f"{path} can't be used: {text}.")
