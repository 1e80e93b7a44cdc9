"""The runner: one process an experiment that keeps its workers alive and its promises true.

It is plain Python and plain SQL, holds the experiment's lock for life, and does the same few
things every tick: notice dead workers, settle their trials, obey orders, enforce limits, account
for time, start what is missing. With nothing left to do it sweeps and goes. What the store can't
take now stays in its memory and is written at a later tick.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys

from engines.clock import boot_seconds, utc_now
from engines.errors import StoreUnavailable
from engines.run import guardian, hands, limits, logs, tree
from engines.run.alarm import Alarm
from engines.run.deaths import Deaths
from engines.run.hands import Hand, how_it_ended
from engines.run.ledger import Ledger
from engines.run.process import boot_id, is_same_process
from engines.run.slots import Cores
from engines.run.space import LEAST_MIB
from engines.study import events, outlook, reserve, supervision
from engines.study.control import add_event
from engines.study.location import Location, locate
from engines.study.locks import take_runner_lock
from engines.study.outlook import Facts
from engines.study.plain import Connection, connect_to_write
from engines.study.states import FINAL
from engines.study.supervision import DEATHS

TICK_S = 0.1
TIME_EVERY_S = 1.0
TIME_SHARE = 0.05
"""Near the end time is accounted for more often: claims see what is left only then."""

GRACE_S = 2.0
"""Models that watch the clock stop by themselves when time is up, and then have to be scored."""

SLOW_S = 1.0
ORPHANS_EVERY_S = 0.5
LOGS_EVERY_S = 3600.0
REFUSED_S = 0.5
"""After a core was not to be had, or a process could not be started, hiring rests."""

QUICK_DEATHS = 5
"""So many workers in a row that died before their first trial end the experiment."""


class Runner:
    """Drives one experiment while it holds its lock, `lock`."""

    def __init__(self, location: Location, experiment_id: int, lock: int | None = None) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.ledger = Ledger(location, experiment_id, lock)
        self.space = self.ledger.space
        self.logs = logs.LogKeeper(location.logs(experiment_id))
        self.cores = Cores()
        self.hands: dict[int, Hand] = {}
        self.quick_deaths = 0
        self.deaths = Deaths(location, experiment_id)
        self.mark = tree.mark_of(location.side, experiment_id)
        self.begun = False
        self.over: tuple[float, float | None] = 0.0, None
        self.settling_s = 0.0
        self.boot = boot_id()
        self.accounted = self.slow_at = self.orphans_at = boot_seconds()
        self.logs_at = self.hire_after = 0.0
        self.short_since: float | None = None

    def close(self) -> None:
        """Let go of everything but the lock."""
        self.logs.close()
        self.cores.close()
        self.ledger.close()

    # -- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """From the sweep of orphans to the last one; returns when nothing is left to do."""
        if self.ledger.lost:
            return
        self.runner_id = 0
        self.ledger.patiently(self.begin)
        self.kill_leftovers()
        self.ledger.patiently(self.sweep)
        self.accounted = boot_seconds()
        with Alarm() as alarm:
            while self.tick():
                alarm.wait(TICK_S)
        for pid in tree.orphans(()):
            tree.kill(pid)
        if not self.ledger.lost:
            self.ledger.patiently(self.end)
            self.ledger.truncate_log()

    def begin(self) -> None:
        """Register this runner, and give up if too many died before it."""
        with self.ledger.write() as connection:
            deaths = supervision.recent_deaths(connection, self.experiment_id)
            self.runner_id = supervision.add_runner(connection, self.experiment_id)
            if deaths >= DEATHS:
                log = self.location.logs(self.experiment_id) / "runner.log"
                supervision.set_failure(
                    connection,
                    self.experiment_id,
                    f"its runner died {deaths} times in five minutes: see {log}",
                )

    def sweep(self) -> None:
        """Put back what the workers of an earlier runner held."""
        with self.ledger.write() as connection:
            self.begun = supervision.has_begun(connection, self.experiment_id)
            supervision.adopt_foreign_trials(connection, self.experiment_id)
            supervision.sweep(connection, self.experiment_id, "its runner died")

    def end(self) -> None:
        """Leave nothing RUNNING behind, and say so."""
        with self.ledger.write() as connection:
            supervision.sweep(connection, self.experiment_id, "its runner ended")
            supervision.end_runner(connection, self.runner_id, "nothing left to do")
            if outlook.facts(connection, self.experiment_id) is not None:
                text = "the runner left: nothing left to do"
                add_event(connection, self.experiment_id, events.EXPERIMENT, text)

    def tick(self) -> bool:
        """One round of everything; False when nothing is left and nobody runs."""
        now = boot_seconds()
        ledger = self.ledger
        ledger.attempt(self.reap)
        if not ledger.attempt(ledger.look) and ledger.facts is None:
            return True
        facts = ledger.facts
        if facts is None or ledger.lost:
            self.kill_all()
            return bool(self.hands)
        self.see(now)
        self.watch(facts, now)
        ledger.attempt(lambda: self.freeze(facts, now))
        ledger.attempt(lambda: self.account(facts, now))
        self.end_late(facts, now)
        if facts.failed:
            self.kill_all()
        else:
            ledger.attempt(lambda: self.hire(facts, now))
        ledger.attempt(self.note)
        self.now_and_then(facts, now)
        return bool(self.hands) or self.is_needed()

    def is_needed(self) -> bool:
        """Whether there is something to do for which no worker is there yet."""
        needed = [True]  # if it can't be asked now

        def ask() -> None:
            left = self.ledger.outlook()
            needed[0] = left.claimable > 0 and left.state not in FINAL

        self.ledger.attempt(ask)
        return needed[0]

    def kill_leftovers(self) -> None:
        """End processes of an earlier runner's workers, before their trials are swept."""
        living: list[tuple[int, int, str]] = []

        def ask() -> None:
            connection = self.ledger.connection
            living.extend(supervision.living_workers(connection, self.experiment_id))

        self.ledger.patiently(ask)
        workers = [pid for pid, ticks, boot in living if is_same_process(pid, ticks, boot)]
        marked = tree.tagged(self.mark)
        left = {*workers, *marked} - {os.getpid()}
        for pid in left:
            logging.warning("killing process %d of an earlier runner", pid)
            tree.kill(pid)
        tree.wait_until_gone(left, within_s=5.0)

    def now_and_then(self, facts: Facts, now: float) -> None:
        """What need not be done at every tick."""
        if now - self.orphans_at >= ORPHANS_EVERY_S:
            self.orphans_at = now
            self.sort_orphans()
        if now - self.slow_at < SLOW_S:
            return
        self.slow_at = now
        self.share_cores(facts)
        self.ledger.attempt(self.watch_space)
        self.deaths.look_at_memory()
        if now - self.logs_at >= LOGS_EVERY_S or self.logs_at == 0.0:
            self.logs_at = now
            logs.forget_old(self.location.logs(self.experiment_id).parent)
            logs.renew_output(self.location.logs(self.experiment_id) / "runner.log")

    # -- workers -----------------------------------------------------------------------------

    def active(self) -> list[Hand]:
        """The workers that use a core: those that are not frozen."""
        return [hand for hand in self.hands.values() if hand.frozen_at is None]

    def hire(self, facts: Facts, now: float) -> None:
        """Start workers up to the number asked for, and no more than there is work for."""
        active = self.active()
        for hand in sorted(active, key=_leaves_first, reverse=True)[facts.workers :]:
            hand.send_home()
        if len(active) >= facts.workers or now < self.hire_after or self.space.waiting:
            return
        wanted = min(facts.workers, self.ledger.outlook().claimable)
        count = len(active)
        while count < wanted:
            if not self.cores.may_start(count) or not self.start_worker():
                self.hire_after = now + REFUSED_S
                return
            count += 1

    def start_worker(self) -> bool:
        """Start one worker in the first free slot; False if the machine refuses."""
        taken = {hand.slot for hand in self.hands.values()}
        slot = next(n for n in range(1, len(taken) + 2) if n not in taken)
        with self.ledger.write() as connection:
            worker_id = supervision.add_worker(
                connection, self.experiment_id, slot, 0, 0, self.boot
            )
        try:
            output = self.logs.pipe(slot)
            try:
                hand = hands.start(
                    self.location, self.experiment_id, worker_id, slot, output, self.mark
                )
            finally:
                os.close(output)
        except OSError as error:
            logging.warning("can't start a worker: %s", error)
            with self.ledger.write() as connection:
                supervision.end_worker(connection, worker_id, f"not started: {error}")
            return False
        self.hands[worker_id] = hand
        return True

    def reap(self) -> None:
        """Settle the trials of workers that have ended, whoever ended them."""
        for worker_id, hand in list(self.hands.items()):
            if not hand.ended:
                if not hand.is_dead():
                    continue
                hand.ended = True
                hand.close()  # before its number can be given to another process
                killed = hand.process.poll() == -signal.SIGKILL
                hand.out_of_memory = killed and self.deaths.memory_ran_out()
            code = hand.process.poll()
            assert code is not None
            with self.ledger.write() as connection:
                held = outlook.held_by(connection, worker_id)
                for trial in held:
                    self.deaths.settle_trial(connection, hand, trial, code)
                closing = self.deaths.settle_closing(connection, hand, code)
                reason = how_it_ended(code, hand, at_work=bool(held))
                supervision.end_worker(connection, worker_id, reason)
            del self.hands[worker_id]
            self.sort_orphans()
            if not closing:
                self.count_quick_death(hand, code, bool(held))
            if self.deaths.rest_s:
                self.hire_after = boot_seconds() + self.deaths.rest_s
                self.deaths.rest_s = 0.0

    def count_quick_death(self, hand: Hand, code: int, held: bool) -> None:
        """Give up on an experiment whose workers can't even start."""
        quick = not (code == 0 or hand.killed or held or hand.did_anything)
        if code == -signal.SIGKILL and not hand.out_of_memory:
            self.deaths.count_early_kill(quick)
            return
        if not quick:
            self.quick_deaths = 0
            return
        self.quick_deaths += 1
        if self.quick_deaths >= QUICK_DEATHS:
            cause = self.logs.last_line(hand.slot) or how_it_ended(code, hand, at_work=False)
            if hand.out_of_memory:
                cause = "memory ran out"
            text = f"its workers can't start: {cause}; see {self.logs.path(hand.slot)}"
            self.ledger.patiently(lambda: self.give_up(text))

    def give_up(self, text: str) -> None:
        """End the experiment as failed."""
        with self.ledger.write() as connection:
            supervision.set_failure(connection, self.experiment_id, text)

    def sort_orphans(self) -> None:
        """Orphans of a living worker belong to it; those of a dead one are killed."""
        found: dict[int, set[int]] = {}
        for pid in tree.orphans(hand.pid for hand in self.hands.values()):
            owner = tree.owner_of(pid, self.mark)
            if owner is None:
                continue  # it has put its mark off: it goes when this runner does
            if owner in self.hands:
                found.setdefault(owner, set()).add(pid)
            else:
                tree.kill(pid)
        for worker_id, hand in self.hands.items():
            hand.others = found.get(worker_id, set())

    def share_cores(self, facts: Facts) -> None:
        """Hold as many cores as there are workers, and give one where others have too few."""
        active = self.active()
        staying = [hand for hand in active if not hand.leaving]
        wanted = len(active)
        if len(active) < facts.workers:
            wanted = max(wanted, min(facts.workers, self.ledger.claimable))
        self.cores.settle(len(active), wanted)
        if len(staying) > 1 and len(staying) == len(active) and self.cores.must_give(len(active)):
            min(staying, key=_leaves_first).send_home()

    # -- orders and limits -------------------------------------------------------------------

    def see(self, now: float) -> None:
        """Put into each hand what the store says it is doing."""
        closing = self.ledger.facts.closing if self.ledger.facts is not None else {}
        for hand in self.hands.values():
            held = next(iter(self.ledger.held.get(hand.worker_id, ())), None)
            before = hand.trial
            if held is None or before is None or held.trial_id != before.trial_id:
                hand.since = now
                hand.moved = now
            hand.trial = held
            hand.closing = closing.get(hand.worker_id)
            hand.did_anything = hand.did_anything or hand.study is not None

    def watch(self, facts: Facts, now: float) -> None:
        """Look at each worker's job: is it to be interrupted, too long, or too large?"""
        interrupted = facts.interrupted
        for hand in self.hands.values():
            if hand.killed or hand.study is None:
                continue
            if hand.study in interrupted or (facts.failed and hand.trial is not None):
                hand.kill(None)
            elif hand.frozen_at is None and hand.trial is not None:
                verdict = limits.judge(hand, facts, now)
                if verdict is not None:
                    hand.kill(verdict)
                else:
                    self.ledger.attempt(lambda hand=hand: self.watch_motion(hand, now))  # type: ignore[misc]

    def watch_motion(self, hand: Hand, now: float) -> None:
        """Flag a worker that has long done nothing, until it does something again."""
        if now - hand.looked < limits.MOTION_EVERY_S:
            return
        hand.looked = now
        trial = hand.trial
        assert trial is not None
        if limits.has_moved(
            hand, lambda: outlook.reports(self.ledger.connection, trial.trial_id), now
        ):
            hand.flag = None
        elif now - hand.moved >= limits.HUNG_S:
            hand.flag = limits.HUNG

    def note(self) -> None:
        """Write down what the store does not know yet of the workers' processes."""
        changed = [hand for hand in self.hands.values() if hand.noted != hand.to_note]
        if not changed:
            return
        with self.ledger.write() as connection:
            for hand in changed:
                self.note_one(connection, hand)
        for hand in changed:
            hand.noted = hand.to_note

    def note_one(self, connection: Connection, hand: Hand) -> None:
        """One worker's row, and the line in the log if it is flagged or no longer."""
        pid, frozen_at, flag = hand.to_note
        supervision.note_worker(
            connection, hand.worker_id, pid, hand.ticks_at_start, frozen_at, flag
        )
        before = hand.noted[2] if hand.noted is not None else None
        if flag != before:
            text = f"worker {hand.slot}: {flag}" if flag else f"worker {hand.slot} works again"
            job = hand.trial
            add_event(
                connection,
                self.experiment_id,
                events.WORKER,
                text,
                hand.study,
                job.number if job is not None else None,
            )

    def freeze(self, facts: Facts, now: float) -> None:
        """Stop the processes of frozen studies where they are, and let others go on.

        They are stopped while this process holds the store's write lock: so none of them does.
        """
        for hand in self.hands.values():
            if hand.frozen_at is not None and not hand.killed and hand.study not in facts.frozen:
                hand.go_on(now)
        if not any(_is_to_freeze(hand, facts) for hand in self.hands.values()):
            return
        stopped: list[Hand] = []
        with self.ledger.write_at_once() as connection:
            # Nobody can claim or finish now: what each of them holds is read once more.
            self.ledger.read()
            self.see(now)
            fresh = self.ledger.facts or facts
            for hand in self.hands.values():
                if _is_to_freeze(hand, fresh):
                    hand.stand_still(boot_seconds(), utc_now(), self.location.path)
                    self.note_one(connection, hand)
                    stopped.append(hand)
            for study_id in {hand.study for hand in stopped}:
                n = sum(hand.study == study_id for hand in stopped)
                text = f"frozen: {n} worker{'s' if n > 1 else ''} stopped in the middle"
                add_event(connection, self.experiment_id, events.STUDY, text, study_id)
        for hand in stopped:
            hand.noted = hand.to_note

    def kill_all(self) -> None:
        """Kill every worker; their trials go back to the queue."""
        for hand in self.hands.values():
            if not hand.killed:
                hand.kill(None)

    def account(self, facts: Facts, now: float) -> None:
        """Add up the time since the first claim in which workers worked.

        The search ends when what is left is needed to settle the studies and the ensemble.
        """
        elapsed = now - self.accounted
        if not self.active() or facts.ensemble_made:  # they are only leaving
            self.accounted = now
            return
        self.begun = self.begun or bool(self.ledger.held)
        if not self.begun:
            self.accounted = now
            return
        limit, used = facts.time_limit_s, facts.time_used_s + elapsed
        if elapsed < self.unaccounted_s(limit, used):
            return
        ended = used_up = False
        with self.ledger.write() as connection:
            supervision.add_time(connection, self.experiment_id, elapsed)
            if limit is not None:
                self.settling_s = reserve.settling_now_s(connection, self.experiment_id)
                used_up = used >= reserve.search_limit_s(limit, self.settling_s)
            if limit is not None and used_up:
                ended = supervision.end_by_time(connection, self.experiment_id, limit)
        self.accounted = now
        if ended or (used_up and self.over[1] != limit):
            self.over = now, limit

    def unaccounted_s(self, limit: float | None, used: float) -> float:
        """For how long time may go by before it is written down."""
        if limit is None or self.over[1] == limit:
            return TIME_EVERY_S
        left = reserve.search_limit_s(limit, self.settling_s) - used
        return min(TIME_EVERY_S, max(0.0, TIME_SHARE * left))

    def end_late(self, facts: Facts, now: float) -> None:
        """Kill what still trains when time has been up for a while; it goes back to the queue."""
        since, limit = self.over
        if limit is None or limit != facts.time_limit_s or now - since < GRACE_S:
            return
        for hand in self.hands.values():
            if hand.trial is not None and hand.since <= since and not hand.killed:
                hand.kill(None)

    def watch_space(self) -> None:
        """Stop hiring before the disk is full, and go on by itself when there is room again."""
        now = boot_seconds()
        if self.space.is_short():
            if not self.space.waiting:
                logging.warning("less than %g MiB are free: waiting", LEAST_MIB)
            self.space.wait()
        if not self.space.waiting:
            return
        self.short_since = self.short_since or now
        if self.space.is_short():
            return
        with self.ledger.write() as connection:
            text = f"the disk was full for {now - self.short_since:.0f} s: going on"
            add_event(connection, self.experiment_id, events.EXPERIMENT, text)
        self.short_since = None
        self.space.go_on()


