"""What workers use of this machine: asked of /proc, in a thread."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from engines.run import tree
from engines.run.process import is_same_process
from engines.study.records import Worker


@dataclass(frozen=True, slots=True)
class Usage:
    """cores: processor time a second since the last look, 1.0 for one core; None at the first.

    memory_mib: of the worker and all it started, shared pages counted in parts; 0 if unknown.
    """

    cores: float | None
    memory_mib: float


class Meter:
    """Looks at workers, one time after the other."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[float, int]] = {}

    def look(self, workers: Iterable[Worker]) -> dict[int, Usage]:
        """What each uses, by its id; those that are gone, or on another machine, are left out."""
        found: dict[int, Usage] = {}
        seen: dict[int, tuple[float, int]] = {}
        for worker in workers:
            if not is_same_process(worker.pid, worker.start_ticks, worker.boot_id):
                continue
            now, ticks = time.monotonic(), tree.processor_ticks(worker.pid)
            seen[worker.worker_id] = now, ticks
            cores = None
            if (before := self._before.get(worker.worker_id)) is not None and now > before[0]:
                # A child that ended uncollected takes its time with it.
                used = max(0, ticks - before[1]) / os.sysconf("SC_CLK_TCK")
                cores = used / (now - before[0])
            found[worker.worker_id] = Usage(cores, tree.memory_mib(worker.pid))
        self._before = seen
        return found
