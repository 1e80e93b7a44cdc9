"""Log files that stay small: what workers print goes through pipes, and is kept up to a cap.

A worker that prints a gigabyte in a second would fill a disk before anybody could cut its file, so
it prints into a pipe; one thread of the runner empties the pipes and writes files that are renamed
to `.1` when they reach the cap. What a dying worker printed last is still in the pipe, and is
kept. The thread never waits for the store, so printing never does either. When the runner dies
the workers die with it, and at most what they printed within that moment is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import threading
import time
from pathlib import Path

from engines.files import make_private_folder

CAP_BYTES = 10 * 1024**2
"""Of one file; the one before it is kept as well."""

KEPT_DAYS = 30
_PIPE_BYTES = 1024**2
_LONGEST_LINE = 300


class CappedFile:
    """A file that is appended to, and begins anew at its cap; `.1` behind its name is the old."""

    def __init__(self, path: Path, cap: int = CAP_BYTES) -> None:
        self.path = path
        self.cap = cap
        make_private_folder(path.parent)
        self._open()

    def _open(self) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(self.path, flags, 0o600)
        self.size = os.fstat(self.descriptor).st_size

    def write(self, data: bytes) -> None:
        """Append; what a full disk has no place for is lost, and nothing else happens."""
        with contextlib.suppress(OSError):
            if self.size and self.size + len(data) > self.cap:
                self._begin_anew()
            self.size += os.write(self.descriptor, data[-self.cap :])

    def _begin_anew(self) -> None:
        before = self.descriptor
        # It may be there already: nothing could be opened in its place the last time.
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, older(self.path))
        self._open()
        os.close(before)  # only now: a number that is let go of may be another file's soon

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class LogKeeper:
    """Empties the pipes of an experiment's workers into one capped file a slot."""

    def __init__(self, folder: Path, cap: int = CAP_BYTES) -> None:
        self.folder = folder
        self.cap = cap
        self._lock = threading.Lock()
        self._open: dict[int, tuple[CappedFile, threading.Event]] = {}
        self._ends: dict[int, threading.Event] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = os.pipe()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._drain, name="logs", daemon=True)
        self._thread.start()

    def path(self, slot: int) -> Path:
        """The log of a slot."""
        return self.folder / f"worker-{slot}.log"

    def pipe(self, slot: int) -> int:
        """The end of a new pipe to give to a worker of a slot; the caller closes its own copy."""
        file = CappedFile(self.path(slot), self.cap)
        try:
            ours, theirs = os.pipe()
        except OSError:
            file.close()
            raise
        with contextlib.suppress(OSError, AttributeError):
            # Fewer changes between printing and writing: a flood costs half. Linux alone.
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[attr-defined,unused-ignore]
        os.set_blocking(ours, False)
        ended = threading.Event()
        with self._lock:
            self._open[ours] = (file, ended)
            self._ends[slot] = ended
            self._selector.register(ours, selectors.EVENT_READ)
        os.write(self._ring, b"!")
        return theirs

    def last_line(self, slot: int, wait_s: float = 1.0) -> str:
        """The last line that a worker printed, after waiting for its pipe to be empty."""
        ended = self._ends.get(slot)
        if ended is not None:
            ended.wait(wait_s)
        with contextlib.suppress(OSError), self.path(slot).open("rb") as file:
            file.seek(max(0, self.path(slot).stat().st_size - 4096))
            lines = file.read(4096).decode(errors="replace").split("\n")
            return next((s.strip()[:_LONGEST_LINE] for s in reversed(lines) if s.strip()), "")
        return ""

    def close(self, wait_s: float = 1.0) -> None:
        """Write what is left in the pipes of workers that have ended, and end the thread."""
        deadline = time.monotonic() + wait_s
        for ended in list(self._ends.values()):
            ended.wait(max(0.0, deadline - time.monotonic()))
        os.close(self._ring)
        self._thread.join(wait_s)

    def _drain(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._bell:
                    if not os.read(self._bell, 4096):
                        self._leave()
                        return
                else:
                    self._take(key.fd)

    def _take(self, pipe: int) -> None:
        file, ended = self._open[pipe]
        try:
            data = os.read(pipe, _PIPE_BYTES)
        except BlockingIOError:
            return
        if data:
            file.write(data)
            return
        with self._lock:
            self._selector.unregister(pipe)
            del self._open[pipe]
        os.close(pipe)
        file.close()
        ended.set()

    def _leave(self) -> None:
        for pipe, (file, _) in self._open.items():
            os.close(pipe)
            file.close()
        self._selector.close()
        os.close(self._bell)


def older(path: Path) -> Path:
    """Where the generation before this log lies."""
    return path.with_name(path.name + ".1")


def rotate_if_large(path: Path, cap: int = CAP_BYTES) -> bool:
    """Put a log aside that has reached the cap, before somebody opens it; False if it has not."""
    try:
        if path.stat().st_size < cap:
            return False
        os.replace(path, older(path))
    except OSError:
        return False
    return True


def renew_output(path: Path, cap: int = CAP_BYTES) -> bool:
    """Let this process, whose output is the log `path`, begin it anew at its cap."""
    if not rotate_if_large(path, cap):
        return False
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for output in (1, 2):
        os.dup2(descriptor, output)
    os.close(descriptor)
    return True


def forget_old(folder: Path, days: float = KEPT_DAYS) -> int:
    """Remove the logs of all experiments that nobody has written to for so long; how many."""
    before = time.time() - days * 86400
    removed = 0
    for path in [*folder.glob("*/*.log"), *folder.glob("*/*.log.1")]:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
