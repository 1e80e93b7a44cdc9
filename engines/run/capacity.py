"""How many workers this machine can carry."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from engines.run import cgroup

MEMORY_PER_WORKER_MIB = 600
MOST = 16


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cgroup.cores_of_quota()
    return max(1, cores if quota is None else min(cores, quota))


def free_memory_mib() -> float:
    """Memory that can be had without swapping, in MiB; a large number where it can't be asked."""
    allowed = cgroup.memory_left_mib()
    free = 1e9 if allowed is None else allowed
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min(free, int(line.split()[1]) / 1024)
    return free


def default_workers() -> int:
    """One worker a core, as far as memory carries them, 16 at most."""
    by_memory = int(free_memory_mib() // MEMORY_PER_WORKER_MIB)
    return max(1, min(usable_cores(), by_memory, MOST))