def _is_to_freeze(hand: Hand, facts: Facts) -> bool:
    return hand.frozen_at is None and not hand.killed and hand.study in facts.frozen


def _leaves_first(hand: Hand) -> tuple[bool, bool, int]:
    """Who goes when there are too many: who is going already, an idle one, the highest slot."""
    return not hand.leaving, hand.study is not None, -hand.slot


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
            runner = Runner(location, experiment_id, descriptor)
            try:
                runner.run()
                if runner.ledger.lost:
                    return False
            finally:
                runner.close()
        finally:
            os.close(descriptor)
        if not is_work_left(location, experiment_id):
            return True


def is_work_left(location: Location, experiment_id: int) -> bool:
    """Whether an experiment needs a runner, as somebody sees it who is none."""
    with contextlib.closing(connect_to_write(location)) as connection:
        found = outlook.look_ahead(connection, experiment_id)
    return found is not None and found.claimable > 0 and found.state not in FINAL


def main(arguments: list[str] | None = None) -> int:
    """The process: `python -P -m engines.run.runner EXPERIMENT STORE_AS_SHOWN`.

    The store itself comes through the environment, because it may hold a password.
    """
    words = sys.argv[1:] if arguments is None else arguments
    os.umask(0o077)
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform.startswith("linux"):
        child = os.fork()
        if child:
            guardian.become(child)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    tree.adopt_orphans()
    try:
        drive(locate(None), int(words[0]))
    except StoreUnavailable as error:  # its workers end with it
        logging.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
