"""What the kernel's control groups say about this process: memory kills, and limits.

Version 2 and version 1; a machine without either answers from the kernel's own counters.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's group, the inner one first, up to the mounted root."""
    with contextlib.suppress(OSError):
        for line in OWN.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mount = ROOT / controller if controllers else ROOT
            inner = mount / path.lstrip("/")
            # In a container the path may be that of the outer machine: the mount is our group.
            yield from (f for f in [inner, *inner.parents] if f.is_relative_to(mount))


def memory_kill_counter() -> Path | None:
    """The file that counts processes of our group killed because memory ran out, if any does."""
    for folder in _folders("memory"):
        for name in ("memory.events", "memory.oom_control"):
            path = folder / name
            if count_memory_kills(path) is not None:
                return path
    whole = Path("/proc/vmstat")
    return whole if count_memory_kills(whole) is not None else None


def count_memory_kills(path: Path | None) -> int | None:
    """The count in a file of `memory_kill_counter`, or None where it can't be read."""
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def cores_of_quota() -> int | None:
    """Whole cores that the processor quota of our group or one above it allows, or None."""
    allowed: list[int] = []
    for folder in _folders("cpu"):
        with contextlib.suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:
                allowed.append(max(1, int(quota) // int(period)))
    return min(allowed, default=None)


def memory_left_mib() -> float | None:
    """What our group or one above it may still take, in MiB, or None without a limit."""
    left: list[float] = []
    for folder in _folders("memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with contextlib.suppress(OSError, ValueError):
                most = int((folder / limit).read_text())
                if most < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                    held = int((folder / used).read_text()) - _reclaimable(folder)
                    left.append(max(0.0, (most - held) / 1024**2))
    return min(left, default=None)


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files, which the kernel gives back before it kills anybody."""
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):
                return int(line.split()[1])
    return 0
