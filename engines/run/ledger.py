"""The runner's hold on the store: it reads what changed, and writes when it can.

A runner looks ten times a second and must cost next to nothing, so it asks first whether anybody
has committed; who holds which trial is read when somebody has, and trials are counted when the
answer matters, at most so often that it takes a fiftieth of the time.

It must not die or stand still because the store can't be written now: what failed for lack of
room, for a held lock or for a server that is away is undone whole, and tried again at a later tick.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator

from engines.errors import HyperionError
from engines.run.space import Space, is_busy, is_full
from engines.study import outlook
from engines.study.location import Location
from engines.study.locks import hold_experiment
from engines.study.outlook import Facts, Held, Outlook
from engines.study.plain import FAULTS, Connection, connect_to_write, data_version, writing
from engines.study.postgres import Refused, ServerConnection, ServerError

BUSY_MS = 1000
"""How long a write waits for the lock within one tick; workers are watched between the ticks."""

LOCK_S = 5.0
RECONNECT_EVERY_S = 1.0
AWAY_S = 3600.0
"""How long a runner waits for its server before it ends, with its workers."""

COUNTING_SHARE = 50


class Ledger:
    """One experiment's rows. `facts` and `held` are as of the last `look`."""

    def __init__(self, location: Location, experiment_id: int, lock: int | None = None) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.space = Space(location.path.parent, lock)
        self.facts: Facts | None = None
        self.held: dict[int, list[Held]] = {}
        self.lost = False
        self.connection = self._connect()
        self._version: int | str | None = None
        self._outlook: Outlook | None = None
        self._outlook_is_old = True
        self._count_after = 0.0
        self._reconnect_after = 0.0
        self._away = False
        self._away_since = 0.0

    def _connect(self) -> Connection:
        connection = connect_to_write(self.location)
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if not hold_experiment(connection, self.experiment_id):
            self.lost = True
        return connection

    def close(self) -> None:
        """Let go of the store."""
        self.connection.close()

    # -- reading -----------------------------------------------------------------------------

    def look(self) -> None:
        """Read orders and who holds what, if anything was committed since the last look."""
        version = data_version(self.connection)
        if version != self._version:
            self.read()
            self._version = version

    def read(self) -> None:
        """Read them in any case."""
        self.facts = outlook.facts(self.connection, self.experiment_id)
        self.held = outlook.held(self.connection, self.experiment_id)
        self._outlook_is_old = True

    @property
    def claimable(self) -> int:
        """The jobs that there were at the last count."""
        return self._outlook.claimable if self._outlook is not None else 0

    def outlook(self) -> Outlook:
        """What is left to do; counted anew if something changed and counting is not too dear."""
        started = time.monotonic()
        if self._outlook is None or (self._outlook_is_old and started >= self._count_after):
            self._outlook = outlook.look_ahead(self.connection, self.experiment_id) or Outlook(
                "cancelled", 0
            )
            self._outlook_is_old = False
            ended = time.monotonic()
            self._count_after = ended + COUNTING_SHARE * (ended - started)
        return self._outlook

    # -- writing -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, or one of `FAULTS` with nothing changed."""
        try:
            with writing(self.connection) as connection:
                yield connection
        except BaseException:
            self._undo()
            raise
        finally:
            self._version = None

    @contextlib.contextmanager
    def write_at_once(self) -> Iterator[Connection]:
        """A write transaction that does not politely wait for its turn among busy writers."""
        if not isinstance(self.connection, sqlite3.Connection):
            with self.write() as connection:
                yield connection
            return
        # SQLite's own waiting sleeps for up to 100 ms between two tries.
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._begin(time.monotonic() + LOCK_S)
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        finally:
            self._version = None
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def _begin(self, deadline: float) -> None:
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(0.0005)

    def _undo(self) -> None:
        # SQLite undoes some failed commits by itself and leaves others open.
        if isinstance(self.connection, sqlite3.Connection) and self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def attempt(self, work: Callable[[], None]) -> bool:
        """Do something that reads or writes; False if the store can't do it now."""
        try:
            work()
        except FAULTS as error:
            if not self._will_pass(error):
                raise
            return False
        return True

    def patiently(self, work: Callable[[], None], pause_s: float = 0.1) -> None:
        """Do something, however long it takes until the store can."""
        while not self.attempt(work):
            time.sleep(pause_s)

    def _will_pass(self, error: BaseException) -> bool:
        if is_full(error):
            if not self.space.waiting:
                logging.warning("no room: %s", error)
            self.space.wait()
            return True
        if isinstance(error, ServerError) and error.broken:
            self._reconnect(error)
            return True
        return is_busy(error)

    def _reconnect(self, why: ServerError) -> None:
        if not self._away:
            logging.warning("the server is away: %s", why)
            self._away_since = time.monotonic()
        self._away = True
        if time.monotonic() < self._reconnect_after:
            return
        self._reconnect_after = time.monotonic() + RECONNECT_EVERY_S
        try:
            fresh = self._connect()
        except Refused:
            raise  # it is back, and there is nothing left to go back to
        except (HyperionError, ServerError):
            if time.monotonic() - self._away_since > AWAY_S:
                raise
            return
        with contextlib.suppress(Exception):
            self.connection.close()
        self.connection, self._version, self._away = fresh, None, False

    def truncate_log(self) -> None:
        """Empty the write-ahead log as far as nobody is in the way; a courtesy, never an error."""
        if isinstance(self.connection, ServerConnection):
            return
        with contextlib.suppress(sqlite3.Error):
            # Who reads for long, or was frozen while it did, holds its place in the log.
            self.connection.execute("PRAGMA busy_timeout = 100")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
