"""Kernel locks on files: who creates the store, and which runner lives.

The kernel drops them when their holder ends, however it ends, so nothing is guessed from
clocks, pid files or heartbeats. A runner's lock is a POSIX record lock: it is not inherited by
children, and F_GETLK names its holder. POSIX drops it when the holder closes *any* descriptor
of that file, so the runner opens it once and nobody else in that process may.

Files say nothing to other machines: a store on a server has the server's own locks beside them,
which it drops when their holder's connection ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from engines.files import make_private_folder
from engines.study import postgres
from engines.study.location import Location
from engines.study.plain import FAULTS, Connection, connect_to_read, explain
from engines.study.postgres import ServerConnection

# struct flock: Linux puts type and whence first, macOS puts them last.
_FLOCK = "hhqqi4x" if sys.platform.startswith("linux") else "qqihh"

_ALIVE = 0
"""The byte of a runner's lock file that says that it lives."""

WAITING = 1
"""The byte that says that it waits for room on the disk."""


@contextlib.contextmanager
def init_lock(location: Location) -> Iterator[None]:
    """Hold the lock under which a store is created or migrated; waits for its turn."""
    make_private_folder(location.side)
    descriptor = os.open(location.init_lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.nullcontext() if location.is_file else postgres.schema_lock(location):
            yield
    finally:
        os.close(descriptor)


def take_runner_lock(path: Path) -> int | None:
    """Become the runner: a descriptor to keep open for life, or None if another one lives."""
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        taken = lock_byte(descriptor, _ALIVE)
    except OSError:
        taken = False
    if not taken:
        os.close(descriptor)
        return None
    return descriptor


def lock_byte(descriptor: int, byte: int) -> bool:
    """Lock one byte of a file for this process; False if another one has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock_byte(descriptor: int, byte: int) -> None:
    """Let go of one byte of a file."""
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


def locked_by(descriptor: int, byte: int) -> int | None:
    """The process that has one byte of a file locked, or None; this process itself is None."""
    if sys.platform.startswith("linux"):
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    else:
        asked = struct.pack(_FLOCK, byte, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
        _, _, pid, kind, _ = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


def runner_pid(path: Path) -> int | None:
    """The process that holds a runner's lock, or None. Never call it in that process itself."""
    return _holder(path, _ALIVE)


def is_waiting_for_space(path: Path) -> bool:
    """Whether the runner of this lock can't write, because there is no room, and waits for it."""
    return _holder(path, WAITING) is not None


def _holder(path: Path, byte: int) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return locked_by(descriptor, byte)
    finally:
        os.close(descriptor)


def hold_experiment(connection: Connection, experiment_id: int) -> bool:
    """Become an experiment's runner among all machines, for as long as `connection` lives.

    False if the runner of another machine lives. A file has one machine: its lock is enough.
    """
    if isinstance(connection, ServerConnection):
        return postgres.become_runner(connection, experiment_id)
    return True


def runners(
    location: Location, connection: Connection, experiment_ids: Iterable[int]
) -> dict[int, tuple[int, str | None]]:
    """The runners that live, by experiment: process id, and host where it is another machine."""
    remote: dict[int, tuple[int, str]] = {}
    if isinstance(connection, ServerConnection):
        remote = postgres.runners(connection)
    found: dict[int, tuple[int, str | None]] = {}
    for experiment_id in experiment_ids:
        pid = runner_pid(location.runner_lock(experiment_id))
        if pid is not None:
            found[experiment_id] = (pid, None)
        elif experiment_id in remote:
            found[experiment_id] = remote[experiment_id]
    return found


def find_runner(location: Location, experiment_id: int) -> tuple[int, str | None] | None:
    """The runner of an experiment, on whatever machine, or None; see `runners`."""
    pid = runner_pid(location.runner_lock(experiment_id))
    if pid is not None:
        return pid, None
    if location.is_file:
        return None
    with contextlib.closing(connect_to_read(location)) as connection:
        try:
            return runners(location, connection, [experiment_id]).get(experiment_id)
        except FAULTS as error:
            raise explain(error, location) from error


def living_runners(location: Location) -> list[int]:
    """Ids of the experiments whose runner lives, on whatever machine."""
    here = {
        int(lock.parent.name)
        for lock in location.side.glob("run/*/runner.lock")
        if lock.parent.name.isdigit() and runner_pid(lock) is not None
    }
    if not location.is_file:
        with contextlib.closing(ServerConnection(location, reading=True)) as connection:
            here |= postgres.runners(connection).keys()
    return sorted(here)
