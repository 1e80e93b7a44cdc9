"""Trees of processes: a worker and whatever it started, wherever that has gone.

A process belongs to a worker when it is in its process group, or descends from it through any
thread of any generation; one that was orphaned on the way comes to the runner, which adopts
orphans (`adopt_orphans`), and still carries the worker's number in its environment (`TAG`).
Everything is asked of /proc, where it costs some 20 microseconds a process; where there is none,
the process group is all that can be reached.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

TAG = "HYPERION_WORKER"
"""The environment variable that names the runner and the worker that a process belongs to: what
marks the experiment (`mark_of`), and the worker's number."""

_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")
_STOPPED = frozenset("TtZXD")
"""States of a thread that takes no lock any more; D ends in T, before it can ask for one."""


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, instead of the machine's first."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = _read(f"/proc/{pid}/task/{thread}/children")
                found.extend(map(int, text.split()))
    return found


def members(pid: int, others: Iterable[int] = ()) -> list[int]:
    """A process, those of `others` that its orphans became, and all that descend from them."""
    found = [pid, *others]
    known = set(found)
    for member in found:
        for child in children(member):
            if child not in known:
                known.add(child)
                found.append(child)
    return found


def send(pid: int, number: signal.Signals, others: Iterable[int] = ()) -> list[int]:
    """A signal to the process group `pid` and to its whole tree; returns who was reached."""
    found = members(pid, others)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
    for member in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, number)
    return found


def kill(pid: int, others: Iterable[int] = ()) -> None:
    """SIGKILL to a whole tree. What it starts while dying is an orphan, and found as one."""
    send(pid, signal.SIGKILL, others)


def stop(pid: int, others: Iterable[int] = (), *, within_s: float = 1.0) -> bool:
    """SIGSTOP to a whole tree; True when every thread of it stands still.

    A process may start another one before it stops, so the tree is walked until it is the same.
    """
    deadline = time.monotonic() + within_s
    reached: list[int] = []
    while time.monotonic() < deadline:
        now = members(pid, others)
        if now != reached:
            reached = send(pid, signal.SIGSTOP, others)
        elif all(map(_stands_still, now)):
            return True
        else:
            time.sleep(0.001)
    return False


def has_locked(pid: int, others: Iterable[int], file: Path, first: int, last: int) -> bool:
    """Whether a tree holds a record lock on one of these bytes of a file; False if unknown.

    The kernel's list is read: to open and close the file here would drop our own locks on it.
    """
    with contextlib.suppress(OSError):
        inode = str(file.stat().st_ino)
        tree = set(map(str, members(pid, others)))
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            # One that waits has an arrow behind its number, and no process where ours have it.
            if words[4] in tree and words[5].rpartition(":")[2] == inode:
                end = last if words[7] == "EOF" else int(words[7])
                if int(words[6]) <= last and end >= first:
                    return True
    return False


def wait_until_gone(pids: Iterable[int], *, within_s: float) -> bool:
    """Wait for processes that were killed, children of this one or not; False if some stay."""
    left = set(pids)
    deadline = time.monotonic() + within_s
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if not _is_gone(pid)}
        if left:
            time.sleep(0.005)
    return not left


def _is_gone(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    with contextlib.suppress(OSError):
        return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def go_on(pid: int, others: Iterable[int] = ()) -> None:
    """SIGCONT to a whole tree."""
    send(pid, signal.SIGCONT, others)


def memory_mib(pid: int, others: Iterable[int] = (), *, above: float = 0.0) -> float:
    """The proportional memory of a tree in MiB, 0 if unknown.

    above: what is of interest; where even the sum of resident sizes, which counts shared pages
    several times, is not more, that sum is the answer, because it costs a hundredth.
    """
    tree = members(pid, others)
    page = os.sysconf("SC_PAGE_SIZE")
    resident = 0.0
    for member in tree:
        with contextlib.suppress(OSError, IndexError):
            resident += int(_read(f"/proc/{member}/statm").split()[1]) * page / 1024**2
    if resident <= above:
        return resident
    total = 0.0
    for member in tree:
        with contextlib.suppress(OSError):
            for line in _read(f"/proc/{member}/smaps_rollup").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
    return total


def processor_ticks(pid: int, others: Iterable[int] = ()) -> int:
    """Clock ticks of processor time that a tree has used, those it has waited for included."""
    total = 0
    for member in members(pid, others):
        with contextlib.suppress(OSError, IndexError):
            fields = _read(f"/proc/{member}/stat").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total


def orphans(known: Iterable[int]) -> list[int]:
    """Children of this process that it did not start itself; zombies among them are collected."""
    found: list[int] = []
    for child in set(children(os.getpid())).difference(known):
        # By its number: waiting for any child would take the exit codes of those we started.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(child, os.WNOHANG) == (0, 0):
                found.append(child)
    return found


def tag_of(pid: int) -> str | None:
    """The value of `TAG` in the environment of a process, or None."""
    start = f"{TAG}=".encode()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(start):
                return os.fsdecode(entry[len(start) :])
    return None


def mark_of(folder: Path, experiment_id: int) -> str:
    """How the tags of an experiment's processes begin.

    By path and by what is there: containers see other files under the same path, and their
    processes are seen from outside.
    """
    there = folder.stat()
    return f"{there.st_dev}:{there.st_ino}:{folder}:{experiment_id}:"


def owner_of(pid: int, mark: str) -> int | None:
    """The number of the worker that a process belongs to, or None if it is none of this mark."""
    tag = tag_of(pid) or ""
    # Nothing but a number may follow: with a path such as `studies.db:1` a longer mark does.
    number = tag[len(mark) :]
    return int(number) if tag.startswith(mark) and re.fullmatch("[0-9]+", number) else None


def tagged(mark: str) -> list[int]:
    """Every process of this user that carries a mark: 10 ms on a busy machine."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit() and owner_of(int(name), mark) is not None:
                found.append(int(name))
    return found


def is_stopped(pid: int) -> bool:
    """Whether a process was frozen; False for one that can't be asked."""
    return os.path.exists(f"/proc/{pid}/task") and _stands_still(pid)


def _stands_still(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                stat = _read(f"/proc/{pid}/task/{thread}/stat")
                if stat.rpartition(")")[2].split()[0] not in _STOPPED:
                    return False
    return True


def _read(path: str) -> str:
    # A third of what Path.read_text costs, and this is asked twice a second for every process.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    finally:
        os.close(descriptor)
