"""Whether there is room to write: how much is free, what says that it is used up, who waits.

A runner without room can't write down that it has none, so it says so with a lock: the second byte
of its lock file. Screens ask the kernel for it, as they ask whether the runner lives.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from engines.study.locks import WAITING, lock_byte, unlock_byte
from engines.study.postgres import ServerError

LEAST_MIB = 2.0
"""Below this no worker is started: it could write neither its trials nor its log."""


def is_full(error: BaseException) -> bool:
    """Whether a write failed because there was no room for it."""
    if isinstance(error, ServerError):
        return error.sqlstate == "53100"
    text = str(error)
    # The second is what SQLite says when its shared memory file can't grow.
    return isinstance(error, sqlite3.Error) and ("full" in text or "disk I/O error" in text)


def is_busy(error: BaseException) -> bool:
    """Whether a write failed because others were writing for longer than we wait."""
    if isinstance(error, ServerError):
        return error.sqlstate == "55P03"
    text = str(error)
    return isinstance(error, sqlite3.OperationalError) and ("locked" in text or "busy" in text)


def free_mib(folder: Path) -> float:
    """What this user may still write on the disk of a folder, in MiB; a lot if unknown."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with contextlib.suppress(OSError):
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize / 1024**2
    return 1e9


class Space:
    """The room on a store's disk, as its runner sees it.

    lock: the descriptor of the runner's lock, or None where there is none to say it with.
    """

    def __init__(self, folder: Path, lock: int | None = None) -> None:
        self.folder = folder
        self.lock = lock
        self.waiting = False

    def is_short(self) -> bool:
        """Whether there is too little for another worker."""
        return free_mib(self.folder) < LEAST_MIB

    def wait(self) -> None:
        """Say that this runner waits for room."""
        self.waiting = True
        if self.lock is not None:
            lock_byte(self.lock, WAITING)

    def go_on(self) -> None:
        """Say that it no longer does."""
        self.waiting = False
        if self.lock is not None:
            unlock_byte(self.lock, WAITING)
