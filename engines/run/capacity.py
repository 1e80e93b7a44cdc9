"""How many workers this machine can carry."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MEMORY_PER_WORKER_MIB = 600
MOST = 16


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by a cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return max(1, cores)


def free_memory_mib() -> float:
    """Memory that can be had without swapping, in MiB; a large number where it can't be asked."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    return 1e9


def default_workers() -> int:
    """One worker a core, as far as memory carries them, 16 at most."""
    by_memory = int(free_memory_mib() // MEMORY_PER_WORKER_MIB)
    return max(1, min(usable_cores(), by_memory, MOST))
