"""A worker process in the runner's hand: how it is started, and what is known about it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from engines.run import tree
from engines.run.process import FROZEN, LEAVE, start_ticks
from engines.study.location import STORE_VARIABLE, Location
from engines.study.outlook import Held

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

STOPS = 20
"""How often a worker is stopped again that was reading; one that reads for long stays stopped."""

LOG_LOCKS = (120, 127)
"""The bytes that SQLite locks in the index of its log: who writes, copies, repairs and reads."""

Verdict = tuple[str, str]
"""Why a trial was ended by the runner: error class and message."""


@dataclass
class Hand:
    """One worker process.

    trial and since: the trial it was last seen with, and when (boot clock, moved on by as long as
    it stood still) that began. closing: the study whose end it settles.
    verdict: why the runner killed it, or None to put its trial back; judged: the trial that the
    verdict is about, because another one may be in its hands by then.
    frozen_at, frozen_since: since when it stands still by an order: a stamp, and the boot clock.
    flag: what is odd about it. ticks, reports, moved: its processor time, what it has reported,
    and when one of them last changed; looked: when they were last compared.
    others: processes of its tree that were orphaned and are the runner's children now.
    ended: its process is gone, and so is its tree; out_of_memory: that is why.
    noted: what the store knows of it.
    """

    process: subprocess.Popen[bytes]
    worker_id: int
    slot: int
    trial: Held | None = None
    closing: int | None = None
    since: float = 0.0
    did_anything: bool = False
    killed: bool = False
    verdict: Verdict | None = None
    judged: int | None = None
    memory_checked: float = 0.0
    leaving: bool = False
    frozen_at: str | None = None
    frozen_since: float = 0.0
    flag: str | None = None
    ticks: int = 0
    reports: int = 0
    moved: float = 0.0
    looked: float = 0.0
    others: set[int] = field(default_factory=set)
    ticks_at_start: int = 0
    ended: bool = False
    out_of_memory: bool = False
    noted: tuple[int, str | None, str | None] | None = None

    @property
    def pid(self) -> int:
        """Its process, and the process group of the same number."""
        return self.process.pid

    @property
    def study(self) -> int | None:
        """The study that it works on now."""
        return self.trial.study_id if self.trial is not None else self.closing

    @property
    def to_note(self) -> tuple[int, str | None, str | None]:
        """What the store should know of it."""
        return self.pid, self.frozen_at, self.flag

    def kill(self, verdict: Verdict | None) -> None:
        """Kill it with all that it started. `Runner.reap` settles its trial."""
        self.killed = True
        self.verdict = verdict
        self.judged = self.trial.trial_id if self.trial is not None else None
        tree.kill(self.pid, self.others)

    def send_home(self) -> None:
        """Let it end after the trial that it has."""
        if not self.leaving:
            self.leaving = True
            self.tell(LEAVE)

    def stand_still(self, now: float, stamp: str, store: Path) -> None:
        """Stop all its processes where they are, but not in the middle of reading the store.

        SQLite's log could not begin anew until they go on, and would grow all that time.
        """
        log = store.with_name(store.name + "-shm")
        for _ in range(STOPS):
            tree.stop(self.pid, self.others)
            if not tree.has_locked(self.pid, self.others, log, *LOG_LOCKS):
                break
            tree.go_on(self.pid, self.others)
            time.sleep(0.005)
        else:
            tree.stop(self.pid, self.others)
        self.frozen_at, self.frozen_since = stamp, now

    def go_on(self, now: float) -> None:
        """Let its processes go on; the time between does not count."""
        stood = now - self.frozen_since
        self.tell(FROZEN % stood)
        tree.go_on(self.pid, self.others)
        self.since += stood
        self.moved = now
        self.frozen_at = None

    def tell(self, message: bytes) -> None:
        """Write to the worker; it reads at once, and one that is gone need not."""
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.write(message)
            self.process.stdin.flush()

    def is_dead(self) -> bool:
        """Whether its process has ended. Its number stays its own until `process.poll` is asked.

        So whoever kills by that number before then can't hit a later process.
        """
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                kind = os.WEXITED | os.WNOHANG | os.WNOWAIT
                return os.waitid(os.P_PID, self.pid, kind) is not None
        return self.process.poll() is not None

    def close(self) -> None:
        """It has ended: end what it started, and let go of it."""
        tree.kill(self.pid, self.others)
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


def start(
    location: Location, experiment_id: int, worker_id: int, slot: int, output: int, mark: str
) -> Hand:
    """Start a worker, in a process group of its own and with one compute thread.

    mark: what its processes are known by, see `tree.mark_of`. The store goes through the
    environment: it may hold a password, which `ps` must not show.
    """
    environment = {
        **os.environ,
        **dict.fromkeys(ONE_THREAD, "1"),
        STORE_VARIABLE: location.option,
        tree.TAG: f"{mark}{worker_id}",
    }
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "engines.run.worker"),
            *(str(experiment_id), str(worker_id), str(os.getpid()), location.shown),
        ],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env=environment,
        process_group=0,
    )
    return Hand(process, worker_id, slot, ticks_at_start=start_ticks(process.pid))


def how_it_ended(code: int, hand: Hand, *, at_work: bool) -> str:
    """The end of a worker in words."""
    if hand.killed:
        return "interrupted" if hand.verdict is None else hand.verdict[1]
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its process died by {signal.Signals(-code).name}"
        return f"its process died by signal {-code}"
    if code or at_work:
        return f"its process exited with {code}"
    return "sent home" if hand.leaving else "no more work"
