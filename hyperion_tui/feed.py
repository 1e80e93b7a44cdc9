"""The one reader of the store: asks every tick whether something changed, and only then reads.

`due` runs on the event loop and costs some 20 microseconds; `read` runs in a thread. Never both
at a time, so one connection is enough. Pages of trials have a connection of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from engines.errors import HyperionError, StoreUnavailable
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment, Study
from hyperion_tui import charting
from hyperion_tui.charting import Charted
from hyperion_tui.messages import Snapshot

LOG_LENGTH = 5_000
"""Events that are read, and kept, of one experiment."""

SERVER_POLL_S = 0.2
"""How often a server is asked whether something changed; a file is asked at every tick."""

_GOING_ON = ("running", "waiting", "pausing")


class Feed:
    """Turns the store into snapshots. A store that does not exist yet is simply empty."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._reader: Reader | None = None
        self._pages: Reader | None = None
        self._version: int | str = -1
        self._wanted: int | None = None
        self._shown = Snapshot()
        self._forced = True
        self._busy = False
        self._not_before = 0.0
        self._failing_since: float | None = None
        self._closed = False
        self._charts: Reader | None = None
        self._using_charts = threading.Lock()
        # SQLite crashes when a connection is closed under a question that still runs.
        self._using_reader = threading.Lock()

    @property
    def pages(self) -> Reader:
        """A reader for single questions of screens. Raises StoreUnavailable."""
        if self._pages is None:
            self._pages = Reader(self.location)
        return self._pages

    def close(self) -> None:
        """Let go of the file, as soon as the thread that reads it is done."""
        with self._using_reader, self._using_charts:
            self._closed = True
            for reader in (self._reader, self._pages, self._charts):
                if reader is not None:
                    reader.close()
            self._reader = self._pages = self._charts = None

    def charted(self, experiment: Experiment, study: Study) -> Charted | None:
        """What the charts of a study are drawn from; None once the feed is closed.

        Runs in a thread, over a connection of its own. Raises HyperionError.
        """
        with self._using_charts:
            if self._closed:
                return None
            if self._charts is None:
                self._charts = Reader(self.location)
            return charting.read(self._charts, experiment, study)

    def follow(self, experiment_id: int) -> None:
        """Open another experiment: the next snapshot has its log from the start."""
        self._wanted = experiment_id
        self._forced = True

    def ask_again(self) -> None:
        """Read at the next tick even if nothing was written."""
        self._forced = True

    @property
    def is_asked(self) -> bool:
        """Whether somebody wants it to read, and it has not begun."""
        return self._forced

    def due(self) -> bool:
        """Whether `read` should be called now. It must be, if this says yes."""
        if self._busy or time.monotonic() < self._not_before:
            return False
        # A server may take its time to answer: it is asked in the thread that reads.
        self._busy = self._forced or not self.location.is_file or self._changed()
        return self._busy

    def _changed(self) -> bool:
        if self._reader is None:
            return self.location.may_exist
        try:
            return self._reader.data_version() != self._version or self._runner_changed()
        except HyperionError:
            return True

    def _runner_changed(self) -> bool:
        # A runner that dies, or has no room, writes nothing: its lock is the only sign.
        assert self._reader is not None
        going_on = [e for e in self._shown.experiments if e.state in _GOING_ON]
        living = self._reader.runners(e.experiment_id for e in going_on)
        return any(
            living.get(e.experiment_id, (None, None)) != (e.runner_pid, e.runner_host)
            or self._reader.trouble(e.experiment_id, living.get(e.experiment_id)) != e.trouble
            for e in going_on
        )

    def read(self) -> Snapshot | None:
        """The store now, or None if it looks as it did. Runs in a thread.

        A snapshot must be accepted before the next one is read.
        """
        with self._using_reader:
            return None if self._closed else self._read_unless_same()

    def _read_unless_same(self) -> Snapshot | None:
        started = time.monotonic()
        if not self._forced and not self.location.is_file and not self._changed():
            self._not_before = started + SERVER_POLL_S
            self._busy = False
            return None
        self._forced = False
        try:
            snapshot = self._read()
        except HyperionError as error:
            snapshot = self._fail(started, str(error))
        else:
            self._failing_since = None
            # At most a fifth of one core, however large the store is.
            now = time.monotonic()
            self._not_before = now + 4 * (now - started)
        if snapshot == self._shown:
            self._busy = False
            return None
        return snapshot

    def accept(self, snapshot: Snapshot) -> None:
        """The app shows this now: its events need not come again."""
        self._shown = replace(snapshot, events=())
        if self._wanted is None:
            self._wanted = snapshot.current_id
        self._busy = False

    def _fail(self, now: float, problem: str) -> Snapshot:
        # A file that is being created has no tables for a moment: wait before saying so.
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        self._version = -1
        self._failing_since = self._failing_since or now
        lasting = now - self._failing_since >= 1.0
        self._not_before = now + (1.0 if lasting else 0.2)
        return replace(self._shown, problem=problem) if lasting else self._shown

    def _read(self) -> Snapshot:
        if not self.location.may_exist:
            if self._shown.experiments:
                raise StoreUnavailable(f"{self.location.shown} was deleted while it was shown.")
            return Snapshot()
        if self._reader is None:
            self._reader = Reader(self.location)
        self._version = self._reader.data_version()
        experiments = tuple(self._reader.experiments())
        if self._pages is None:
            # Here, in a thread: to count all trials again would stop the screen for a moment.
            self._pages = Reader(self.location, like=self._reader)
        current_id = _chosen(experiments, self._wanted)
        if current_id is None:
            return Snapshot(experiments)
        known = self._shown.last_seq if self._shown.current_id == current_id else 0
        events = tuple(self._reader.events(current_id, after=known, limit=LOG_LENGTH))
        return Snapshot(
            experiments=experiments,
            current_id=current_id,
            workers=tuple(self._reader.workers(current_id)),
            events=events,
            last_seq=events[-1].seq if events else known,
            note=self._reader.note,
        )


def _chosen(experiments: Sequence[Experiment], wanted: int | None) -> int | None:
    """The experiment to open: the wanted one, the newest that goes on, the newest."""
    ids = [e.experiment_id for e in experiments]
    if wanted in ids:
        return wanted
    active = [e.experiment_id for e in experiments if e.state in _GOING_ON]
    return next(iter([*active, *ids]), None)
