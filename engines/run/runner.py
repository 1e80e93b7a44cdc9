"""The runner: one process an experiment that keeps its workers alive and its promises true.

It is plain Python and sqlite3 (about 15 MB), holds the experiment's lock for life, and does the
same few things every tick: notice dead workers, settle their trials, obey orders, enforce
limits, account for time, start what is missing. With nothing left to do it sweeps and goes.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from engines.clock import boot_seconds
from engines.files import make_private_folder
from engines.run.process import boot_id, is_same_process, kill_group, memory_mib, start_ticks
from engines.study import supervision
from engines.study.location import Location
from engines.study.locks import take_runner_lock
from engines.study.sqlite import connect_to_write, writing
from engines.study.states import FINAL
from engines.study.supervision import CRASHES, DEATHS, Held, Outlook

TICK_S = 0.1
MEMORY_EVERY_S = 0.5
TIME_EVERY_S = 1.0
QUICK_DEATHS = 5
"""So many workers in a row that died before their first trial end the experiment."""

LOCK_PATIENCE_S = 3600.0
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass
class Hand:
    """A worker process in the runner's hand.

    trial and since: the trial it was last seen with, and when (boot clock) that began.
    verdict: why the runner killed it: (error class, message), or None to put its trial back.
    judged: the trial that the verdict is about; another one may be in its hands by then.
    """

    process: subprocess.Popen[bytes]
    worker_id: int
    slot: int
    trial: Held | None = None
    since: float = 0.0
    did_anything: bool = False
    killed: bool = False
    verdict: tuple[str, str] | None = None
    judged: int | None = None
    memory_checked: float = field(default=0.0)


class Runner:
    """Drives one experiment while it holds its lock."""

    def __init__(self, location: Location, experiment_id: int) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.connection = connect_to_write(location.path)
        self.hands: dict[int, Hand] = {}
        self.quick_deaths = 0
        self.accounted = boot_seconds()
        self.boot = boot_id()

    # -- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """From the sweep of orphans to the last one; returns when nothing is left to do."""
        with self.write() as connection:
            deaths = supervision.recent_deaths(connection, self.experiment_id)
            runner_id = supervision.add_runner(connection, self.experiment_id)
        self.kill_leftovers()
        with self.write() as connection:
            supervision.adopt_foreign_trials(connection, self.experiment_id)
            supervision.sweep(connection, self.experiment_id, "its runner died")
            if deaths >= DEATHS:
                log = self.location.logs(self.experiment_id) / "runner.log"
                supervision.set_failure(
                    connection,
                    self.experiment_id,
                    f"its runner died {deaths} times in five minutes: see {log}",
                )
        self.accounted = boot_seconds()
        while self.tick():
            time.sleep(TICK_S)
        with self.write() as connection:
            supervision.sweep(connection, self.experiment_id, "its runner ended")
            supervision.end_runner(connection, runner_id, "nothing left to do")

    def tick(self) -> bool:
        """One round of everything; False when nothing is left and nobody runs."""
        self.reap()
        outlook = supervision.outlook(self.connection, self.experiment_id)
        if outlook is None:
            self.kill_all()
            return bool(self.hands)
        self.account(outlook)
        self.watch(outlook)
        if outlook.state == "failed":
            self.kill_all()
        else:
            self.hire(outlook)
        return bool(self.hands) or (outlook.claimable > 0 and outlook.state not in FINAL)

    @contextlib.contextmanager
    def write(self):  # type: ignore[no-untyped-def]
        """A write transaction; a runner waits for a stopped lock holder rather than die."""
        with writing(self.connection, patience_s=LOCK_PATIENCE_S) as connection:
            yield connection

    def kill_leftovers(self) -> None:
        """End workers of an earlier runner that are still there, before their trials are swept."""
        living = supervision.living_workers(self.connection, self.experiment_id)
        for pid, ticks, boot in living:
            if is_same_process(pid, ticks, boot):
                logging.warning("killing worker %d of an earlier runner", pid)
                kill_group(pid)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and any(is_same_process(*who) for who in living):
            time.sleep(0.01)

    # -- workers -----------------------------------------------------------------------------

    def hire(self, outlook: Outlook) -> None:
        """Start workers up to the number asked for, and no more than there is work for."""
        wanted = min(outlook.workers, outlook.claimable)
        taken = {hand.slot for hand in self.hands.values()}
        for slot in range(1, outlook.workers + 1):
            if len(self.hands) >= wanted:
                return
            if slot not in taken:
                self.start_worker(slot)

    def start_worker(self, slot: int) -> None:
        """Start one worker, in a process group of its own and with one compute thread."""
        with self.write() as connection:
            worker_id = supervision.add_worker(
                connection, self.experiment_id, slot, 0, 0, self.boot
            )
        logs = make_private_folder(self.location.logs(self.experiment_id))
        log = os.open(logs / f"worker-{slot}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "engines.run.worker"),
                    *(str(self.location.path), str(self.experiment_id)),
                    *(str(worker_id), str(os.getpid())),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **dict.fromkeys(ONE_THREAD, "1")},
                process_group=0,
            )
        finally:
            os.close(log)
        with self.write() as connection:
            connection.execute(
                "UPDATE hx_worker SET pid = ?, start_ticks = ? WHERE id = ?",
                (process.pid, start_ticks(process.pid), worker_id),
            )
        self.hands[worker_id] = Hand(process, worker_id, slot)

    def reap(self) -> None:
        """Settle the trials of workers that have ended, whoever ended them."""
        for worker_id, hand in list(self.hands.items()):
            code = hand.process.poll()
            if code is None:
                continue
            kill_group(hand.process.pid)  # what it may have started itself
            assert hand.process.stdin is not None
            hand.process.stdin.close()
            with self.write() as connection:
                held = supervision.held_by(connection, worker_id)
                for trial in held:
                    self.settle(connection, hand, trial, code)
                supervision.free_closing(connection, worker_id)
                reason = _how_it_ended(code, hand, at_work=bool(held))
                supervision.end_worker(connection, worker_id, reason)
            del self.hands[worker_id]
            self.count_quick_death(hand, code, bool(held))

    def settle(self, connection: sqlite3.Connection, hand: Hand, held: Held, code: int) -> None:
        """Decide what becomes of the trial that a dead worker held."""
        seen = hand.trial is not None and hand.trial.trial_id == held.trial_id
        took = boot_seconds() - hand.since if seen else None
        ended = _how_it_ended(code, hand, at_work=True)
        if hand.verdict is not None and held.trial_id == hand.judged:
            supervision.fail(connection, self.experiment_id, held, *hand.verdict, took)
        elif hand.killed or code == -signal.SIGKILL:
            why = "interrupted" if hand.killed else "its worker was killed"
            supervision.requeue(connection, self.experiment_id, held, why)
        elif held.crashes >= CRASHES:
            message = f"{ended}, {CRASHES + 1} times"
            supervision.fail(connection, self.experiment_id, held, "WorkerCrashed", message, took)
        else:
            supervision.requeue(connection, self.experiment_id, held, ended, crashed=True)

    def count_quick_death(self, hand: Hand, code: int, held: bool) -> None:
        """Give up on an experiment whose workers can't even start."""
        if code == 0 or hand.killed or held or hand.did_anything:
            self.quick_deaths = 0
            return
        self.quick_deaths += 1
        if self.quick_deaths >= QUICK_DEATHS:
            log = self.location.logs(self.experiment_id) / f"worker-{hand.slot}.log"
            with self.write() as connection:
                supervision.set_failure(
                    connection, self.experiment_id, f"its workers can't start: see {log}"
                )

    # -- orders and limits -------------------------------------------------------------------

    def watch(self, outlook: Outlook) -> None:
        """Look at each worker's trial: is it to be interrupted, too long, or too large?"""
        now = boot_seconds()
        for hand in self.hands.values():
            held = next(iter(supervision.held_by(self.connection, hand.worker_id)), None)
            if hand.trial is None or held is None or held.trial_id != hand.trial.trial_id:
                hand.since = now
            hand.trial = held
            if hand.killed:
                continue
            if held is None:
                if supervision.is_closing_interrupted(self.connection, hand.worker_id):
                    self.kill(hand, None)
                continue
            hand.did_anything = True
            if held.interrupt or outlook.state == "failed":
                self.kill(hand, None)
            elif outlook.trial_time_s is not None and now - hand.since > outlook.trial_time_s:
                limit = f"{outlook.trial_time_s:g} s"
                self.kill(hand, ("TimeLimit", f"took longer than --trial-time {limit}"))
            elif (
                outlook.trial_memory_mib is not None and now - hand.memory_checked > MEMORY_EVERY_S
            ):
                hand.memory_checked = now
                used = memory_mib(hand.process.pid)
                if used > outlook.trial_memory_mib:
                    limit = f"{outlook.trial_memory_mib:g} MiB"
                    self.kill(
                        hand, ("MemoryLimit", f"used {used:.0f} MiB of --trial-memory {limit}")
                    )

    def kill(self, hand: Hand, verdict: tuple[str, str] | None) -> None:
        """Kill a worker with all that it started; `reap` settles its trial."""
        hand.killed = True
        hand.verdict = verdict
        hand.judged = hand.trial.trial_id if hand.trial is not None else None
        kill_group(hand.process.pid)

    def kill_all(self) -> None:
        """Kill every worker; their trials go back to the queue."""
        for hand in self.hands.values():
            if not hand.killed:
                self.kill(hand, None)

    def account(self, outlook: Outlook) -> None:
        """Add up the time since the first claim in which workers lived; end what it used up."""
        now = boot_seconds()
        elapsed = now - self.accounted
        if elapsed < TIME_EVERY_S:
            return
        self.accounted = now
        if not self.hands or not supervision.has_begun(self.connection, self.experiment_id):
            return
        limit = outlook.time_limit_s
        ended = False
        with self.write() as connection:
            supervision.add_time(connection, self.experiment_id, elapsed)
            if limit is not None and outlook.time_used_s + elapsed >= limit:
                ended = supervision.end_by_time(connection, self.experiment_id, limit)
        if ended:
            self.kill_all()


