"""Kernel locks on files: who creates the store, and which runner lives.

The kernel drops them when their holder ends, however it ends, so nothing is guessed from
clocks, pid files or heartbeats. A runner's lock is a POSIX record lock: it is not inherited by
children, and F_GETLK names its holder. POSIX drops it when the holder closes *any* descriptor
of that file, so the runner opens it once and nobody else in that process may.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from engines.files import make_private_folder
from engines.study.location import Location

# struct flock: Linux puts type and whence first, macOS puts them last.
_FLOCK = "hhqqi4x" if sys.platform.startswith("linux") else "qqihh"


@contextlib.contextmanager
def init_lock(location: Location) -> Iterator[None]:
    """Hold the lock under which a store is created or migrated; waits for its turn."""
    make_private_folder(location.side)
    descriptor = os.open(location.init_lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def take_runner_lock(path: Path) -> int | None:
    """Become the runner: a descriptor to keep open for life, or None if another one lives."""
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def runner_pid(path: Path) -> int | None:
    """The process that holds a runner's lock, or None. Never call it in that process itself."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return None
    except OSError:
        return None
    try:
        if sys.platform.startswith("linux"):
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(
                _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
            )
        else:
            asked = struct.pack(_FLOCK, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
            _, _, pid, kind, _ = struct.unpack(
                _FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
            )
        return None if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(descriptor)


def living_runners(location: Location) -> list[int]:
    """Ids of the experiments whose runner lives."""
    return [
        int(lock.parent.name)
        for lock in sorted(location.side.glob("run/*/runner.lock"))
        if lock.parent.name.isdigit() and runner_pid(lock) is not None
    ]
