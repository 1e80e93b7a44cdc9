"""What becomes of the job of a worker that has died, by how it died.

Everything here may be done twice for one death, because the write that it is part of may fail
and be tried again: so deaths are counted by the workers that died.
"""

from __future__ import annotations

import logging
import signal

from engines.clock import boot_seconds
from engines.run import cgroup, checkpoints
from engines.run.hands import Hand, how_it_ended
from engines.study import events, outlook, supervision
from engines.study.control import add_event
from engines.study.location import Location
from engines.study.outlook import Held
from engines.study.plain import Connection
from engines.study.supervision import CRASHES

PATIENT_KILLS = 4
"""A trial whose worker was killed more often than this waits longer each time, up to a minute."""

EARLY_REST_S = 10.0
"""The longest pause after kills of workers that had nothing yet."""


def _rest_after(kills: int) -> float:
    return min(60.0, 2.0 ** min(10, kills - PATIENT_KILLS - 1))


class Deaths:
    """The deaths of one experiment's workers, as far as they matter for the next ones.

    rest_s: for how long no worker is to be started after the latest of them.
    """

    def __init__(self, location: Location, experiment_id: int) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.rest_s = 0.0
        self.counter = cgroup.memory_kill_counter()
        self.kills_seen = self._kills_before = cgroup.count_memory_kills(self.counter) or 0
        self._outside_kills: dict[int, set[int]] = {}
        self._closing_crashes: dict[int, set[int]] = {}
        self._early_kills = 0

    def look_at_memory(self) -> None:
        """Remember how often memory ran out; once a second or less often.

        A kill is believed for two looks: a process takes its time to die.
        """
        self.kills_seen = max(self.kills_seen, self._kills_before)
        self._kills_before = cgroup.count_memory_kills(self.counter) or 0

    def memory_ran_out(self) -> bool:
        """Whether the kernel has just killed one of our group for lack of memory."""
        count = cgroup.count_memory_kills(self.counter) or 0
        if count <= self.kills_seen:
            return False
        self.kills_seen += 1  # one kill explains one death
        return True

    def settle_trial(self, connection: Connection, hand: Hand, held: Held, code: int) -> None:
        """Decide what becomes of the trial that a dead worker held."""
        seen = hand.trial is not None and hand.trial.trial_id == held.trial_id
        took = boot_seconds() - hand.since if seen else None
        ended = how_it_ended(code, hand, at_work=True)
        experiment_id = self.experiment_id
        failed: tuple[str, str] | None = None
        if hand.verdict is not None and held.trial_id == hand.judged:
            failed = hand.verdict
        elif hand.killed:
            supervision.requeue(connection, experiment_id, held, "interrupted")
        elif hand.out_of_memory and held.memory_kills:
            failed = ("OutOfMemory", "its process was killed because memory ran out, twice")
        elif hand.out_of_memory:
            why_back = "its process was killed because memory ran out"
            supervision.requeue(connection, experiment_id, held, why_back, out_of_memory=True)
        elif code == -signal.SIGKILL:
            why_back = self.count_outside_kill(hand, held)
            supervision.requeue(connection, experiment_id, held, why_back)
        elif held.crashes >= CRASHES:
            failed = ("WorkerCrashed", f"{ended}, {CRASHES + 1} times")
        else:
            supervision.requeue(connection, experiment_id, held, ended, crashed=True)
        if failed is not None:
            supervision.fail(connection, experiment_id, held, *failed, took)
            checkpoints.forget(self.location, experiment_id, held.trial_id)

    def count_outside_kill(self, hand: Hand, held: Held) -> str:
        """Why the trial is put back. One that kills itself looks the same, and must not spin."""
        killed = self._outside_kills.setdefault(held.trial_id, set())
        killed.add(hand.worker_id)
        if len(killed) <= PATIENT_KILLS:
            return "its worker was killed"
        self.rest_s = _rest_after(len(killed))
        return f"its worker was killed, {len(killed)} times now: next try in {self.rest_s:g} s"

    def count_early_kill(self, quick: bool) -> None:
        """Rest when workers are killed before they do anything: starting them takes seconds.

        quick: whether the latest kill was so early.
        """
        self._early_kills = self._early_kills + 1 if quick else 0
        if self._early_kills > PATIENT_KILLS:
            self.rest_s = max(self.rest_s, min(EARLY_REST_S, _rest_after(self._early_kills)))
            text = "%d workers in a row were killed before they began: next try in %g s"
            logging.warning(text, self._early_kills, self.rest_s)

    def settle_closing(self, connection: Connection, hand: Hand, code: int) -> bool:
        """Decide what becomes of the study's end that a dead worker was settling, if it was."""
        known = outlook.facts(connection, self.experiment_id)
        study_id = known.closing.get(hand.worker_id) if known is not None else None
        if study_id is None:
            return False
        supervision.free_closing(connection, hand.worker_id)
        if hand.killed or (code == -signal.SIGKILL and not hand.out_of_memory):
            return True
        crashes = self._closing_crashes.setdefault(study_id, set())
        crashes.add(hand.worker_id)
        memory = "it was killed because memory ran out"
        ended = memory if hand.out_of_memory else how_it_ended(code, hand, at_work=True)
        if len(crashes) > CRASHES:
            note = f"no held-out score: {ended}, {len(crashes)} times"
            supervision.close_without_score(connection, self.experiment_id, study_id, note)
        else:
            text = f"settling its end again: {ended}"
            add_event(connection, self.experiment_id, events.STUDY, text, study_id)
        return True
