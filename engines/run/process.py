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
    """Whether `pid` is still the process that was noted, and not a later one of that number."""
    if boot != boot_id():
        return False
    if _LINUX:
        return ticks != 0 and start_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def die_with(parent: int) -> None:
    """End this process when `parent` does, whatever kills it; exits at once if it has already.

    The kernel's signal on Linux; on every system also the end of stdin, whose other side only
    the parent holds.
    """
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_end, name="parent-watch", daemon=True).start()


def kill_group(pid: int) -> None:
    """SIGKILL to a process and all of its process group; nothing if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def peak_memory_mib() -> float:
    """The largest resident size that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if _LINUX else peak / 1024**2


def memory_mib(pid: int) -> float:
    """The proportional memory of a process and its children now, in MiB; 0 if unknown."""
    total = 0.0
    for member in [pid, *_children(pid)]:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
    return total


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