def _how_it_ended(code: int, hand: Hand, *, at_work: bool) -> str:
    if hand.killed:
        return "interrupted" if hand.verdict is None else hand.verdict[1]
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its process died by {signal.Signals(-code).name}"
        return f"its process died by signal {-code}"
    return f"its process exited with {code}" if code or at_work else "no more work"


def drive(location: Location, experiment_id: int) -> bool:
    """Hold the lock and run until nothing is left; False if another runner lives.

    After letting go it looks once more: an order may have come while it was leaving.
    """
    lock = location.runner_lock(experiment_id)
    while True:
        descriptor = take_runner_lock(lock)
        if descriptor is None:
            return False
        try:
            runner = Runner(location, experiment_id)
            try:
                runner.run()
            finally:
                runner.connection.close()
        finally:
            os.close(descriptor)
        with contextlib.closing(connect_to_write(location.path)) as connection:
            outlook = supervision.outlook(connection, experiment_id)
        if outlook is None or outlook.claimable == 0 or outlook.state in FINAL:
            return True


def main(arguments: list[str] | None = None) -> int:
    """The process: `python -P -m engines.run.runner STORE EXPERIMENT`."""
    parser = argparse.ArgumentParser(prog="engines.run.runner")
    parser.add_argument("store", type=Path)
    parser.add_argument("experiment", type=int)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    drive(Location(options.store), options.experiment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
