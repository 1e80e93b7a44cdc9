"""Facts about processes, asked of the kernel: who is who, who dies with whom, how much memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LINUX = sys.platform.startswith("linux")


def boot_id() -> str:
    """A word that changes with every boot, or an empty one where the kernel has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if it is gone or can't be asked."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The name in parentheses may hold spaces; field 22 of the line is the 20th behind it.
    return int(stat.rpartition(")")[2].split()[19])


def is_same_process(pid: int, ticks: int, boot: str) -> bool:
    """Whether `pid` is still the process that was noted, and not a later one of that number.

    False where nobody can tell: whoever is told yes may kill it.
    """
    return ticks != 0 and boot == boot_id() and start_ticks(pid) == ticks


_leave = threading.Event()
_frozen_s = 0.0

LEAVE = b"leave\n"
"""What the runner writes to a worker that is to end after the trial in its hands."""

FROZEN = b"frozen %f\n"
"""What it writes to one that it has just let go on: for how many seconds it stood still."""


def die_with(parent: int) -> None:
    """End this process when `parent` does, whatever kills it; exits at once if it has already.

    The kernel's signal on Linux; on every system also the end of stdin, whose other side only
    the parent holds. What the parent writes there is obeyed: see `asked_to_leave`, `frozen_s`.
    """
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    # An objective that asks for input gets the end of a file, and does not take our messages.
    orders = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := os.read(orders, 4096):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    _obey(line)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=listen, name="parent-watch", daemon=True).start()


def _obey(line: bytes) -> None:
    global _frozen_s
    word, _, value = line.partition(b" ")
    if word == b"leave":
        _leave.set()
    elif word == b"frozen":
        _frozen_s += float(value)


def asked_to_leave() -> bool:
    """Whether this worker is to end before it claims another job."""
    return _leave.is_set()


def frozen_s() -> float:
    """For how many seconds in all this worker stood still by an order."""
    return _frozen_s


def peak_memory_mib() -> float:
    """The largest resident size that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if _LINUX else peak / 1024**2
